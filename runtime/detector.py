"""Picture in, detections out; and each stage by itself, for who measures or compares them."""

from collections.abc import Sequence

import numpy as np

from persondet.anchors import anchors_cxcywh_norm
from persondet.errors import InputError
from persondet.preprocess import preprocess
from persondet.spec import DetectorSpec
from runtime.backend import Backend
from runtime.decode import Candidates, check_outputs, decode
from runtime.detections import Detections, detections_in_picture
from runtime.nms import nms
from runtime.raw_heads import check_raw_heads


class BoxDecoder:
    """What becomes of a graph's outputs: thresholds and anchors, without the graph.

    model_name: for messages. None means the spec's value; 0.0 is a threshold.
    score_threshold: a score equal to it is kept. nms_iou: boxes of a class that overlap more are
    suppressed. top_k: at most so many detections per image. classes: names to look for; None: all.
    Raises InputError for a threshold outside 0..1, a top_k below 1, an unknown class.
    """

    def __init__(
        self,
        spec: DetectorSpec,
        model_name: str,
        score_threshold: float | None = None,
        nms_iou: float | None = None,
        top_k: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.spec = spec
        self.score_threshold = _fraction("score threshold", score_threshold, spec.score_threshold)
        self.nms_iou = _fraction("NMS IoU", nms_iou, spec.nms_iou)
        self.top_k = spec.top_k if top_k is None else top_k
        if self.top_k < 1:
            raise InputError(f"top-k: expected at least 1, got {self.top_k}")
        self._model_name = model_name
        self._class_ids = _class_ids(spec, classes)
        self._anchors = anchors_cxcywh_norm(spec)
        self._has_raw_heads = False  # known from the first image on

    def detections(self, outputs: dict[str, np.ndarray], size_hw: tuple[int, int]) -> Detections:
        """Return the detections in pixels of an image of size_hw.

        Raises InputError for a model with softmax or box decoding inside (`runtime.raw_heads`),
        PersondetError if the outputs do not fit the spec or are not numbers.
        """
        return self.nms(self.decode(outputs), size_hw)

    def decode(self, outputs: dict[str, np.ndarray]) -> Candidates:
        check_outputs(outputs, self.spec, self._model_name)
        if not self._has_raw_heads:
            check_raw_heads(outputs, self._anchors, self.spec, self._model_name)
            self._has_raw_heads = True
        return decode(outputs, self._anchors, self.spec, self.score_threshold, self._class_ids)

    def nms(self, candidates: Candidates, size_hw: tuple[int, int]) -> Detections:
        """Suppress on whole boxes, as SSD does, then clip to the picture of size_hw."""
        boxes, scores, class_ids = (
            candidates.boxes_xyxy_norm,
            candidates.scores,
            candidates.class_ids,
        )
        kept = nms(boxes, scores, class_ids, self.nms_iou, self.top_k)
        return detections_in_picture(boxes[kept], scores[kept], class_ids[kept], size_hw)


class Detector(BoxDecoder):
    """A backend with its thresholds, as of `BoxDecoder`."""

    def __init__(
        self,
        backend: Backend,
        score_threshold: float | None = None,
        nms_iou: float | None = None,
        top_k: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__(backend.spec, backend.name, score_threshold, nms_iou, top_k, classes)
        self.backend = backend

    def __call__(self, image_rgb: np.ndarray) -> Detections:
        """(H, W, 3) uint8 RGB to detections in its pixels.

        Raises InputError for another kind of array, PersondetError where the model's outputs are
        not numbers.
        """
        outputs = self.infer(self.preprocess(image_rgb))
        return self.detections(outputs, image_rgb.shape[:2])

    def preprocess(self, image_rgb: np.ndarray) -> np.ndarray:
        return preprocess(image_rgb, self.spec)

    def infer(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        return self.backend.infer(tensor)


def _fraction(what: str, given: float | None, default: float) -> float:
    value = default if given is None else given
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{what}: expected a number from 0 to 1, got {value}")
    return value


def _class_ids(spec: DetectorSpec, classes: Sequence[str] | None) -> np.ndarray:
    known = spec.class_names[1:]
    if classes is None:
        return np.arange(1, spec.num_classes)
    if not classes:
        raise InputError(f"no class to look for; the model's classes: {', '.join(known)}")
    if unknown := [name for name in classes if name not in known]:
        raise InputError(
            f"the model knows no class {', '.join(unknown)}; its classes: {', '.join(known)}"
        )
    return np.array(
        [index for index, name in enumerate(spec.class_names) if name in classes and index > 0]
    )
