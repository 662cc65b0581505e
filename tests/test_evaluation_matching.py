"""COCO's and VOC's ways of judging, against the loops of their authors."""

import numpy as np
import pytest
from evaluation_data import random_boxes

from benchmarks.evaluation.matching import FALSE, IGNORED, TRUE, covered_part, judged, match
from benchmarks.evaluation.voc_matching import voc_judged
from persondet.boxes import iou_matrix

BOX = (10, 10, 30, 20)  # 20 x 10
SHIFTED = (10, 10, 30, 30)  # holds BOX: IoU 0.5 exactly
FAR = (60, 60, 80, 70)
NONE = np.zeros((0, 4))


def matched(boxes, truth, ignored=None, regions=None):
    ignored = np.array([False] * len(truth) if ignored is None else ignored, bool)
    boxes, truth = (np.array(some, np.float64).reshape(-1, 4) for some in (boxes, truth))
    return match(boxes, truth, ignored, ignored if regions is None else np.array(regions), 0.5)


def test_an_iou_equal_to_the_threshold_is_enough_and_a_second_detection_is_not_matched():
    assert matched([BOX, BOX, FAR], [SHIFTED]).tolist() == [0, -1, -1]


def test_the_best_score_takes_the_box_that_it_overlaps_most():
    near, nearer = (10, 10, 30, 21), (10, 10, 30, 20)
    assert matched([BOX, BOX], [near, nearer]).tolist() == [1, 0]


def test_an_ignored_region_takes_any_number_by_the_detections_own_area():
    region = (0, 0, 100, 100)
    assert iou_matrix(np.array([BOX]), np.array([region]))[0, 0] < 0.05
    indices = matched([BOX, BOX, FAR], [region], ignored=[True])
    assert indices.tolist() == [0, 0, 0]
    assert judged(indices, np.array([True])).tolist() == [IGNORED] * 3


def test_a_wanted_box_comes_before_a_region_that_covers_more():
    region = (0, 0, 100, 100)
    indices = matched([SHIFTED, SHIFTED], [region, BOX], ignored=[True, False])
    assert indices.tolist() == [1, 0]
    assert judged(indices, np.array([True, False])).tolist() == [TRUE, IGNORED]


def test_an_unwanted_box_that_is_no_region_takes_one_detection():
    indices = matched([BOX, BOX], [BOX], ignored=[True], regions=[False])
    assert judged(indices, np.array([True])).tolist() == [IGNORED, FALSE]


def test_nothing_on_either_side():
    assert matched(NONE, [BOX]).shape == (0,)
    assert matched([BOX], NONE).tolist() == [-1]
    assert judged(matched([BOX], NONE), np.zeros(0, bool)).tolist() == [FALSE]
    assert voc_judged(NONE, np.array([BOX]), np.array([False])).shape == (0,)
    assert voc_judged(np.array([BOX]), NONE, np.zeros(0, bool)).tolist() == [FALSE]


def test_covered_part():
    parts = covered_part(np.array([BOX, FAR, (5, 5, 5, 9)]), np.array([(20, 0, 99, 15), BOX]))
    np.testing.assert_allclose(parts, [[0.25, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize("seed", range(30))
def test_match_is_the_loop_of_pycocotools(seed):
    generator = np.random.default_rng(seed)
    truth = random_boxes(generator, 6)
    boxes = np.repeat(truth, 3, axis=0) + generator.normal(0, 4, (18, 4))
    ignored = generator.random(6) < 0.4
    regions = ignored & (generator.random(6) < 0.5)
    overlaps = np.where(regions, covered_part(boxes, truth), iou_matrix(boxes, truth))
    result = match(boxes, truth, ignored, regions, 0.5)
    assert result.tolist() == _pycocotools_loop(overlaps, ignored, regions)


def _pycocotools_loop(overlaps, ignored, regions):
    """COCOeval.evaluateImg, line by line."""
    order = np.argsort(ignored, kind="mergesort")
    taken, result = set(), []
    for row in overlaps:
        iou, m = 0.5, -1
        for g in order:
            if g in taken and not regions[g]:
                continue
            if m > -1 and not ignored[m] and ignored[g]:
                break
            if row[g] < iou:
                continue
            iou, m = row[g], int(g)
        taken.add(m)
        result.append(m)
    return result


def test_voc_a_second_detection_of_a_box_is_false_even_on_another_free_box():
    """Where the two rules part: VOC looks at the box of largest overlap alone."""
    other = (10, 10, 30, 24)
    assert voc_judged(np.array([BOX, BOX]), np.array([BOX, other]), np.zeros(2, bool)).tolist() == [
        TRUE,
        FALSE,
    ]
    assert matched([BOX, BOX], [BOX, other]).tolist() == [0, 1]


def test_voc_difficult_boxes_neither_help_nor_hurt():
    truth = np.array([FAR, BOX])
    judgement = voc_judged(np.array([BOX, BOX, FAR]), truth, np.array([False, True]))
    assert judgement.tolist() == [IGNORED, IGNORED, TRUE]


@pytest.mark.parametrize("seed", range(20))
def test_voc_is_the_loop_of_the_development_kit(seed):
    generator = np.random.default_rng(seed)
    truth = random_boxes(generator, 5)
    boxes = np.repeat(truth, 3, axis=0) + generator.normal(0, 5, (15, 4))
    expected, detected = [], set()
    for row in iou_matrix(boxes, truth):  # VOCevaldet.m
        best = int(row.argmax())
        true = row[best] >= 0.5 and best not in detected
        expected.append(TRUE if true else FALSE)
        detected |= {best} if true else set()
    assert voc_judged(boxes, truth, np.zeros(5, bool)).tolist() == expected
