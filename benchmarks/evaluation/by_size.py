"""Boxes sorted by their size as the network sees them."""

import numpy as np

from benchmarks.evaluation.matching import FALSE, IGNORED, judged, match


def judged_in_range(
    boxes_xyxy: np.ndarray,
    truth_xyxy: np.ndarray,
    ignored: np.ndarray,
    box_in_range: np.ndarray,
    truth_in_range: np.ndarray,
    min_iou: float,
) -> np.ndarray:
    """TRUE, FALSE or IGNORED for each detection, best score first, of one range: (N,) int8.

    Boxes outside the range are not asked for, and a detection outside it that finds none does not
    count, as COCO has it for its own sizes.
    """
    not_asked = ignored | ~truth_in_range
    matched = match(boxes_xyxy, truth_xyxy, not_asked, ignored, min_iou)
    judgement = judged(matched, not_asked)
    judgement[(judgement == FALSE) & ~box_in_range] = IGNORED
    return judgement
