"""Frames in from a file, a camera or a stream; clips out; how many a second."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from persondet.errors import InputError, PersondetError
from persondet.files import is_folder
from persondet.images import quiet_opencv
from persondet.sidecar import check_destination, replacing

DEFAULT_FRAMES_PER_SECOND = 25.0  # of a source that does not say
_CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG"}


class Video:
    """An open source of frames.

    source: a file, a camera's number ("0") or device (/dev/video0), or a stream's address (rtsp://,
    http://). is_live: frames come in real time, so that a slow reader misses some.
    Raises InputError where it does not exist or gives no frame.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.is_live = source.isdecimal() or "://" in source or Path(source).is_char_device()
        if not self.is_live:
            _check_file(Path(source))
        _quiet_ffmpeg()
        self._capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
        opened, self._next_bgr = self._capture.read()
        if not opened:
            self._capture.release()
            raise InputError(_no_frames(source, self.is_live))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second = rate if 1 <= rate <= 1000 else DEFAULT_FRAMES_PER_SECOND
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frame_count = int(count) if count > 0 and not self.is_live else None  # as it claims

    def frames_rgb(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB frames, turned as the camera was held, until the source ends."""
        going = True
        while going:
            yield cv2.cvtColor(self._next_bgr, cv2.COLOR_BGR2RGB)
            going, self._next_bgr = self._capture.read()

    def close(self) -> None:
        self._capture.release()


def _check_file(path: Path) -> None:
    if is_folder(path):
        raise InputError(f"cannot read the video {path}: it is a folder; name a file in it")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"cannot read the video {path}: the file is empty; copy it again")
    except FileNotFoundError:
        raise InputError(
            f"cannot read the video {path}: no such file; expected a video file, a camera's "
            "number such as 0, or an address such as rtsp://..."
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot read the video {path}: {error.strerror}; check its permissions"
        ) from None


def _no_frames(source: str, is_live: bool) -> str:
    if source.isdecimal():
        return (
            f"cannot open camera {source}: none is connected, another program holds it, or this "
            "user may not use it; expected frames from it; is there a /dev/video* on this machine?"
        )
    if is_live:
        return f"cannot read the stream {source}: no frame came; check the address and the network"
    return (
        f"cannot read the video {source}: expected one that FFmpeg decodes (MP4, AVI, MKV ...), "
        "found no frame in it; is it whole, and a video?"
    )


def _quiet_ffmpeg() -> None:
    quiet_opencv()
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's own AV_LOG_QUIET


@contextlib.contextmanager
def writing_clip(path: Path, frames_per_second: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends an RGB frame to a clip; the file appears when the block succeeds.

    Codec by suffix: MPEG-4 in .mp4 and .mov, Motion JPEG in .avi; of an odd height or width the
    codecs drop the last row or column. Frames after the first must have its size.
    Raises InputError for another suffix or a folder that cannot be written, PersondetError where no
    frame was written or the clip does not hold what was.
    """
    codec = _codec(path)
    _quiet_ffmpeg()
    with replacing(path) as temporary:
        with contextlib.closing(_Clip(temporary, codec, frames_per_second)) as clip:
            yield clip.append
        clip.check(path)


def check_clip(path: Path, inputs: Sequence[Path]) -> None:
    """Before long work: raises InputError for a folder, a suffix without a codec, and where the
    clip would replace one of the inputs."""
    _codec(path)
    check_destination(path, path.suffix.lower(), inputs=inputs)


def _codec(path: Path) -> str:
    codec = _CODECS.get(path.suffix.lower())
    if codec is None:
        raise InputError(
            f"cannot write the clip {path}: expected a name that ends in {', '.join(_CODECS)}"
        )
    return codec


class _Clip:
    def __init__(self, path: Path, codec: str, frames_per_second: float) -> None:
        self._path = path
        self._rate = frames_per_second
        self._fourcc = cv2.VideoWriter.fourcc(*codec)
        self._writer: cv2.VideoWriter | None = None
        self._size_hw: tuple[int, ...] = ()
        self.frames = 0

    def append(self, frame_rgb: np.ndarray) -> None:
        if self._writer is None:
            self._size_hw = frame_rgb.shape[:2]
            size_wh = (frame_rgb.shape[1], frame_rgb.shape[0])
            self._writer = cv2.VideoWriter(str(self._path), self._fourcc, self._rate, size_wh)
        if frame_rgb.shape[:2] != self._size_hw:  # OpenCV would drop it without a word
            raise PersondetError(
                f"the frames change from height x width {self._size_hw} to {frame_rgb.shape[:2]}: "
                "a clip holds one size"
            )
        self._writer.write(cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()

    def check(self, destination: Path) -> None:
        """Open the clip again: OpenCV reports neither a missing codec nor a full disk."""
        if self.frames == 0:
            raise PersondetError(f"no clip {destination}: there was no frame to write")
        capture = cv2.VideoCapture(str(self._path))
        found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if found < self.frames:
            raise PersondetError(
                f"cannot write the clip {destination}: {self.frames} frames went in, {found} can "
                "be read back; is the disk full? Otherwise try a name that ends in .avi"
            )


class FrameClock:
    """Frames a second over the latest `window` frames."""

    def __init__(self, window: int = 30) -> None:
        self._times_s: deque[float] = deque(maxlen=window + 1)

    def tick(self, now_s: float) -> float:
        """Note a frame at a time in seconds; the rate, 0.0 at the first frame."""
        self._times_s.append(now_s)
        elapsed = self._times_s[-1] - self._times_s[0]
        return (len(self._times_s) - 1) / elapsed if elapsed > 0 else 0.0


def copies_due(elapsed_s: float, frames_per_second: float, written: int) -> int:
    """How often to write a live frame so that the clip keeps the clock's pace, not the model's."""
    return max(0, int(elapsed_s * frames_per_second) + 1 - written)
