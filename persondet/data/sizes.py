"""The one table of size ranges: boxes by their shorter side, as the network sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SizeRange:
    """The shorter side at network scale: at least min_px and below max_px."""

    name: str
    min_px: float
    max_px: float

    def holds(self, sides_px: np.ndarray) -> np.ndarray:
        """Return (N,) bool for shorter sides (N,) in pixels of the network's input."""
        return (sides_px >= self.min_px) & (sides_px < self.max_px)


# Every box is in exactly one of these.
DISJOINT_RANGES = (
    SizeRange("<10", 0, 10),
    SizeRange("10-16", 10, 16),
    SizeRange("16-32", 16, 32),
    SizeRange("32-64", 32, 64),
    SizeRange(">64", 64, np.inf),
)
# What evaluation reports: the last is not a further range but most of the others together.
SIZE_RANGES = (*DISJOINT_RANGES, SizeRange(">=16", 16, np.inf))


def sides_at_network_scale(
    boxes_xyxy_px: np.ndarray, size_hw: Sequence[int], input_size_hw: Sequence[int]
) -> np.ndarray:
    """Return (N, 2) float64 widths and heights after an image of size_hw is stretched."""
    sides_px = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).astype(np.float64)
    return sides_px * (input_size_hw[1] / size_hw[1], input_size_hw[0] / size_hw[0])


def shorter_sides_px(
    boxes_xyxy_px: np.ndarray, size_hw: Sequence[int], input_size_hw: Sequence[int]
) -> np.ndarray:
    """Return (N,) float64 shorter sides after an image of size_hw is stretched."""
    return sides_at_network_scale(boxes_xyxy_px, size_hw, input_size_hw).min(axis=1)
