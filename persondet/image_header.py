"""What the header of an image file says: its size before anything is decoded, and how it is turned.

One reader per format that OpenCV decodes and that can be small on disk and large in memory.
"""

import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS = 0x0100, 0x0101, 0x0102
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # by the field's type
_MOST_TAGS = 4096
_NO_LENGTH = {0x01, 0xD8, *range(0xD0, 0xD8)}  # JPEG markers that stand alone (ITU T.81, B.1.1.3)
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, whatever the process
_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1
_TAIL = 4096  # bytes in which the end mark of nearly every JPEG stands
_PNM = re.compile(rb"P[1-6](?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)(?:\s+(\d+))?")
# AVIF: EXIF orientation of `irot`'s quarter turns (anticlockwise), alone and followed by `imir`
# with axis 0 (top to bottom) and 1 (left to right), as libavif maps them.
_AVIF_ORIENTATIONS = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """The header of an image file.

    kind: the format, such as JPEG.
    size_hw: height and width as stored, or None if the file is cut off before it says them.
    orientation: EXIF orientation, 1 to 8, that is still to be applied to what OpenCV decodes with
        IMREAD_IGNORE_ORIENTATION. 1 for TIFF, whose decoder always turns.
    bits: per sample, as stored.
    is_whole: False if the end mark of a JPEG or PNG is missing.
    """

    kind: str
    size_hw: tuple[int, int] | None
    orientation: int = 1
    bits: int = 8
    is_whole: bool = True

    @property
    def displayed_size_hw(self) -> tuple[int, int] | None:
        """Height and width after the turn."""
        if self.size_hw is None or self.orientation < 5:
            return self.size_hw
        return self.size_hw[1], self.size_hw[0]


def read_image_header(file: BinaryIO) -> ImageHeader | None:
    """Return the header of an image file, or None if it is of another kind or not understood.

    Reads JPEG, PNG (with APNG), WebP, AVIF, TIFF, GIF, BMP, PNM and JPEG 2000.
    """
    begin = file.read(16)
    for mark, offset, kind, read in _READERS:
        if begin.startswith(mark, offset):
            file.seek(0)
            try:
                return read(file)
            except (struct.error, ValueError, IndexError, KeyError):
                cut_off = kind in ("JPEG", "PNG")
                return ImageHeader(kind=kind, size_hw=None, is_whole=False) if cut_off else None
    return None


def _jpeg(file: BinaryIO) -> ImageHeader:
    size_hw = None
    orientation = None
    file.seek(2)
    while (marker := _jpeg_marker(file)) != _END:
        if marker in _NO_LENGTH:
            continue
        length = _unpack(">H", file)[0] - 2
        if length < 0:
            raise ValueError("a JPEG segment shorter than its own length")
        after = file.tell() + length
        if marker == _SCAN:
            return ImageHeader(
                kind="JPEG",
                size_hw=size_hw,
                orientation=orientation or 1,
                is_whole=_has_end_of_jpeg(file, after),
            )
        if marker in _FRAMES and size_hw is None:
            _, height, width = _unpack(">BHH", file)
            size_hw = (height, width) if height and width else None  # 0: said behind the scan
        elif marker == _APP1 and orientation is None:
            payload = file.read(length)
            if payload.startswith(_EXIF):
                orientation = _exif_orientation(payload)
        file.seek(after)
    raise ValueError("a JPEG file without a scan")


def _jpeg_marker(file: BinaryIO) -> int:
    """Return the next marker's code; bytes of filling are passed over, as decoders do."""
    byte = file.read(1)
    while byte and byte != b"\xff":
        byte = file.read(1)
    while byte == b"\xff":
        byte = file.read(1)
    return struct.unpack("B", byte)[0]


def _has_end_of_jpeg(file: BinaryIO, scan: int) -> bool:
    """Return True if the end mark stands behind the scan's begin: a thumbnail has one of its own,
    which stands before it."""
    for begin in (max(scan, file.seek(0, 2) - _TAIL), scan):
        file.seek(begin)
        if b"\xff\xd9" in file.read():
            return True
    return False


