"""MR-2 by hand."""

import numpy as np
import pytest

from benchmarks.evaluation.matching import FALSE, TRUE
from benchmarks.evaluation.miss_rate import FALSE_ALARMS_A_PICTURE, log_average_miss_rate
from benchmarks.evaluation.tally import counts, set_itself, tally_of


def mr2(judgements, truths, pictures=100, annotated=100):
    """All detections in the first of `pictures`; so many of these are annotated."""
    scores = [np.linspace(0.9, 0.1, len(judgements))] + [np.zeros(0)] * (pictures - 1)
    parts = [np.array(judgements, np.int8)] + [np.zeros(0, np.int8)] * (pictures - 1)
    known = [index < annotated for index in range(pictures)]
    of_tally = tally_of(scores, parts, [truths] + [0] * (pictures - 1), known)
    return float(log_average_miss_rate(counts(of_tally, set_itself(of_tally)))[0])


def test_the_nine_points():
    steps = [0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1]
    np.testing.assert_allclose(FALSE_ALARMS_A_PICTURE, steps, rtol=5e-3)


def test_one_level_is_its_own_mean():
    assert mr2([TRUE], truths=4) == pytest.approx(0.75)
    assert mr2([], truths=4) == 1


def test_one_false_alarm_in_a_hundred_pictures_is_the_first_point_exactly():
    assert mr2([FALSE, TRUE], truths=2) == pytest.approx(0.5)
    # two are 0.02 a picture: 1.0 at 0.01 and 0.0178, 0.5 at the seven others
    assert mr2([FALSE, FALSE, TRUE], truths=2) == pytest.approx(0.5 ** (7 / 9))


def test_every_detection_after_too_many_false_alarms():
    assert mr2([FALSE] * 101 + [TRUE], truths=1) == 1
    assert mr2([FALSE] * 100 + [TRUE], truths=1) == pytest.approx(1e-10 ** (1 / 9))


def test_pictures_that_are_not_annotated_do_not_count():
    assert mr2([FALSE, TRUE], truths=2, pictures=200, annotated=100) == pytest.approx(0.5)
    assert mr2([FALSE, TRUE], truths=2, pictures=200, annotated=50) > 0.5


def test_nothing_missed_is_no_logarithm_of_zero():
    assert mr2([TRUE], truths=1) == pytest.approx(1e-10)
