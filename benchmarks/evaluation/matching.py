"""Which detection found which box: COCO's rule, which is Dollar's for pedestrians too."""

import numpy as np

from persondet.boxes import area, iou_matrix

TRUE, FALSE, IGNORED = 1, 0, -1


def match(
    boxes_xyxy: np.ndarray,
    truth_xyxy: np.ndarray,
    ignored: np.ndarray,
    regions: np.ndarray,
    min_iou: float,
) -> np.ndarray:
    """For each detection the index of the box that it is matched with, or -1: (N,) int64.

    boxes_xyxy: (N, 4), best score first; truth_xyxy: (M, 4), same unit. ignored: (M,) bool, boxes
    that are not asked for. regions: (M,) bool, those of them that take any number of detections,
    by the part of the detection that lies on them; every other box takes one, by IoU.
    Each detection in turn takes the free box that it overlaps most, at least min_iou, an ignored
    one only where there is no other; of equal overlaps the last (pycocotools' evaluateImg).
    """
    overlaps = iou_matrix(boxes_xyxy, truth_xyxy)
    overlaps[:, regions] = covered_part(boxes_xyxy, truth_xyxy[regions])
    matched = np.full(len(boxes_xyxy), -1, np.int64)
    free = np.ones(len(truth_xyxy), bool)
    # Most detections of a low threshold overlap nothing.
    for index in np.flatnonzero((overlaps >= min_iou).any(axis=1)):
        allowed = (overlaps[index] >= min_iou) & free
        if (wanted := allowed & ~ignored).any():
            allowed = wanted
        if allowed.any():
            candidates = np.where(allowed, overlaps[index], -1.0)
            taken = len(candidates) - 1 - int(candidates[::-1].argmax())
            matched[index] = taken
            free[taken] = regions[taken]
    return matched


def judged(matched: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """TRUE, FALSE or IGNORED for each detection of `match`: (N,) int8."""
    judgement = np.where(matched >= 0, TRUE, FALSE).astype(np.int8)
    judgement[np.append(ignored, False)[matched]] = IGNORED  # -1, unmatched, is the last
    return judgement


def covered_part(boxes_xyxy: np.ndarray, regions_xyxy: np.ndarray) -> np.ndarray:
    """(N, 4), (M, 4) to (N, M): the part of each box's area that lies on each region, 0 to 1."""
    low = np.maximum(boxes_xyxy[:, None, :2], regions_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], regions_xyxy[None, :, 2:])
    intersection = area(np.concatenate([low, high], axis=-1))
    areas = area(boxes_xyxy)[:, None]
    return np.divide(intersection, areas, out=np.zeros(intersection.shape), where=areas > 0)
