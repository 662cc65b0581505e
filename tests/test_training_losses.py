"""Both losses against slow code, and their gradients against finite differences."""

import math

import pytest
import torch

from persondet.training.losses import LossRule, detection_losses
from persondet.training.targets import IGNORE_LABEL

CLASSES = 3


def case(seed: int, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 9, CLASSES, generator=generator, dtype=dtype)
    offsets = torch.randn(2, 9, 4, generator=generator, dtype=dtype)
    targets = torch.randn(2, 9, 4, generator=generator, dtype=dtype) * 2
    labels = torch.tensor([[0, 1, 0, 2, -1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, -1, 1, 0]])
    known = torch.tensor([[True, True, True], [True, True, False]])
    return logits, offsets, labels, targets, known


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
                for k in range(4):
                    d = abs(float(offsets[n, a, k] - targets[n, a, k]))
                    localisation += 0.5 * d * d if d < 1 else d - 0.5
        wanted = rule.negatives_ratio * int((labels[n] > 0).sum())
        classification += sum(sorted(background, reverse=True)[:wanted])
    count = max(1, positives)
    return classification / count, localisation / count


@pytest.mark.parametrize("kind", ["focal", "cross-entropy"])
@pytest.mark.parametrize("seed", range(4))
def test_losses_equal_the_slow_reference(kind: str, seed: int) -> None:
    rule = LossRule(kind)
    values = case(seed)
    found = detection_losses(*values, rule)
    expected = slow_losses(*values, rule)
    assert [float(x) for x in found] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", ["focal", "cross-entropy"])
def test_gradients_equal_finite_differences(kind: str) -> None:
    logits, offsets, labels, targets, known = case(11)
    logits.requires_grad_(True)
    offsets.requires_grad_(True)

    def total(a, b):
        return sum(detection_losses(a, b, labels, targets, known, LossRule(kind)))

    assert torch.autograd.gradcheck(total, (logits, offsets), eps=1e-6, atol=1e-6)


def test_a_picture_without_positives_has_a_finite_loss() -> None:
    logits, offsets, _, targets, known = case(2)
    labels = torch.zeros(2, 9, dtype=torch.int64)
    for kind in ("focal", "cross-entropy"):
        classification, localisation = detection_losses(
            logits, offsets, labels, targets, known, LossRule(kind)
        )
        assert torch.isfinite(classification) and localisation == 0


def test_an_unannotated_class_gets_no_gradient() -> None:
    logits, offsets, labels, targets, known = case(3)
    logits.requires_grad_(True)
    sum(detection_losses(logits, offsets, labels, targets, known, LossRule())).backward()
    assert logits.grad is not None
    assert (logits.grad[1, :, 2] == 0).all()
    assert (logits.grad[0, :, 2] != 0).any()
    assert (logits.grad[0, 4] == 0).all()  # the ignored anchor
