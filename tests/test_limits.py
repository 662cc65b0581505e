"""--fail-above and --fail-below."""

import math
from pathlib import Path

import pytest

from benchmarks.compare import Comparison, Pair, PictureDifference
from benchmarks.detection_difference import DetectionDifference
from benchmarks.limits import parse_limit, violations
from benchmarks.output_difference import OutputDifference
from persondet.errors import InputError

NAMES = ("scores", "boxes")


def comparison(vanished=0, max_score_difference=None, sqnr_db=math.inf):
    outputs = {
        "scores": OutputDifference(0.25, 0.1, 0.15, 0.999, sqnr_db),
        "boxes": OutputDifference(0.5, 0.2, 0.3, 0.99, 40.0),
    }
    found = DetectionDifference(
        3, 3, 3, vanished, 0, None, None, max_score_difference, max_score_difference, 1.0, 1.0
    )
    pair = Pair("b.dlc", outputs, found, PictureDifference(0.0, 0.25, Path("p.png")))
    return Comparison("a.onnx", 1, 0.5, 0.45, (pair,))


def broken(text, *, above=True, **differences):
    limit = parse_limit(text, above=above, output_names=NAMES)
    return violations(comparison(**differences), [limit])


@pytest.mark.parametrize("text", ["0.5", "max_abs=0.5", "boxes.max_abs=0.5", "scores.max_abs=0.25"])
def test_equal_to_the_bound_is_kept(text):
    assert broken(text) == []


def test_a_bare_number_holds_every_output():
    assert broken("0.3") == ["b.dlc: boxes.max_abs is 0.5, above the limit 0.3"]
    assert len(broken("0")) == 2


def test_a_limit_of_one_output_does_not_hold_the_other():
    assert broken("scores.max_abs=0.3") == []
    assert broken("scores.max_abs=0.2") == ["b.dlc: scores.max_abs is 0.25, above the limit 0.2"]


def test_detections():
    assert broken("detections.vanished=0") == []
    assert broken("detections.vanished=0", vanished=2) == [
        "b.dlc: detections.vanished is 2, above the limit 0"
    ]
    assert broken("detections.max_score_difference=0") == []  # nothing matched, nothing to hold
    assert len(broken("detections.max_score_difference=0", max_score_difference=0.1)) == 1


def test_below():
    assert broken("sqnr_db=40", above=False) == []  # one is infinite, one equal to the bound
    assert broken("sqnr_db=41", above=False) == ["b.dlc: boxes.sqnr_db is 40, below the limit 41"]
    assert len(broken("sqnr_db=30", above=False, sqnr_db=-math.inf)) == 1
    assert len(broken("cosine=0.9999", above=False)) == 2


@pytest.mark.parametrize(
    ("text", "above", "message"),
    [
        ("logits.max_abs=1", True, "no output 'logits'; known: scores, boxes, detections"),
        ("boxes.worst=1", True, "no metric 'worst'; known: max_abs, mean_abs"),
        ("detections.max_abs=1", True, "no metric 'max_abs'; known: reference_count"),
        ("cosine=0.9", True, "cosine is better when larger; use --fail-below"),
        ("max_abs=0.9", False, "max_abs is better when smaller; use --fail-above"),
        ("max_abs=much", True, "expected METRIC=NUMBER, got 'much'"),
        ("max_abs=nan", True, "expected METRIC=NUMBER, got 'nan'"),
        ("", True, "expected METRIC=NUMBER, got ''"),
        ("max_abs", True, "expected METRIC=NUMBER, got 'max_abs'"),
    ],
)
def test_what_makes_no_limit_is_refused(text, above, message):
    with pytest.raises(InputError, match=message):
        parse_limit(text, above=above, output_names=NAMES)
