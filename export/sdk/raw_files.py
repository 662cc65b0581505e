"""Tensors as the SDK's tools want them: headerless files, and lists that name them.

Layout, type and size of every file come from the artefact's spec; no size is ever interpreted.
A list is one inference a line and has no quoting: blanks cannot be in it.
"""

import contextlib
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from persondet.errors import InputError, PersondetError
from persondet.preprocess import preprocess
from persondet.spec import DetectorSpec
from persondet.temporary import temporary_folder

LIST_NAME = "input_list.txt"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_NAME_LENGTH = 40


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
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.stored.itemsize


def raw_input(spec: DetectorSpec, *, native: bool = False) -> RawTensor:
    """The input's file for an artefact of this spec.

    native: in the input's own type (--use_native_input_files), which is uint8 for uint8-nhwc;
    otherwise float32, whatever the input's type is: pixels 0..255 for uint8-nhwc.
    """
    dtype = spec.input_dtype if native else "float32"
    return RawTensor(spec.input_name, spec.input_shape, dtype)


def raw_outputs(spec: DetectorSpec) -> tuple[RawTensor, ...]:
    """The outputs' files: float32, scores (1, A, C) and boxes (1, A, 4)."""
    return tuple(RawTensor(name, shape) for name, shape in spec.output_shapes.items())


def write_raw(path: Path, array: np.ndarray, tensor: RawTensor) -> None:
    """Raises ValueError where the array is not of the tensor's shape, or would lose in its type."""
    if array.shape != tensor.shape:
        raise ValueError(f"{tensor.name}: expected shape {tensor.shape}, got {array.shape}")
    if not np.can_cast(array.dtype, tensor.stored, "safe"):
        raise ValueError(f"{tensor.name}: expected {tensor.dtype}, got {array.dtype}")
    path.write_bytes(array.astype(tensor.stored).tobytes())


def read_raw(path: Path, tensor: RawTensor) -> np.ndarray:
    """The tensor of a file, freshly owned. Raises PersondetError for a file of another size."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PersondetError(
            f"the output {tensor.name} is missing: cannot read {path}: {error.strerror}"
        ) from None
    if len(data) != tensor.size_bytes:
        raise PersondetError(
            f"{path} has {len(data):,} bytes; {tensor.name} of shape {tensor.shape}, "
            f"{tensor.dtype}, has {tensor.size_bytes:,}: the file is cut off, or of another model"
        )
    values = np.frombuffer(data, tensor.stored).reshape(tensor.shape)
    return values.astype(tensor.dtype)


def read_result(folder: Path, spec: DetectorSpec) -> dict[str, np.ndarray]:
    """The outputs in one `Result_N` folder, float32, by name.

    Raises PersondetError for a file that is missing, of another size, or holds no numbers.
    """
    outputs = {}
    for tensor in raw_outputs(spec):
        outputs[tensor.name] = values = read_raw(result_file(folder, tensor.name), tensor)
        if not np.isfinite(values).all():
            raise PersondetError(f"{folder.name}: the output {tensor.name} holds NaN or infinity")
    return outputs


def result_file(folder: Path, tensor_name: str) -> Path:
    """Where snpe-net-run writes a tensor: a `/` in the name makes sub-folders.

    Raises InputError for a name that leads out of the folder.
    """
    path = folder / f"{tensor_name}.raw"
    if Path(tensor_name).is_absolute() or ".." in Path(tensor_name).parts:
        raise InputError(f"the tensor name {tensor_name!r} cannot be a file's name")
    return path


def write_inputs(
    images_rgb: Iterable[np.ndarray],
    spec: DetectorSpec,
    folder: Path,
    *,
    native: bool = False,
    names: Sequence[str] = (),
) -> list[Path]:
    """One file a picture, through the one preprocessing, in order; returns their paths.

    names: of the pictures, to recognise the files by; only their harmless characters are used.
    """
    tensor = raw_input(spec, native=native)
    paths = []
    for index, image_rgb in enumerate(images_rgb):
        path = folder / raw_name(index, names[index] if index < len(names) else "frame")
        write_raw(path, preprocess(image_rgb, spec), tensor)
        paths.append(path)
    return paths


def raw_name(index: int, name: str) -> str:
    """`00007_my_picture.raw`: unique by the index, and nothing that a list or a shell minds."""
    return f"{index:05d}_{safe_name(Path(name).stem)}.raw"


def safe_name(name: str) -> str:
    """The name with `_` for everything but letters, digits, `_`, `.` and `-`; not empty."""
    return _UNSAFE.sub("_", name)[:_NAME_LENGTH].strip("._-") or "file"


def input_list(
    rows: Iterable[Path | Mapping[str, Path]],
    *,
    output_layers: Sequence[str] = (),
    output_tensors: Sequence[str] = (),
) -> str:
    """The text of an input list: one line an inference, `name:=path` where an input is named.

    The paths are written as they are given: absolute for a tool on the host, relative to the
    folder that the tool runs in for a device. output_layers, output_tensors: more outputs than the
    graph's; a quantizer then keeps ranges only for what feeds them.
    Raises InputError for a path or a name with blanks, which a list cannot express.
    """
    lines = []
    for mark, names in (("#", output_layers), ("%", output_tensors)):
        if names:
            lines.append(mark + " ".join(_word(name) for name in names))
    for row in rows:
        if isinstance(row, Mapping):
            lines.append(" ".join(f"{_word(name)}:={_word(row[name])}" for name in row))
        else:
            lines.append(_word(row))
    return "".join(f"{line}\n" for line in lines)


def _word(value: object) -> str:
    text = str(value)
    if not text or re.search(r"\s|:=", text) or text[0] in "#%":
        raise InputError(
            f"{text!r} cannot be in an input list: it has no quoting for blanks, `:=`, or # and % "
            "at the beginning; use a folder whose path has none of these"
        )
    return text


@contextlib.contextmanager
def without_blanks(folder: Path) -> Iterator[Path]:
    """An absolute path of the folder that an input list can name: itself, or a link to it.

    The link lies in a temporary folder and goes with the block. Raises InputError where every
    temporary folder has blanks in its path, too.
    """
    absolute = folder.absolute()
    if not re.search(r"\s", str(absolute)):
        yield absolute
        return
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if not re.search(r"\s", place) and os.access(place, os.W_OK | os.X_OK):
            break
    else:
        raise InputError(f"{absolute} has blanks in it; set TMPDIR to a folder without any")
    with temporary_folder("persondet-link-", Path(place)) as holder:
        link = holder / "files"
        link.symlink_to(absolute, target_is_directory=True)
        yield link
