"""A board that runs Python: our own runtime is pushed to it, and runs there. No SDK is needed.

The board has Python 3.11, numpy, opencv and one backend: onnxruntime, or the wheel onnxruntime-qnn.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.devices.runtime_zip import pack_runtime
from benchmarks.devices.transport import RUNTIME_NAME, Transport
from export.process import Finished
from persondet.arrays import read_arrays
from persondet.errors import InputError, PersondetError
from persondet.files import parse_json
from persondet.sidecar import sha256_of
from persondet.spec import DetectorSpec, spec_to_dict
from persondet.temporary import temporary_folder
from runtime.backend import model_kind
from runtime.device_job import Job

PYTHON_VARIABLE = "PERSONDET_DEVICE_PYTHON"
_MODULE_MISSING = "ModuleNotFoundError: No module named "
_PACKAGES = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "onnxruntime": "onnxruntime",
    "onnxruntime_qnn": "onnxruntime-qnn",
}
_NEEDED_PYTHON = (3, 11)


@dataclass(frozen=True, eq=False)
class BoardRuns:
    """What came back of one job.

    outputs: by name, (N, ...), one row a tensor; empty where none were asked for.
    durations_ns: (rounds, N), of `infer` alone, the warm-up left out. init_ns: from the model's
    file to a model ready to run. device: in the backend's words; emulated: a chip imitated in
    software. machine: system, cores, python.
    """

    outputs: dict[str, np.ndarray]
    durations_ns: np.ndarray
    init_ns: int
    device: str
    emulated: bool
    machine: dict[str, Any]


class PythonBoard:
    """A model on a board, ready for jobs. Made by `open_python_board`.

    remote: the run's folder on the device, which holds the model.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        remote: str,
        python: str,
        runtime_zip: str,
        model_name: str,
        spec: DetectorSpec,
        options: dict[str, Any],
    ) -> None:
        self.name = transport.name
        self.spec = spec
        self._transport, self._remote = transport, remote
        self._python, self._zip = python, runtime_zip
        self._model_name, self._options = model_name, options

    def run(
        self,
        tensors: Sequence[np.ndarray],
        *,
        warmup: int = 0,
        rounds: int = 1,
        keep_outputs: bool = True,
        timeout_s: float = 3600.0,
    ) -> BoardRuns:
        """Run each tensor (spec.input_shape, spec.input_dtype) once a round on the device.

        Raises InputError where the model does not run there, PersondetError where running fails or
        outputs of another size come back, DeviceLostError.
        """
        outputs = "outputs.npz" if keep_outputs else None
        job = Job(
            self._model_name,
            spec_to_dict(self.spec),
            "tensors.npy",
            outputs,
            warmup,
            rounds,
            self._options,
        )
        with temporary_folder("persondet-device-") as place:
            np.save(place / job.tensors, np.concatenate([_checked(t, self.spec) for t in tensors]))
            (place / "job.json").write_text(json.dumps(asdict(job)), encoding="utf-8")
            names = ("job.json", job.tensors)
            self._transport.push_all({f"{self._remote}/{name}": place / name for name in names})
            report = self._report(timeout_s)
            arrays: dict[str, np.ndarray] = {}
            if outputs:
                self._transport.pull(f"{self._remote}/{outputs}", place / outputs)
                arrays = _read_outputs(place / outputs, len(tensors), self.spec, self.name)
        durations_ns = np.array(report["durations_ns"], np.int64).reshape(rounds, len(tensors))
        return BoardRuns(
            arrays,
            durations_ns,
            report["init_ns"],
            report["device"],
            report["emulated"],
            report["machine"],
        )

    def _report(self, timeout_s: float) -> dict[str, Any]:
        finished = self._transport.run(
            [self._python, "-m", "runtime.device_job", f"{self._remote}/job.json"],
            timeout_s=timeout_s,
            what=f"running {self._model_name} on {self.name}",
            env={"PYTHONPATH": self._zip, "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=self._remote,
        )
        return _parse_report(finished, self._transport)


@contextlib.contextmanager
def open_python_board(
    transport: Transport, model: Path, spec: DetectorSpec, **options: Any
) -> Iterator[PythonBoard]:
    """Push the runtime (once, by checksum) and the model; the model is removed at the end.

    model: .onnx or .dlc. options: of the backend, such as `threads`. The device's interpreter is
    $PERSONDET_DEVICE_PYTHON, else python3 (this one where the device is local).
    Raises InputError for a .pth, for a model's file that cannot be read, for a device without a
    usable Python.
    """
    kind = model_kind(model)
    if kind == "pth":
        raise InputError(
            f"{model}: a checkpoint does not run on a device; export it (`persondet export`) and "
            "name the .onnx, or convert that and name the .dlc"
        )
    python = device_python(transport)
    check_python(transport, python)
    with temporary_folder("persondet-device-") as folder:
        packed = pack_runtime(folder / "runtime.zip")
        runtime_zip = f"{transport.folder}/{RUNTIME_NAME}{sha256_of(packed)[:16]}.zip"
        transport.push(packed, runtime_zip)
    with transport.run_folder(uses=runtime_zip) as remote:
        name = f"model.{kind}"  # not the user's name: it says nothing there, and may hold anything
        transport.push(model, f"{remote}/{name}")
        yield PythonBoard(
            transport=transport,
            remote=remote,
            python=python,
            runtime_zip=runtime_zip,
            model_name=name,
            spec=spec,
            options=options,
        )


def device_python(transport: Transport) -> str:
    """The interpreter to use there."""
    return os.environ.get(PYTHON_VARIABLE) or (
        sys.executable if transport.name == "local" else "python3"
    )


def check_python(transport: Transport, python: str) -> tuple[int, ...]:
    """The version of the device's Python. Raises InputError where there is none, or an old one."""
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    finished = transport.run([python, "-c", code], timeout_s=60.0)
    numbers = finished.stdout.strip().split(".")
    wanted = ".".join(map(str, _NEEDED_PYTHON))
    if finished.code != 0 or not all(number.isdigit() for number in numbers):
        raise InputError(
            f"{transport.name} has no program {python}: boards without Python are reached with the "
            f"SDK; where it has Python {wanted} or newer elsewhere, name it by {PYTHON_VARIABLE}"
        )
    version = tuple(map(int, numbers))
    if version < _NEEDED_PYTHON:
        raise InputError(
            f"{transport.name}: {python} is Python {'.'.join(numbers)}, expected {wanted} or "
            f"newer; name another by the variable {PYTHON_VARIABLE}"
        )
    return version


def _parse_report(finished: Finished, transport: Transport) -> dict[str, Any]:
    """The job's own words. Raises what it reports to have failed."""
    lines = finished.stdout.strip().splitlines() or [""]
    try:
        report = parse_json(lines[-1])
        if not isinstance(report, dict):
            raise ValueError("no object")
    except ValueError:
        raise _no_report(finished, transport) from None
    if "error" in report:
        kind = InputError if report["exit_code"] == InputError.exit_code else PersondetError
        raise kind(f"{transport.name}: {report['error']}")
    return report


def _no_report(finished: Finished, transport: Transport) -> Exception:
    transport.raise_if_full(finished.stderr)
    lines = finished.stderr.strip().splitlines() or ["it said nothing"]
    missing = lines[-1].removeprefix(_MODULE_MISSING).strip("'\"").partition(".")[0]
    if lines[-1].startswith(_MODULE_MISSING) and missing in _PACKAGES:
        return InputError(
            f"{transport.name} lacks the Python package {missing}: on the device, "
            f"pip install {_PACKAGES[missing]}"
        )
    killed = " (killed, perhaps for want of memory)" if finished.code in (-9, 137) else ""
    return PersondetError(
        f"{transport.name}: the job ended with exit code {finished.code}{killed} and no report:\n  "
        + "\n  ".join(lines[-8:])
    )


def _checked(tensor: np.ndarray, spec: DetectorSpec) -> np.ndarray:
    if tensor.shape != spec.input_shape or tensor.dtype != spec.input_dtype:
        raise InputError(
            f"expected tensors of {spec.input_dtype} {spec.input_shape}, "
            f"got {tensor.dtype} {tensor.shape}"
        )
    return tensor


def _read_outputs(path: Path, count: int, spec: DetectorSpec, device: str) -> dict[str, np.ndarray]:
    try:
        outputs = read_arrays(path)
    except InputError as error:
        raise PersondetError(f"{device} sent outputs that cannot be read: {error}") from None
    for name, shape in spec.output_shapes.items():
        expected, found = (count, *shape[1:]), outputs.get(name)
        if found is None or found.shape != expected or found.dtype != np.float32:
            got = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise PersondetError(
                f"{device}, output {name}: expected float32 {expected}, got {got}; was the model "
                "made from the same checkpoint as its spec?"
            )
    return outputs
