"""Checkpoints run by PyTorch, as they come."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from persondet.spec import DetectorSpec


class TorchBackend:
    """A checkpoint's network in eval mode; takes float32 (1, 3, H, W).

    spec: the network is built from it instead of from the checkpoint's own. threads: PyTorch's, for
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
        checkpoint = load_checkpoint(path, spec=spec, **loading)
        self.name = Path(path).name
        self.notes = checkpoint.notes
        self.spec = dataclasses.replace(checkpoint.spec, input_format="float-nchw")
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
