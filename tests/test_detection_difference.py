"""Matching of detections against the obvious loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.detection_difference import DetectionSums, match_detections
from runtime.detections import Detections


def detections(*rows):
    """Rows (x1, y1, x2, y2, score, class), in any order."""
    table = np.array(sorted(rows, key=lambda row: -row[4]), np.float32).reshape(-1, 6)
    return Detections(table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int64))


def slow_matches(reference, other):
    def iou(a, b):
        width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
        return width * height / union if union else 0.0

    taken, pairs = set(), []
    for i, box in enumerate(reference.boxes_xyxy_px):
        best, best_iou = None, 0.0
        for j, candidate in enumerate(other.boxes_xyxy_px):
            same_class = reference.class_ids[i] == other.class_ids[j]
            value = iou(box, candidate)
            if j not in taken and same_class and value >= 0.5 and value > best_iou:
                best, best_iou = j, value
        if best is not None:
            taken.add(best)
            pairs.append((i, best))
    return pairs


BOXES = st.tuples(
    st.integers(0, 6),
    st.integers(0, 4),
    st.integers(1, 6),
    st.integers(1, 8),
    st.sampled_from([0.25, 0.5, 0.75]),
    st.integers(1, 2),
).map(lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3], box[4], box[5]))


@given(st.lists(BOXES, max_size=8), st.lists(BOXES, max_size=8))
@settings(max_examples=200, deadline=None)
def test_matches_are_those_of_the_slow_reference(reference_rows, other_rows):
    reference, other = detections(*reference_rows), detections(*other_rows)
    pairs = match_detections(reference, other)
    assert pairs.tolist() == [list(pair) for pair in slow_matches(reference, other)]


def test_an_iou_of_exactly_one_half_matches_and_less_does_not():
    reference = detections((0, 0, 2, 1, 0.9, 1))
    assert len(match_detections(reference, detections((0, 0, 1, 1, 0.9, 1)))) == 1
    assert len(match_detections(reference, detections((0, 0, 0.99, 1, 0.9, 1)))) == 0


def test_another_class_does_not_match():
    assert (
        len(match_detections(detections((0, 0, 2, 1, 0.9, 1)), detections((0, 0, 2, 1, 0.9, 2))))
        == 0
    )


def test_counts_over_two_pictures():
    sums = DetectionSums()
    sums.add(
        detections((0, 0, 10, 20, 0.9, 1), (50, 50, 60, 70, 0.625, 1)),
        detections((0, 0, 10, 20, 0.75, 1), (100, 0, 110, 5, 0.5, 1), (0, 0, 10, 20, 0.25, 2)),
    )
    sums.add(detections((0, 0, 4, 4, 0.5, 1)), detections((0, 0, 4, 3, 0.75, 1)))
    found = sums.difference()
    assert (found.reference_count, found.count) == (3, 4)
    assert (found.matched, found.vanished, found.appeared) == (2, 1, 2)
    assert (found.vanished_max_score, found.appeared_max_score) == (0.625, 0.5)
    assert found.mean_score_difference == pytest.approx((0.15 + 0.25) / 2, abs=1e-6)
    assert found.max_score_difference == 0.25
    assert (found.mean_iou, found.min_iou) == (0.875, 0.75)


def test_no_detections_at_all():
    sums = DetectionSums()
    sums.add(detections(), detections())
    found = sums.difference()
    assert (found.reference_count, found.count, found.matched) == (0, 0, 0)
    assert found.max_score_difference is None
    assert found.min_iou is None
