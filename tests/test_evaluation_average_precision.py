"""Average precisions by hand, and every resample against a list that really holds the pictures."""

import numpy as np
import pytest

from benchmarks.evaluation.average_precision import coco_average_precision, voc_average_precision
from benchmarks.evaluation.bootstrap import resample_weights
from benchmarks.evaluation.matching import FALSE, IGNORED, TRUE
from benchmarks.evaluation.miss_rate import log_average_miss_rate
from benchmarks.evaluation.tally import counts, set_itself, tally_of


def tally(scores, judgements, truths, annotated=None):
    annotated = [True] * len(truths) if annotated is None else annotated
    judgements = [np.array(j, np.int8) for j in judgements]
    return tally_of([np.array(s, float) for s in scores], judgements, truths, annotated)


def both(of_tally):
    at = counts(of_tally, set_itself(of_tally))
    return float(coco_average_precision(at)[0]), float(voc_average_precision(at)[0])


def test_by_hand():
    """Four boxes; true, false, true, then nothing: precision 1 to recall 1/4, 2/3 to 1/2, 0 on."""
    of_tally = tally([[0.9, 0.7], [0.8]], [[TRUE, TRUE], [FALSE]], [3, 1])
    coco, voc = both(of_tally)
    assert voc == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    assert coco == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)  # recalls 0.00-0.25, 0.26-0.50


def test_perfect_and_hopeless():
    assert both(tally([[0.9]], [[TRUE]], [1])) == (1, 1)
    assert both(tally([[0.9]], [[FALSE]], [1])) == (0, 0)
    assert both(tally([[]], [[]], [1])) == (0, 0)
    assert np.isnan(both(tally([[0.9]], [[FALSE]], [0]))).all()


def test_ignored_detections_change_nothing():
    with_ignored = tally([[0.9, 0.8, 0.7]], [[IGNORED, TRUE, IGNORED]], [2])
    assert both(with_ignored) == both(tally([[0.8]], [[TRUE]], [2]))
    assert len(with_ignored.scores) == 1


def test_of_equal_scores_the_earlier_pictures_comes_first():
    of_tally = tally([[0.5], [0.5, 0.5]], [[FALSE], [TRUE, FALSE]], [0, 1])
    assert of_tally.is_true.tolist() == [False, True, False]
    assert of_tally.picture.tolist() == [0, 1, 1]


def random_tally(seed, pictures=9):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 12, pictures)
    scores = [-np.sort(-generator.random(n)) for n in lengths]  # all different
    judgements = [generator.choice([TRUE, FALSE], n) for n in lengths]
    truths = [int((j == TRUE).sum() + generator.integers(0, 3)) for j in judgements]
    return scores, judgements, truths


@pytest.mark.parametrize("seed", range(5))
def test_a_resample_is_the_list_of_its_pictures(seed):
    """The product with weights against pictures that are there twice or not at all."""
    scores, judgements, truths = random_tally(seed)
    whole = tally(scores, judgements, truths)
    weights = resample_weights(len(truths), 40, seed)
    weighted = counts(whole, weights)
    results = [
        coco_average_precision(weighted),
        voc_average_precision(weighted),
        log_average_miss_rate(weighted),
    ]
    for row, *values in zip(weights, *results, strict=True):
        drawn = np.repeat(np.arange(len(truths)), row.astype(int))
        parts = ([some[i] for i in drawn] for some in (scores, judgements, truths))
        is_true, total = _sorted_list(*parts)
        assert values[0] == pytest.approx(_coco_slowly(is_true, total), abs=1e-12)
        assert values[1] == pytest.approx(_voc_slowly(is_true, total), abs=1e-12)
        assert values[2] == pytest.approx(_mr2_slowly(is_true, total, len(drawn)), abs=1e-12)


def _sorted_list(scores, judgements, truths):
    pairs = zip(np.concatenate(scores), np.concatenate(judgements) == TRUE, strict=True)
    return [true for _, true in sorted(pairs, key=lambda pair: -pair[0])], sum(truths)


def _curve(is_true, total):
    true = np.cumsum(is_true)
    return true / total, true / np.arange(1, len(is_true) + 1)


def _coco_slowly(is_true, total):
    recall, precision = _curve(is_true, total)
    levels = np.linspace(0, 1, 101)
    return np.mean([max(precision[recall >= level], default=0) for level in levels])


def _voc_slowly(is_true, total):
    recall, precision = _curve(is_true, total)
    area, last = 0.0, 0.0
    for index, value in enumerate(recall):
        area += (value - last) * precision[index:].max()
        last = value
    return area


def _mr2_slowly(is_true, total, pictures):
    false = np.cumsum(~np.array(is_true, bool))
    recall, _ = _curve(is_true, total)
    rates = []
    for level in np.logspace(-2, 0, 9):
        reached = np.flatnonzero(false / pictures <= level)
        rates.append(1 - recall[reached[-1]] if len(reached) else 1.0)
    return np.exp(np.mean(np.log(np.maximum(rates, 1e-10))))
