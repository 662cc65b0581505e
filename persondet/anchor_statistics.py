"""Boxes as the network sees them, and how well anchors cover them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from persondet.data.samples import DataSet
from persondet.data.sizes import DISJOINT_RANGES, sides_at_network_scale
from persondet.errors import InputError
from persondet.spec import AnchorLevel, DetectorSpec

PERCENTILES = (5, 25, 50, 75, 95)
MATCH_IOUS = (0.35, 0.5)


def boxes_xyxy_norm(dataset: DataSet) -> np.ndarray:
    """The boxes that are not ignored, (N, 4) float64, relative to their pictures.

    dataset: cleaned. Raises InputError where it has no box.
    """
    boxes = []
    for sample in dataset.samples:
        assert sample.size_hw is not None, "cleaned() gives every sample its size"
        height, width = sample.size_hw
        chosen = sample.boxes_xyxy_px[~sample.ignore].astype(np.float64)
        boxes.append(chosen / (width, height, width, height))
    together = np.concatenate(boxes) if boxes else np.empty((0, 4))
    if not len(together):
        raise InputError(f"{dataset.name} has no boxes of {', '.join(dataset.class_names[1:])}")
    return together


def sides_wh_px(boxes_norm: np.ndarray, input_size_hw: Sequence[int]) -> np.ndarray:
    """(N, 2) widths and heights at network scale of boxes (N, 4) relative to their pictures."""
    return sides_at_network_scale(boxes_norm, (1, 1), input_size_hw)


@dataclass(frozen=True)
class Distribution:
    """percentiles: the values at PERCENTILES."""

    mean: float
    percentiles: tuple[float, ...]


def distributions(sides_px: np.ndarray) -> dict[str, Distribution]:
    """Of "width" and "height" in pixels and "height / width" of sides (N, 2)."""
    columns = {
        "width": sides_px[:, 0],
        "height": sides_px[:, 1],
        "height / width": sides_px[:, 1] / sides_px[:, 0],
    }
    return {
        name: Distribution(
            float(values.mean()), tuple(map(float, np.percentile(values, PERCENTILES)))
        )
        for name, values in columns.items()
    }


def best_ious(boxes_norm: np.ndarray, spec: DetectorSpec) -> np.ndarray:
    """(N,) the IoU of every box, relative to its picture, with the best of the spec's anchors.

    Of the anchors of one shape the one whose centre is nearest in x and in y overlaps most, so
    only that one is looked at: a few anchors a box instead of thousands.
    """
    best = np.zeros(len(boxes_norm))
    for level in spec.levels:
        np.maximum(best, _best_of_level(boxes_norm, level, spec), out=best)
    return best


def _best_of_level(boxes_norm: np.ndarray, level: AnchorLevel, spec: DetectorSpec) -> np.ndarray:
    shapes = np.array(level.shapes_wh_px) / spec.input_size_hw[::-1]  # (S, 2)
    if spec.clip_anchors:
        shapes = np.minimum(shapes, 1.0)
    intersection = np.ones((len(boxes_norm), len(shapes)))
    for axis in (0, 1):  # x, y
        count, stride = level.grid_hw[1 - axis], level.stride_hw_px[1 - axis]
        centres = (np.arange(count) + 0.5) * stride / spec.input_size_hw[1 - axis]
        if spec.clip_anchors:
            centres = np.minimum(centres, 1.0)
        low, high = boxes_norm[:, axis], boxes_norm[:, axis + 2]
        nearest = _nearest(centres, (low + high) / 2)[:, None]
        overlap = np.minimum(high[:, None], nearest + shapes[:, axis] / 2)
        overlap -= np.maximum(low[:, None], nearest - shapes[:, axis] / 2)
        intersection *= np.maximum(overlap, 0)
    areas = np.prod(boxes_norm[:, 2:] - boxes_norm[:, :2], axis=1)
    union = areas[:, None] + shapes.prod(axis=1) - intersection
    return (intersection / union).max(axis=1)


def _nearest(sorted_values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    after = np.searchsorted(sorted_values, wanted).clip(0, len(sorted_values) - 1)
    before = (after - 1).clip(0)
    low, high = sorted_values[before], sorted_values[after]
    return np.where(wanted - low < high - wanted, low, high)


@dataclass(frozen=True)
class Coverage:
    """How well anchors cover the boxes of one size.

    recall: the share whose best anchor reaches each of MATCH_IOUS; mean_iou: of the best anchors.
    Both are None where there is no box.
    """

    size: str
    boxes: int
    recall: tuple[float, ...] | None
    mean_iou: float | None


def coverage(boxes_norm: np.ndarray, spec: DetectorSpec) -> list[Coverage]:
    """By size of the boxes' shorter side, and of "all"."""
    ious = best_ious(boxes_norm, spec)
    shorter = sides_wh_px(boxes_norm, spec.input_size_hw).min(axis=1)
    rows = [_coverage(size.name, ious[size.holds(shorter)]) for size in DISJOINT_RANGES]
    return [*rows, _coverage("all", ious)]


def _coverage(size: str, ious: np.ndarray) -> Coverage:
    if not len(ious):
        return Coverage(size, 0, None, None)
    recall = tuple(float((ious >= threshold).mean()) for threshold in MATCH_IOUS)
    return Coverage(size, len(ious), recall, float(ious.mean()))
