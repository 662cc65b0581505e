"""What every backend offers, and the choice of one for a model file."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from persondet.errors import InputError, missing_package
from persondet.files import is_folder, zip_entries
from persondet.spec import DetectorSpec

KINDS = {
    ".onnx": "onnx",
    ".dlc": "dlc",
    ".pth": "pth",
    ".pt": "pth",
    ".safetensors": "pth",
    ".ckpt": "pth",
    ".bin": "pth",
    ".tar": "pth",
}
# Other programs use these, too: the content must say that it is a checkpoint.
_SHARED_SUFFIXES = (".ckpt", ".bin", ".tar")
_WORDS = {"onnx": "an ONNX model", "dlc": "a DLC", "pth": "a PyTorch checkpoint"}


class Backend(Protocol):
    """A model ready to run. Raises on opening where the model does not fit its spec."""

    @property
    def name(self) -> str:
        """The model's file, for messages."""

    @property
    def spec(self) -> DetectorSpec: ...

    @property
    def device(self) -> str:
        """What it runs on, in words."""

    def infer(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        """spec.input_shape, spec.input_dtype to float32 outputs by name, batch of one."""

    def close(self) -> None: ...


def open_backend(path: str | Path, spec: DetectorSpec | None = None, **options: Any) -> Backend:
    """Open a .onnx, .dlc or .pth file.

    spec: for a .onnx or .dlc that came without its own; of a .pth, instead of its own. options: the
    backend's, such as `threads`. Raises InputError where the file is not what its suffix says,
    cannot be read, has no spec, or does not fit it, and where a package that runs it is missing.
    """
    path = Path(path)
    try:
        return _backend_class(model_kind(path))(path, spec, **options)
    except ModuleNotFoundError as error:
        raise missing_package(error) from error


def _backend_class(kind: str) -> Callable[..., Backend]:
    if kind == "onnx":
        from runtime.onnx_backend import OnnxBackend

        return OnnxBackend
    if kind == "dlc":
        from runtime.dlc_backend import DlcBackend

        return DlcBackend
    from runtime.torch_backend import TorchBackend

    return TorchBackend


def model_kind(path: Path) -> str:
    """`onnx`, `dlc` or `pth`, by the suffix; the content is looked at only to catch a wrong one.
    `pth` is any checkpoint: PyTorch's, as .ckpt, .bin and .pth.tar too, and safetensors.

    Raises InputError for another suffix, a missing or empty file, a folder, a renamed file.
    """
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path} is no model: expected a .pth, .onnx or .dlc file")
    found = _kind_by_content(path)
    if found not in (None, kind):
        right = next(suffix for suffix, name in KINDS.items() if name == found)
        raise InputError(
            f"{path}: expected {_WORDS[kind]}, found {_WORDS[found]}; rename it to end in {right}"
        )
    if found is None and path.suffix.lower() in _SHARED_SUFFIXES:
        raise InputError(
            f"{path} is no model: expected {_WORDS[kind]}, found another kind of file or a damaged "
            "one; name a .pth, .onnx or .dlc file, or copy it again"
        )
    return kind


def without_suffix(name: str) -> str:
    """A model's file name without what says its kind: `head.pth.tar` is `head`."""
    while Path(name).suffix.lower() in KINDS:
        name = Path(name).stem
    return name


def _kind_by_content(path: Path) -> str | None:
    """None where the first bytes do not tell."""
    if is_folder(path):
        raise InputError(f"{path} is a folder; expected a model file")
    try:
        with path.open("rb") as file:
            head = file.read(9)
            if head[:4] == b"PK\x03\x04":
                return _kind_of_zip(file)
            size = file.seek(0, 2)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check its permissions") from None
    except ValueError:
        raise InputError(f"cannot read {str(path)!r}: no file has such a name") from None
    if not head:
        raise InputError(f"{path} is empty; make it or copy it again")
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pth"  # a bare pickle, as torch wrote before 1.6
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") < size:
        return "pth"  # safetensors: the length of a JSON header, and the header
    # An ONNX file begins with its IR version: protobuf field 1, a small number.
    return "onnx" if head[0] == 0x08 and head[1:2] < b"\x20" else None


def _kind_of_zip(file: BinaryIO) -> str | None:
    try:
        names = [entry.filename for entry in zip_entries(file)]
    except zipfile.BadZipFile:  # cut off, or damaged
        return None  # the reader of this kind of file explains it better
    if any(name.endswith("/data.pkl") for name in names):
        return "pth"
    return "dlc" if "model" in names else None
