"""Frames in from a file, a camera or a stream; clips out; how many a second."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np

from persondet.errors import InputError, PersondetError
from persondet.files import is_folder
from persondet.images import quiet_opencv, turned
from persondet.native_names import native_name
from persondet.sidecar import check_destination, replacing
from persondet.terminal import without_passwords
from runtime.display_matrix import mirrored_orientation

DEFAULT_FRAMES_PER_SECOND = 25.0  # of a source that does not say
_REAL_TIME = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srtp", "srt", "udp", "tcp", "mms")
_PATIENCE_S = 2.0  # for a live source's last frame
_CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG"}


class Video:
    """An open source of frames.

    source: a file (also as file://), a camera's number ("0") or device (/dev/video0), or an
        address (rtsp://, http://).
    is_live: frames come in real time, so that a slow reader misses some. An address is live if its
        protocol is made for that, or if what is there has no length.
    frames_per_second: as the source says, or DEFAULT_FRAMES_PER_SECOND.
    frame_count: as the file claims, or None.
    Raises InputError where it does not exist or gives no frame.
    """

    def __init__(self, source: str) -> None:
        self.source = without_passwords(source)
        path = local_path(source)
        is_device = source.isdecimal() or (path is not None and path.is_char_device())
        if path is not None and not is_device:
            _check_file(path)
        _quiet_ffmpeg()
        self._capture = _opened(int(source) if source.isdecimal() else path or source)
        self._orientation = _undone_by_opencv(self._capture, None if is_device else path)
        opened, first_bgr = self._capture.read()
        if not opened:
            self._capture.release()
            raise InputError(_no_frames(self.source, is_device or path is None))
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        is_live = is_device or (path is None and (_is_real_time(source) or not count > 0))
        self.is_live = is_live
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second = rate if 0 < rate <= 1000 else DEFAULT_FRAMES_PER_SECOND
        self.frame_count = int(count) if count > 0 and not is_live else None
        self._reader = (_LiveReader if is_live else _FileReader)(self._capture, first_bgr)

    def frames_rgb(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB frames, turned as the camera was held, until the source ends."""
        for _, frame_rgb in self.timed_frames_rgb():
            yield frame_rgb

    def timed_frames_rgb(self) -> Iterator[tuple[float, np.ndarray]]:
        """Each frame with its time in seconds: a file's own time stamp, or when a live frame came,
        counted from the first one. Of a live source the newest frame, whenever one is asked for.
        """
        while (timed := self._reader.read()) is not None:
            time_s, frame_bgr = timed
            yield time_s, cv2.cvtColor(turned(frame_bgr, self._orientation), cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        self._reader.close()


def local_path(source: str) -> Path | None:
    """The file that a source names, also as file://; None for a camera's number or an address."""
    if source.isdecimal():
        return None
    if source.lower().startswith("file://"):
        return Path(unquote(urlsplit(source).path))
    return None if "://" in source else Path(source)


def _is_real_time(address: str) -> bool:
    return address.partition("://")[0].lower() in _REAL_TIME


def _opened(source: int | str | Path) -> cv2.VideoCapture:
    if isinstance(source, str):  # an address; OpenCV crashes on text that is not UTF-8
        source = source.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not isinstance(source, Path):
        return cv2.VideoCapture(source)
    with native_name(source) as name:
        return cv2.VideoCapture(name)


def _undone_by_opencv(capture: cv2.VideoCapture, path: Path | None) -> int:
    """The EXIF orientation left to us: 1, but for a mirrored video, which OpenCV must not turn.

    path: of a file; None for what is none.
    """
    orientation = None if path is None else mirrored_orientation(path)
    if orientation is not None:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    return orientation or 1


class _FileReader:
    """Every frame, in order."""

    def __init__(self, capture: cv2.VideoCapture, first_bgr: np.ndarray) -> None:
        self._capture = capture
        self._first: np.ndarray | None = first_bgr

    def read(self) -> tuple[float, np.ndarray] | None:
        """Time in seconds and (H, W, 3) uint8 BGR; None at the end."""
        frame_bgr, self._first = self._first, None
        if frame_bgr is None:
            going, frame_bgr = self._capture.read()
            if not going:
                return None
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, frame_bgr

    def close(self) -> None:
        self._capture.release()


class _LiveReader:
    """The newest frame: a thread reads on while the last one is looked at, as what nobody reads
    would wait in the buffers of FFmpeg, the system and the camera, and come late."""

    def __init__(self, capture: cv2.VideoCapture, first_bgr: np.ndarray) -> None:
        self._capture = capture
        self._start_s = monotonic()
        self._newest: tuple[float, np.ndarray] | None = (0.0, first_bgr)
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read_on, daemon=True)
        self._thread.start()

    def _read_on(self) -> None:
        while True:
            going, frame_bgr = self._capture.read()
            with self._changed:
                self._ended = self._ended or not going
                if going:
                    self._newest = (monotonic() - self._start_s, frame_bgr)
                self._changed.notify()
                if self._ended:
                    return

    def read(self) -> tuple[float, np.ndarray] | None:
        """As `_FileReader.read`; waits for a frame that was not given before."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended)
            timed, self._newest = self._newest, None
        return timed

    def close(self) -> None:
        with self._changed:
            self._ended = True
        self._thread.join(_PATIENCE_S)
        if not self._thread.is_alive():  # or OpenCV would take away what the thread waits in
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
    with replacing(path) as temporary, native_name(temporary) as name:
        with contextlib.closing(_Clip(name, codec, frames_per_second)) as clip:
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
    def __init__(self, name: str, codec: str, frames_per_second: float) -> None:
        self._name = name
        self._rate = frames_per_second
        self._fourcc = cv2.VideoWriter.fourcc(*codec)
        self._writer: cv2.VideoWriter | None = None
        self._size_hw: tuple[int, ...] = ()
        self.frames = 0

    def append(self, frame_rgb: np.ndarray) -> None:
        if self._writer is None:
            self._size_hw = frame_rgb.shape[:2]
            size_wh = (frame_rgb.shape[1], frame_rgb.shape[0])
            self._writer = cv2.VideoWriter(self._name, self._fourcc, self._rate, size_wh)
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
        capture = cv2.VideoCapture(self._name)
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
