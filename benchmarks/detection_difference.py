"""How one model's detections differ from another's, over any number of pictures."""

from dataclasses import dataclass

import numpy as np

from persondet.boxes import iou_matrix
from runtime.detections import Detections

MATCH_IOU = 0.5


@dataclass(frozen=True)
class DetectionDifference:
    """Over all pictures together. A None has nothing to be computed of.

    reference_count, count: detections of the reference and of the other model; matched: of both.
    vanished: of the reference only; appeared: of the other only; and the best score among each: one
    barely above the score threshold is a matter of rounding, one far above is not.
    mean_, max_score_difference: absolute, of matched detections. mean_, min_iou: of them too.
    """

    reference_count: int
    count: int
    matched: int
    vanished: int
    appeared: int
    vanished_max_score: float | None
    appeared_max_score: float | None
    mean_score_difference: float | None
    max_score_difference: float | None
    mean_iou: float | None
    min_iou: float | None


def match_detections(reference: Detections, other: Detections) -> np.ndarray:
    """(M, 2) int64 pairs of indices (reference, other) of one class with an IoU of 0.5 or more.

    Greedy: the reference's detections choose in the order of their scores, each the box of the
    largest IoU among those left; of equal IoU the better score.
    """
    iou = iou_matrix(reference.boxes_xyxy_px, other.boxes_xyxy_px)
    iou[reference.class_ids[:, None] != other.class_ids[None, :]] = 0.0
    pairs = []
    for index in range(len(reference)):
        choice = int(iou[index].argmax()) if len(other) else 0
        if len(other) and iou[index, choice] >= MATCH_IOU:
            pairs.append((index, choice))
            iou[:, choice] = 0.0
    return np.array(pairs, np.int64).reshape(-1, 2)


class DetectionSums:
    """What is known after some pictures."""

    def __init__(self) -> None:
        self._counts = np.zeros(2, np.int64)
        self._score_differences: list[np.ndarray] = []
        self._ious: list[np.ndarray] = []
        self._vanished: list[np.ndarray] = []
        self._appeared: list[np.ndarray] = []

    def add(self, reference: Detections, other: Detections) -> float:
        """The two models' detections in one picture; returns how much those two disagree.

        That is the sum of the scores of what vanished or appeared, and of the score differences of
        what was matched.
        """
        pairs = match_detections(reference, other)
        ours, theirs = pairs[:, 0], pairs[:, 1]
        iou = iou_matrix(reference.boxes_xyxy_px, other.boxes_xyxy_px)
        self._counts += (len(reference), len(other))
        moved = np.abs(other.scores[theirs] - reference.scores[ours])
        vanished, appeared = np.delete(reference.scores, ours), np.delete(other.scores, theirs)
        self._score_differences.append(moved)
        self._ious.append(iou[ours, theirs])
        self._vanished.append(vanished)
        self._appeared.append(appeared)
        return float(moved.sum() + vanished.sum() + appeared.sum())

    def difference(self) -> DetectionDifference:
        score_differences, ious = _joined(self._score_differences), _joined(self._ious)
        vanished, appeared = _joined(self._vanished), _joined(self._appeared)
        return DetectionDifference(
            reference_count=int(self._counts[0]),
            count=int(self._counts[1]),
            matched=len(ious),
            vanished=len(vanished),
            appeared=len(appeared),
            vanished_max_score=_of(np.max, vanished),
            appeared_max_score=_of(np.max, appeared),
            mean_score_difference=_of(np.mean, score_differences),
            max_score_difference=_of(np.max, score_differences),
            mean_iou=_of(np.mean, ious),
            min_iou=_of(np.min, ious),
        )


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)


def _of(statistic, values: np.ndarray) -> float | None:
    return float(statistic(values.astype(np.float64))) if len(values) else None
