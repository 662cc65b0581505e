"""Anchor boxes of a spec."""

import numpy as np

from persondet.spec import AnchorLevel, DetectorSpec


def anchors_cxcywh_norm(spec: DetectorSpec) -> np.ndarray:
    """All anchors of the spec: (A, 4) float32, cx, cy, w, h relative to the network input.

    Order: level, row, column, then the shapes of a cell: the order of the graph's outputs.
    Centres: ((column + 0.5) * stride_w / input_w, (row + 0.5) * stride_h / input_h).
    """
    levels = [_level_anchors(level, spec.input_size_hw) for level in spec.levels]
    anchors = np.concatenate(levels).astype(np.float32)
    return np.clip(anchors, 0.0, 1.0) if spec.clip_anchors else anchors


def _level_anchors(level: AnchorLevel, input_size_hw: tuple[int, int]) -> np.ndarray:
    rows, columns = level.grid_hw
    input_h, input_w = input_size_hw
    shapes = np.array(level.shapes_wh_px, np.float64) / (input_w, input_h)  # (S, 2)
    anchors = np.empty((rows, columns, len(shapes), 4), np.float64)
    anchors[..., 0] = ((np.arange(columns) + 0.5) * level.stride_hw_px[1] / input_w)[:, None]
    anchors[..., 1] = ((np.arange(rows) + 0.5) * level.stride_hw_px[0] / input_h)[:, None, None]
    anchors[..., 2:] = shapes
    return anchors.reshape(-1, 4)
