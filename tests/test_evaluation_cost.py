"""Models side by side: the paired bootstrap, what changed, and the limits of CI."""

import dataclasses

import numpy as np
import pytest
from evaluation_data import NAMES, found_picture, random_data, truth_picture
from tiny_detector import SPEC

from benchmarks.evaluation.bootstrap import resample_weights
from benchmarks.evaluation.cost import Against, Cost, EvaluatedModel, ModelFound, cost_of
from benchmarks.evaluation.cost_report import cost_json, cost_table
from benchmarks.evaluation.evaluation import Figure, evaluate
from benchmarks.evaluation.figure_limits import cost_violations, parse_figure_limit
from benchmarks.evaluation.found import FoundPicture
from benchmarks.evaluation.truth import Truth
from persondet.errors import InputError
from runtime.detections import Detections

BOX, OTHER, THIRD = (10, 10, 50, 40), (60, 10, 100, 40), (110, 50, 150, 85)
SPEC_OF_PICTURES = dataclasses.replace(SPEC, score_threshold=0.5)


def model(name, found, spec=SPEC_OF_PICTURES):
    return ModelFound(name=name, device="nothing", spec=spec, found=found)


def worse(found, seed):
    """Lose some detections, and move the scores of others."""
    generator = np.random.default_rng(seed)
    results = []
    for one in found:
        kept = generator.random(len(one.detections)) < 0.7
        scores = one.detections.scores[kept] * generator.uniform(0.6, 1, kept.sum())
        order = np.argsort(-scores, kind="stable")
        boxes = one.detections.boxes_xyxy_px[kept][order]
        class_ids = one.detections.class_ids[kept][order]
        detections = Detections(boxes, scores[order].astype(np.float32), class_ids)
        results.append(FoundPicture(one.size_hw, detections))
    return results


def untied(found):
    """No two scores alike: of equal ones in one image, copies of the image would be sorted
    otherwise."""
    results, count = [], 0
    for one in found:
        order = np.arange(count, count + len(one.detections))
        count += len(one.detections)
        scores = (one.detections.scores.astype(np.float64) - 1e-5 * order).astype(np.float32)
        results.append(
            dataclasses.replace(one, detections=dataclasses.replace(one.detections, scores=scores))
        )
    return results


def resampled(items, weights):
    return [
        item for item, count in zip(items, weights.astype(int), strict=True) for _ in range(count)
    ]


def test_the_paired_intervals_are_those_of_sets_drawn_image_by_image():
    """Slow and obvious: each resample as a data set of its own, evaluated for both models."""
    truth, tied = random_data(3, 8, annotated=((1, 2), (1,)))
    found = untied(tied)
    other = worse(found, 4)
    cost = cost_of(truth, model("a", found), [model("b", other)], resamples=16)
    drawn = []
    for weights in resample_weights(len(found), 16):
        pictures = tuple(resampled(truth.pictures, weights))
        set_drawn = dataclasses.replace(truth, pictures=pictures)
        drawn.append(
            [
                evaluate(set_drawn, resampled(one, weights), SPEC.input_size_hw, 0.5, 0).total
                for one in (found, other)
            ]
        )
    for figure in ("ap50", "mr2"):
        differences = [b.figures[figure].value - a.figures[figure].value for a, b in drawn]
        shown = getattr(cost.others[0].against, figure)
        expected = tuple(np.percentile(differences, (2.5, 97.5)))
        assert shown.interval == pytest.approx(expected, abs=1e-9)
        before, after = (one.evaluation.total.figures[figure].value for one in cost.models)
        assert shown.value == pytest.approx(after - before)
        assert before != after


def test_a_model_against_itself_differs_by_nothing():
    truth, found = random_data(5)
    against = cost_of(truth, model("a", found), [model("b", found)], resamples=20).others[0].against
    assert against.ap50 == Figure(0.0, (0.0, 0.0))
    assert against.points_lost == 0
    assert against.changed == 0


def test_changed_detections_by_hand():
    """Of four at 0.5 and above, one class that is not evaluated is left; one goes, one comes."""
    truth = Truth("data", NAMES, (1,), (truth_picture([BOX, OTHER]), truth_picture([BOX])))
    first = [
        found_picture([BOX, OTHER, THIRD], [0.9, 0.5, 0.5], classes=[1, 1, 2]),
        found_picture([BOX, OTHER], [0.9, 0.49]),
    ]
    second = [
        found_picture([BOX, THIRD, OTHER], [0.8, 0.6, 0.49]),
        found_picture([BOX], [0.5]),
    ]
    against = cost_of(truth, model("a", first), [model("b", second)], resamples=0).others[0].against
    difference = against.detections
    assert (difference.reference_count, difference.count, difference.matched) == (3, 3, 2)
    assert (difference.vanished, difference.appeared) == (1, 1)
    assert against.changed == pytest.approx(2 / 3)
    assert against.ap50.interval is None
    # The reference's threshold holds for both: the second's own, 0.95, shows nothing.
    shy = dataclasses.replace(SPEC_OF_PICTURES, score_threshold=0.95)
    again = cost_of(truth, model("a", first), [model("b", second, shy)], resamples=0)
    assert again.others[0].against.detections == difference
    chosen = cost_of(truth, model("a", first), [model("b", second)], 0.95, resamples=0).others[0]
    assert (chosen.against.changed, chosen.evaluation.score_threshold) == (None, 0.95)


