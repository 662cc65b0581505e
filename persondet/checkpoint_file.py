"""Reading files of tensors: PyTorch's own, old and new, and safetensors.

Nothing in a file is executed, and reading takes memory in proportion to the file's size, whatever
it claims. The checksums in PyTorch's files are checked, which torch itself leaves out.
"""

import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

from persondet.errors import InputError
from persondet.safetensors_file import is_safetensors, read_safetensors
from persondet.stored_tensor import ExpandedError, StoredTensor
from persondet.tensor_pickle import ForeignObjectError, read_pickle

EXPECTED = (
    "expected a PyTorch state_dict, as `torch.save(model.state_dict(), FILE)` writes it, bare or "
    "inside of a training script's checkpoint, or a safetensors file"
)
# What Python makes of a pickle takes up to 60 times its length. The one of f38 has 45 kB.
_LONGEST_PICKLE = 4 * 2**20
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
_MOST_SHOWN = 15


class DamagedError(ValueError):
    """A file that is not whole. The text says in what."""


class _NotCheckpointError(ValueError):
    """A file of another kind."""


def read_checkpoint_file(path: Path) -> Any:
    """The content of a .pth file or of a safetensors file; its tensors are StoredTensors.

    Raises InputError when it cannot be read, is damaged or another kind of file, holds objects
    other than tensors and plain data, or claims more tensors than it has bytes for.
    """
    data = _bytes_of(path)
    try:
        return _read(data)
    except ExpandedError as error:
        raise expanded(path, error) from None
    except ForeignObjectError as error:
        raise InputError(_foreign(path, error.name)) from None
    except _NotCheckpointError as error:
        raise InputError(f"{path} {error}; {EXPECTED}") from None
    except Exception as error:  # a damaged file can make the readers raise anything
        reason = f" ({error})" if isinstance(error, DamagedError) else ""
        raise InputError(
            f"{path} cannot be read as a checkpoint: it is truncated, damaged or another kind of "
            f"file{reason}; {EXPECTED}; copy it again from where it came"
        ) from None


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; name the .pth file in it") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def expanded(path: Path, error: ExpandedError) -> InputError:
    """The error of a file that claims more than it has."""
    return InputError(
        f"{path}: {error}; expected tensors that are stored whole: save them with "
        "`tensor.clone()`, or copy the file again from where it came"
    )


def shown_entries(entries: list[str]) -> list[str]:
    """The first of many lines, and how many more there are."""
    rest = len(entries) - _MOST_SHOWN
    return [*entries[:_MOST_SHOWN], *([f"and {rest} more"] if rest > 0 else [])]


def _foreign(path: Path, name: str) -> str:
    if name.startswith("torch._utils._rebuild"):
        return f"{path} holds tensors of a kind that is not read ({name}); {EXPECTED}"
    return (
        f"{path} holds Python objects other than tensors ({name}), and loading those could run any "
        f"code; {EXPECTED}; load it where it was made and save the state_dict alone"
    )


def _read(data: bytes) -> Any:
    if not data:
        raise _NotCheckpointError("is empty; copy or download it again")
    if data.startswith(b"PK"):
        return _read_zip(data)
    if is_safetensors(data[:9], len(data)):
        return read_safetensors(data)
    if data.startswith(b"\x80"):
        return _read_legacy(data)
    raise _NotCheckpointError("is another kind of file renamed, or damaged")


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        folder = _folder(archive)
        _check_entries(archive, len(data))
        if folder + "byteorder" in archive.namelist():
            order = archive.read(folder + "byteorder").decode("ascii")
            if order != sys.byteorder:
                raise _NotCheckpointError(f"was written on a machine with {order}-endian numbers")

        def storage(key: str, num_bytes: int) -> bytearray:
            info = archive.getinfo(f"{folder}data/{key}")
            if info.file_size < num_bytes:
                raise DamagedError(f"its entry {info.filename} is too short")
            content = bytearray(info.file_size)
            with archive.open(info) as entry:
                _read_into(entry, content)
            return content

        pickle = archive.getinfo(folder + "data.pkl")
        if pickle.file_size > _LONGEST_PICKLE:
            raise DamagedError(f"its entry {pickle.filename} is too long")
        return read_pickle(archive.read(pickle), storage)[0]


def _folder(archive: zipfile.ZipFile) -> str:
    """What the names of a checkpoint's entries begin with, such as "archive/"."""
    names = archive.namelist()
    pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise _NotCheckpointError("is another kind of file renamed, or damaged")
    folder = pickles[0].removesuffix("data.pkl")
    if folder + "constants.pkl" in names:
        raise _NotCheckpointError("is a TorchScript archive")
    return folder


def _check_entries(archive: zipfile.ZipFile, size: int) -> None:
    """Raise DamagedError when an entry's CRC differs, and when the entries claim more than the file
    has, as compressed or overlapping ones do. torch writes neither."""
    entries = archive.infolist()
    if sum(entry.file_size for entry in entries) > size:
        raise DamagedError("its entries claim more bytes than it has")
    if all(entry.CRC == 0 for entry in entries):  # torch.serialization.set_crc32_options(False)
        for entry in entries:
            entry.CRC = None  # type: ignore[assignment]  # zipfile does not check it then
    elif damaged := archive.testzip():
        raise DamagedError(f"the checksum of its entry {damaged} differs")


def _read_legacy(data: bytes) -> Any:
    """What torch wrote before 1.6: pickles of a magic number, a version, the machine's numbers, the
    content and the keys of its storages; then each storage's length in elements and its bytes."""
    storages: dict[str, bytearray] = {}

    def storage(key: str, num_bytes: int) -> bytearray:
        if num_bytes + sum(map(len, storages.values())) > len(data):
            raise DamagedError("its storages claim more bytes than it has")
        storages[key] = bytearray(num_bytes)
        return storages[key]

    contents, at = [], 0
    for _ in range(5):
        content, length = read_pickle(data[at : at + _LONGEST_PICKLE], storage)
        contents.append(content)
        at += length
        if contents[0] != _LEGACY_MAGIC:
            raise _NotCheckpointError("is another kind of file renamed, or damaged")
    if contents[2]["little_endian"] != (sys.byteorder == "little"):
        raise _NotCheckpointError("was written on a machine with another order of bytes")
    rest = BytesIO(data[at:])
    for key in contents[4]:
        rest.read(8)
        _read_into(rest, storages[key])
    return contents[3]


def _read_into(source: Any, data: bytearray) -> None:
    view = memoryview(data)
    while view:
        count = source.readinto(view)
        if not count:
            raise DamagedError("it ends early")
        view = view[count:]


def with_tensors(content: Any) -> Any:
    """The content of a file that was read, its tensors as torch's."""
    if isinstance(content, StoredTensor):
        return content.tensor()
    if isinstance(content, dict):
        return {key: with_tensors(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(with_tensors(value) for value in content)
    return content
