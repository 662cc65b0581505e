"""Mirrored videos: OpenCV turns frames as an MP4 or MOV says, and takes a mirror for a turn."""

import struct
from pathlib import Path

from persondet.image_header import iso_boxes

_MOST_BYTES = 1 << 26  # of the box that describes the tracks
# Signs of a, b, c, d in x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 8.3.2): EXIF orientation
_MIRRORED = {(-1, 0, 0, 1): 2, (1, 0, 0, -1): 4, (0, 1, 1, 0): 5, (0, -1, -1, 0): 7}


def mirrored_orientation(path: Path) -> int | None:
    """Return the EXIF orientation that the first video track's display matrix stands for, if it
    mirrors; otherwise, and for files of other kinds, None."""
    try:
        for kind, trak in iso_boxes(_moov(path)):
            track = dict(iso_boxes(trak)) if kind == b"trak" else {}
            if track and dict(iso_boxes(track[b"mdia"]))[b"hdlr"][8:12] == b"vide":
                return _MIRRORED.get(_signs(track[b"tkhd"]))
    except (OSError, struct.error, KeyError, ValueError, IndexError):
        pass  # FFmpeg judges whether the file is whole
    return None


def _signs(tkhd: bytes) -> tuple[int, int, int, int]:
    a, b, _, c, d = struct.unpack_from(">5i", tkhd, 52 if tkhd[0] else 40)
    return _sign(a), _sign(b), _sign(c), _sign(d)


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def _moov(path: Path) -> bytes:
    """Return the content of the box that describes the tracks, b"" if there is none."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            size = length - 8
            if length == 1:
                size = struct.unpack(">Q", file.read(8))[0] - 16
            if kind == b"moov":
                return file.read(min(size, _MOST_BYTES) if length else _MOST_BYTES)
            if size < 0:  # to the end of the file, or no box at all
                return b""
            file.seek(size, 1)
    return b""
