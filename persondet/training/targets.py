"""Which anchor learns what: SSD matching (Liu et al. 2016, section 2.2) and the box code."""

import torch

from persondet.training.rules import MatchRule

IGNORE_LABEL = -1


def iou_matrix(a_xyxy: torch.Tensor, b_xyxy: torch.Tensor) -> torch.Tensor:
    """(N, 4), (M, 4) to (N, M) intersection over union; 0 where both are empty."""
    low = torch.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = torch.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    sides = (high - low).clamp(min=0)
    intersection = sides[..., 0] * sides[..., 1]
    union = _area(a_xyxy)[:, None] + _area(b_xyxy)[None] - intersection
    return torch.where(union > 0, intersection / union, torch.zeros_like(union))


def match(
    anchors_xyxy: torch.Tensor,
    boxes_xyxy: torch.Tensor,
    class_ids: torch.Tensor,
    ignore: torch.Tensor,
    rule: MatchRule,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels (A,) int64 and box indices (A,) int64 of every anchor.

    boxes_xyxy: (N, 4), relative as the anchors. Each anchor takes its best box; each box keeps its
    best anchor whatever the IoU (a later box wins a shared one); below rule.iou is background 0;
    IGNORE_LABEL where only ignored boxes are. The index of a background anchor means nothing.
    """
    count = len(anchors_xyxy)
    labels = torch.zeros(count, dtype=torch.int64)
    indices = torch.zeros(count, dtype=torch.int64)
    learnt = torch.nonzero(~ignore)[:, 0]
    if len(learnt):
        overlap = iou_matrix(anchors_xyxy, boxes_xyxy[learnt])
        best_iou, best = overlap.max(dim=1)
        best_anchor = overlap.argmax(dim=0)
        best[best_anchor] = torch.arange(len(learnt))
        best_iou[best_anchor] = 2.0
        indices = learnt[best]
        labels = torch.where(best_iou >= rule.iou, class_ids[indices], labels)
    if ignore.any():
        over_ignored = iou_matrix(anchors_xyxy, boxes_xyxy[ignore]).amax(dim=1)
        labels[(labels == 0) & (over_ignored >= rule.ignore_iou)] = IGNORE_LABEL
    return labels, indices


def encode(
    boxes_xyxy: torch.Tensor, anchors_cxcywh: torch.Tensor, variances: tuple[float, float]
) -> torch.Tensor:
    """(A, 4) boxes to (A, 4) offsets x, y, w, h: the inverse of runtime.decode's box code."""
    centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    size = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=1e-6)
    centre_variance, size_variance = variances
    offsets_xy = (centre - anchors_cxcywh[:, :2]) / (anchors_cxcywh[:, 2:] * centre_variance)
    offsets_wh = torch.log(size / anchors_cxcywh[:, 2:]) / size_variance
    return torch.cat([offsets_xy, offsets_wh], dim=1)


def _area(boxes_xyxy: torch.Tensor) -> torch.Tensor:
    sides = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=0)
    return sides[:, 0] * sides[:, 1]
