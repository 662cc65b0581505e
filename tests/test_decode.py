"""Decoding against the box code written out in float64, and scores on the threshold."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_detector import SPEC, outputs_with

from persondet.anchors import anchors_cxcywh_norm
from persondet.errors import PersondetError
from runtime.decode import check_outputs, decode

ANCHORS = anchors_cxcywh_norm(SPEC)


def slow_decode(outputs, spec, threshold, classes):
    """[(class, box, score)] with Python floats, an anchor at a time."""
    found = []
    for class_id in classes:
        for anchor in range(spec.num_anchors):
            logits = [float(logit) for logit in outputs["scores"][0, anchor]]
            if spec.score_function == "softmax":
                largest = max(logits)
                total = sum(math.exp(logit - largest) for logit in logits)
                score = math.exp(logits[class_id] - largest) / total
            else:
                score = 1 / (1 + math.exp(-logits[class_id]))
            if score < threshold:
                continue
            x, y, w, h = (float(offset) for offset in outputs["boxes"][0, anchor])
            anchor_cx, anchor_cy, anchor_w, anchor_h = (float(side) for side in ANCHORS[anchor])
            cx = x * spec.variances[0] * anchor_w + anchor_cx
            cy = y * spec.variances[0] * anchor_h + anchor_cy
            half_w = math.exp(w * spec.variances[1]) * anchor_w / 2
            half_h = math.exp(h * spec.variances[1]) * anchor_h / 2
            box = (cx - half_w, cy - half_h, cx + half_w, cy + half_h)
            found.append((class_id, box, score))
    return found


def random_outputs(seed, spread=3.0):
    rng = np.random.default_rng(seed)
    return {
        "scores": rng.normal(0, spread, (1, SPEC.num_anchors, 3)).astype(np.float32),
        "boxes": rng.normal(0, 2, (1, SPEC.num_anchors, 4)).astype(np.float32),
    }


@given(
    st.integers(0, 10**6),
    st.sampled_from(["softmax", "sigmoid"]),
    st.sampled_from([0.0, 0.05, 0.5, 0.9]),
    st.sampled_from([(1, 2), (1,), (2,)]),
)
@settings(max_examples=60, deadline=None)
def test_equal_to_the_slow_reference(seed, function, threshold, classes):
    spec = dataclasses.replace(SPEC, score_function=function, variances=(0.15, 0.3))
    outputs = random_outputs(seed)
    found = decode(outputs, ANCHORS, spec, threshold, np.array(classes))
    expected = slow_decode(outputs, spec, threshold, classes)
    assert found.class_ids.tolist() == [class_id for class_id, _, _ in expected]
    boxes = np.array([box for _, box, _ in expected]).reshape(-1, 4)
    np.testing.assert_allclose(found.boxes_xyxy_norm, boxes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.scores, [score for _, _, score in expected], rtol=1e-5)
    assert found.boxes_xyxy_norm.dtype == found.scores.dtype == np.float32


def test_anchors_themselves_where_the_offsets_are_zero():
    """Anchor 1 of the first cell: 24 x 16 px around (8, 8) in an input of 80 x 48."""
    found = decode(outputs_with({1: (0, 9, 0)}), ANCHORS, SPEC, 0.5)
    np.testing.assert_allclose(
        found.boxes_xyxy_norm, [[-4 / 80, 0 / 48, 20 / 80, 16 / 48]], atol=1e-7
    )
    assert found.class_ids.tolist() == [1]


@pytest.mark.parametrize("function", ["softmax", "sigmoid"])
def test_a_score_on_the_threshold_is_kept(function):
    spec = dataclasses.replace(SPEC, score_function=function)
    outputs = outputs_with({4: (0.3, -0.7, 1.1)})
    score = float(decode(outputs, ANCHORS, spec, 0.6, np.array([2])).scores[0])
    for threshold, count in ((score, 1), (float(np.nextafter(np.float32(score), 2)), 0)):
        assert len(decode(outputs, ANCHORS, spec, threshold, np.array([2]))) == count


def test_a_half_is_a_half():
    outputs = outputs_with({4: (1.5, 1.5, -60)})
    found = decode(outputs, ANCHORS, SPEC, 0.5)
    assert found.scores.tolist() == [0.5]


def test_thresholds_at_the_ends():
    outputs = outputs_with({4: (-200, 200, -200)})
    assert len(decode(outputs, ANCHORS, SPEC, 0.0)) == 2 * SPEC.num_anchors
    assert decode(outputs, ANCHORS, SPEC, 1.0).scores.tolist() == [1.0]
    assert len(decode(outputs, ANCHORS, dataclasses.replace(SPEC, score_threshold=0.0))) == 76


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("function", ["softmax", "sigmoid"])
def test_huge_numbers_do_not_overflow(function):
    spec = dataclasses.replace(SPEC, score_function=function)
    largest = 1e38
    outputs = outputs_with({0: (-largest, largest / 2, 0), 1: (-largest, -largest, largest)})
    outputs["boxes"][0, 0] = largest
    outputs["boxes"][0, 1] = -largest
    found = decode(outputs, ANCHORS, spec, 0.9)
    assert found.scores.tolist() == [1.0, 1.0]
    assert np.isfinite(found.boxes_xyxy_norm).all()


def test_nothing_above_the_threshold():
    found = decode(outputs_with({}), ANCHORS, SPEC)
    assert len(found) == 0
    assert found.boxes_xyxy_norm.shape == (0, 4)


def test_the_outputs_are_not_changed():
    outputs = random_outputs(3)
    before = {name: output.copy() for name, output in outputs.items()}
    decode(outputs, ANCHORS, SPEC, 0.1)
    for name in outputs:
        np.testing.assert_array_equal(outputs[name], before[name])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["scores", "boxes"])
def test_values_that_are_no_numbers_are_an_error(name, value):
    outputs = random_outputs(1)
    check_outputs(outputs, SPEC, "my.onnx")
    outputs[name][0, 17, 1] = value
    with pytest.raises(PersondetError, match=rf"my\.onnx: output '{name}' holds 1 values that are"):
        check_outputs(outputs, SPEC, "my.onnx")


def test_missing_and_misshapen_outputs_are_an_error():
    outputs = random_outputs(1)
    with pytest.raises(PersondetError, match=r"my\.onnx gave no output 'boxes', only: scores"):
        check_outputs({"scores": outputs["scores"]}, SPEC, "my.onnx")
    outputs["boxes"] = outputs["boxes"][:, :30]
    with pytest.raises(
        PersondetError, match=r"expected .*'boxes' .*\(1, 38, 4\), got \(1, 30, 4\)"
    ):
        check_outputs(outputs, SPEC, "my.onnx")
