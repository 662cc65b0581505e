"""The whole of an evaluation: thresholds, sizes, classes, intervals."""

import numpy as np
import pytest
from evaluation_data import NAMES, found_picture, random_data, truth_picture

from benchmarks.evaluation.bootstrap import interval_95, resample_weights
from benchmarks.evaluation.evaluation import FIGURES, evaluate
from benchmarks.evaluation.truth import Truth
from persondet.data.sizes import SIZE_RANGES, shorter_sides_px
from persondet.errors import InputError

INPUT_HW = (90, 160)  # the pictures' own size: no stretching
BOX, OTHER = (10, 10, 50, 40), (60, 10, 100, 40)


def truth_of(*pictures, classes=(1,)):
    return Truth("data", NAMES, classes, pictures)


def evaluated(truth, found, input_size_hw=INPUT_HW, threshold=0.5, resamples=50):
    return evaluate(truth, found, input_size_hw, threshold, resamples)


def test_by_hand():
    """Three boxes; at 0.5: one found, one false alarm; below: another found."""
    truth = truth_of(truth_picture([BOX, OTHER]), truth_picture([BOX]))
    found = [
        found_picture([BOX, (120, 10, 150, 40), OTHER], [0.9, 0.6, 0.3]),
        found_picture([], []),
    ]
    total = evaluated(truth, found).total
    values = {name: figure.value for name, figure in total.figures.items()}
    assert values["recall"] == pytest.approx(1 / 3)
    assert values["miss_rate"] == pytest.approx(2 / 3)
    assert values["precision"] == pytest.approx(1 / 2)
    assert values["f1"] == pytest.approx(2 / 5)
    assert values["voc_ap50"] == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert values["ap50"] == pytest.approx((34 + 33 * 2 / 3) / 101)
    # false alarms: none to recall 1/3, one (0.5 a picture) to 2/3: at 0.5623 and 1 only
    assert values["mr2"] == pytest.approx((2 / 3) ** (7 / 9) * (1 / 3) ** (2 / 9))
    assert (total.images, total.boxes, total.ignored_boxes) == (2, 3, 0)
    assert total.best.threshold == pytest.approx(0.3)
    assert (total.best.f1, total.best.precision) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert total.working.false_alarms_a_picture == 0.5
    assert set(values) == set(FIGURES)


def test_a_score_equal_to_the_threshold_counts():
    truth = truth_of(truth_picture([BOX]))
    found = [found_picture([BOX], [0.7])]  # 0.7 in float32 is less than 0.7
    assert evaluated(truth, found, threshold=0.7).total.figures["recall"].value == 1
    assert evaluated(truth, found, threshold=0.0).total.working.recall == 1
    above = evaluated(truth, found, threshold=0.71).total
    assert above.figures["recall"].value == 0
    assert above.figures["precision"].value is None
    assert above.working.precision is None


def test_equal_scores_are_one_threshold():
    truth = truth_of(truth_picture([BOX, OTHER]))
    found = [found_picture([BOX, (120, 10, 150, 40), OTHER], [0.5, 0.5, 0.5])]
    best = evaluated(truth, found).total.best
    assert (best.threshold, best.recall, best.precision) == (0.5, 1, pytest.approx(2 / 3))


def test_nothing_found():
    total = evaluated(truth_of(truth_picture([BOX])), [found_picture([], [])]).total
    assert total.best is None
    assert (total.figures["ap"].value, total.figures["mr2"].value) == (0, 1)


def test_ignored_boxes_neither_help_nor_hurt():
    ignored = truth_picture([BOX, (100, 0, 160, 90)], ignored=[False, True])
    on_ignored = found_picture([(110, 10, 130, 40), (105, 5, 150, 80), BOX], [0.9, 0.8, 0.7])
    total = evaluated(truth_of(ignored), [on_ignored]).total
    assert (total.boxes, total.ignored_boxes) == (1, 1)
    for name in ("ap50", "voc_ap50", "precision", "recall"):
        assert total.figures[name].value == pytest.approx(1), name


@pytest.mark.parametrize(
    ("side", "name"),
    [(9.9, "<10"), (10, "10-16"), (15.9, "10-16"), (16, "16-32"), (32, "32-64"), (64, ">64")],
)
def test_the_size_is_the_shorter_side_after_stretching(side, name):
    # 160 x 90 pixels become 320 x 90: the width doubles
    box = (0, 0, side / 2, 80)
    assert shorter_sides_px(np.array([box]), (90, 160), (90, 320))[0] == pytest.approx(side)
    total = evaluated(
        truth_of(truth_picture([box])), [found_picture([box], [0.9])], (90, 320)
    ).total
    boxes = {key: size.boxes for key, size in total.by_size.items() if key != ">=16"}
    assert boxes == {size.name: int(size.name == name) for size in SIZE_RANGES[:-1]}
    assert total.by_size[name].ap50.value == pytest.approx(1)
    assert total.by_size[">=16"].boxes == int(side >= 16)


