"""Tensors as the SDK's tools want them: headerless files, and lists that name them.

Layout, type and size of every file come from the artefact's spec; no size is ever interpreted.
A list is one inference a line and has no quoting: blanks cannot be in it.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from persondet.errors import InputError
from persondet.preprocess import preprocess
from persondet.spec import DetectorSpec
from persondet.temporary import temporary_folder
from runtime.raw_results import RawTensor

LIST_NAME = "input_list.txt"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_NAME_LENGTH = 40


def raw_input(spec: DetectorSpec, *, native: bool = False) -> RawTensor:
    """The input's file for an artefact of this spec.

    native: in the input's own type (--use_native_input_files), which is uint8 for uint8-nhwc;
    otherwise float32, whatever the input's type is: pixels 0..255 for uint8-nhwc.
    """
    dtype = spec.input_dtype if native else "float32"
    return RawTensor(spec.input_name, spec.input_shape, dtype)


def write_raw(path: Path, array: np.ndarray, tensor: RawTensor) -> None:
    """Raises ValueError where the array is not of the tensor's shape, or would lose in its type."""
    if array.shape != tensor.shape:
        raise ValueError(f"{tensor.name}: expected shape {tensor.shape}, got {array.shape}")
    if not np.can_cast(array.dtype, tensor.stored, "safe"):
        raise ValueError(f"{tensor.name}: expected {tensor.dtype}, got {array.dtype}")
    path.write_bytes(array.astype(tensor.stored).tobytes())


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


def listed_inputs(text: str, input_name: str) -> tuple[str, ...]:
    """Return the file of each inference that an input list names, in order: the inverse of
    `input_list` for a network of one input. The lines that ask for outputs are passed over."""
    files: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or (not files and words[0][0] in "#%"):
            continue
        named = dict(word.split(":=", 1) for word in words if ":=" in word)
        files.append(named.get(input_name, words[0].rpartition(":=")[2]))
    return tuple(files)


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
