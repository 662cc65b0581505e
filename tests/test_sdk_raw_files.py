"""Raw files and input lists: nothing about them is guessed."""

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest

from export.sdk.raw_files import (
    input_list,
    listed_inputs,
    raw_input,
    raw_name,
    safe_name,
    without_blanks,
    write_inputs,
    write_raw,
)
from persondet.errors import InputError
from persondet.preprocess import preprocess
from persondet.zoo import detector_spec
from runtime.raw_results import RawTensor, read_raw

SPEC = dataclasses.replace(detector_spec("rfb-tiny-mb2-ssd-c32"), input_format="float-nhwc")
BYTES = dataclasses.replace(SPEC, input_format="uint8-nhwc")
PICTURES = [
    np.random.default_rng(seed).integers(0, 256, (31, 57, 3), dtype=np.uint8) for seed in (1, 2)
]


def test_the_files_are_what_preprocessing_gives(tmp_path) -> None:
    paths = write_inputs(PICTURES, SPEC, tmp_path, names=["a b.jpg", "../#x;y.png"])
    assert [path.name for path in paths] == ["00000_a_b.raw", "00001_x_y.raw"]
    for path, picture in zip(paths, PICTURES, strict=True):
        assert path.stat().st_size == 240 * 320 * 3 * 4
        expected = preprocess(picture, SPEC)
        assert path.read_bytes()[:4] == struct.pack("<f", expected[0, 0, 0, 0])
        np.testing.assert_array_equal(read_raw(path, raw_input(SPEC)), expected)


def test_bytes_are_written_as_bytes_or_as_floats(tmp_path) -> None:
    expected = preprocess(PICTURES[0], BYTES)
    (native,) = write_inputs(PICTURES[:1], BYTES, tmp_path, native=True)
    assert native.read_bytes() == expected.tobytes()
    (floats,) = write_inputs(PICTURES[:1], BYTES, tmp_path)
    values = read_raw(floats, raw_input(BYTES))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)


def test_an_array_that_does_not_fit(tmp_path) -> None:
    tensor = RawTensor("t", (1, 2, 3))
    with pytest.raises(ValueError, match=r"t: expected shape \(1, 2, 3\), got \(1, 3, 2\)"):
        write_raw(tmp_path / "t.raw", np.zeros((1, 3, 2), np.float32), tensor)
    with pytest.raises(ValueError, match=r"t: expected float32, got float64"):
        write_raw(tmp_path / "t.raw", np.zeros((1, 2, 3)), tensor)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "...", "-rf", "# x", "%", "ö", "a" * 300, "a\nb", "$(x)"])
def test_names_are_safe(name) -> None:
    safe = safe_name(name)
    assert 0 < len(safe) <= 40
    assert safe.replace("_", "a").replace(".", "a").replace("-", "a").isalnum()
    assert safe.isascii()
    assert not safe.startswith(("-", "."))
    assert raw_name(3, "p.jpg") == "00003_p.raw"


def test_lists() -> None:
    assert input_list([Path("/r/0.raw"), Path("/r/1.raw")]) == "/r/0.raw\n/r/1.raw\n"
    rows = [{"x": Path("x0.raw"), "y": Path("y0.raw")}]
    assert input_list(rows, output_layers=["l"], output_tensors=["s", "b"]) == (
        "#l\n%s b\nx:=x0.raw y:=y0.raw\n"
    )


def test_a_list_is_read_as_it_is_written() -> None:
    rows = [{"x": Path("x0.raw"), "y": Path("y0.raw")}, {"y": Path("y1.raw"), "x": Path("x1.raw")}]
    text = input_list(rows, output_tensors=["s", "b"])
    assert listed_inputs(text, "x") == ("x0.raw", "x1.raw")
    assert listed_inputs(text, "y") == ("y0.raw", "y1.raw")
    assert listed_inputs("#l\n\nimage:=a.raw\r\n  b.raw \n", "input") == ("a.raw", "b.raw")
    assert listed_inputs("%s\n", "x") == ()


@pytest.mark.parametrize("path", ["/a b/0.raw", "a\tb", "#a", "%a", "a:=b", "a\nb"])
def test_a_list_has_no_quoting(path) -> None:
    with pytest.raises(InputError, match=r"cannot be in an input list: it has no quoting"):
        input_list([Path(path)])


def test_a_folder_with_blanks_is_named_by_a_link(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    (folder / "x").write_text("1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with without_blanks(folder) as clean:
        assert " " not in str(clean)
        assert (clean / "x").read_text() == "1"
    assert not clean.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["my pictures"]
    assert (folder / "x").exists()
    with without_blanks(tmp_path) as clean:
        assert clean == tmp_path
