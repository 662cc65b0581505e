"""The DLC container: a zip of stored entries, checked before any native library sees it.

Qualcomm's loader does not notice a flipped byte in the weights, and recent writers leave every
CRC-32 zero, so the check is ours: zip structure, generation, CRCs. What is written here has right
CRCs, which the loader accepts as well.
"""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persondet.errors import InputError
from persondet.files import parse_json, zip_entries

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., name length, extra length
_MAX_ENTRIES = 1000  # real files have 4 to 10; one for each cached graph may be added
_MODEL_HEADER = struct.Struct("<2sHH")  # D5 0A, major, minor
_REMEDY = "convert the ONNX again with `persondet convert`"


@dataclass(frozen=True)
class DlcContainer:
    """What the zip says, before its graph is read.

    generation: "SNPE 1.x", "SNPE 2.x" or "QAIRT".
    model_version: major and minor of the `model` entry's header; None where it has none.
    metadata: the writer's own record (tool, version, command), as found. without_crc: whether the
    writer left the CRC of an entry zero.
    """

    path: Path
    generation: str
    model_version: tuple[int, int] | None
    metadata: dict[str, Any] = field(repr=False)
    entries: dict[str, int] = field(repr=False)  # name: bytes
    without_crc: bool = False


def check_container(path: Path) -> DlcContainer:
    """Open the container and check every entry's CRC.

    Raises InputError for what is no DLC, is truncated or damaged.
    """
    path = Path(path)
    data = _read_bytes(path)
    infos = _entry_infos(path, data)
    names = {info.filename for info in infos}
    if "model" not in names or not any(name.startswith("dlc.metadata") for name in names):
        raise InputError(
            f"{path} is a zip but not a DLC: expected the entries `model` and `dlc.metadata`, "
            f"found {', '.join(sorted(names)[:5]) or 'none'}"
        )
    entries = {}
    for info in infos:
        entries[info.filename] = content = _stored_bytes(path, data, info)
        if info.CRC != 0 and zlib.crc32(content) != info.CRC:  # 0: the writer left it out
            raise InputError(
                f"{path} is damaged: the CRC of its entry `{info.filename}` does not fit; "
                f"copy it again or {_REMEDY}"
            )
    return DlcContainer(
        path=path,
        generation=_generation(path, entries),
        model_version=_model_version(entries["model"]),
        metadata=_metadata(path, entries),
        entries={name: len(content) for name, content in entries.items()},
        without_crc=any(info.CRC == 0 and info.file_size > 0 for info in infos),
    )


def entry_bytes(container: DlcContainer, name: str) -> bytes:
    """An entry of a container that was checked. Raises InputError where the file has changed."""
    data = _read_bytes(container.path)
    for info in _entry_infos(container.path, data):
        if info.filename == name:
            return _stored_bytes(container.path, data, info)
    raise InputError(f"{container.path} has no entry `{name}`; {_REMEDY}")


def repack(source: Path, destination: Path) -> None:
    """Write the container again with right CRCs: same entries, same order, stored.

    Raises InputError where the source is no readable zip.
    """
    data = _read_bytes(source)
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_STORED) as archive:
        for info in _entry_infos(source, data):
            entry = zipfile.ZipInfo(info.filename)  # dated 1980: the bytes do not depend on the day
            archive.writestr(entry, _stored_bytes(source, data, info))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from None


def _entry_infos(path: Path, data: bytes) -> list[zipfile.ZipInfo]:
    if data[:4] != b"PK\x03\x04":
        found = "an empty file" if not data else f"a file that starts with {data[:4].hex(' ')}"
        raise InputError(
            f"{path} is not a DLC: expected a zip container, found {found}; check the name, or "
            f"{_REMEDY}"
        )
    try:
        infos = zip_entries(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(
            f"{path} is a truncated or damaged DLC ({error}); copy it again or {_REMEDY}"
        ) from None
    if problem := _entries_problem(infos, len(data)):
        raise InputError(f"{path} is a damaged DLC: {problem}; copy it again or {_REMEDY}")
    return infos


def _entries_problem(infos: Sequence[zipfile.ZipInfo], size: int) -> str | None:
    """Return what makes the entries a trap: too many, two of a name, or more than the file holds.

    Entries are stored, and those of a real file lie beside each other.
    """
    if len(infos) > _MAX_ENTRIES:
        return f"it has {len(infos)} entries, expected at most {_MAX_ENTRIES}"
    if len({info.filename for info in infos}) < len(infos):
        return "two of its entries have the same name"
    stored = (info for info in infos if info.compress_type == zipfile.ZIP_STORED)
    claimed = sum(info.file_size for info in stored)
    if claimed > size:
        return f"its entries claim {claimed:,} bytes, the file has {size:,}"
    return None


def _stored_bytes(path: Path, data: bytes, info: zipfile.ZipInfo) -> bytes:
    """An entry's bytes, read past zipfile, which refuses entries whose CRC was left zero."""
    header = data[info.header_offset : info.header_offset + 30]
    if info.compress_type != zipfile.ZIP_STORED or len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise InputError(
            f"{path} is a damaged DLC: its entry `{info.filename}` is not a stored zip entry; "
            f"copy it again or {_REMEDY}"
        )
    _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    start = info.header_offset + 30 + name_length + extra_length
    content = data[start : start + info.file_size]
    if len(content) != info.file_size:
        raise InputError(f"{path} is truncated in its entry `{info.filename}`; copy it again")
    return content


def _model_version(model: bytes) -> tuple[int, int] | None:
    if len(model) < _MODEL_HEADER.size:
        return None
    magic, major, minor = _MODEL_HEADER.unpack_from(model)
    return (major, minor) if magic == b"\xd5\x0a" else None


def _generation(path: Path, entries: dict[str, bytes]) -> str:
    version = _model_version(entries["model"])
    if version is not None and version[0] <= 3:
        return "SNPE 1.x"
    if any(name.startswith("dlc.metadata2.") for name in entries):
        return "QAIRT"
    if version is not None and version[0] == 4:
        return "SNPE 2.x"
    raise InputError(
        f"{path} is a DLC of an unknown generation: its entry `model` starts with "
        f"{entries['model'][:8].hex(' ')}; {_REMEDY}"
    )


def _metadata(path: Path, entries: dict[str, bytes]) -> dict[str, Any]:
    """The metadata entries by name: JSON from QAIRT, `key=value` lines from SNPE."""
    metadata: dict[str, Any] = {}
    for name, content in entries.items():
        if not name.startswith("dlc.metadata"):
            continue
        text = content.decode("utf-8", "replace")
        if name == "dlc.metadata":
            lines = (line.partition("=") for line in text.splitlines() if "=" in line)
            metadata |= {key.strip(): value.strip() for key, _, value in lines}
            continue
        try:
            metadata[name] = parse_json(text.rstrip("\0"))
        except ValueError:
            raise InputError(
                f"{path} is a damaged DLC: its entry `{name}` is not JSON; {_REMEDY}"
            ) from None
    return metadata
