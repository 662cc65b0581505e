"""The size of a picture as displayed, from the first bytes of its file."""

import struct
from pathlib import Path
from typing import BinaryIO

from persondet.errors import InputError
from persondet.images import read_image_rgb

_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4: 5 to 8 turn the picture by a quarter
_NO_LENGTH = {0x01, 0xD8, *range(0xD0, 0xD8)}  # JPEG markers that stand alone (ITU T.81, B.1.1.3)
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, whatever the process


def displayed_size_hw(path: Path) -> tuple[int, int]:
    """Height and width as `read_image_rgb` gives them: the EXIF orientation is applied.

    JPEG and PNG are not decoded: their headers are read, and whether their end is there. Other
    formats are decoded. Raises InputError where the file is missing, cut off or no picture.
    """
    try:
        with path.open("rb") as file:
            size_hw = _size_of_header(file)
    except FileNotFoundError:
        raise InputError(f"cannot read the picture {path}: no such file; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read the picture {path}: {error.strerror}") from None
    except struct.error:  # cut off within the header: the decoder finds the words
        size_hw = None
    if size_hw is None:
        height, width, _ = read_image_rgb(path).shape
        return height, width
    return size_hw


def _size_of_header(file: BinaryIO) -> tuple[int, int] | None:
    begin = file.read(8)
    if begin == _PNG:
        return _png_size(file)
    if begin.startswith(b"\xff\xd8\xff"):
        return _jpeg_size(file) if _has_end_of_jpeg(file) else None
    return None


def _has_end_of_jpeg(file: BinaryIO) -> bool:
    """Whether the file holds its end, so near to its own that nobody need decode to be sure."""
    file.seek(-min(file.seek(0, 2), 4096), 2)
    return b"\xff\xd9" in file.read()


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    orientation = None
    file.seek(2)
    while True:
        marker = _jpeg_marker(file)
        if marker in _NO_LENGTH:
            continue
        length = struct.unpack(">H", file.read(2))[0] - 2
        if marker in _FRAMES:
            _, height, width = struct.unpack(">BHH", file.read(5))
            return _turned(height, width, orientation) if height and width else None
        if marker in (0xDA, 0xD9) or length < 0:  # the picture's data, and no frame before it
            return None
        if marker == 0xE1 and orientation is None:
            payload = file.read(length)
            if payload.startswith(_EXIF):
                orientation = _orientation(payload[len(_EXIF) :])
        else:
            file.seek(length, 1)


def _jpeg_marker(file: BinaryIO) -> int:
    """The next marker's code; bytes of filling are passed over, as decoders do."""
    byte = file.read(1)
    while byte and byte != b"\xff":
        byte = file.read(1)
    while byte == b"\xff":
        byte = file.read(1)
    return struct.unpack("B", byte)[0]


def _png_size(file: BinaryIO) -> tuple[int, int] | None:
    size_hw = None
    orientation = None
    while True:
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IHDR":
            width, height = struct.unpack(">II", file.read(length)[:8])
            size_hw = height, width
            file.seek(4, 1)  # the checksum
        elif kind == b"eXIf":  # may stand behind the pixels
            orientation = _orientation(file.read(length))
            file.seek(4, 1)
        elif kind == b"IEND":
            return _turned(*size_hw, orientation) if size_hw else None
        else:
            file.seek(length + 4, 1)


def _orientation(tiff: bytes) -> int:
    """The orientation in the first directory; 1 (as stored) where there is none."""
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        at = struct.unpack_from(order + "I", tiff, 4)[0]
        count = struct.unpack_from(order + "H", tiff, at)[0]
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            if struct.unpack_from(order + "H", tiff, entry)[0] == _ORIENTATION:
                return struct.unpack_from(order + "H", tiff, entry + 8)[0]
    except struct.error:  # EXIF that is cut off turns nothing
        pass
    return 1


def _turned(height: int, width: int, orientation: int | None) -> tuple[int, int]:
    return (width, height) if orientation in (5, 6, 7, 8) else (height, width)
