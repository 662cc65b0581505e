"""The result type: what it refuses, how it clips, what it writes."""

import json

import numpy as np
import pytest

from runtime.detections import Detections, detections_in_picture

BOXES = np.array([[1, 2, 30, 40], [0, 0, 5, 6]], np.float32)
SCORES = np.array([0.75, 0.5], np.float32)
IDS = np.array([2, 1], np.int64)


def test_read_only():
    detections = Detections(BOXES.copy(), SCORES.copy(), IDS.copy())
    assert len(detections) == 2
    with pytest.raises(ValueError, match="read-only"):
        detections.scores[0] = 0


@pytest.mark.parametrize(
    ("boxes", "scores", "ids", "message"),
    [
        (BOXES[:1], SCORES, IDS, r"boxes_xyxy_px: expected shape \(2, 4\)"),
        (BOXES.astype(np.float64), SCORES, IDS, "boxes_xyxy_px: .*float32, got .*float64"),
        (BOXES, SCORES[:, None], IDS, r"scores: expected shape \(2,\)"),
        (BOXES, SCORES, IDS.astype(np.int32), "class_ids: .*int64, got .*int32"),
        (BOXES, SCORES[::-1], IDS, "best first"),
        (BOXES[:, [2, 1, 0, 3]], SCORES, IDS, "x1 <= x2"),
    ],
)
def test_what_does_not_fit_is_refused(boxes, scores, ids, message):
    with pytest.raises(ValueError, match=message):
        Detections(boxes, scores, ids)


def test_boxes_are_scaled_and_clipped_to_a_picture_that_is_not_square():
    relative = np.array([[-0.5, 0.25, 0.5, 1.5], [0.1, 0.2, 0.3, 0.4]], np.float32)
    found = detections_in_picture(relative, SCORES, IDS, (100, 200))
    np.testing.assert_allclose(
        found.boxes_xyxy_px, [[0, 25, 100, 100], [20, 20, 60, 40]], rtol=1e-6
    )


def test_what_lies_outside_the_picture_is_dropped():
    outside = [[-1, 0, 0, 1], [1.0, 0, 2, 1], [0, 1.5, 1, 2], [0.5, 0.5, 0.5, 0.9]]
    relative = np.array([*outside, [0, 0, 1, 1]], np.float32)
    scores = np.linspace(0.9, 0.5, 5).astype(np.float32)
    found = detections_in_picture(relative, scores, np.arange(1, 6), (10, 20))
    assert found.class_ids.tolist() == [5]
    assert found.boxes_xyxy_px.tolist() == [[0, 0, 20, 10]]


def test_records_are_plain_json_and_exact():
    scores = np.array([0.7, 0.1], np.float32)
    boxes = BOXES + np.float32(0.1)
    records = Detections(boxes, scores, IDS).to_dicts(("background", "person", "head"))
    assert records[0] == {
        "box_xyxy": [1.1, 2.1, 30.1, 40.1],
        "score": 0.7,
        "class_id": 2,
        "class_name": "head",
    }
    again = json.loads(json.dumps(records, allow_nan=False))
    assert again == records
    restored = np.array([record["box_xyxy"] for record in again], np.float32)
    np.testing.assert_array_equal(restored, boxes)


def test_empty():
    found = detections_in_picture(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), (10, 20)
    )
    assert len(found) == 0
    assert found.to_dicts(("background", "person")) == []
