"""Boxes sorted by their size as the network sees them."""

from dataclasses import dataclass

import numpy as np

from benchmarks.evaluation.matching import FALSE, IGNORED, judged, match


@dataclass(frozen=True)
class SizeRange:
    """The shorter side at network scale: at least min_px and below max_px."""

    name: str
    min_px: float
    max_px: float

    def holds(self, sides_px: np.ndarray) -> np.ndarray:
        return (sides_px >= self.min_px) & (sides_px < self.max_px)


# The last is not a further bucket but most of the others together.
SIZE_RANGES = (
    SizeRange("<10", 0, 10),
    SizeRange("10-16", 10, 16),
    SizeRange("16-32", 16, 32),
    SizeRange("32-64", 32, 64),
    SizeRange(">64", 64, np.inf),
    SizeRange(">=16", 16, np.inf),
)


def network_sides_px(
    boxes_xyxy_px: np.ndarray, size_hw: tuple[int, int], input_size_hw: tuple[int, int]
) -> np.ndarray:
    """(N, 4) boxes of a picture of size_hw to (N,) shorter sides after it is stretched."""
    scale_wh = np.array(input_size_hw[::-1]) / np.array(size_hw[::-1])
    return ((boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]) * scale_wh).min(axis=1)


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
