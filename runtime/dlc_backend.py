"""The backend `dlc`: Qualcomm's libraries, the chip on a board and its emulation on x86-64."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from persondet.errors import InputError, PersondetError
from persondet.interface import interface_problems
from persondet.sidecar import sidecar_path, spec_beside
from persondet.spec import DetectorSpec
from runtime.qairt.executor import DlcExecutor
from runtime.qairt.graph import DlcTensor
from runtime.qairt.libraries import is_emulated

DEFAULT_ARCH = 75  # to emulate; v73 and later are quicker to emulate than v68
_CHIP_HAS_ITS_OWN = "the Hexagon architecture can be chosen only where it is emulated (x86-64)"


class DlcBackend:
    """A DLC detector. See runtime.backend.Backend.

    spec: where the DLC came without its sidecar. arch: Hexagon architecture to emulate (x86-64).
    Raises InputError for a file that cannot be read, has no spec, or does not fit it.
    """

    def __init__(
        self, path: Path, spec: DetectorSpec | None = None, *, arch: int | None = None
    ) -> None:
        path = Path(path)
        self.name = path.name
        self.emulated = is_emulated()
        if arch is not None and not self.emulated:
            raise InputError(_CHIP_HAS_ITS_OWN)
        if arch is None and self.emulated:
            arch = DEFAULT_ARCH
        self._executor = DlcExecutor(path, arch=arch)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            self.spec = spec or spec_of_dlc(path)
            if problems := list(_misfits(self.spec, self._executor)):
                raise InputError("\n  ".join([f"{path} does not fit its spec:", *problems]))
            on_failure.pop_all()
        build = self._executor.library.build_id
        self.device = (
            f"emulated Hexagon v{arch} on this CPU (QAIRT {build}); its times are not the chip's"
            if self.emulated
            else f"Qualcomm HTP (QAIRT {build})"
        )

    def infer(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        """One frame: the spec's input tensor to float32 scores (1, A, C) and boxes (1, A, 4)."""
        taken = self._executor.inputs[self.spec.input_name]
        if _is_quantized_here(taken, self.spec):
            tensor = _stored_values(taken, tensor)
        stored = self._executor.execute({self.spec.input_name: tensor})
        return {
            name: _real_values(self._executor.outputs[name], array)
            for name, array in stored.items()
        }

    def close(self) -> None:
        self._executor.close()


def spec_of_dlc(path: Path) -> DetectorSpec:
    """The spec in the DLC's sidecar. Raises InputError where there is none."""
    spec = spec_beside(path)
    if spec is None:
        raise InputError(
            f"{path} came without its sidecar {sidecar_path(path).name}, which holds the anchors "
            "and the preprocessing: copy it along, or give --spec FILE (the sidecar of any file "
            "of the same model will do)"
        )
    return spec


def _misfits(spec: DetectorSpec, executor: DlcExecutor) -> Iterator[str]:
    # what is quantized here, and the outputs, which are turned into real values here, may be stored
    # in any type
    inputs = {
        name: ("float32" if _is_quantized_here(t, spec) else t.numpy_dtype, t.shape)
        for name, t in executor.inputs.items()
    }
    outputs = {name: ("float32", t.shape) for name, t in executor.outputs.items()}
    return interface_problems(spec, inputs, outputs)


def _is_quantized_here(tensor: DlcTensor, spec: DetectorSpec) -> bool:
    """Whether the model takes floats and the file their quantized values, as the SDKs' quantizers
    write it."""
    encoding = tensor.encoding
    return spec.input_dtype == "float32" and encoding is not None and encoding.axis is None


def _stored_values(tensor: DlcTensor, real: np.ndarray) -> np.ndarray:
    """Real values to stored numbers: round(real / scale) - offset, within the type's limits."""
    assert tensor.encoding is not None
    limits = np.iinfo(tensor.numpy_dtype)
    numbers = np.rint(real / np.float32(tensor.encoding.scales[0])) - tensor.encoding.offsets[0]
    return np.clip(numbers, limits.min, limits.max).astype(tensor.numpy_dtype)


def _real_values(tensor: DlcTensor, stored: np.ndarray) -> np.ndarray:
    """Stored numbers to float32: real = (stored + offset) * scale."""
    if stored.dtype.kind == "f":
        return stored.astype(np.float32, copy=False)
    encoding = tensor.encoding
    if encoding is None or encoding.axis is not None:
        raise PersondetError(f"output {tensor.name} is {tensor.dtype} without a usable encoding")
    offset, scale = encoding.offsets[0], np.float32(encoding.scales[0])
    return (stored.astype(np.int32) + offset).astype(np.float32) * scale