def test_boxes_and_detections_of_other_sizes_do_not_count():
    small, large = (10, 10, 22, 30), (50, 10, 100, 70)
    truth = truth_of(truth_picture([small, large]))
    found = [found_picture([large, (110, 0, 160, 60), small], [0.9, 0.8, 0.7])]
    sizes = evaluated(truth, found).total.by_size
    assert sizes["10-16"].ap50.value == pytest.approx(1)  # the large false alarm is not its own
    assert sizes["32-64"].ap50.value == pytest.approx(1)
    assert sizes["16-32"].ap50.value is None
    found = [found_picture([(110, 0, 160, 60), large], [0.9, 0.7])]
    sizes = evaluated(truth, found).total.by_size
    assert sizes["32-64"].ap50.value == pytest.approx(0.5)
    assert sizes["10-16"].ap50.value == 0


def test_a_picture_not_annotated_for_a_class_is_left_out_of_it():
    heads_only = truth_picture([BOX], classes=[2], annotated=(2,))
    truth = truth_of(truth_picture([BOX]), heads_only, classes=(1, 2))
    found = [
        found_picture([BOX], [0.9]),
        found_picture([BOX, OTHER], [0.9, 0.8], classes=[2, 1]),  # OTHER: perhaps a person
    ]
    evaluation = evaluated(truth, found)
    person, head = evaluation.classes
    assert (person.images, head.images, evaluation.total.images) == (1, 2, 2)
    assert person.figures["precision"].value == 1
    assert person.figures["ap50"].value == pytest.approx(1)


def test_the_total_is_the_mean_over_the_classes():
    truth, found = random_data(3)
    evaluation = evaluated(truth, found)
    for name in FIGURES:
        values = [summary.figures[name].value for summary in evaluation.classes]
        assert evaluation.total.figures[name].value == pytest.approx(np.mean(values)), name
    assert evaluation.total.boxes == sum(summary.boxes for summary in evaluation.classes)
    for name in ("precision", "recall", "f1"):
        of_point = getattr(evaluation.total.working, name)
        assert of_point == pytest.approx(evaluation.total.figures[name].value)


def test_the_best_threshold_is_the_best_of_all():
    truth, found = random_data(1, pictures=6)
    best = evaluated(truth, found).total.best
    scores = np.unique(np.concatenate([result.detections.scores for result in found]))
    points = [evaluated(truth, found, threshold=float(s), resamples=1).total for s in scores]
    assert best.f1 == pytest.approx(max(point.working.f1 for point in points))


def test_intervals_are_the_same_each_time_and_hold_the_figure():
    truth, found = random_data(5, pictures=40)
    first, second = (evaluated(truth, found, resamples=300).total for _ in range(2))
    assert first == second
    for name in FIGURES:
        low, high = first.figures[name].interval
        assert low < first.figures[name].value < high, name
    sizes = [size for size in first.by_size.values() if size.boxes]
    assert len(sizes) > 3
    for size in sizes:
        assert size.ap50.interval[0] <= size.ap50.value <= size.ap50.interval[1]


def test_more_pictures_give_a_narrower_interval():
    widths = []
    for pictures in (20, 180):
        truth, found = random_data(6, pictures=pictures)
        low, high = evaluated(truth, found, resamples=300).total.figures["ap50"].interval
        widths.append(high - low)
    assert widths[1] < widths[0] / 2  # about a third


def test_resamples_in_parts_are_the_same(monkeypatch):
    truth, found = random_data(7)
    whole = evaluated(truth, found).total
    monkeypatch.setattr("benchmarks.evaluation.evaluation.MOST_NUMBERS", 100)
    assert evaluated(truth, found).total == whole


def test_no_resamples_no_intervals():
    truth, found = random_data(0)
    assert evaluated(truth, found, resamples=0).total.figures["ap50"].interval is None


def test_resamples_are_as_large_as_the_set():
    weights = resample_weights(7, 100)
    assert weights.shape == (100, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert interval_95(np.array([np.nan, np.nan])) is None
    assert interval_95(np.array([np.nan, 1.0, *np.linspace(0, 2, 101)])) == pytest.approx(
        (0.05, 1.95), abs=0.03
    )


def test_a_picture_of_another_size_than_annotated():
    truth = truth_of(truth_picture([BOX]))
    with pytest.raises(
        InputError, match="is 90 x 160 pixels as displayed, its annotation says 160"
    ):
        evaluated(truth, [found_picture([BOX], [0.9], size_hw=(160, 90))])
