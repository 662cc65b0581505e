"""Two or more models on the same pictures: raw outputs and detections against the first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.detection_difference import DetectionDifference, DetectionSums
from benchmarks.output_difference import DifferenceSums, OutputDifference
from persondet.anchors import anchors_cxcywh_norm
from persondet.errors import InputError
from persondet.images import read_image_rgb
from persondet.spec import DetectorSpec
from runtime.backend import Backend
from runtime.detections import Detections
from runtime.detector import Detector

_ANCHOR_TOLERANCE = 1e-6  # specs that went through JSON or another machine's libm


@dataclass(frozen=True, order=True)
class PictureDifference:
    """Ordered by how much the detections of a picture disagree (`DetectionSums.add`), then by the
    largest difference of its raw scores."""

    detections: float
    scores_max_abs: float
    path: Path


@dataclass(frozen=True)
class Pair:
    """A model against the reference. outputs: by the reference's output names.

    worst_image: the picture to look at.
    """

    model: str
    outputs: dict[str, OutputDifference]
    detections: DetectionDifference
    worst_image: PictureDifference


@dataclass(frozen=True)
class Comparison:
    reference: str
    images: int
    score_threshold: float
    nms_iou: float
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, eq=False)
class ComparedImage:
    """One picture and what each model found on it, in the order of the detectors."""

    path: Path
    image_rgb: np.ndarray
    detections: tuple[Detections, ...]


def comparable_detectors(
    names: Sequence[str],
    backends: Sequence[Backend],
    score_threshold: float | None = None,
    nms_iou: float | None = None,
    top_k: int | None = None,
) -> list[Detector]:
    """A detector for each backend, the reference first, all with one set of thresholds.

    names: of the models, for messages. None: the reference's own threshold. Raises InputError where
    there is nothing to compare, or the models' outputs mean different boxes or classes.
    """
    check_count(backends)
    for name, backend in zip(names[1:], backends[1:], strict=True):
        check_comparable(names[0], backends[0].spec, name, backend.spec)
    first = Detector(backends[0], score_threshold, nms_iou, top_k)
    thresholds = (first.score_threshold, first.nms_iou, first.top_k)
    return [first, *(Detector(backend, *thresholds) for backend in backends[1:])]


def check_count(models: Sequence[object]) -> None:
    """Raise InputError if there is nothing to compare."""
    if len(models) < 2:
        raise InputError("compare needs two models or more; the first is the reference")


def check_comparable(
    name: str, spec: DetectorSpec, other_name: str, other_spec: DetectorSpec
) -> None:
    """Raise InputError where an output row of one model is not the same anchor of the other."""
    problems = [
        f"{label} {getattr(spec, field)} against {getattr(other_spec, field)}"
        for label, field in (
            ("anchors", "num_anchors"),
            ("classes with the background", "num_classes"),
            ("variances", "variances"),
            ("score function", "score_function"),
        )
        if getattr(spec, field) != getattr(other_spec, field)
    ]
    if not problems:
        distance = np.abs(anchors_cxcywh_norm(spec) - anchors_cxcywh_norm(other_spec)).max()
        if distance > _ANCHOR_TOLERANCE:
            problems = [f"anchors that differ by up to {distance:.3g} of the picture's side"]
    if problems:
        raise InputError(
            f"{name} and {other_name} cannot be compared: {'; '.join(problems)}; compare models "
            "made from one checkpoint (of a bare .pth, --spec says which anchors it was trained "
            "with)"
        )


def compare(
    names: Sequence[str],
    detectors: Sequence[Detector],
    image_paths: Sequence[Path],
    on_image: "Callable[[ComparedImage], object]" = lambda image: None,
) -> Comparison:
    """Run every detector on every picture. detectors: of `comparable_detectors`.

    Each picture is read once, and preprocessed once for each way of feeding a network.
    on_image: called after each picture. Raises InputError for no pictures or an unreadable one.
    """
    if not image_paths:
        raise InputError("no pictures to compare on")
    reference = detectors[0]
    sums = [_PairSums(name, reference.spec) for name in names[1:]]
    for path in image_paths:
        image_rgb = read_image_rgb(path)
        results = _run_all(detectors, image_rgb)
        for pair_sums, result in zip(sums, results[1:], strict=True):
            pair_sums.add(path, results[0], result)
        on_image(ComparedImage(path, image_rgb, tuple(r.detections for r in results)))
    return Comparison(
        names[0],
        len(image_paths),
        reference.score_threshold,
        reference.nms_iou,
        tuple(pair_sums.pair() for pair_sums in sums),
    )


@dataclass(frozen=True, eq=False)
class _Result:
    """One model on one picture."""

    scores: np.ndarray
    boxes: np.ndarray
    detections: Detections


def _run_all(detectors: Sequence[Detector], image_rgb: np.ndarray) -> list[_Result]:
    tensors: dict[tuple[object, ...], np.ndarray] = {}
    results = []
    for detector in detectors:
        spec = detector.spec
        fed_as = (spec.input_size_hw, spec.input_format, spec.mean_rgb, spec.std_rgb)
        if fed_as not in tensors:
            tensors[fed_as] = detector.preprocess(image_rgb)
        outputs = detector.infer(tensors[fed_as])
        detections = detector.nms(detector.decode(outputs), image_rgb.shape[:2])
        results.append(_Result(outputs[spec.scores_name], outputs[spec.boxes_name], detections))
    return results


class _PairSums:
    """What is known of one model against the reference after some pictures."""

    def __init__(self, model: str, reference_spec: DetectorSpec) -> None:
        self._model = model
        self._names = (reference_spec.scores_name, reference_spec.boxes_name)
        self._scores, self._boxes = DifferenceSums(), DifferenceSums()
        self._detections = DetectionSums()
        self._pictures: list[PictureDifference] = []

    def add(self, path: Path, reference: _Result, other: _Result) -> None:
        largest = self._scores.add(reference.scores, other.scores)
        self._boxes.add(reference.boxes, other.boxes)
        disagreement = self._detections.add(reference.detections, other.detections)
        self._pictures.append(PictureDifference(disagreement, largest, path))

    def pair(self) -> Pair:
        differences = (self._scores.difference(), self._boxes.difference())
        outputs = dict(zip(self._names, differences, strict=True))
        worst = max(self._pictures)
        return Pair(self._model, outputs, self._detections.difference(), worst)
