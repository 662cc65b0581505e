"""Calibration sets: the pictures whose activations set the quantization ranges."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from persondet.errors import InputError
from persondet.images import SUFFIXES, list_images, read_image_rgb
from persondet.sidecar import sha256_of

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
DEFAULT_COUNT = 100


@dataclass(frozen=True)
class CalibrationSet:
    """Pictures of a folder, a list or a video, chosen evenly over the whole.

    pictures: the chosen files, in order; empty for a video.
    frames: the chosen frame numbers of a video; empty otherwise.
    """

    source: Path
    pictures: tuple[Path, ...] = ()
    frames: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures) + len(self.frames)

    def images_rgb(self) -> Iterator[np.ndarray]:
        """Each picture as (H, W, 3) uint8 RGB. Raises InputError for one that cannot be read."""
        for path in self.pictures:
            yield read_image_rgb(path)
        if self.frames:
            yield from _video_frames(self.source, self.frames)

    def record(self) -> dict[str, Any]:
        """What a sidecar keeps: which pictures, by content."""
        return {
            "source": self.source.name,
            "pictures": [{"name": path.name, "sha256": sha256_of(path)} for path in self.pictures],
            "frames": list(self.frames),
            **({"video_sha256": sha256_of(self.source)} if self.frames else {}),
        }


def calibration_set(source: Path, count: int = DEFAULT_COUNT) -> CalibrationSet:
    """A folder of pictures, one picture, a video, or a text list of pictures (relative to itself).

    At most `count` pictures, evenly spaced over the sorted folder, the list or the video.
    Raises InputError where there is nothing to read.
    """
    source = Path(source)
    if count < 1:
        raise InputError(f"a calibration set of {count} pictures is impossible; give 1 or more")
    if not source.exists():
        raise InputError(f"no such calibration folder, list or video: {source}")
    if source.is_dir() or source.suffix.lower() in SUFFIXES:
        return CalibrationSet(source, tuple(_evenly(list_images([source]), count)))
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return CalibrationSet(source, frames=tuple(_evenly(range(_count_frames(source)), count)))
    return CalibrationSet(source, tuple(_evenly(_listed_pictures(source), count)))


def _evenly(items: Any, count: int) -> list[Any]:
    if len(items) <= count:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _listed_pictures(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(
            f"{path} is no calibration set: expected a folder of pictures, a video, or a text file "
            "with one picture a line"
        ) from None
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    pictures = [path.parent / name for name in names]
    missing = [str(picture) for picture in pictures if not picture.is_file()]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InputError(
            f"the calibration list {path} names pictures that do not exist: "
            + ", ".join(missing[:5])
            + more
        )
    if not pictures:
        raise InputError(f"the calibration list {path} names no pictures")
    return pictures


def _count_frames(path: Path) -> int:
    """Frames that can really be decoded; a container's own count is often wrong."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    if count == 0:
        raise InputError(f"cannot read the video {path}: it is damaged or of an unknown format")
    return count


def _video_frames(path: Path, frames: tuple[int, ...]) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    wanted = set(frames)
    for index in range(max(frames) + 1):
        if not capture.grab():
            raise InputError(f"the video {path} ended at frame {index}, expected {max(frames)}")
        if index in wanted:
            _, frame_bgr = capture.retrieve()
            yield cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB)
    capture.release()
