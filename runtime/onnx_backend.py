"""ONNX models on onnxruntime's CPU provider: the reference for the other backends."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from persondet.errors import InputError
from persondet.files import is_file
from persondet.interface import TensorType, interface_problems
from persondet.memory import at_most_more
from persondet.sidecar import read_sidecar, spec_beside
from persondet.spec import METADATA_KEY, DetectorSpec, spec_from_json
from runtime.onnx_session import open_session

_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
_REMEDY = "export the checkpoint with `persondet export`"
_ROOM_BYTES = 2 << 30
_THREAD_BYTES = 256 << 20  # address space that a thread's stack and heap reserve, mostly unused


class OnnxBackend:
    """One session. threads: of the graph's operators; None: onnxruntime's choice.

    The spec is the one in the model's metadata; where other tools have dropped that, the one given,
    or the one in the model's sidecar.
    Raises InputError where the model cannot be read, has no spec, or does not fit it.
    """

    def __init__(
        self, path: str | Path, spec: DetectorSpec | None = None, *, threads: int | None = None
    ) -> None:
        path = Path(path)
        self.name = path.name
        self._path = path
        self.session = _session(path, threads)
        self._run_bytes = _room(path)
        read_sidecar(path)  # refuses a file that is not the one its sidecar describes
        self.spec = _metadata_spec(path, self.session) or spec or _sidecar_spec(path, self.session)
        if problems := list(_misfits(self.session, self.spec)):
            raise InputError("\n  ".join([f"{path} does not fit its spec; {_REMEDY}", *problems]))
        used = "" if threads is None else f", {threads} threads"
        self.device = f"CPU, onnxruntime {onnxruntime.__version__}{used}"

    def infer(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        """The input tensor to {"scores": (1, A, C), "boxes": (1, A, 4)}, float32, spec's names.

        Raises InputError if the graph loads but does not run: a node fails, or asks for far more
        memory than a detector needs.
        """
        names = [self.spec.scores_name, self.spec.boxes_name]
        try:
            with at_most_more(self._run_bytes):
                outputs = self.session.run(names, {self.spec.input_name: tensor})
        except Exception as error:  # onnxruntime's errors have no class of their own above them
            raise InputError(
                f"{self._path} loads, but does not run: {_first_line(error)}; {_REMEDY}"
            ) from None
        return dict(zip(names, outputs, strict=True))

    def close(self) -> None:
        del self.session


def _session(path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    try:
        with at_most_more(_room(path) + (os.cpu_count() or 1) * _THREAD_BYTES):
            return open_session(path, threads=threads)
    except Exception as error:  # onnxruntime's errors have no class of their own above them
        raise InputError(
            f"cannot load {path}: expected an ONNX model that onnxruntime runs; "
            f"{_first_line(error)}; is the file whole? Otherwise {_REMEDY}"
        ) from None


def _room(path: Path) -> int:
    """Return the bytes that loading or running the file may take: its own a few times over, and
    what the tensors of a large input need."""
    return _ROOM_BYTES + 8 * (path.stat().st_size if is_file(path) else 0)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _metadata_spec(path: Path, session: onnxruntime.InferenceSession) -> DetectorSpec | None:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        return None
    try:
        return spec_from_json(text)
    except InputError as error:
        raise InputError(f"{path}, metadata {METADATA_KEY}: {error}; {_REMEDY}") from None


def _sidecar_spec(path: Path, session: onnxruntime.InferenceSession) -> DetectorSpec:
    spec = spec_beside(path)
    if spec is None:
        tensors = [*session.get_inputs(), *session.get_outputs()]
        shown = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors)
        raise InputError(
            f"{path} does not say how to feed it and how to read its outputs: no {METADATA_KEY} in "
            f"its metadata, no sidecar beside it (its inputs and outputs: {shown}); {_REMEDY}, or "
            "give --spec FILE"
        )
    return spec


def _misfits(session: onnxruntime.InferenceSession, spec: DetectorSpec) -> Iterator[str]:
    return interface_problems(spec, _types(session.get_inputs()), _types(session.get_outputs()))


def _types(tensors: Any) -> dict[str, TensorType]:
    return {
        t.name: (_DTYPES.get(t.type, t.type), tuple(s or "?" for s in t.shape)) for t in tensors
    }
