"""Raw files and input lists: nothing about them is guessed."""

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest

from export.sdk.raw_files import (
    RawTensor,
    input_list,
    raw_input,
    raw_name,
    raw_outputs,
    read_raw,
    read_result,
    result_file,
    safe_name,
    without_blanks,
    write_inputs,
    write_raw,
)
from persondet.errors import InputError, PersondetError
from persondet.preprocess import preprocess
from persondet.zoo import detector_spec

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


def _write_result(folder: Path) -> dict[str, np.ndarray]:
    folder.mkdir()
    values = {}
    for index, tensor in enumerate(raw_outputs(SPEC)):
        values[tensor.name] = np.random.default_rng(index).normal(size=tensor.shape)
        values[tensor.name] = values[tensor.name].astype(np.float32)
        write_raw(folder / f"{tensor.name}.raw", values[tensor.name], tensor)
    return values


def test_a_result_is_read_by_the_spec(tmp_path) -> None:
    expected = _write_result(tmp_path / "Result_0")
    found = read_result(tmp_path / "Result_0", SPEC)
    assert list(found) == ["scores", "boxes"]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].flags.writeable


@pytest.mark.parametrize("change", [-4, 4])
def test_a_result_of_another_size(tmp_path, change) -> None:
    folder = tmp_path / "Result_0"
    _write_result(folder)
    data = (folder / "boxes.raw").read_bytes()
    (folder / "boxes.raw").write_bytes(data[:change] if change < 0 else data + bytes(change))
    message = rf"boxes\.raw has {len(data) + change:,} bytes; boxes of shape .* has {len(data):,}"
    with pytest.raises(PersondetError, match=message):
        read_result(folder, SPEC)


def test_a_result_that_is_missing_or_no_number(tmp_path) -> None:
    folder = tmp_path / "Result_0"
    values = _write_result(folder)["scores"]
    values[0, 0, 0] = np.nan
    (folder / "scores.raw").write_bytes(values.tobytes())
    with pytest.raises(PersondetError, match=r"Result_0: the output scores holds NaN"):
        read_result(folder, SPEC)
    (folder / "scores.raw").unlink()
    with pytest.raises(
        PersondetError, match=r"the output scores is missing: cannot read .*No such"
    ):
        read_result(folder, SPEC)


def test_the_names_of_tensors_stay_in_the_folder(tmp_path) -> None:
    assert result_file(tmp_path, "/".join("ab")) == tmp_path / "a" / "b.raw"
    for name in ("../x", "/etc/x"):
        with pytest.raises(InputError, match=r"cannot be a file's name"):
            result_file(tmp_path, name)


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
