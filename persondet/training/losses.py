"""The two losses: where (smooth L1 on positives) and what (focal, or cross entropy)."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from persondet.training.targets import IGNORE_LABEL

CLASSIFICATION_LOSSES = ("focal", "cross-entropy")


@dataclass(frozen=True)
class LossRule:
    """classification: "focal" (Lin et al. 2017; gamma 2, alpha 0.25) or "cross-entropy" with hard
    negative mining, negatives to positives `negatives_ratio` (Liu et al. 2016: 3)."""

    classification: str = "focal"
    gamma: float = 2.0
    alpha: float = 0.25
    negatives_ratio: int = 3


def detection_losses(
    logits: torch.Tensor,
    offsets: torch.Tensor,
    labels: torch.Tensor,
    target_offsets: torch.Tensor,
    class_known: torch.Tensor,
    rule: LossRule,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Classification and localisation loss, both divided by the positives of the batch (min. 1).

    logits (N, A, C), offsets (N, A, 4), labels (N, A) int64 with IGNORE_LABEL, target_offsets
    (N, A, 4), class_known (N, C) bool: whether the class is annotated in the picture; of one that
    is not, neither its presence nor its absence is learnt.
    """
    positives = labels > 0
    count = positives.sum().clamp(min=1)
    localisation = F.smooth_l1_loss(offsets[positives], target_offsets[positives], reduction="sum")
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
    return per_anchor[chosen].sum() / count, localisation / count


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