def test_other_classes_are_refused():
    truth, found = random_data(1)
    spec = dataclasses.replace(SPEC, class_names=("background", "head", "person"))
    with pytest.raises(InputError, match=r"a and b .* first are person, head, .* head, person"):
        cost_of(truth, model("a", found), [model("b", found, spec)])


def cost_with(ap50_difference, changed=(1, 1, 100)):
    """A cost whose second model has this difference, and this many changed detections."""
    truth, found = random_data(2)
    cost = cost_of(truth, model("a", found), [model("b", found)], resamples=0)
    row = cost.others[0]
    vanished, appeared, reference_count = changed
    difference = dataclasses.replace(
        row.against.detections,
        vanished=vanished,
        appeared=appeared,
        reference_count=reference_count,
    )
    against = Against(
        ap50=Figure(ap50_difference, None), mr2=Figure(0.0, None), detections=difference
    )
    changed_row = EvaluatedModel(
        name="b", device="nothing", evaluation=row.evaluation, against=against
    )
    return Cost(models=(cost.reference, changed_row))


@pytest.mark.parametrize(
    ("difference", "max_drop", "broken"),
    [
        (0.700 - 0.705, 0.5, False),  # 0.5000000000000004 points in floating point
        (-0.005, 0.5, False),
        (-0.0050001, 0.5, True),
        (0.01, 0.0, False),
        (0.0, 0.0, False),
        (-1e-6, 0.0, True),
        (-0.2, None, False),
        (0.001, -0.1, False),  # a gain that is asked for, exactly
        (0.0, -0.1, True),
        (None, 0.5, False),
    ],
)
def test_the_drop_that_is_allowed_is_allowed_exactly(difference, max_drop, broken):
    found = cost_violations(cost_with(difference), (), max_drop)
    assert bool(found) == broken
    assert all("b: " in text and "AP50 points below a, more than the" in text for text in found)


@pytest.mark.parametrize(
    ("text", "above", "changed", "broken"),
    [
        ("changed=0.02", True, (1, 1, 100), 0),
        ("changed=0.0199", True, (1, 1, 100), 1),
        ("changed=0.3", True, (1, 2, 10), 0),  # 0.1 + 0.2 in floating point is more
        ("changed=0.02", True, (0, 5, 0), 1),  # not defined: not kept
        ("AP50=0", False, (0, 0, 1), 0),
        ("AP50=1.01", False, (0, 0, 1), 2),  # each model is held to it
        ("mr2=0", True, (0, 0, 1), 2),
    ],
)
def test_limits(text, above, changed, broken):
    limit = parse_figure_limit(text, above=above)
    assert len(cost_violations(cost_with(0.0, changed), [limit])) == broken


def test_a_limit_equal_to_the_figure_is_kept():
    cost = cost_with(0.0)
    value = cost.reference.evaluation.total.figures["ap50"].value
    assert cost_violations(cost, [parse_figure_limit(f"ap50={value}", above=False)]) == []
    above = parse_figure_limit(f"ap50={value + 1e-6}", above=False)
    assert "a: ap50 is" in cost_violations(cost, [above])[0]


@pytest.mark.parametrize(
    ("text", "above", "message"),
    [
        ("AP5=0.6", False, "no figure 'AP5'; known: ap, ap50"),
        ("AP50", False, "expected FIGURE=NUMBER, got ''"),
        ("AP50=nan", False, "expected FIGURE=NUMBER, got 'nan'"),
        ("mr2=0.6", False, "mr2 is better when smaller; use --fail-above"),
        ("recall=0.6", True, "recall is better when larger; use --fail-below"),
    ],
)
def test_limits_that_are_none(text, above, message):
    with pytest.raises(InputError, match=message):
        parse_figure_limit(text, above=above)


def test_json_and_table():
    truth, found = random_data(7)
    cost = cost_of(truth, model("a", found), [model("b", worse(found, 1))], resamples=10)
    record = cost_json(cost)
    assert record.keys() == {
        *("reference", "data", "score_threshold", "resamples", "seed", "models"),
    }
    assert [entry["model"] for entry in record["models"]] == ["a", "b"]
    assert record["models"][0]["against_reference"] is None
    against = record["models"][1]["against_reference"]
    assert against.keys() == {
        *("ap50_difference", "ap50_difference_interval", "mr2_difference"),
        *("mr2_difference_interval", "detections_changed", "reference_detections", "detections"),
        *("vanished", "appeared"),
    }
    ap50 = [entry["ap50"] for entry in record["models"]]
    assert against["ap50_difference"] == pytest.approx(ap50[1] - ap50[0])
    assert against["ap50_difference"] < 0
    cells = [list(column.cells) for column in cost_table(cost).columns]
    assert [column[0] for column in cells[3:]] == ["", "", ""]
    assert cells[3][1] == f"{100 * against['ap50_difference']:+.2f}"
    assert f"({against['vanished']} + {against['appeared']} of " in cells[5][1]
