"""Box geometry on numpy arrays."""

import numpy as np


def xyxy_from_cxcywh(boxes_cxcywh: np.ndarray) -> np.ndarray:
    """(..., 4) centre and size to corners, same unit, same dtype."""
    half = boxes_cxcywh[..., 2:] / 2
    centre = boxes_cxcywh[..., :2]
    return np.concatenate([centre - half, centre + half], axis=-1)


def cxcywh_from_xyxy(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(..., 4) corners to centre and size, same unit, same dtype."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def area(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(...,) areas; a box with its corners the wrong way round has area 0."""
    sides = np.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def iou_matrix(boxes_a_xyxy: np.ndarray, boxes_b_xyxy: np.ndarray) -> np.ndarray:
    """(N, 4), (M, 4) to (N, M) intersection over union, float in [0, 1]; 0 where both are empty."""
    # Column by column: numpy is several times faster on long rows than on pairs of numbers.
    ax1, ay1, ax2, ay2 = np.ascontiguousarray(boxes_a_xyxy.T)[:, :, None]
    bx1, by1, bx2, by2 = np.ascontiguousarray(boxes_b_xyxy.T)
    width = np.minimum(ax2, bx2) - np.maximum(ax1, bx1)
    height = np.minimum(ay2, by2) - np.maximum(ay1, by1)
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    union = area(boxes_a_xyxy)[:, None] + area(boxes_b_xyxy)[None, :] - intersection
    union = np.maximum(union, intersection)  # rounding can leave it a trifle smaller
    iou = np.zeros(union.shape, np.result_type(union, np.float32))
    return np.divide(intersection, union, out=iou, where=union > 0)
