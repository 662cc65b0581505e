"""Raw outputs of the graph to candidate boxes: probabilities, threshold, SSD box code."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from persondet.boxes import xyxy_from_cxcywh
from persondet.errors import PersondetError
from persondet.spec import DetectorSpec

# Sizes are exp(offset * variance) anchors. exp(20) anchors is larger than any picture, and its
# square, an area, is still far from float32's limit.
MAX_LOG_SIZE = 20.0


@dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes above the score threshold, before suppression; ordered by class, then anchor.

    boxes_xyxy_norm: (K, 4) float32, relative to the picture, not clipped to it.
    scores: (K,) float32 probabilities. class_ids: (K,) int64, never 0.
    """

    boxes_xyxy_norm: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def check_outputs(outputs: Mapping[str, np.ndarray], spec: DetectorSpec, model_name: str) -> None:
    """Raise PersondetError naming the model where an output is missing, misshapen or not finite."""
    shapes = {
        spec.scores_name: (1, spec.num_anchors, spec.num_classes),
        spec.boxes_name: (1, spec.num_anchors, 4),
    }
    for name, shape in shapes.items():
        if name not in outputs:
            found = ", ".join(outputs) or "none"
            raise PersondetError(
                f"{model_name} gave no output {name!r}, only: {found}; export the model again"
            )
        output = outputs[name]
        if output.shape != shape:
            raise PersondetError(
                f"{model_name}: expected output {name!r} of shape {shape}, got {output.shape}; "
                "the model and its spec do not belong together"
            )
        if not np.isfinite(output).all():
            raise PersondetError(
                f"{model_name}: output {name!r} holds {np.count_nonzero(~np.isfinite(output))} "
                "values that are NaN or infinite; its weights or its quantization are broken: "
                "`persondet compare` against the model it was made from"
            )


def decode(
    outputs: Mapping[str, np.ndarray],
    anchors_cxcywh_norm: np.ndarray,
    spec: DetectorSpec,
    score_threshold: float | None = None,
    class_ids: np.ndarray | None = None,
) -> Candidates:
    """The graph's outputs, as `check_outputs` accepts them, to candidate boxes.

    anchors_cxcywh_norm: (A, 4) float32. score_threshold: 0..1; None: the spec's. A score equal to
    the threshold, in float32, is kept. class_ids: the classes wanted; None: all but the background.
    Only what passes the threshold has its box decoded.
    """
    threshold = np.float32(spec.score_threshold if score_threshold is None else score_threshold)
    wanted = np.arange(1, spec.num_classes) if class_ids is None else class_ids
    probabilities = _probabilities(outputs[spec.scores_name][0], spec.score_function)[wanted]
    rows, anchor_ids = np.nonzero(probabilities >= threshold)
    return Candidates(
        _decoded_boxes(
            outputs[spec.boxes_name][0][anchor_ids],
            anchors_cxcywh_norm[anchor_ids],
            spec.variances,
        ),
        probabilities[rows, anchor_ids],
        wanted[rows],
    )


def _probabilities(logits: np.ndarray, score_function: str) -> np.ndarray:
    """(A, C) logits to (C, A) probabilities, float32; no logit overflows."""
    by_class = np.array(logits.T, np.float32, order="C")  # long rows: numpy is slow on short ones
    if score_function == "sigmoid":
        small = np.exp(-np.abs(by_class))
        return np.where(by_class >= 0, np.float32(1), small) / (1 + small)
    by_class -= by_class.max(axis=0)
    np.exp(by_class, out=by_class)
    by_class /= by_class.sum(axis=0)
    return by_class


def _decoded_boxes(
    offsets_xywh: np.ndarray, anchors_cxcywh: np.ndarray, variances: tuple[float, float]
) -> np.ndarray:
    """SSD's box code (Liu et al. 2016): cx = x * v0 * aw + acx, w = exp(dw * v1) * aw; to xyxy."""
    centre_variance, size_variance = variances
    anchor_sizes = anchors_cxcywh[:, 2:]
    boxes_cxcywh = np.empty((len(offsets_xywh), 4), np.float32)
    boxes_cxcywh[:, :2] = offsets_xywh[:, :2] * centre_variance * anchor_sizes
    boxes_cxcywh[:, :2] += anchors_cxcywh[:, :2]
    log_sizes = np.minimum(offsets_xywh[:, 2:] * size_variance, MAX_LOG_SIZE)
    boxes_cxcywh[:, 2:] = np.exp(log_sizes) * anchor_sizes
    return xyxy_from_cxcywh(boxes_cxcywh)
