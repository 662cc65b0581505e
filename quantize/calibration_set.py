"""Calibration sets: the pictures whose activations set the quantization ranges."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from persondet.data.sources import FORMATS, Source, parse_source, read_dataset
from persondet.errors import InputError
from persondet.files import FormatError, exists, is_file, is_folder, read_text
from persondet.images import SUFFIXES, list_images, read_image_rgb
from persondet.sidecar import sha256_of
from runtime.video import Video

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
DEFAULT_COUNT = 100
MAX_IMAGES = 24  # for what looks at every channel: equalisation and the correction of biases
_MAX_LIST_BYTES = 1 << 24
_SHOWN_NAMES = 5

Item = TypeVar("Item")


@dataclass(frozen=True)
class CalibrationSet:
    """Pictures of a folder, a list or a video, chosen evenly over the whole.

    pictures: the chosen files, in order; empty for a video.
    frames: the chosen frame numbers of a video, ascending; empty otherwise.
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

    def evenly(self, count: int) -> "CalibrationSet":
        """At most `count` of the set, spaced evenly over it."""
        return replace(
            self,
            pictures=tuple(_evenly(self.pictures, count)),
            frames=tuple(_evenly(self.frames, count)),
        )

    def record(self) -> dict[str, Any]:
        """What a sidecar keeps: which pictures, by content."""
        return {
            "source": self.source.name,
            "pictures": [{"name": path.name, "sha256": sha256_of(path)} for path in self.pictures],
            "frames": list(self.frames),
            **({"video_sha256": sha256_of(self.source)} if self.frames else {}),
        }


def calibration_set(source: Path, count: int = DEFAULT_COUNT) -> CalibrationSet:
    """A folder of pictures, one picture, a video, or a text list of pictures (relative to itself);
    or an annotated data set, `FORMAT:ANNOTATIONS:IMAGES` or a COCO JSON, whose pictures are taken.

    At most `count` pictures, evenly spaced over the sorted folder, the list or the video. In a list
    empty lines and lines that begin with # are passed over.
    Raises InputError where there is nothing to read.
    """
    source = Path(source)
    if count < 1:
        raise InputError(f"a calibration set of {count} pictures is impossible; give 1 or more")
    if _names_data_set(source):
        data = parse_source(str(source))
        return CalibrationSet(data.annotations, tuple(_evenly(_annotated_pictures(data), count)))
    if not exists(source):
        raise InputError(f"no such calibration folder, list or video: {source}")
    if is_folder(source) or source.suffix.lower() in SUFFIXES:
        return CalibrationSet(source, tuple(_evenly(list_images([source]), count)))
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return CalibrationSet(source, frames=tuple(_evenly(range(_count_frames(source)), count)))
    return CalibrationSet(source, tuple(_evenly(_listed_pictures(source), count)))


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    if len(items) <= count:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _listed_pictures(path: Path) -> list[Path]:
    lines = [line.strip() for line in _list_text(path).splitlines()]
    pictures = [path.parent / line for line in lines if line and not line.startswith("#")]
    if not pictures:
        raise InputError(f"the calibration list {path} names no pictures; expected one a line")
    _check_present(path, pictures, "the list's folder")
    return pictures


def _names_data_set(source: Path) -> bool:
    if exists(source):
        return is_file(source) and source.suffix.lower() == ".json"
    data_format, colon, _ = str(source).partition(":")
    return bool(colon) and data_format in FORMATS


def _annotated_pictures(source: Source) -> list[Path]:
    pictures = list(dict.fromkeys(sample.image_path for sample in read_dataset(source).samples))
    if not pictures:
        raise InputError(f"the calibration set {source.annotations} annotates no picture")
    _check_present(source.annotations, pictures, str(source.images))
    return pictures


def _check_present(path: Path, pictures: Sequence[Path], folder: str) -> None:
    missing = [str(picture) for picture in pictures if not is_file(picture)]
    if missing:
        shown = "".join(f"\n  {name[:200]}" for name in missing[:_SHOWN_NAMES])
        more = len(missing) - _SHOWN_NAMES
        raise InputError(
            f"the calibration list {path} names {len(missing)} pictures that do not exist (a name "
            f"is relative to {folder}):{shown}" + (f"\n  and {more} more" * (more > 0))
        )


def _list_text(path: Path) -> str:
    try:
        text = read_text(path, "the calibration list", _MAX_LIST_BYTES)
    except FormatError:
        text = "\0"
    if "\0" in text:
        raise InputError(
            f"{path} is no calibration set: expected a folder of pictures, a video "
            f"({', '.join(VIDEO_SUFFIXES)}), or a text file with one picture a line"
        )
    return text


def _count_frames(path: Path) -> int:
    """Frames that can really be decoded; a container's own count is often wrong."""
    with contextlib.closing(Video(str(path))) as video:
        return sum(1 for _ in video.frames_rgb())


def _video_frames(path: Path, frames: tuple[int, ...]) -> Iterator[np.ndarray]:
    wanted = set(frames)
    with contextlib.closing(Video(str(path))) as video:
        for index, frame_rgb in enumerate(video.frames_rgb()):
            if index in wanted:
                yield frame_rgb
            if index == frames[-1]:
                return
    raise InputError(f"the video {path} changed while it was read; expected {frames[-1]} frames")
