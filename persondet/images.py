"""Reading pictures: one reader for inference, calibration and comparison."""

import functools
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from persondet.errors import InputError
from persondet.sidecar import replacing

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif"),
)
MAX_FILE_BYTES = 1 << 29  # no camera writes a picture this large; a video taken for one may be

# What people hand over by mistake: how such a file begins (in small letters) and what it is.
_NOT_PICTURES = (
    (b"version https://git-lfs", 0, "a Git LFS pointer; fetch the file itself: git lfs pull"),
    (b"<svg", 0, "an SVG drawing; convert it to PNG"),
    (b"<?xml", 0, "an XML file, perhaps an SVG drawing; convert it to PNG"),
    (b"<!doctype html", 0, "a web page, perhaps of a failed download"),
    (b"<html", 0, "a web page, perhaps of a failed download"),
    (b"%pdf", 0, "a PDF document; convert its pages to PNG"),
    (b"ftyphei", 4, "a HEIC picture; convert it to JPEG"),
    (b"ftypmif1", 4, "a HEIC picture; convert it to JPEG"),
    (b"ftyp", 4, "a video; `persondet live` reads videos"),
    (b"\x1ae\xdf\xa3", 0, "a video; `persondet live` reads videos"),
    (b"pk\x03\x04", 0, "a zip archive"),
)
_SILENT = 0  # level of OpenCV's log
_JPEG_SCAN = 0xDA  # marker of the segment that a JPEG's pixels follow


@functools.cache
def quiet_opencv() -> None:
    """Keep OpenCV's own log off standard error: what fails is raised, in our words, instead."""
    utils = getattr(cv2, "utils", None)
    logging = getattr(utils, "logging", cv2)  # 4.13 moved the function there
    if set_level := getattr(logging, "setLogLevel", None):
        set_level(_SILENT)


def read_image_rgb(path: str | Path) -> np.ndarray:
    """The picture as a viewer displays it: (H, W, 3) uint8 RGB, C-contiguous, freshly owned.

    The EXIF orientation is applied. Grey and palette pictures become RGB, 16-bit ones keep their
    high byte, CMYK is converted, of an animation the first frame is taken. Alpha is dropped as
    cv2.imread drops it (the pixels that the training code saw), except that a TIFF with alpha comes
    out over black.
    Raises InputError naming the file where it is missing, not a picture, cut off or too large.
    """
    data = _read_bytes(Path(path))
    if kind := _cut_off_kind(data):
        raise InputError(
            f"cannot read the picture {path}: the {kind} file is cut off after {len(data)} "
            "bytes; copy or download it again"
        )
    quiet_opencv()
    try:
        image_bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        raise InputError(
            f"cannot read the picture {path}: OpenCV refuses it ({_reason(error)}); expected at "
            "most 2^30 pixels and a whole file; scale it down or save it again"
        ) from None
    if image_bgr is None:
        raise InputError(
            f"cannot read the picture {path}: expected a whole JPEG, PNG, BMP, WebP, TIFF or GIF, "
            f"found {_what_it_is(data)}"
        )
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)


def _cut_off_kind(data: bytes) -> str | None:
    """Return `JPEG` or `PNG` when the file lacks the mark that ends such a file."""
    if data.startswith(b"\x89PNG"):
        return None if b"IEND" in data else "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return None if data.find(b"\xff\xd9", _jpeg_pixels_offset(data)) >= 0 else "JPEG"
    return None


def _jpeg_pixels_offset(data: bytes) -> int:
    """Return where the pixels begin, len(data) when none do, 0 when the segments are damaged.

    A thumbnail, which lies before the pixels, has an end mark of its own. OpenCV before 4.11 gives
    a JPEG that is cut off without a word, grey below.
    """
    offset = 2
    while offset + 4 <= len(data):
        if data[offset] != 0xFF:
            return 0
        marker, size = data[offset + 1], int.from_bytes(data[offset + 2 : offset + 4], "big")
        if marker == _JPEG_SCAN:
            return offset
        offset += 1 if marker == 0xFF else 2 + size  # 0xFF: padding
    return len(data)


def write_image_rgb(path: Path, image_rgb: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB; the format by suffix, such as .png or .jpg (quality 95).

    Raises InputError where the folder cannot be written or OpenCV knows no such format.
    """
    quiet_opencv()
    try:
        encoded = cv2.imencode(path.suffix, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))[1]
    except cv2.error as error:
        raise InputError(
            f"cannot write the picture {path}: {_reason(error)}; expected a name that ends in "
            ".png or .jpg"
        ) from None
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"cannot read the picture {path}: it is a folder; name a file in it")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"cannot read the picture {path}: expected a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise InputError(
                f"cannot read the picture {path}: it is too large, {status.st_size} bytes; "
                f"expected at most {MAX_FILE_BYTES}; is it a video?"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"cannot read the picture {path}: no such file; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot read the picture {path}: {reason}; check the file and its permissions"
        ) from None
    if not data:
        raise InputError(f"cannot read the picture {path}: the file is empty; copy it again")
    return data


def _what_it_is(data: bytes) -> str:
    head = data[:64].lower()
    for mark, offset, words in _NOT_PICTURES:
        if head.startswith(mark, offset):
            return words
    return (
        f"{len(data)} bytes that begin {data[:8]!r} and are damaged, or of a kind that OpenCV does "
        "not read"
    )


def _reason(error: Exception) -> str:
    return (getattr(error, "err", None) or str(error) or "out of memory").strip()


def list_images(paths: Iterable[str | Path]) -> list[Path]:
    """The pictures that files and folders name, in the order given, each once.

    A file is taken whatever its suffix. A folder stands for the files below it, at any depth, whose
    suffix is one of SUFFIXES in small or capital letters, sorted by path; hidden files and
    folders are passed over, and links to folders are not followed.
    Raises InputError where a path does not exist or a folder holds no picture or cannot be read.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found.update(dict.fromkeys(_images_below(path)))
        elif path.exists():
            found[path] = None
        else:
            raise InputError(f"no such picture or folder: {path}; check the path")
    return list(found)


def _images_below(folder: Path) -> list[Path]:
    def unreadable(error: OSError) -> None:
        raise InputError(
            f"cannot read the folder {error.filename}: {error.strerror}; check its permissions"
        ) from None

    images = []
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images += [
            Path(parent, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    if not images:
        raise InputError(
            f"no pictures in the folder {folder}; expected files that end in {', '.join(SUFFIXES)}"
        )
    return sorted(images)
