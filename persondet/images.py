"""Reading pictures: one reader for inference, calibration and comparison."""

import functools
import io
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from persondet.decoder_complaints import complaints_of_jpeg
from persondet.errors import InputError
from persondet.files import exists, is_folder
from persondet.image_header import ImageHeader, read_image_header
from persondet.sidecar import replacing
from persondet.terminal import printable
from persondet.wording import counted

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".png", ".apng", ".bmp", ".dib", ".webp"),
    *(".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif"),
)
MAX_FILE_BYTES = 1 << 29  # no camera writes a picture this large; a video taken for one may be
# Decoding takes 6 bytes a pixel of a JPEG, up to 27 of other kinds (an animated PNG of 16 bits):
# 1.8 GB at most. Phones write JPEG files of up to 200 million pixels; others so large are bombs,
# of some kB on disk.
MAX_PIXELS = 1 << 26
MAX_PIXELS_JPEG = 1 << 28
_DARK_BELOW = 1 << 14  # no value of a 16-bit image reaches it: a sensor's 10 to 14 bits, not scaled
_LOG = logging.getLogger(__name__)

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
# After a transposition for 5 to 8: how cv2.flip finishes an EXIF orientation.
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
_SILENT = 0  # level of OpenCV's log


@functools.cache
def quiet_opencv() -> None:
    """Keep OpenCV's own log off standard error: what fails is raised, in our words, instead."""
    utils = getattr(cv2, "utils", None)
    logging = getattr(utils, "logging", cv2)  # 4.13 moved the function there
    if set_level := getattr(logging, "setLogLevel", None):
        set_level(_SILENT)


def read_image_rgb(path: str | Path) -> np.ndarray:
    """The picture as a viewer displays it: (H, W, 3) uint8 RGB, C-contiguous, freshly owned.

    The EXIF orientation is applied, of AVIF its own rotation and mirror. Grey and palette pictures
    become RGB, 16-bit ones keep their high byte (a note says where only the low bits are used),
    CMYK is converted, of an animation the first frame is taken. Alpha is dropped as
    cv2.imread drops it (the pixels that the training code saw), except that a TIFF with alpha comes
    out over black. A JPEG that has its end, but is damaged before it, is read with grey
    or coloured blocks; a note says so.
    Raises InputError naming the file where it is missing, not a picture, cut off or too large:
    above MAX_FILE_BYTES, MAX_PIXELS or MAX_PIXELS_JPEG.
    """
    data = _read_bytes(Path(path))
    header = read_image_header(io.BytesIO(data))
    if header is not None:
        _check_header(header, path, len(data))
    image_bgr = _decode(data, path, header)
    image_bgr = turned(image_bgr, 1 if header is None else header.orientation)
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation, 1 to 8, to an image of shape (H, W, C)."""
    if orientation >= 5:
        image = cv2.transpose(image)
    return cv2.flip(image, _FLIPS[orientation]) if orientation in _FLIPS else image


def _check_header(header: ImageHeader, path: str | Path, file_bytes: int) -> None:
    if not header.is_whole:
        raise InputError(
            f"cannot read the picture {path}: the {header.kind} file is cut off after {file_bytes} "
            "bytes; copy or download it again"
        )
    height, width = header.size_hw or (0, 0)
    limit = MAX_PIXELS_JPEG if header.kind == "JPEG" else MAX_PIXELS
    if height * width > limit:
        raise InputError(
            f"cannot read the picture {path}: it has {width} x {height} pixels, expected at most "
            f"{limit / 1e6:.0f} million in a {header.kind} file; scale it down"
        )


def _decode(data: bytes, path: str | Path, header: ImageHeader | None) -> np.ndarray:
    """(H, W, 3) uint8 BGR, not turned."""
    quiet_opencv()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if header is not None and header.bits == 16:
        flags |= cv2.IMREAD_ANYDEPTH
    is_jpeg = header is not None and header.kind == "JPEG"
    try:
        image_bgr, complaints = _imdecode(data, flags, is_jpeg)
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
    if complaints:
        _LOG.warning(
            "%s is damaged: %s; what is lost is read as grey or coloured blocks",
            printable(str(path)),
            complaints[0],
        )
    return image_bgr if image_bgr.dtype == np.uint8 else _high_byte(image_bgr, path)


def _imdecode(data: bytes, flags: int, is_jpeg: bool) -> tuple[np.ndarray | None, list[str]]:
    """What OpenCV decodes, and libjpeg's complaints about it."""
    buffer = np.frombuffer(data, np.uint8)
    if not is_jpeg:
        return cv2.imdecode(buffer, flags), []
    with complaints_of_jpeg() as complaints:
        image = cv2.imdecode(buffer, flags)
    return image, complaints


def _high_byte(image: np.ndarray, path: str | Path) -> np.ndarray:
    """The high byte of a uint16 image; a note if it is dark as only the low bits are used."""
    peak = int(image.max())
    if 0 < peak < _DARK_BELOW:
        _LOG.warning(
            "%s holds 16 bits per value and uses %d (values up to %d), so it is read as nearly "
            "black; scale the values to 16 bits first. Other such pictures are not named.",
            printable(str(path)),
            peak.bit_length(),
            peak,
            extra={"once": "bits of pictures"},
        )
    return (image >> 8).astype(np.uint8)


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
    folders are passed over, and links to folders are not followed. A note says what was passed
    over.
    Raises InputError where a path does not exist or a folder holds no picture or cannot be read.
    """
    found: dict[Path, None] = {}
    passed_over: Counter[str] = Counter()
    for path in map(Path, paths):
        if is_folder(path):
            found.update(dict.fromkeys(_images_below(path, passed_over)))
        elif exists(path):
            found[path] = None
        else:
            raise InputError(f"no such picture or folder: {path}; check the path")
    if some := (+passed_over).most_common():
        kinds = ", ".join(f"{count} {kind}" for kind, count in some)
        _LOG.warning("passed over beside %s: %s", counted(len(found), "picture"), printable(kinds))
    return list(found)


def _images_below(folder: Path, passed_over: Counter[str]) -> list[Path]:
    """The pictures; adds what else there is to passed_over, by kind."""

    def unreadable(error: OSError) -> None:
        raise InputError(
            f"cannot read the folder {error.filename}: {error.strerror}; check its permissions"
        ) from None

    images = []
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        links = sum(Path(parent, name).is_symlink() for name in folders)
        shown = [name for name in folders if not name.startswith(".")]
        passed_over.update({"hidden": len(folders) - len(shown), "linked folder": links})
        folders[:] = shown
        for name in names:
            kind = _kind_passed_over(name)
            if kind is None:
                images.append(Path(parent, name))
            else:
                passed_over[kind] += 1
    if not images:
        raise InputError(
            f"no pictures in the folder {folder}; expected files that end in {', '.join(SUFFIXES)}"
        )
    return sorted(images)


def _kind_passed_over(name: str) -> str | None:
    """The suffix of a file that is no picture, `hidden`, or None for a picture."""
    if name.startswith("."):
        return "hidden"
    suffix = Path(name).suffix.lower()
    return None if suffix in SUFFIXES else suffix or "without a suffix"
