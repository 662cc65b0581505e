"""Figures of a network in training: through the runtime's own decode and NMS, without a file."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.evaluation.evaluation import evaluate
from benchmarks.evaluation.found import COLLECTING_THRESHOLD, find_in
from benchmarks.evaluation.truth import Truth
from persondet.spec import DetectorSpec
from runtime.detector import Detector


class _NetworkBackend:
    """A network in memory as a runtime.backend.Backend."""

    name = "network in training"
    device = "training device"

    def __init__(self, network: nn.Module, spec: DetectorSpec, device: str) -> None:
        self.spec = dataclasses.replace(spec, input_format="float-nchw")
        self._network, self._device = network, device

    def infer(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = self._network(torch.from_numpy(tensor).to(self._device))
        names = (self.spec.scores_name, self.spec.boxes_name)
        return {
            name: output.float().cpu().numpy() for name, output in zip(names, outputs, strict=True)
        }

    def close(self) -> None: ...


def validator(
    truth: Truth,
    spec: DetectorSpec,
    device: str = "cpu",
    track: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> Callable[[nn.Module], Mapping[str, float]]:
    """A function from a network in eval mode to figures on the truth.

    score, by which the best checkpoint is chosen, is AP50; ap, ap50, mr2, recall at the spec's
    threshold, and best_threshold, that of the best F1, come along. A figure that is not defined is
    0, or 1 for the miss rate. track: passes the images on, and may show how far they are.
    """

    def figures(network: nn.Module) -> Mapping[str, float]:
        detector = Detector(_NetworkBackend(network, spec, device), COLLECTING_THRESHOLD)
        found = [find_in(detector, path) for path in track([p.path for p in truth.pictures])]
        evaluation = evaluate(truth, found, spec.input_size_hw, spec.score_threshold, resamples=0)
        values = {name: figure.value for name, figure in evaluation.total.figures.items()}
        best = evaluation.total.best
        return {
            "score": values["ap50"] or 0.0,
            "ap": values["ap"] or 0.0,
            "ap50": values["ap50"] or 0.0,
            "mr2": 1.0 if values["mr2"] is None else values["mr2"],
            "recall": values["recall"] or 0.0,
            "best_threshold": round(best.threshold, 3) if best else 0.0,
        }

    return figures
