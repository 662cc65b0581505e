"""Whether the HTP agrees with the ONNX that stood for it: checked on a sample of the images."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.compare import check_comparable
from benchmarks.evaluation.evaluation import evaluate
from benchmarks.evaluation.found import COLLECTING_THRESHOLD, FoundPicture
from benchmarks.evaluation.truth import Truth
from benchmarks.output_difference import DifferenceSums
from persondet.images import read_image_rgb
from persondet.wording import counted
from runtime.backend import Backend
from runtime.detector import Detector

DEFAULT_SAMPLE = 20
MAX_AP50_DIFFERENCE = 0.02
# Up to 1.7 dB was seen between onnxruntime and the emulated HTP on 8-bit models.
MAX_SQNR_DIFFERENCE_DB = 3.0
_OUTPUTS = ("scores", "boxes")
_DIGITS = 9  # floats this close to a limit are equal to it


@dataclass(frozen=True)
class OutputAgreement:
    """SQNR in dB against the float model of one raw output: of the QDQ ONNX and of the HTP."""

    qdq_db: float
    htp_db: float

    @property
    def difference_db(self) -> float:
        return 0.0 if self.qdq_db == self.htp_db else abs(self.qdq_db - self.htp_db)


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """A quantized DLC on the HTP beside its QDQ ONNX in onnxruntime, on the same images.

    qdq, dlc: the files' names.
    outputs: "scores" and "boxes" against the float model; empty if that is not at hand.
    same_scores, near_scores: share of raw scores that are the same quantized value, and that are at
        most one quantization step apart.
    qdq_ap50, htp_ap50: on the sample; None if it has no box to be found.
    """

    qdq: str
    dlc: str
    device: str
    images: int
    boxes: int
    outputs: dict[str, OutputAgreement]
    same_scores: float
    near_scores: float
    qdq_ap50: float | None
    htp_ap50: float | None

    def lines(self) -> list[str]:
        """Return what the sample shows, for a person."""
        sample = f"{counted(self.images, 'image')} with {counted(self.boxes, 'box')}"
        lines = [
            f"checked on {sample}, taken evenly: {self.dlc} on the HTP, {self.qdq} in onnxruntime",
            f"  HTP: {self.device}",
        ]
        lines += [
            f"  {name}, SQNR against float: HTP {one.htp_db:.1f} dB, ONNX {one.qdq_db:.1f} dB"
            for name, one in self.outputs.items()
        ]
        if not self.outputs:
            lines.append("  SQNR against float: not known, as the float ONNX is not beside the DLC")
        lines.append(
            f"  raw scores: {100 * self.same_scores:.1f} % the same on both, "
            f"{100 * self.near_scores:.1f} % at most one quantization step apart"
        )
        if self.htp_ap50 is None or self.qdq_ap50 is None:
            return [*lines, "  AP50: not defined, as these images have no box to be found"]
        return [*lines, f"  AP50: HTP {self.htp_ap50:.3f}, ONNX {self.qdq_ap50:.3f}"]

    def problems(self) -> list[str]:
        """Return a sentence for each figure by which the ONNX does not stand for the HTP."""
        return [*self._ap50_problems(), *self._sqnr_problems()]

    def _ap50_problems(self) -> Iterator[str]:
        if self.htp_ap50 is None or self.qdq_ap50 is None:
            return
        difference = abs(self.htp_ap50 - self.qdq_ap50)
        if round(difference - MAX_AP50_DIFFERENCE, _DIGITS) > 0:
            yield (
                f"{self.dlc} on the HTP has AP50 {self.htp_ap50:.3f} on "
                f"{counted(self.images, 'image')}, {self.qdq} has {self.qdq_ap50:.3f}: they differ "
                f"by over {MAX_AP50_DIFFERENCE:g}"
            )

    def _sqnr_problems(self) -> Iterator[str]:
        for name, one in self.outputs.items():
            if round(one.difference_db - MAX_SQNR_DIFFERENCE_DB, _DIGITS) > 0:
                yield (
                    f"{name} of {self.dlc} on the HTP are {one.htp_db:.1f} dB from float, of "
                    f"{self.qdq} {one.qdq_db:.1f} dB: they differ by over "
                    f"{MAX_SQNR_DIFFERENCE_DB:g} dB"
                )

    def record(self) -> dict[str, object]:
        """Return the figures, JSON-ready; an infinite SQNR is null."""
        outputs = {
            name: {f"{key}": _finite(value) for key, value in dataclasses.asdict(one).items()}
            for name, one in self.outputs.items()
        }
        return {**dataclasses.asdict(self), "outputs": outputs, "problems": self.problems()}


def confirm(
    truth: Truth,
    *,
    qdq: Backend,
    dlc: Backend,
    reference: Backend | None,
    count: int = DEFAULT_SAMPLE,
    advance: Callable[[], object] = lambda: None,
) -> Confirmation:
    """Run the models on `count` images of the ground truth, taken evenly.

    reference: the float model; None if it is not at hand. advance: called after each image.
    Raises InputError if the models' outputs mean different boxes or classes.
    """
    models = [qdq, dlc] if reference is None else [qdq, dlc, reference]
    for other in models[1:]:
        check_comparable(qdq.name, qdq.spec, other.name, other.spec)
    sample = sample_of(truth, count)
    detectors = [Detector(model, COLLECTING_THRESHOLD) for model in models]
    sums = _SampleSums()
    for picture in sample.pictures:
        sums.add(detectors, read_image_rgb(picture.path))
        advance()
    qdq_ap50, htp_ap50 = (_ap50(sample, qdq, found) for found in sums.found)
    return Confirmation(
        qdq=qdq.name,
        dlc=dlc.name,
        device=dlc.device,
        images=len(sample.pictures),
        boxes=_boxes_to_find(sample),
        outputs=sums.agreement(),
        same_scores=sums.scores_within(steps=0),
        near_scores=sums.scores_within(steps=1),
        qdq_ap50=qdq_ap50,
        htp_ap50=htp_ap50,
    )


def sample_of(truth: Truth, count: int) -> Truth:
    """Return the ground truth of at most `count` images, evenly spaced from first to last."""
    pictures = truth.pictures
    if len(pictures) <= count:
        return truth
    chosen = np.linspace(0, len(pictures) - 1, count).round().astype(int)
    return dataclasses.replace(truth, pictures=tuple(pictures[index] for index in chosen))


class _SampleSums:
    """What is known after some images. Models: QDQ, DLC, and float if it is there."""

    def __init__(self) -> None:
        self.found: tuple[list[FoundPicture], list[FoundPicture]] = ([], [])
        self._differences = {name: (DifferenceSums(), DifferenceSums()) for name in _OUTPUTS}
        self._score_distances: list[np.ndarray] = []
        self._score_step = math.inf
        self._has_reference = False

    def add(self, detectors: list[Detector], image_rgb: np.ndarray) -> None:
        raw = [detector.infer(detector.preprocess(image_rgb)) for detector in detectors]
        size_hw = (image_rgb.shape[0], image_rgb.shape[1])
        for found, detector, outputs in zip(self.found, detectors, raw, strict=False):
            found.append(FoundPicture(size_hw, detector.detections(outputs, size_hw)))
        named = [
            _named(detector, outputs) for detector, outputs in zip(detectors, raw, strict=True)
        ]
        self._add_scores(named[0]["scores"], named[1]["scores"])
        for reference in named[2:]:
            self._has_reference = True
            for name, sums in self._differences.items():
                for one, quantized in zip(sums, named, strict=False):
                    one.add(reference[name], quantized[name])

    def _add_scores(self, qdq: np.ndarray, htp: np.ndarray) -> None:
        """The quantized values are multiples of the step, which is the least distance of two."""
        self._score_step = min(self._score_step, np.diff(np.unique(qdq)).min(initial=math.inf))
        self._score_distances.append(np.abs(htp - qdq).reshape(-1))

    def scores_within(self, steps: int) -> float:
        """Return the share of scores that are at most so many quantization steps apart."""
        step = 0.0 if math.isinf(self._score_step) else self._score_step
        return float((np.concatenate(self._score_distances) <= (steps + 0.5) * step).mean())

    def agreement(self) -> dict[str, OutputAgreement]:
        if not self._has_reference:
            return {}
        return {
            name: OutputAgreement(*(one.difference().sqnr_db for one in sums))
            for name, sums in self._differences.items()
        }


def _named(detector: Detector, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return raw outputs by one set of names: a DLC's may have other ones."""
    return {
        "scores": outputs[detector.spec.scores_name],
        "boxes": outputs[detector.spec.boxes_name],
    }


def _boxes_to_find(truth: Truth) -> int:
    return sum(
        int((np.isin(picture.class_ids, truth.evaluated_class_ids) & ~picture.ignored).sum())
        for picture in truth.pictures
    )


def _ap50(sample: Truth, model: Backend, found: list[FoundPicture]) -> float | None:
    spec = model.spec
    evaluation = evaluate(sample, found, spec.input_size_hw, spec.score_threshold, resamples=0)
    return evaluation.total.figures["ap50"].value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
