"""The backend `dlc`: Qualcomm's libraries, the chip on a board and its emulation on x86-64."""

from pathlib import Path

import numpy as np

from persondet.errors import InputError, PersondetError
from persondet.sidecar import sidecar_path, spec_beside
from persondet.spec import DetectorSpec
from runtime.qairt.executor import DEFAULT_ARCH, DlcExecutor
from runtime.qairt.graph import DlcTensor
from runtime.qairt.libraries import is_emulated


class DlcBackend:
    """A DLC detector. See runtime.backend.Backend.

    spec: where the DLC came without its sidecar. arch: Hexagon architecture to emulate (x86-64).
    Raises InputError for a file that cannot be read, has no spec, or does not fit it.
    """

    name = "dlc"

    def __init__(
        self, path: Path, spec: DetectorSpec | None = None, *, arch: int | None = None
    ) -> None:
        self.path = Path(path)
        self.emulated = is_emulated()
        if self.emulated:
            arch = arch or DEFAULT_ARCH
        elif arch is not None:
            raise InputError("the Hexagon architecture can be chosen only where it is emulated")
        self._executor = DlcExecutor(self.path, arch=arch)
        try:
            self.spec = spec or _spec_of(self.path)
            _check_interface(self.path, self.spec, self._executor)
        except BaseException:
            self._executor.close()
            raise
        build = self._executor.library.build_id
        self.device = (
            f"emulated Hexagon v{arch} on this CPU (QAIRT {build}); its times are not the chip's"
            if self.emulated
            else f"Qualcomm HTP (QAIRT {build})"
        )

    def infer(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        """One frame: the spec's input tensor to float32 scores (1, A, C) and boxes (1, A, 4)."""
        stored = self._executor.execute({self.spec.input_name: tensor})
        return {
            name: _real_values(self._executor.outputs[name], array)
            for name, array in stored.items()
        }

    def close(self) -> None:
        self._executor.close()


def _spec_of(path: Path) -> DetectorSpec:
    spec = spec_beside(path)
    if spec is None:
        raise InputError(
            f"{path} came without its sidecar {sidecar_path(path).name}, which holds the anchors "
            "and the preprocessing: copy it along, or give --spec FILE (the sidecar of any file "
            "of the same model will do)"
        )
    return spec


def _check_interface(path: Path, spec: DetectorSpec, executor: DlcExecutor) -> None:
    problems = []
    if set(executor.inputs) != {spec.input_name}:
        problems.append(f"inputs {', '.join(executor.inputs)}, expected {spec.input_name}")
    elif executor.inputs[spec.input_name].shape != spec.input_shape:
        shape = executor.inputs[spec.input_name].shape
        problems.append(f"input shape {shape}, expected {spec.input_shape}")
    expected = {
        spec.scores_name: (1, spec.num_anchors, spec.num_classes),
        spec.boxes_name: (1, spec.num_anchors, 4),
    }
    found = {name: tensor.shape for name, tensor in executor.outputs.items()}
    if found != expected:
        problems.append(f"outputs {found}, expected {expected}")
    if problems:
        raise InputError(f"{path} does not fit its spec ({spec.network}): {'; '.join(problems)}")


def _real_values(tensor: DlcTensor, stored: np.ndarray) -> np.ndarray:
    """Stored numbers to float32: real = (stored + offset) * scale."""
    if tensor.dtype == "float32":
        return stored
    encoding = tensor.encoding
    if encoding is None or encoding.axis is not None:
        raise PersondetError(f"output {tensor.name} is {tensor.dtype} without a usable encoding")
    offset, scale = encoding.offsets[0], np.float32(encoding.scales[0])
    return (stored.astype(np.int32) + offset).astype(np.float32) * scale
