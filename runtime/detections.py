"""What a detector found in one picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes found in a picture, best score first; validated here, once, and read-only.

    boxes_xyxy_px: (N, 4) float32, in pixels of the picture as displayed, inside it, with an area.
    scores: (N,) float32 probabilities. class_ids: (N,) int64, indices into spec.class_names.
    Raises ValueError where an array does not fit this.
    """

    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.scores)
        fields = (("boxes_xyxy_px", np.float32), ("scores", np.float32), ("class_ids", np.int64))
        for name, dtype in fields:
            array = getattr(self, name)
            shape = (count, 4) if name == "boxes_xyxy_px" else (count,)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name}: expected shape {shape} {np.dtype(dtype)}, "
                    f"got {array.shape} {array.dtype}"
                )
            frozen = array.view()
            frozen.flags.writeable = False
            object.__setattr__(self, name, frozen)
        if (self.scores[1:] > self.scores[:-1]).any():
            raise ValueError("scores: expected the best first")
        if (self.boxes_xyxy_px[:, 2:] < self.boxes_xyxy_px[:, :2]).any():
            raise ValueError("boxes_xyxy_px: expected x1 <= x2 and y1 <= y2")

    def __len__(self) -> int:
        return len(self.scores)

    def to_dicts(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """JSON-ready records: box_xyxy, score, class_id, class_name.

        Numbers are the shortest decimals that give the same float32 again, so that a score equal to
        the threshold reads as the threshold.
        """
        return [
            {
                "box_xyxy": [_shortest(side) for side in box],
                "score": _shortest(score),
                "class_id": int(class_id),
                "class_name": class_names[class_id],
            }
            for box, score, class_id in zip(
                self.boxes_xyxy_px, self.scores, self.class_ids, strict=True
            )
        ]


def _shortest(value: np.float32) -> float:
    return float(str(value))


def detections_in_picture(
    boxes_xyxy_norm: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    size_hw: tuple[int, int],
) -> Detections:
    """Relative boxes (N, 4), best score first, to pixels of a picture of size_hw, clipped to it.

    A box of which nothing is inside the picture is dropped.
    """
    height, width = size_hw
    sides = np.array((width, height, width, height), np.float32)
    boxes_px = np.minimum(np.maximum(boxes_xyxy_norm, 0), 1) * sides
    visible = (boxes_px[:, 2:] > boxes_px[:, :2]).all(axis=1)
    if not visible.all():
        boxes_px, scores, class_ids = boxes_px[visible], scores[visible], class_ids[visible]
    return Detections(boxes_px, scores, class_ids)
