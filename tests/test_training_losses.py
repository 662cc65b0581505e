"""Both losses against slow code, and their gradients against finite differences."""

import math

import pytest
import torch

from persondet.training.losses import detection_losses
from persondet.training.rules import LossRule
from persondet.training.targets import IGNORE_LABEL

CLASSES = 3


def case(
    seed: int, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 9, CLASSES, generator=generator, dtype=dtype)
    offsets = torch.randn(2, 9, 4, generator=generator, dtype=dtype)
    targets = torch.randn(2, 9, 4, generator=generator, dtype=dtype) * 2
    labels = torch.tensor([[0, 1, 0, 2, -1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, -1, 1, 0]])
    known = torch.tensor([[True, True, True], [True, True, False]])
    return logits, offsets, labels, targets, known


VARIANCES = (0.1, 0.2)


def slow_localisation(offsets, targets, rule):
    if rule.localisation == "smooth-l1":
        distances = [abs(float(a - b)) for a, b in zip(offsets, targets, strict=True)]
        return sum(0.5 * d * d if d < 1 else d - 0.5 for d in distances)
    boxes = []  # of an anchor of 30 x 50 px, centred at (70, 20)
    for x, y, w, h in (offsets.tolist(), targets.tolist()):
        cx, cy = 70 + x * VARIANCES[0] * 30, 20 + y * VARIANCES[0] * 50
        half_w, half_h = 15 * math.exp(VARIANCES[1] * w), 25 * math.exp(VARIANCES[1] * h)
        boxes.append((cx - half_w, cy - half_h, cx + half_w, cy + half_h))
    a, b = boxes
    overlap_w, overlap_h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(0, overlap_w) * max(0, overlap_h)
    union = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes) - intersection
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return rule.localisation_weight * (1 - (intersection / union - (hull - union) / hull))


def slow_losses(logits, offsets, labels, targets, known, rule):
    classification = localisation = 0.0
    positives = int((labels > 0).sum())
    for n in range(len(labels)):
        background = []
        for a, label in enumerate(labels[n].tolist()):
            if label == IGNORE_LABEL:
                continue
            seen = [c for c in range(CLASSES) if known[n, c]]
            total = sum(math.exp(logits[n, a, c]) for c in seen)
            p = math.exp(logits[n, a, label]) / total
            if rule.classification == "focal":
                weight = rule.alpha if label > 0 else 1 - rule.alpha
                classification += -weight * (1 - p) ** rule.gamma * math.log(p)
            elif label > 0:
                classification += -math.log(p)
            else:
                background.append(-math.log(p))
            if label > 0:
                localisation += slow_localisation(offsets[n, a], targets[n, a], rule)
        wanted = rule.negatives_ratio * int((labels[n] > 0).sum())
        classification += sum(sorted(background, reverse=True)[:wanted])
    count = max(1, positives)
    return classification / count, localisation / count


RULES = [
    LossRule("focal"),
    LossRule("cross-entropy"),
    LossRule("cross-entropy", localisation="giou", localisation_weight=2.0),
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_losses_equal_the_slow_reference(rule: LossRule, seed: int) -> None:
    values = case(seed)
    found = detection_losses(*values, rule, VARIANCES)
    expected = slow_losses(*values, rule=rule)
    assert [float(x) for x in found] == pytest.approx(expected, rel=1e-9)


def test_giou_of_boxes_far_apart_has_a_gradient_towards_the_target() -> None:
    offsets = torch.tensor([[[80.0, 0.0, 0.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    rule = LossRule(localisation="giou")
    known, labels = torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 1, dtype=torch.int64)
    nothing = torch.zeros(1, 1, 4, dtype=torch.float64)
    _, loss = detection_losses(
        torch.zeros(1, 1, 2), offsets, labels, nothing, known, rule, VARIANCES
    )
    loss.backward()
    assert offsets.grad is not None
    assert 1 < float(loss.detach()) < 2 and float(offsets.grad[0, 0, 0]) > 0


def test_giou_of_an_absurd_size_is_finite() -> None:
    offsets = torch.full((1, 1, 4), 1e4, requires_grad=True)
    known, labels = torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 1, dtype=torch.int64)
    rule, nothing = LossRule(localisation="giou"), torch.zeros(1, 1, 4)
    _, loss = detection_losses(
        torch.zeros(1, 1, 2), offsets, labels, nothing, known, rule, VARIANCES
    )
    loss.backward()
    assert offsets.grad is not None
    assert torch.isfinite(loss) and torch.isfinite(offsets.grad).all()


@pytest.mark.parametrize("rule", RULES)
def test_gradients_equal_finite_differences(rule: LossRule) -> None:
    logits, offsets, labels, targets, known = case(11)
    logits.requires_grad_(True)
    offsets.requires_grad_(True)

    def total(a, b):
        return sum(detection_losses(a, b, labels, targets, known, rule, VARIANCES))

    assert torch.autograd.gradcheck(total, (logits, offsets), eps=1e-6, atol=1e-6)


def test_a_picture_without_positives_has_a_finite_loss() -> None:
    logits, offsets, _, targets, known = case(2)
    labels = torch.zeros(2, 9, dtype=torch.int64)
    for kind in ("focal", "cross-entropy"):
        classification, localisation = detection_losses(
            logits, offsets, labels, targets, known, LossRule(kind), VARIANCES
        )
        assert torch.isfinite(classification) and localisation == 0


def test_an_unannotated_class_gets_no_gradient() -> None:
    logits, offsets, labels, targets, known = case(3)
    logits.requires_grad_(True)
    losses = detection_losses(logits, offsets, labels, targets, known, LossRule(), VARIANCES)
    (losses[0] + losses[1]).backward()
    assert logits.grad is not None
    assert (logits.grad[1, :, 2] == 0).all()
    assert (logits.grad[0, :, 2] != 0).any()
    assert (logits.grad[0, 4] == 0).all()  # the ignored anchor
