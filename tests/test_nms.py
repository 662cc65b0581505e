"""Suppression against a slow reference, with boxes on the threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.nms import BLOCK, nms


def slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return np.float32(0)
    intersection = np.float32(width * height)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return intersection / (areas - intersection)


def slow_nms(boxes, scores, class_ids, max_iou, top_k=None):
    waiting = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = []
    for candidate in waiting:
        if all(
            class_ids[candidate] != class_ids[better]
            or slow_iou(boxes[better], boxes[candidate]) <= np.float32(max_iou)
            for better in kept
        ):
            kept.append(candidate)
    return kept[:top_k]


def scene(seed, count, classes=2):
    """Crowded boxes on a coarse grid, with many equal scores, ids and overlaps; some are empty."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 12, (count, 2))
    boxes = np.hstack([low, low + rng.integers(0, 6, (count, 2))]).astype(np.float32)
    scores = rng.integers(0, 9, count).astype(np.float32) / 8
    return boxes, scores, rng.integers(1, classes + 1, count)


@given(
    st.integers(0, 10**6),
    st.integers(0, 60),
    st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.6, 1.0]),
    st.sampled_from([None, 1, 5]),
)
@settings(max_examples=150, deadline=None)
def test_equal_to_the_slow_reference(seed, count, max_iou, top_k):
    boxes, scores, class_ids = scene(seed, count)
    found = nms(boxes, scores, class_ids, max_iou, top_k)
    assert found.tolist() == slow_nms(boxes, scores, class_ids, max_iou, top_k)


@pytest.mark.parametrize("top_k", [None, BLOCK, 200])
@pytest.mark.parametrize("max_iou", [0.3, 1.0])
def test_more_than_a_block(max_iou, top_k):
    boxes, scores, class_ids = scene(1, 3 * BLOCK + 7, classes=3)
    boxes *= np.float32(0.37)
    found = nms(boxes, scores, class_ids, max_iou, top_k)
    assert found.tolist() == slow_nms(boxes, scores, class_ids, max_iou, top_k)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_idempotent_and_independent_of_the_order_given(seed):
    boxes, scores, class_ids = scene(seed, 40)
    scores = np.random.default_rng(seed).permutation(40).astype(np.float32)  # no ties
    kept = nms(boxes, scores, class_ids, 0.5)
    again = nms(boxes[kept], scores[kept], class_ids[kept], 0.5)
    assert again.tolist() == list(range(len(kept)))
    shuffled = np.random.default_rng(seed + 1).permutation(40)
    found = nms(boxes[shuffled], scores[shuffled], class_ids[shuffled], 0.5)
    assert shuffled[found].tolist() == kept.tolist()


def test_an_overlap_equal_to_the_limit_is_kept():
    boxes = np.array([[0, 0, 2, 1], [1, 0, 3, 1], [0, 0, 2, 0.5]], np.float32)  # IoU 1/3, 1/2, 1/5
    scores, one_class = np.array([0.9, 0.8, 0.7], np.float32), np.ones(3, int)
    third, half = float(np.float32(1) / np.float32(3)), 0.5
    assert nms(boxes, scores, one_class, half).tolist() == [0, 1, 2]
    assert nms(boxes, scores, one_class, float(np.nextafter(np.float32(half), 0))).tolist() == [
        0,
        1,
    ]
    assert nms(boxes, scores, one_class, third).tolist() == [0, 1]
    assert nms(boxes, scores, one_class, third * 0.999).tolist() == [0]


def test_touching_boxes_do_not_overlap():
    boxes = np.array([[0, 0, 1, 1], [1, 0, 2, 1], [0, 1, 1, 2]], np.float32)
    assert len(nms(boxes, np.ones(3, np.float32), np.ones(3, int), 0.0)) == 3


def test_classes_do_not_suppress_one_another():
    boxes = np.tile(np.array([0, 0, 4, 9], np.float32), (4, 1))
    scores = np.array([0.5, 0.9, 0.6, 0.4], np.float32)
    assert nms(boxes, scores, np.array([1, 2, 1, 2]), 0.5).tolist() == [1, 2]


def test_of_equal_scores_the_first_wins():
    boxes = np.tile(np.array([0, 0, 4, 9], np.float32), (3, 1))
    assert nms(boxes, np.full(3, 0.5, np.float32), np.ones(3, int), 0.5).tolist() == [0]


def test_a_suppressed_box_suppresses_nothing():
    boxes = np.array([[0, 0, 4, 1], [2, 0, 6, 1], [4, 0, 8, 1]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert nms(boxes, scores, np.ones(3, int), 0.2).tolist() == [0, 2]


def test_nothing_gives_nothing():
    kept = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == np.int64
