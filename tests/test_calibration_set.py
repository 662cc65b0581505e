"""Calibration sets out of folders, lists, pictures and videos."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persondet.errors import InputError
from quantize.calibration_set import CalibrationSet, _evenly, calibration_set
from runtime.video import _quiet_ffmpeg


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures of 5 x 7 pixels, picture i of grey level 10 * i, and what is no picture."""
    (tmp_path / "set").mkdir()
    for index in range(10):
        pixels = np.full((5, 7, 3), 10 * index, np.uint8)
        cv2.imwrite(str(tmp_path / "set" / f"{index}.png"), pixels)
    (tmp_path / "set" / "notes.txt").write_text("not a picture")
    return tmp_path / "set"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames of 48 x 80 pixels, frame i of grey level 10 * i; with noise, so that frames and
    not headers make up the file."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    _quiet_ffmpeg()  # FFmpeg reads its log level at its first use in the process
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 48))
    noise = np.random.default_rng(0).integers(-20, 21, (48, 80, 3))
    for index in range(20):
        writer.write((noise - noise.mean() + 30 + 10 * index).round().clip(0, 255).astype(np.uint8))
    writer.release()
    return path


def levels(chosen: CalibrationSet) -> list[int]:
    offset = 30 if chosen.frames else 0
    return [round((float(image.mean()) - offset) / 10) for image in chosen.images_rgb()]


def test_folder_in_order_and_evenly(folder: Path) -> None:
    assert levels(calibration_set(folder)) == list(range(10))
    chosen = calibration_set(folder, 4)
    assert len(chosen) == 4
    assert levels(chosen) == [0, 3, 6, 9]
    assert calibration_set(folder, 4) == chosen


def test_pictures_of_an_annotated_data_set(folder: Path) -> None:
    """Each once, in the annotation's order, in the short and in the long form."""
    images = [{"id": i, "file_name": f"{i % 5}.png"} for i in (7, 3, 1, 8)]
    record = {"images": images, "annotations": [], "categories": []}
    path = folder / "data.json"
    path.write_text(json.dumps(record))
    assert levels(calibration_set(path)) == [2, 3, 1]
    assert levels(calibration_set(Path(f"coco:{path}:{folder}"), 2)) == [2, 1]
    with pytest.raises(InputError, match=r"data\.json names 3 pictures that do not exist \(a name"):
        calibration_set(Path(f"coco:{path}:{folder.parent}"))
    path.write_text(json.dumps({**record, "images": []}))
    with pytest.raises(InputError, match=r"data\.json annotates no picture"):
        calibration_set(path)


def test_one_picture(folder: Path) -> None:
    assert levels(calibration_set(folder / "7.png")) == [7]


def test_list_with_comments_relative_and_absolute_names(folder: Path) -> None:
    path = folder.parent / "list.txt"
    path.write_text(f"\ufeff# a comment\n\n set/3.png \n  # more\n{folder / '5.png'}\r\n")
    assert levels(calibration_set(path)) == [3, 5]
    assert levels(calibration_set(path, 1)) == [3]


def test_list_with_missing_entries_names_some(folder: Path) -> None:
    path = folder / "list.txt"
    path.write_text("3.png\n" + "\n".join(f"gone{i}.png" for i in range(9)))
    with pytest.raises(InputError, match="names 9 pictures that do not exist") as caught:
        calibration_set(path)
    assert "gone4.png" in str(caught.value)
    assert "gone5.png" not in str(caught.value)
    assert "and 4 more" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"# only a comment\n\n"])
def test_list_without_entries(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"list\.txt names no pictures"):
        calibration_set(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00bytes", b"a\0b\n"])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.dlc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.dlc is no calibration set: expected a folder"):
        calibration_set(path)


def test_a_list_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "list.txt"
    path.write_text("x.png")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"cannot read .*list\.txt: Permission denied"):
        calibration_set(path)


def test_nothing_there(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="no such calibration folder, list or video"):
        calibration_set(tmp_path / "none")
    with pytest.raises(InputError, match="a calibration set of 0 pictures is impossible"):
        calibration_set(folder, 0)


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures in the folder"):
        calibration_set(tmp_path)
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InputError, match="no pictures in the folder"):
        calibration_set(tmp_path)


def test_an_unreadable_picture_is_named(folder: Path) -> None:
    (folder / "4.png").write_bytes(b"no picture at all")
    images = calibration_set(folder).images_rgb()
    assert sum(1 for _ in zip(range(4), images, strict=False)) == 4
    with pytest.raises(InputError, match=r"cannot read the picture .*4\.png"):
        next(images)


def test_frames_of_a_video(clip: Path) -> None:
    chosen = calibration_set(clip, 5)
    assert chosen.frames == (0, 5, 10, 14, 19)
    images = list(chosen.images_rgb())
    assert [image.shape for image in images] == [(48, 80, 3)] * 5
    assert levels(chosen) == list(chosen.frames)
    assert len(calibration_set(clip)) == 20


def test_a_real_video_in_colour(bikes: Path) -> None:
    """Frame 0 of the clip is reddish brown; as BGR it would be blue."""
    chosen = calibration_set(bikes, 3)
    assert chosen.frames == (0, 124, 249)
    _quiet_ffmpeg()
    capture = cv2.VideoCapture(str(bikes))
    _, first_bgr = capture.read()
    capture.release()
    assert np.array_equal(next(chosen.images_rgb()), first_bgr[:, :, ::-1])


def test_junk_named_as_a_video(tmp_path: Path, bikes: Path, capfd) -> None:
    for name, content in (
        ("text.mp4", b"no video"),
        ("cut.mp4", bikes.read_bytes()[:100_000]),  # the index is at the end, and gone
        ("empty.avi", b""),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"cannot read the video .*{name}"):
            calibration_set(path)


def test_a_video_that_is_cut_off_gives_the_frames_before(tmp_path: Path, clip: Path) -> None:
    cut = tmp_path / "cut.avi"
    data = clip.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    chosen = calibration_set(cut, 4)
    assert 4 < chosen.frames[-1] < 19
    assert levels(chosen) == list(chosen.frames)


def test_a_video_that_changes_between_choosing_and_reading(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(clip.read_bytes())
    chosen = calibration_set(path)
    path.write_bytes(clip.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"the video .*clip\.avi changed while it was read"):
        list(chosen.images_rgb())


def test_record_names_content(folder: Path, clip: Path) -> None:
    record = calibration_set(folder, 2).record()
    assert record["source"] == "set"
    assert [picture["name"] for picture in record["pictures"]] == ["0.png", "9.png"]
    assert all(len(picture["sha256"]) == 64 for picture in record["pictures"])
    record = calibration_set(clip, 2).record()
    assert (record["pictures"], record["frames"]) == ([], [0, 19])
    assert len(record["video_sha256"]) == 64


@given(size=st.integers(1, 500), count=st.integers(1, 200))
def test_choice_is_even_ascending_and_without_repeats(size: int, count: int) -> None:
    chosen = _evenly(range(size), count)
    assert len(chosen) == min(size, count)
    gaps = np.diff(chosen)
    assert (gaps >= 1).all()
    assert chosen[0] == 0
    if count > 1:
        assert chosen[-1] == size - 1
        assert not len(gaps) or gaps.max() - gaps.min() <= 1
