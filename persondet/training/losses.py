"""The two losses: where (smooth L1 or GIoU, on positives) and what (focal, or cross entropy)."""

import torch
from torch.nn import functional as F

from persondet.training.rules import LossRule
from persondet.training.targets import IGNORE_LABEL

_MAX_LOG_SIDE = (
    4.0  # a predicted side of more than e**4 anchors is taken for that: exp stays finite
)


def detection_losses(
    logits: torch.Tensor,
    offsets: torch.Tensor,
    labels: torch.Tensor,
    target_offsets: torch.Tensor,
    class_known: torch.Tensor,
    rule: LossRule,
    variances: tuple[float, float],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Classification and localisation loss, both divided by the positives of the batch (min. 1).

    logits (N, A, C), offsets (N, A, 4), labels (N, A) int64 with IGNORE_LABEL, target_offsets
    (N, A, 4), class_known (N, C) bool: whether the class is annotated in the picture; of one that
    is not, neither its presence nor its absence is learnt. variances: of centre and size, by which
    the offsets were encoded.
    """
    positives = labels > 0
    count = positives.sum().clamp(min=1)
    found, wanted = offsets[positives], target_offsets[positives]
    if rule.localisation == "giou":
        localisation = (1 - _giou(found, wanted, variances)).sum()
    else:
        localisation = F.smooth_l1_loss(found, wanted, reduction="sum")
    masked = logits.masked_fill(~class_known[:, None, :], float("-inf"))
    log_probabilities = F.log_softmax(masked, dim=-1)
    safe = labels.clamp(min=0)
    of_label = log_probabilities.gather(-1, safe[..., None])[..., 0]
    if rule.classification == "focal":
        per_anchor = _focal(of_label, positives, rule)
        chosen = labels != IGNORE_LABEL
    else:
        per_anchor = -of_label
        chosen = positives | _hard_negatives(per_anchor.detach(), labels, rule.negatives_ratio)
    return per_anchor[chosen].sum() / count, rule.localisation_weight * localisation / count


def _giou(
    offsets: torch.Tensor, target_offsets: torch.Tensor, variances: tuple[float, float]
) -> torch.Tensor:
    """(P, 4) twice to (P,) generalised IoU, -1 to 1. Both boxes are taken in units of their common
    anchor's sides and from its centre: a ratio of areas does not notice."""
    (low, high), (target_low, target_high) = (
        _corners(values, variances) for values in (offsets, target_offsets)
    )
    sides = (torch.minimum(high, target_high) - torch.maximum(low, target_low)).clamp(min=0)
    hull = torch.maximum(high, target_high) - torch.minimum(low, target_low)
    intersection, around = sides.prod(dim=1), hull.prod(dim=1)
    union = (high - low).prod(dim=1) + (target_high - target_low).prod(dim=1) - intersection
    return intersection / union - (around - union) / around


def _corners(
    offsets: torch.Tensor, variances: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(P, 4) offsets to low and high corners, (P, 2) each, in the anchor's own units."""
    centre = offsets[:, :2] * variances[0]
    half = torch.exp((offsets[:, 2:] * variances[1]).clamp(max=_MAX_LOG_SIDE)) / 2
    return centre - half, centre + half


def _focal(of_label: torch.Tensor, positives: torch.Tensor, rule: LossRule) -> torch.Tensor:
    probability = of_label.exp()
    weight = torch.where(positives, rule.alpha, 1 - rule.alpha)
    return -weight * (1 - probability) ** rule.gamma * of_label


def _hard_negatives(losses: torch.Tensor, labels: torch.Tensor, ratio: int) -> torch.Tensor:
    """(N, A) bool: of each picture, the `ratio` times its positives negatives of largest loss."""
    negatives = labels == 0
    ranked = losses.masked_fill(~negatives, float("-inf")).argsort(dim=1, descending=True)
    rank = ranked.argsort(dim=1)
    wanted = (labels > 0).sum(dim=1, keepdim=True) * ratio
    return negatives & (rank < wanted)
