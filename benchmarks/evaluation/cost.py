"""What one model costs in accuracy against another: a quantized one against float."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.detection_difference import DetectionDifference, DetectionSums
from benchmarks.evaluation.bootstrap import RESAMPLES, interval_95
from benchmarks.evaluation.evaluation import Evaluation, Figure, evaluate
from benchmarks.evaluation.found import FoundPicture
from benchmarks.evaluation.truth import Truth
from persondet.errors import InputError
from persondet.spec import DetectorSpec
from runtime.detections import Detections

POINTS = 100  # AP50 points in an AP50 of 1


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelFound:
    """What a model found on every image of the ground truth, in its order.

    name: the model, as its user names it.
    device: what it ran on, in words.
    found: from `COLLECTING_THRESHOLD` up, by the model's own NMS.
    """

    name: str
    device: str
    spec: DetectorSpec
    found: Sequence[FoundPicture]


@dataclass(frozen=True, eq=False, kw_only=True)
class Against:
    """A model against the reference.

    ap50, mr2: the model's figure minus the reference's, with the paired 95 % interval.
    detections: of the evaluated classes, at the reference's threshold.
    """

    ap50: Figure
    mr2: Figure
    detections: DetectionDifference

    @property
    def changed(self) -> float | None:
        """(vanished + appeared) / the reference's detections; None if it has none."""
        difference = self.detections
        if difference.reference_count == 0:
            return None
        return (difference.vanished + difference.appeared) / difference.reference_count

    @property
    def points_lost(self) -> float | None:
        """AP50 points that the reference has more; None if AP50 is not defined."""
        return None if self.ap50.value is None else -POINTS * self.ap50.value


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluatedModel:
    """One row of a cost. against: None for the reference itself."""

    name: str
    device: str
    evaluation: Evaluation
    against: Against | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Cost:
    """Several models on the same ground truth, the reference first."""

    models: tuple[EvaluatedModel, ...]

    @property
    def reference(self) -> EvaluatedModel:
        return self.models[0]

    @property
    def others(self) -> tuple[EvaluatedModel, ...]:
        return self.models[1:]


def cost_of(
    truth: Truth,
    reference: ModelFound,
    others: Sequence[ModelFound],
    score_threshold: float | None = None,
    resamples: int = RESAMPLES,
) -> Cost:
    """Evaluate every model, and the others against the reference.

    score_threshold: for all models; None: the reference's own. resamples: of the images, the same
    for every model; 0 for no intervals.
    Raises InputError if a model has other classes, or an image is not of its annotated size.
    """
    for other in others:
        check_classes(reference.name, reference.spec, other.name, other.spec)
    threshold = reference.spec.score_threshold if score_threshold is None else score_threshold
    evaluations = [
        evaluate(truth, model.found, model.spec.input_size_hw, threshold, resamples)
        for model in (reference, *others)
    ]
    rows = [_row(reference, evaluations[0], None)]
    for other, evaluation in zip(others, evaluations[1:], strict=True):
        against = Against(
            ap50=paired_difference("ap50", evaluations[0], evaluation),
            mr2=paired_difference("mr2", evaluations[0], evaluation),
            detections=_detection_difference(truth, reference, other, threshold),
        )
        rows.append(_row(other, evaluation, against))
    return Cost(models=tuple(rows))


def check_classes(name: str, spec: DetectorSpec, other_name: str, other_spec: DetectorSpec) -> None:
    """Raise InputError unless both models have the same classes in the same order."""
    if spec.class_names != other_spec.class_names:
        raise InputError(
            f"{name} and {other_name} cannot be evaluated side by side: the classes of the first "
            f"are {', '.join(spec.class_names[1:])}, of the second "
            f"{', '.join(other_spec.class_names[1:])}; evaluate each alone"
        )


def paired_difference(figure: str, reference: Evaluation, other: Evaluation) -> Figure:
    """Return other - reference of a figure, with its 95 % interval over shared resamples."""
    before = reference.total.figures[figure].value
    after = other.total.figures[figure].value
    interval = interval_95(other.resampled[figure] - reference.resampled[figure])
    return Figure(None if before is None or after is None else after - before, interval)


def _row(model: ModelFound, evaluation: Evaluation, against: Against | None) -> EvaluatedModel:
    return EvaluatedModel(
        name=model.name, device=model.device, evaluation=evaluation, against=against
    )


def _detection_difference(
    truth: Truth, reference: ModelFound, other: ModelFound, threshold: float
) -> DetectionDifference:
    sums = DetectionSums()
    for ours, theirs in zip(reference.found, other.found, strict=True):
        sums.add(
            _shown(ours.detections, truth.evaluated_class_ids, threshold),
            _shown(theirs.detections, truth.evaluated_class_ids, threshold),
        )
    return sums.difference()


def _shown(found: Detections, class_ids: Sequence[int], threshold: float) -> Detections:
    """Return what the model shows at a working threshold: NMS looks at better scores alone, so that
    cutting after it is the same as before it."""
    kept = np.isin(found.class_ids, class_ids) & (found.scores >= np.float32(threshold))
    return Detections(found.boxes_xyxy_px[kept], found.scores[kept], found.class_ids[kept])
