"""Taking DLC containers apart, and breaking them in the ways of accidents."""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

ENTRIES = (
    "dlc.metadata.history.2.3.0",
    "dlc.metadata2.3.0",
    "model",
    "model.params",
    "model.params.bin",
)


def entries_of(dlc: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(dlc) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_entries(path: Path, entries: Mapping[str, bytes]) -> Path:
    """Stored, with right CRCs."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def flip_byte(source: Path, path: Path, entry: str, *, where: float = 0.5) -> Path:
    """One bit of the entry's content, CRCs left as they were."""
    data = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        info = archive.getinfo(entry)
    start = info.header_offset + 30 + len(entry)
    data[start + int(where * info.file_size)] ^= 0x10
    path.write_bytes(data)
    return path


def zero_crcs(source: Path, path: Path) -> Path:
    """As Qualcomm's own writer leaves them, in the local headers and in the directory."""
    data = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        infos, directory = archive.infolist(), archive.start_dir
    for info in infos:
        data[info.header_offset + 14 : info.header_offset + 18] = bytes(4)
        assert data[directory : directory + 4] == b"PK\x01\x02"
        data[directory + 16 : directory + 20] = bytes(4)
        directory += 46 + sum(struct.unpack_from("<HHH", data, directory + 28))
    path.write_bytes(data)
    return path
