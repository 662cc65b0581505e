"""Matching and the box code against loops that follow the paper word by word."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from persondet.anchors import anchors_cxcywh_norm
from persondet.boxes import xyxy_from_cxcywh
from persondet.training.rules import MatchRule
from persondet.training.targets import IGNORE_LABEL, encode, iou_matrix, match
from persondet.zoo import RFB_C32, detector_spec
from runtime.decode import _decoded_boxes


def random_boxes(count: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.8, (count, 2))
    size = rng.uniform(0.02, 0.4, (count, 2))
    return torch.tensor(np.concatenate([low, low + size], 1), dtype=torch.float32)


def slow_iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (area_a + area_b - width * height))


def slow_match(anchors, boxes, classes, ignore, rule):
    labels, indices = [0] * len(anchors), [0] * len(anchors)
    learnt = [i for i in range(len(boxes)) if not ignore[i]]
    forced = {}
    for i in learnt:
        overlaps = [slow_iou(anchor, boxes[i]) for anchor in anchors]
        forced[int(np.argmax(overlaps))] = i  # a later box wins a shared anchor
    for a, anchor in enumerate(anchors):
        overlaps = {i: slow_iou(anchor, boxes[i]) for i in learnt}
        best = max(overlaps, key=lambda i: (overlaps[i], -i)) if overlaps else None
        if a in forced:
            labels[a], indices[a] = classes[forced[a]], forced[a]
        elif best is not None and overlaps[best] >= rule.iou:
            labels[a], indices[a] = classes[best], best
        elif any(
            ignore[i] and slow_iou(anchor, boxes[i]) >= rule.ignore_iou for i in range(len(boxes))
        ):
            labels[a] = IGNORE_LABEL
    return labels, indices


@pytest.mark.parametrize("seed", range(6))
def test_matching_equals_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    anchors, boxes = random_boxes(120, seed), random_boxes(7, seed + 100)
    classes = torch.tensor(rng.integers(1, 4, 7))
    ignore = torch.tensor(rng.random(7) < 0.3)
    rule = MatchRule(iou=0.3, ignore_iou=0.25)
    labels, indices = match(anchors, boxes, classes, ignore, rule)
    slow_labels, slow_indices = slow_match(
        anchors.tolist(), boxes.tolist(), classes.tolist(), ignore.tolist(), rule
    )
    assert labels.tolist() == slow_labels
    positive = labels > 0
    assert indices[positive].tolist() == [
        i for i, p in zip(slow_indices, positive.tolist(), strict=True) if p
    ]


def test_every_box_has_an_anchor_however_small() -> None:
    anchors = random_boxes(50, 0)
    tiny = torch.tensor([[0.5, 0.5, 0.501, 0.501]])
    labels, _ = match(anchors, tiny, torch.tensor([2]), torch.tensor([False]), MatchRule())
    assert (labels == 2).sum() == 1


def test_the_iou_threshold_itself_matches() -> None:
    anchors = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.25, 1.0]])
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    classes, no = torch.tensor([1]), torch.tensor([False])
    assert match(anchors, box, classes, no, MatchRule(iou=0.5))[0].tolist() == [1, 1, 0]


@pytest.mark.parametrize("boxes", [0, 2])
def test_pictures_without_learnt_boxes(boxes: int) -> None:
    anchors = random_boxes(20, 1)
    given_boxes = anchors[:boxes].clone()
    ignored = torch.ones(boxes, dtype=torch.bool)
    classes = torch.ones(boxes, dtype=torch.int64)
    labels, _ = match(anchors, given_boxes, classes, ignored, MatchRule())
    assert not (labels > 0).any()
    assert (labels[:boxes] == IGNORE_LABEL).all()


def test_encode_is_the_inverse_of_the_runtimes_decode() -> None:
    spec = detector_spec(RFB_C32)  # 240 x 320: not square
    anchors = anchors_cxcywh_norm(spec)
    boxes = random_boxes(len(anchors), 3)
    offsets = encode(boxes, torch.from_numpy(anchors), spec.variances)
    decoded = _decoded_boxes(offsets.numpy(), anchors, spec.variances)
    np.testing.assert_allclose(decoded, boxes.numpy(), atol=2e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_iou_is_symmetric_and_between_0_and_1(seed: int) -> None:
    a, b = random_boxes(5, seed), random_boxes(4, seed + 1)
    overlap = iou_matrix(a, b)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    torch.testing.assert_close(overlap, iou_matrix(b, a).T)
    assert overlap[0, 0].item() == pytest.approx(slow_iou(a[0], b[0]), abs=1e-6)


def test_anchors_match_themselves() -> None:
    anchors = torch.from_numpy(xyxy_from_cxcywh(anchors_cxcywh_norm(detector_spec(RFB_C32))))[::97]
    ones = torch.ones(len(anchors), dtype=torch.int64)
    labels, indices = match(anchors, anchors, ones, ones == 0, MatchRule())
    overlap = iou_matrix(anchors, anchors)
    assert (labels == 1).all()
    torch.testing.assert_close(
        overlap[torch.arange(len(anchors)), indices], torch.ones(len(anchors))
    )
