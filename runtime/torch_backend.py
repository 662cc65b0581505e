"""Checkpoints run by PyTorch, as they come."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from persondet.errors import InputError
from persondet.spec import DetectorSpec


class TorchBackend:
    """A checkpoint's network in eval mode; takes float32 (1, 3, H, W).

    spec: its thresholds, names and anchors instead of the checkpoint's own. threads: PyTorch's, for
    the whole process. loading: see `persondet.checkpoint.load_checkpoint`. notes: what the loader
    had to assume or leave out.
    Raises InputError where the checkpoint cannot be read or does not fit the spec.
    """

    def __init__(
        self,
        path: str | Path,
        spec: DetectorSpec | None = None,
        *,
        threads: int | None = None,
        **loading: Any,
    ) -> None:
        import torch

        from persondet.checkpoint import load_checkpoint

        if threads is not None:
            torch.set_num_threads(threads)
        checkpoint = load_checkpoint(path, **loading)
        self.name = Path(path).name
        self.notes = checkpoint.notes
        self.spec = dataclasses.replace(spec or checkpoint.spec, input_format="float-nchw")
        _check_same_network(self.name, self.spec, checkpoint.spec)
        self._network = checkpoint.network
        self.device = f"CPU, PyTorch {torch.__version__}, {torch.get_num_threads()} threads"

    def infer(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        """The input tensor to {"scores": (1, A, C), "boxes": (1, A, 4)}, float32, spec's names."""
        import torch

        with torch.inference_mode():
            scores, boxes = self._network(torch.from_numpy(tensor))
        return {self.spec.scores_name: scores.numpy(), self.spec.boxes_name: boxes.numpy()}

    def close(self) -> None:
        del self._network


def _check_same_network(name: str, given: DetectorSpec, own: DetectorSpec) -> None:
    def figures(spec: DetectorSpec) -> tuple[object, ...]:
        return (
            *(spec.network, spec.width_mult, spec.num_classes, spec.num_anchors),
            *(spec.input_size_hw, spec.mean_rgb, spec.std_rgb),
        )

    if figures(given) != figures(own):
        raise InputError(
            f"{name} does not fit the spec given: expected (network, width, classes, anchors, "
            f"input, mean, std) {figures(given)}, got {figures(own)}; leave --spec away"
        )
