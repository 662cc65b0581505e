"""What went wrong at the working threshold: boxes that were missed, and false alarms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.evaluation.evaluation import MIN_IOU
from benchmarks.evaluation.found import FoundPicture
from benchmarks.evaluation.matching import FALSE, judged, match
from benchmarks.evaluation.truth import Truth, TruthPicture
from persondet.data.sizes import shorter_sides_px
from runtime.detections import Detections


@dataclass(frozen=True, eq=False)
class Fault:
    """picture: index. weight: of a false alarm its score, of a miss its shorter side at network
    scale, in pixels: a large box is the stranger to miss."""

    picture: int
    class_id: int
    box_xyxy_px: np.ndarray
    weight: float


@dataclass(frozen=True)
class Faults:
    """The worst first."""

    misses: tuple[Fault, ...]
    false_alarms: tuple[Fault, ...]


def faults(
    truth: Truth,
    found: Sequence[FoundPicture],
    input_size_hw: tuple[int, int],
    score_threshold: float,
) -> Faults:
    misses, alarms = [], []
    for index, (picture, result) in enumerate(zip(truth.pictures, found, strict=True)):
        for class_id in set(truth.evaluated_class_ids) & set(picture.annotated_class_ids):
            missed, false = _of_class(index, picture, result, class_id, score_threshold)
            sides = shorter_sides_px(missed, result.size_hw, input_size_hw)
            boxes = zip(missed, sides.tolist(), strict=True)
            misses += [Fault(index, class_id, box, side) for box, side in boxes]
            alarms += list(false)
    return Faults(*(tuple(sorted(some, key=lambda f: -f.weight)) for some in (misses, alarms)))


def above(detections: Detections, score_threshold: float) -> Detections:
    """Those with this score, in float32, or more."""
    kept = detections.scores >= np.float32(score_threshold)
    return Detections(
        detections.boxes_xyxy_px[kept], detections.scores[kept], detections.class_ids[kept]
    )


def _of_class(
    index: int, picture: TruthPicture, result: FoundPicture, class_id: int, score_threshold: float
) -> tuple[np.ndarray, Iterator[Fault]]:
    """Missed boxes (N, 4), and the false alarms."""
    detections = above(result.detections, score_threshold)
    chosen = detections.class_ids == class_id
    boxes = detections.boxes_xyxy_px[chosen].astype(np.float64)
    of_class = picture.class_ids == class_id
    wanted, ignored = picture.boxes_xyxy_px[of_class], picture.ignored[of_class]
    matched = match(boxes, wanted, ignored, ignored, MIN_IOU)
    missed = ~ignored
    missed[matched[matched >= 0]] = False
    false = judged(matched, ignored) == FALSE
    pairs = zip(boxes[false], detections.scores[chosen][false].tolist(), strict=True)
    return wanted[missed], (Fault(index, class_id, box, score) for box, score in pairs)
