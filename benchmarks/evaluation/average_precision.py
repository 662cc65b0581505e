"""The area under the precision-recall curve, in its two customary forms."""

import numpy as np

from benchmarks.evaluation.tally import Counts

# The very numbers of pycocotools' Params: 0.00, 0.01 ... 1.00.
RECALL_LEVELS = np.linspace(0.0, 1.0, 101)


def coco_average_precision(counts: Counts) -> np.ndarray:
    """(R,) mean over 101 recalls of the best precision at that recall or above (COCO)."""
    recall, envelope = _recall_and_envelope(counts)
    padded = np.pad(envelope, ((0, 0), (0, 1)))  # a recall that is never reached: precision 0
    reached = [np.searchsorted(row, RECALL_LEVELS, side="left") for row in recall]
    values = np.array([row[at].mean() for row, at in zip(padded, reached, strict=True)])
    return np.where(counts.truths > 0, values, np.nan)


def voc_average_precision(counts: Counts) -> np.ndarray:
    """(R,) area under the envelope, every recall a point (VOC since 2010)."""
    recall, envelope = _recall_and_envelope(counts)
    steps = np.diff(recall, axis=1, prepend=0.0)
    return np.where(counts.truths > 0, (steps * envelope).sum(axis=1), np.nan)


def _recall_and_envelope(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """(R, K) recall, and the best precision at that recall or above."""
    recall = counts.true / np.maximum(counts.truths, 1)[:, None]
    precision = counts.true / np.maximum(counts.true + counts.false, 1)
    return recall, np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
