"""Which detection is true: the rule of Pascal VOC's development kit."""

import numpy as np

from benchmarks.evaluation.matching import FALSE, IGNORED, TRUE, covered_part
from persondet.boxes import iou_matrix

MIN_IOU = 0.5


def voc_judged(boxes_xyxy: np.ndarray, truth_xyxy: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """TRUE, FALSE or IGNORED for each detection: (N,) int8. boxes_xyxy: best score first.

    A detection belongs to the box that it overlaps most; the first of a box is true, later ones are
    false even where they overlap another box too (VOCevaldet.m). One that is not true and of which
    half lies on an ignored box does not count.
    """
    wanted_xyxy = truth_xyxy[~ignored]
    on_ignored = (covered_part(boxes_xyxy, truth_xyxy[ignored]) >= MIN_IOU).any(axis=1)
    judgement = np.where(on_ignored, IGNORED, FALSE).astype(np.int8)
    if len(wanted_xyxy):
        overlaps = iou_matrix(boxes_xyxy, wanted_xyxy)
        nearest = np.where(overlaps.max(axis=1) >= MIN_IOU, overlaps.argmax(axis=1), -1)
        _, first = np.unique(nearest, return_index=True)
        judgement[first[nearest[first] >= 0]] = TRUE
    return judgement
