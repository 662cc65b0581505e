"""The policy for bad annotations, sizes from headers, and small boxes."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_files import app1, tiff, write_picture
from hypothesis import given
from hypothesis import strategies as st

from persondet.data.cleaning import cleaned, with_small_ignored
from persondet.data.picture_size import displayed_size_hw
from persondet.data.samples import DataSet, Sample, make_sample
from persondet.data.sizes import sides_at_network_scale
from persondet.data.summary import summary_lines
from persondet.errors import InputError
from persondet.images import read_image_rgb, write_image_rgb

NAN, INF = float("nan"), float("inf")


def _sample(path: Path, *boxes: Sequence[float], size_hw: tuple[int, int] | None = None) -> Sample:
    return make_sample(path, [(box, 1, False) for box in boxes], [1], size_hw)


def _dataset(*samples: Sample) -> DataSet:
    return DataSet("set", ("background", "head", "person"), samples)


@pytest.mark.parametrize(
    ("box", "expected", "reason"),
    [
        ((1, 2, 30, 40), (1, 2, 30, 40), None),
        ((0, 0, 80, 48), (0, 0, 80, 48), None),
        ((-5, -6, 30, 40), (0, 0, 30, 40), "partly outside the picture: clipped"),
        ((70, 40, 90, 60), (70, 40, 80, 48), "partly outside the picture: clipped"),
        ((81, 2, 99, 40), None, "outside the picture: dropped"),
        ((1, 49, 30, 60), None, "outside the picture: dropped"),
        ((79.5, 2, 99, 40), None, "outside the picture: dropped"),
        ((10, 2, 10, 40), None, "of no size, or its corners the wrong way round: dropped"),
        ((10, 2, 10.9, 40), None, "of no size, or its corners the wrong way round: dropped"),
        ((10, 2, 11, 40), (10, 2, 11, 40), None),
        ((30, 2, 10, 40), None, "of no size, or its corners the wrong way round: dropped"),
        ((NAN, 2, 10, 40), None, "with a corner that is no number: dropped"),
        ((1, 2, INF, 40), None, "with a corner that is no number: dropped"),
        ((1, -INF, 3, 40), None, "with a corner that is no number: dropped"),
        ((1, 2, 1e300, 40), None, "with a corner that is no number: dropped"),
    ],
)
def test_a_box(tmp_path: Path, box, expected, reason) -> None:
    path = write_picture(tmp_path / "p.png", (48, 80))
    dataset = cleaned(_dataset(_sample(path, (3, 4, 5, 6), box)))
    (sample,) = dataset.samples
    wanted = [[3, 4, 5, 6]] + ([list(expected)] if expected else [])
    assert sample.boxes_xyxy_px.tolist() == wanted
    assert len(sample.class_ids) == len(sample.ignore) == len(wanted)
    assert dataset.report.counts == ({f"box {reason}": 1} if reason else {})


def test_a_box_of_a_class_that_the_picture_does_not_label(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "p.png", (48, 80))
    boxes = [((1, 2, 3, 4), 1, False), ((5, 6, 7, 8), 2, False)]
    dataset = cleaned(_dataset(make_sample(path, boxes, [2])))
    assert dataset.samples[0].class_ids.tolist() == [2]
    assert "class that the picture does not label" in next(iter(dataset.report.counts))


def test_pictures_missing_damaged_and_of_another_size(tmp_path: Path) -> None:
    good = write_picture(tmp_path / "good.jpg", (48, 80))
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(good.read_bytes()[:30])
    (tmp_path / "page.jpg").write_text("<!doctype html>")
    dataset = _dataset(
        _sample(good, (1, 2, 30, 40), size_hw=(48, 80)),
        _sample(good),
        _sample(tmp_path / "missing.jpg", (1, 2, 30, 40)),
        _sample(damaged),
        _sample(tmp_path / "page.jpg"),
        _sample(good, (1, 2, 30, 40), size_hw=(80, 48)),
        _sample(good, (1, 2, 30, 40), size_hw=(48, 81)),
    )
    result = cleaned(dataset)
    assert [len(sample) for sample in result.samples] == [1, 0]
    assert all(sample.size_hw == (48, 80) for sample in result.samples)
    assert result.report.counts == {
        "picture missing: dropped": 1,
        "picture not readable: dropped": 2,
        "picture of another size than its annotation says, width and height exchanged as by an "
        "EXIF orientation: dropped": 1,
        "picture of another size than its annotation says: dropped": 1,
    }
    lines = summary_lines(result)
    assert lines[0] == "set: 2 pictures, 1 without boxes; boxes: 1 head; 0 ignored"
    assert f"  1 x picture missing: dropped (first: {tmp_path / 'missing.jpg'})" in lines
    assert not dataset.report.counts  # the original is as it was


def test_no_picture_left(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="set: none of its 1 pictures can be used; 1 x picture mi"):
        cleaned(_dataset(_sample(tmp_path / "missing.jpg")))
    with pytest.raises(InputError, match="set annotates no picture"):
        cleaned(_dataset())


def test_the_annotations_frame_is_the_displayed_picture(tmp_path: Path) -> None:
    """Stored 48 x 80, displayed 80 x 48: boxes beyond a width of 48 are outside."""
    path = write_picture(tmp_path / "turned.jpg", (48, 80), orientation=6)
    (sample,) = cleaned(_dataset(_sample(path, (10, 60, 40, 78), (50, 5, 70, 40)))).samples
    assert sample.size_hw == (80, 48)
    assert sample.boxes_xyxy_px.tolist() == [[10, 60, 40, 78]]
    with pytest.raises(InputError, match="another size than its annotation says"):
        cleaned(_dataset(_sample(path, (10, 10, 40, 40), size_hw=(48, 80))))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_sizes_of_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    write_image_rgb(path, np.zeros((31, 57, 3), np.uint8))
    assert displayed_size_hw(path) == (31, 57)


def _jpeg(tmp_path: Path, *segments: bytes) -> Path:
    path = write_picture(tmp_path / "p.jpg", (48, 80))
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"".join(segments) + data[2:])
    return path


def _exif(orientation: int, order: str = "<") -> bytes:
    return app1(b"Exif\0\0" + tiff(orientation, order))


XMP = app1(b"http://ns.adobe.com/xap/1.0/\0<x/>")


@pytest.mark.parametrize(
    "segments",
    [
        *[[_exif(orientation)] for orientation in range(10)],
        [_exif(6, ">")],
        [XMP, _exif(8)],
        [_exif(1), _exif(6)],
        [_exif(6), _exif(1)],
        [b"\xff\xff\xff" + _exif(6)],  # filling
        [app1(b"Exif\0\0II")],  # cut off
        [app1(b"Exif\0\0" + tiff(6)[:20])],
        [b"\xff\xfe\x00\x04\xff\xc0"],  # a comment that looks like a frame
    ],
)
def test_jpeg_headers_say_what_the_decoder_does(tmp_path: Path, segments: list[bytes]) -> None:
    path = _jpeg(tmp_path, *segments)
    assert displayed_size_hw(path) == read_image_rgb(path).shape[:2]


@pytest.mark.parametrize("mark", [b"IDAT", b"IEND"])
def test_png_headers_say_what_the_decoder_does(tmp_path: Path, mark: bytes) -> None:
    path = write_picture(tmp_path / "p.png", (48, 80))
    data = path.read_bytes()
    body = b"eXIf" + tiff(6)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    at = data.index(mark) - 4
    path.write_bytes(data[:at] + chunk + data[at:])
    assert displayed_size_hw(path) == read_image_rgb(path).shape[:2] == (80, 48)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_pictures_that_are_cut_off(tmp_path: Path, suffix: str) -> None:
    whole = write_picture(tmp_path / f"p{suffix}", (48, 80)).read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in [*range(0, 200, 7), len(whole) // 2, len(whole) - 9]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cannot read the picture .*cut"):
            displayed_size_hw(path)


def test_a_jpeg_with_more_behind_its_end(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "p.jpg", (48, 80), orientation=6)
    for length in (100, 5000):
        with path.open("ab") as file:
            file.write(bytes(length))
        assert displayed_size_hw(path) == (80, 48)


def test_a_missing_picture_has_no_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        displayed_size_hw(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="cannot read the picture"):
        displayed_size_hw(tmp_path)


def test_small_boxes_are_ignored_at_network_scale() -> None:
    """600 x 1200 to 300 x 300: heights by 1/2, widths by 1/4."""
    boxes = [(0, 0, 40, 20), (0, 0, 39, 200), (0, 0, 400, 19), (0, 0, 80, 80)]
    sample = replace(_sample(Path("p"), *boxes), size_hw=(600, 1200))
    sample = replace(sample, ignore=np.array([False, False, False, True]))
    result = with_small_ignored(_dataset(sample), (300, 300), 10)
    assert result.samples[0].ignore.tolist() == [False, True, True, True]
    assert result.report.counts == {"box smaller than 10 px at network scale: ignored": 2}
    assert sample.ignore.tolist() == [False, False, False, True]
    assert not with_small_ignored(_dataset(sample), (300, 300), 0.0).report.counts


def test_small_boxes_of_a_picture_without_boxes() -> None:
    empty = replace(_sample(Path("p")), size_hw=(600, 1200))
    assert len(with_small_ignored(_dataset(empty), (300, 300), 10).samples[0]) == 0


@given(
    size_hw=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    input_hw=st.tuples(st.integers(1, 600), st.integers(1, 600)),
)
def test_the_whole_picture_is_the_whole_input(size_hw, input_hw) -> None:
    height, width = size_hw
    sides = sides_at_network_scale(np.array([[0, 0, width, height]], np.float32), size_hw, input_hw)
    np.testing.assert_allclose(sides, [[input_hw[1], input_hw[0]]], rtol=1e-6)
