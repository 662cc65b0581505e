"""Greedy non-maximum suppression, class by class."""

import numpy as np

from persondet.boxes import iou_matrix

# Candidates looked at together: large enough that numpy's calls cost little, small enough that a
# threshold of 0.0 (every anchor a candidate) needs no matrix of all pairs.
BLOCK = 128
_LATER = np.triu(np.ones((BLOCK, BLOCK), bool), 1)


def nms(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    max_iou: float,
    top_k: int | None = None,
) -> np.ndarray:
    """Indices of the boxes to keep: (K,) int64, best score first.

    boxes_xyxy: (N, 4), any unit. A box is suppressed by a kept one of its class with a better score
    whose IoU with it is above max_iou; equal is kept. Of equal scores the lower index comes first.
    top_k: stop when so many are kept, over all classes; the answer is then the same as suppressing
    everything and cutting afterwards, so no candidate needs to be dropped before.
    """
    order = np.argsort(-scores, kind="stable")
    limit = len(order) if top_k is None else top_k
    kept = order[:0]
    for start in range(0, len(order), BLOCK):
        if len(kept) >= limit:
            break
        block = order[start : start + BLOCK]
        if len(kept):
            clash = _clashes(boxes_xyxy, class_ids, kept, block, max_iou)
            block = block[~clash.any(axis=0)]
        clash = _clashes(boxes_xyxy, class_ids, block, block, max_iou)
        kept = np.concatenate([kept, block[_greedy(clash)]])
    return kept[:limit]


def _clashes(
    boxes_xyxy: np.ndarray,
    class_ids: np.ndarray,
    better: np.ndarray,
    worse: np.ndarray,
    max_iou: float,
) -> np.ndarray:
    """(B, W) bool: whether one index of `better` suppresses one of `worse`, were it kept."""
    overlap = iou_matrix(boxes_xyxy[better], boxes_xyxy[worse]) > max_iou
    return overlap & (class_ids[better][:, None] == class_ids[worse])


def _greedy(clash: np.ndarray) -> np.ndarray:
    """(N, N) clashes of boxes in order of score to (N,) bool: which are kept."""
    kept = np.ones(len(clash), bool)
    later = clash & _LATER[: len(clash), : len(clash)]
    for index in np.flatnonzero(later.any(axis=1)):
        if kept[index]:
            kept &= ~later[index]
    return kept
