"""The alternatives of the speed table do the same work; nothing here looks at a clock."""

import numpy as np
from tiny_detector import SPEC, outputs_with, save_onnx

from benchmarks.speed_host import (
    CANDIDATES,
    compare_speed,
    crowd,
    decode_everything,
    numpy_nms,
    postprocessing,
    preprocessing,
    whole_detector,
)
from persondet.anchors import anchors_cxcywh_norm
from persondet.zoo import F38, detector_spec
from runtime.decode import decode
from runtime.nms import nms

F38_SPEC = detector_spec(F38)


def test_the_textbook_way_finds_the_same():
    outputs = crowd(F38_SPEC, CANDIDATES)
    anchors = anchors_cxcywh_norm(F38_SPEC)
    found = decode(outputs, anchors, F38_SPEC)
    boxes, scores = decode_everything(outputs, anchors, F38_SPEC)
    above = scores[:, 1] >= F38_SPEC.score_threshold
    assert len(found) == CANDIDATES
    np.testing.assert_allclose(found.boxes_xyxy_norm, boxes[above], atol=1e-6)
    np.testing.assert_allclose(found.scores, scores[above, 1], atol=1e-6)
    kept = nms(found.boxes_xyxy_norm, found.scores, found.class_ids, F38_SPEC.nms_iou)
    expected = numpy_nms(found.boxes_xyxy_norm, found.scores, F38_SPEC.nms_iou)
    assert kept.tolist() == expected
    assert 5 < len(kept) < CANDIDATES


def test_every_row_is_measured(tmp_path):
    rows = [*preprocessing(F38_SPEC, 1), *postprocessing(F38_SPEC, 1)]
    many = {anchor: (0, anchor / 10, -9) for anchor in range(SPEC.num_anchors)}
    model = save_onnx(tmp_path / "tiny.onnx", outputs_with(many))
    rows.append(whole_detector(model, (100, 60), 1))
    assert len({row.what for row in rows}) == 5
    assert all(row.ours_ms > 0 and min(row.others_ms.values()) > 0 for row in rows)


def test_the_median_is_of_each_side_by_itself():
    calls = []
    found = compare_speed("x", lambda: calls.append(0), {"other": lambda: calls.append(1)}, 3)
    assert calls == [0, 1] * 3
    assert set(found.others_ms) == {"other"}