def _png(file: BinaryIO) -> ImageHeader:
    file.seek(8)
    size_hw, bits, orientation = None, 8, 1
    while True:
        length, kind = _unpack(">I4s", file)
        after = file.tell() + length + 4  # behind the checksum
        if kind == b"IHDR":
            width, height, bits = _unpack(">IIB", file)
            size_hw = height, width
        elif kind == b"eXIf":  # may stand behind the pixels
            orientation = _exif_orientation(file.read(length))
        elif kind == b"IEND":
            return ImageHeader(kind="PNG", size_hw=size_hw, orientation=orientation, bits=bits)
        file.seek(after)


def _webp(file: BinaryIO) -> ImageHeader:
    file.seek(12)
    size_hw, orientation = None, 1
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", head)
        after = file.tell() + length + length % 2
        if size_hw is None and kind in _WEBP_SIZES:
            size_hw = _WEBP_SIZES[kind](file.read(10))
        elif kind == b"EXIF":
            orientation = _exif_orientation(file.read(length))
        file.seek(after)
    return ImageHeader(kind="WebP", size_hw=size_hw, orientation=orientation)


def _webp_canvas(data: bytes) -> tuple[int, int]:
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (4, 7))
    return height, width


def _webp_lossy(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return height & 0x3FFF, width & 0x3FFF


def _webp_lossless(data: bytes) -> tuple[int, int]:
    sides = struct.unpack_from("<I", data, 1)[0]
    return (sides >> 14 & 0x3FFF) + 1, (sides & 0x3FFF) + 1


_WEBP_SIZES = {b"VP8X": _webp_canvas, b"VP8 ": _webp_lossy, b"VP8L": _webp_lossless}


def _avif(file: BinaryIO) -> ImageHeader | None:
    """Read the properties of the primary item (ISO/IEC 23008-12). Its EXIF turns nothing."""
    boxes = dict(iso_boxes(file.read()))
    if b"avif" not in boxes[b"ftyp"] and b"avis" not in boxes[b"ftyp"]:
        return None
    meta = dict(iso_boxes(boxes[b"meta"][4:]))
    primary = int.from_bytes(meta[b"pitm"][4 : 8 if meta[b"pitm"][0] else 6], "big")
    parts = list(iso_boxes(meta[b"iprp"]))
    properties = list(iso_boxes(dict(parts)[b"ipco"]))
    sizes = [struct.unpack(">II", body[4:12]) for kind, body in properties if kind == b"ispe"]
    numbers = [n for kind, body in parts if kind == b"ipma" for n in _associated(body, primary)]
    associated = [properties[number - 1] for number in numbers if number]
    turns = {kind: body[0] for kind, body in associated if kind in (b"irot", b"imir")}
    mirrored = turns[b"imir"] & 1 if b"imir" in turns else None
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return ImageHeader(
        kind="AVIF",
        size_hw=(height, width),
        orientation=_AVIF_ORIENTATIONS[mirrored][turns.get(b"irot", 0) & 3],
    )


def _associated(ipma: bytes, item: int) -> list[int]:
    """Return the numbers of an item's properties, from 1."""
    version, wide = ipma[0], ipma[3] & 1
    stream = io.BytesIO(ipma[4:])
    for _ in range(_unpack(">I", stream)[0]):
        found, count = _unpack(">IB" if version else ">HB", stream)
        numbers = [_unpack(">H" if wide else ">B", stream)[0] for _ in range(count)]
        if found == item:
            return [number & (0x7FFF if wide else 0x7F) for number in numbers]
    return []


def iso_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of each ISO box."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if length == 1:
            length = struct.unpack_from(">Q", data, begin)[0]
            begin += 8
        end = at + length if length else len(data)
        if end < begin:
            raise ValueError("a box shorter than its own header")
        yield kind, data[begin:end]
        at = end


def _tiff(file: BinaryIO) -> ImageHeader:
    tags = _tiff_tags(file)
    size_hw = tags[_TIFF_HEIGHT], tags[_TIFF_WIDTH]
    return ImageHeader(kind="TIFF", size_hw=size_hw, bits=tags.get(_TIFF_BITS, 1))


def _tiff_tags(file: BinaryIO) -> dict[int, int]:
    """Return the first integer of each tag in the first directory, as far as it can be read."""
    order = "<" if file.read(2) == b"II" else ">"
    tags: dict[int, int] = {}
    try:
        is_big = _unpack(order + "H", file)[0] == 43  # BigTIFF
        file.seek(8 if is_big else 4)
        file.seek(_unpack(order + ("Q" if is_big else "I"), file)[0])
        count = _unpack(order + ("Q" if is_big else "H"), file)[0]
        entry, slot = (order + "HHQ", 8) if is_big else (order + "HHI", 4)
        for _ in range(min(count, _MOST_TAGS)):
            tag, field, length = _unpack(entry, file)
            after = file.tell() + slot
            if field in _TIFF_INTEGERS:
                number = order + _TIFF_INTEGERS[field]
                if struct.calcsize(number) * length > slot:  # the slot says where they stand
                    file.seek(_unpack(order + ("Q" if is_big else "I"), file)[0])
                tags.setdefault(tag, _unpack(number, file)[0])
            file.seek(after)
    except (struct.error, OverflowError, ValueError):
        pass  # cut off
    return tags


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1 (as stored) if there is none. Some programs write EXIF with JPEG's
    own header before it, where it does not belong, and some write that twice."""
    while exif.startswith(_EXIF):
        exif = exif[len(_EXIF) :]
    orientation = _tiff_tags(io.BytesIO(exif)).get(_ORIENTATION, 1)
    return orientation if 1 <= orientation <= 8 else 1


def _gif(file: BinaryIO) -> ImageHeader:
    width, height = struct.unpack_from("<HH", file.read(10), 6)
    return ImageHeader(kind="GIF", size_hw=(height, width))


def _bmp(file: BinaryIO) -> ImageHeader:
    data = file.read(26)
    is_os2 = struct.unpack_from("<I", data, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if is_os2 else "<ii", data, 18)
    return ImageHeader(kind="BMP", size_hw=(abs(height), abs(width)))  # negative: from the top


def _pnm(file: BinaryIO) -> ImageHeader | None:
    match = _PNM.match(file.read(1024))
    if match is None:
        return None
    width, height, most = (int(number or 255) for number in match.groups())
    bits = 16 if most > 255 and match[0][1:2] not in b"14" else 8  # bitmaps say no maximum
    return ImageHeader(kind="PNM", size_hw=(height, width), bits=bits)


def _jpeg_2000(file: BinaryIO) -> ImageHeader:
    data = file.read()
    at = data.index(b"\xff\x4f\xff\x51")  # the codestream's own header (ITU T.800, A.5.1)
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    return ImageHeader(kind="JPEG 2000", size_hw=(bottom - top, right - left))


def _unpack(layout: str, file: BinaryIO) -> tuple:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


_READERS: tuple[tuple[bytes, int, str, Callable[[BinaryIO], ImageHeader | None]], ...] = (
    (b"\xff\xd8\xff", 0, "JPEG", _jpeg),
    (b"\x89PNG\r\n\x1a\n", 0, "PNG", _png),
    (b"WEBP", 8, "WebP", _webp),
    (b"ftyp", 4, "AVIF", _avif),
    (b"II*\0", 0, "TIFF", _tiff),
    (b"MM\0*", 0, "TIFF", _tiff),
    (b"II+\0", 0, "TIFF", _tiff),
    (b"MM\0+", 0, "TIFF", _tiff),
    (b"GIF8", 0, "GIF", _gif),
    (b"BM", 0, "BMP", _bmp),
    (b"P", 0, "PNM", _pnm),
    (b"\0\0\0\x0cjP  ", 0, "JPEG 2000", _jpeg_2000),
    (b"\xff\x4f\xff\x51", 0, "JPEG 2000", _jpeg_2000),
)
