"""Read the raw outputs of a run of snpe-net-run: `Result_0/scores.raw`, `Result_0/boxes.raw`, ...

A file has no header: its layout, type and size come from the model's spec, and none is guessed.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from persondet.errors import InputError
from persondet.files import exists, is_file, is_folder
from persondet.spec import DetectorSpec

_RESULT = re.compile(r"Result_(\d{1,9})")
_SHOWN_FILES = 8


@dataclass(frozen=True)
class RawTensor:
    """What a .raw file holds. name: the tensor's; dtype: numpy's name, stored little-endian."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def stored(self) -> np.dtype:
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.count * self.stored.itemsize


def raw_outputs(spec: DetectorSpec) -> tuple[RawTensor, ...]:
    """Return the outputs' files: float32, scores (1, A, C) and boxes (1, A, 4)."""
    return tuple(RawTensor(name, shape) for name, shape in spec.output_shapes.items())


def result_folders(folder: Path) -> tuple[Path, ...]:
    """Return the folders Result_0, Result_1, ... of a run, in the order of their numbers.

    folder: the run's output folder; one `Result_N` folder, named itself, is a run of one inference.
    Raises InputError if the folder is not there, is not of a run, or a number is missing.
    """
    if not is_folder(folder):
        found = "it is a file" if exists(folder) else "it does not exist"
        raise InputError(
            f"{folder} is not a folder of results: {found}; name the folder that snpe-net-run wrote"
        )
    try:
        entries = [entry for entry in folder.iterdir() if entry.is_dir()]
        named = [(_RESULT.fullmatch(entry.name), entry) for entry in entries]
        numbered = sorted((int(match[1]), entry) for match, entry in named if match)
        if not numbered and (_RESULT.fullmatch(folder.name) or any(folder.glob("*.raw"))):
            return (folder,)
        below = [path.parent for path in folder.glob("*/Result_0")]
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror}") from None
    if not numbered:
        meant = f"is it {below[0]}?" if below else "`output` is its name unless one was given"
        raise InputError(
            f"{folder} holds no results: expected Result_0, Result_1, ... or the .raw files of one "
            f"inference; name the --output_dir of snpe-net-run: {meant}"
        )
    for expected, (number, entry) in enumerate(numbered):
        if number != expected:
            raise InputError(
                f"{folder} holds {entry.name} but no Result_{expected}: which image a result "
                "belongs to follows from its number; copy all of the run's results"
            )
    return tuple(entry for _, entry in numbered)


def read_result(folder: Path, spec: DetectorSpec) -> dict[str, np.ndarray]:
    """Return the outputs in one `Result_N` folder by name: float32, shaped as the spec says.

    Values come in the order of the anchors, those of one anchor together; dimensions of 1 that a
    runtime adds change nothing. Raises InputError if a file is missing, has another size, or holds
    values that are not finite.
    """
    return {tensor.name: _read_output(folder, tensor, spec) for tensor in raw_outputs(spec)}


def read_raw(path: Path, tensor: RawTensor) -> np.ndarray:
    """Return the tensor in a file, freshly owned. Raises InputError for a file of another size."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if len(data) != tensor.size_bytes:
        raise InputError(
            f"{path} has {len(data):,} bytes; {tensor.name} of shape {tensor.shape}, "
            f"{tensor.dtype}, has {tensor.size_bytes:,}: {_why_of_size(len(data), tensor)}"
        )
    values = np.frombuffer(data, tensor.stored).reshape(tensor.shape)
    return values.astype(tensor.dtype)


def _read_output(folder: Path, tensor: RawTensor, spec: DetectorSpec) -> np.ndarray:
    path = next((path for path in _candidates(folder, tensor.name) if is_file(path)), None)
    if path is None:
        raise InputError(_missing(folder, tensor.name, spec))
    values = read_raw(path, tensor)
    if not np.isfinite(values).all():
        raise InputError(
            f"{path}: the output {tensor.name} holds NaN or infinity; the run or the model is at "
            "fault: `persondet compare` the model with the one it was made from"
        )
    return values


def _candidates(folder: Path, tensor_name: str) -> tuple[Path, ...]:
    """Where a runtime may have written a tensor, the usual place first.

    A `/` makes sub-folders (snpe-net-run) or becomes `_` (qnn-net-run); TensorFlow's tensors end in
    `:0`, `_0` on Windows; qnn-net-run names values of the tensor's own type `_native`.
    Raises InputError for a name that leads out of the folder.
    """
    if ".." in Path(tensor_name).parts or "\0" in tensor_name:
        raise InputError(f"the tensor name {tensor_name!r} cannot be a file's name")
    name = tensor_name.lstrip("/")
    names = (name, f"{name}:0", f"{name}_0", re.sub(r"\W", "_", name), f"{name}_native")
    return tuple(folder / f"{each}.raw" for each in dict.fromkeys(names))


def _missing(folder: Path, name: str, spec: DetectorSpec) -> str:
    """Say which output is missing, what is there, and how a run is asked for both."""
    found = _raw_files(folder)
    shown = ", ".join(found[:_SHOWN_FILES]) + (", ..." if len(found) > _SHOWN_FILES else "")
    both = f"{spec.scores_name},{spec.boxes_name}"
    return (
        f"the output {name} is missing in {folder}: expected {name}.raw, found "
        f"{f'only {shown}' if found else 'no .raw file'}; a run may write the last output alone "
        f"unless both are named: snpe-net-run --set_output_tensors {both}, or in SNPE 2 a first "
        f"line `%{both.replace(',', ' ')}` in its input list"
    )


def _raw_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.raw"))


def _why_of_size(size: int, tensor: RawTensor) -> str:
    """Name the likely cause. Quantized values are refused: their scale is not in the file."""
    for bits in (8, 16):
        if size == tensor.count * bits // 8 and tensor.dtype == "float32":
            return (
                f"it holds values of {bits} bits, whose scale it does not say; run again without "
                "--use_native_output_files"
            )
    return "the file is cut off, or of another model"
