"""A model on a device as a backend, so that what compares and evaluates needs to know no device.

Going to a device costs a second, whatever is run there; so tensors go there many at once.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.devices.python_board import BoardRuns
from persondet.spec import DetectorSpec

_BATCH_BYTES = 48 * 2**20  # of tensors: what lies on the device and here at a time
_BATCH_TENSORS = 64


class Board(Protocol):
    """A model on a device: a PythonBoard or a SnpeBoard."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> DetectorSpec: ...

    def run(self, tensors: Sequence[np.ndarray]) -> BoardRuns: ...


class DeviceBackend:
    """See runtime.backend.Backend. board: stays open for as long as this is used.

    path: of the model here, for messages.
    """

    def __init__(self, path: Path, board: Board) -> None:
        self.name = f"{path.name} on {board.name}"
        self.spec = board.spec
        self._board = board
        self._coming: Iterator[np.ndarray] = iter(())
        self._answers: dict[bytes, dict[str, np.ndarray]] = {}
        size = int(np.prod(self.spec.input_shape)) * np.dtype(self.spec.input_dtype).itemsize
        self._batch = max(1, min(_BATCH_TENSORS, _BATCH_BYTES // size))
        self._device: str | None = None

    @property
    def device(self) -> str:
        """In the words of the device; it is asked with a blank frame if it has run none yet."""
        if self._device is None:
            self._run([np.zeros(self.spec.input_shape, self.spec.input_dtype)])
        assert self._device is not None
        return self._device

    def prefetch(self, tensors: Iterable[np.ndarray]) -> None:
        """Say which tensors `infer` will be asked for next, in order.

        They are taken from the iterable, and run on the device, a batch at a time, when one is
        asked for that has no answer yet.
        """
        self._coming = iter(tensors)

    def infer(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        """As any backend's. An answer is given once; a tensor that was not announced is run alone.

        Raises what the board raises: PersondetError, DeviceLostError.
        """
        key = _key(tensor)
        if key not in self._answers:
            self._run(list(islice(self._coming, self._batch)))
        if key not in self._answers:
            self._run([tensor])
        return self._answers.pop(key)

    def close(self) -> None:
        self._answers.clear()

    def _run(self, tensors: list[np.ndarray]) -> None:
        if not tensors:
            return
        runs = self._board.run(tensors)
        self._device = f"{self._board.name}: {runs.device}"
        for index, tensor in enumerate(tensors):
            answer = {name: rows[index : index + 1] for name, rows in runs.outputs.items()}
            self._answers[_key(tensor)] = answer


def _key(tensor: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(tensor).data).digest()
