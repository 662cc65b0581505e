"""Whether a model's outputs are raw heads, or what other exports make of them inside the graph.

The decoder applies softmax and the box code itself. On a graph that has done so already it gives
boxes too, and nothing fails: scores squeezed towards the middle, boxes decoded twice.
"""

from collections.abc import Mapping

import numpy as np

from persondet.errors import InputError
from persondet.spec import DetectorSpec

EXPECTED = (
    "expected raw heads: scores as logits, boxes as offsets from the anchors, as softmax, box "
    "decoding and non-maximum suppression are done outside the graph. Export the network again "
    "without them (is_test=False in the code of the original and its ancestor), or export its "
    "checkpoint with `persondet export`"
)
# A row of softmax sums to 1; of an 8-bit output each number is off by half a step.
_SUM_TOLERANCE = 0.01
# Decoded centres follow those of their anchors: 0.98 to 1 of trained networks, offsets about 0.
_CENTRE_CORRELATION = 0.9


def check_raw_heads(
    outputs: Mapping[str, np.ndarray],
    anchors_cxcywh_norm: np.ndarray,
    spec: DetectorSpec,
    model_name: str,
) -> None:
    """Raise InputError when the outputs of one image are probabilities or decoded boxes.

    outputs: as `runtime.decode.check_outputs` accepts them. All rows must agree, so that logits of
    a trained network cannot pass for probabilities by accident.
    """
    found = [
        probabilities_of(outputs[spec.scores_name][0]),
        decoding_of(outputs[spec.boxes_name][0], anchors_cxcywh_norm),
    ]
    if problems := [problem for problem in found if problem]:
        raise InputError(f"{model_name}: {'; '.join(problems)}; {EXPECTED}")


def probabilities_of(scores: np.ndarray) -> str:
    """Return what speaks for probabilities in (A, C) scores, or an empty text."""
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1 or low == high:
        return ""
    if np.abs(scores.sum(axis=1) - 1).max() <= _SUM_TOLERANCE:
        return "its scores are probabilities (every row sums to 1): it has softmax inside"
    if low > 0:  # a sigmoid gives no exact 0, other than what is dead or cut off
        return f"its scores are probabilities (all from {low:.2g} to {high:.2g}): sigmoid is inside"
    return ""


def decoding_of(boxes: np.ndarray, anchors_cxcywh_norm: np.ndarray) -> str:
    """Return what speaks for decoded boxes in (A, 4) boxes, or an empty text.

    Either (centre, size) with all sizes positive or two corners in order, x or y first, and their
    positions those of the anchors over the whole image. Offsets have both signs and no such order.
    """
    first, last = boxes[:, :2], boxes[:, 2:]
    centres = anchors_cxcywh_norm[:, :2]
    if (last > first).all() and _follow((first + last) / 2, centres):
        return "its boxes are decoded (corners, at the places of the anchors): decoding is inside"
    if (last > 0).all() and _follow(first, centres):
        return "its boxes are decoded (centre and size, at the anchors): decoding is inside"
    return ""


def _follow(positions: np.ndarray, centres_xy: np.ndarray) -> bool:
    """Whether (A, 2) positions, x or y first, follow the (A, 2) centres."""
    return any(
        all(
            _correlation(positions[:, axis], ordered[:, axis]) > _CENTRE_CORRELATION
            for axis in (0, 1)
        )
        for ordered in (centres_xy, centres_xy[:, ::-1])
    )


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's; 0 when one of them is constant."""
    first = first.astype(np.float64) - first.mean(dtype=np.float64)
    second = second.astype(np.float64) - second.mean(dtype=np.float64)
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale > 0 else 0.0
