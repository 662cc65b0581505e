"""The raw outputs of a run: found by name and number, checked by size, never guessed."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from tiny_detector import SPEC

from export.sdk.raw_files import write_raw
from persondet.errors import InputError
from runtime.raw_results import RawTensor, raw_outputs, read_raw, read_result, result_folders


def write_result(folder: Path, names: dict[str, str] | None = None) -> dict[str, np.ndarray]:
    """Random outputs of the spec; names: of the files, instead of the outputs' own."""
    folder.mkdir(parents=True)
    values = {}
    for index, tensor in enumerate(raw_outputs(SPEC)):
        array = np.random.default_rng(index).normal(size=tensor.shape).astype(np.float32)
        path = folder / f"{(names or {}).get(tensor.name, tensor.name)}.raw"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_raw(path, array, tensor)
        values[tensor.name] = array
    return values


def test_a_result_is_read_by_the_spec(tmp_path: Path) -> None:
    expected = write_result(tmp_path / "Result_0")
    found = read_result(tmp_path / "Result_0", SPEC)
    assert list(found) == ["scores", "boxes"]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].flags.writeable


def test_values_are_little_endian(tmp_path: Path) -> None:
    tensor = RawTensor("t", (1, 2))
    (tmp_path / "t.raw").write_bytes(b"\x00\x00\x80\x3f\x00\x00\x00\x40")
    assert read_raw(tmp_path / "t.raw", tensor).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("form", ["{}:0", "{}_0", "{}_native"])
def test_other_runtimes_names_of_a_tensor(tmp_path: Path, form: str) -> None:
    expected = write_result(
        tmp_path / "r", {name: form.format(name) for name in ("scores", "boxes")}
    )
    np.testing.assert_array_equal(read_result(tmp_path / "r", SPEC)["boxes"], expected["boxes"])


@pytest.mark.parametrize("file", ["head/scores", "head_scores"])
def test_names_with_a_slash(tmp_path: Path, file: str) -> None:
    spec = dataclasses.replace(
        SPEC, scores_name="/head/scores" if "_" not in file else "head/scores"
    )
    expected = write_result(tmp_path / "r", {"scores": file})
    found = read_result(tmp_path / "r", spec)
    np.testing.assert_array_equal(found[spec.scores_name], expected["scores"])


def test_a_name_that_leads_out_of_the_folder(tmp_path: Path) -> None:
    write_result(tmp_path / "r")
    for name in ("../boxes", "a/../../boxes"):
        with pytest.raises(InputError, match=r"cannot be a file's name"):
            read_result(tmp_path / "r", dataclasses.replace(SPEC, boxes_name=name))


@pytest.mark.parametrize("change", [-4, 4])
def test_a_result_of_another_size(tmp_path: Path, change: int) -> None:
    write_result(tmp_path / "Result_0")
    path = tmp_path / "Result_0" / "boxes.raw"
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + bytes(change))
    message = (
        rf"boxes\.raw has {len(data) + change} bytes; boxes of shape \(1, 38, 4\), float32, has "
    )
    with pytest.raises(InputError, match=message + "608: the file is cut off, or of another model"):
        read_result(tmp_path / "Result_0", SPEC)


@pytest.mark.parametrize("bits", [8, 16])
def test_quantized_values_are_refused_by_their_size(tmp_path: Path, bits: int) -> None:
    write_result(tmp_path / "r")
    (tmp_path / "r" / "scores.raw").write_bytes(bytes(38 * 3 * bits // 8))
    with pytest.raises(
        InputError, match=rf"values of {bits} bits.*without --use_native_output_fil"
    ):
        read_result(tmp_path / "r", SPEC)


def test_the_missing_output_is_named_with_what_asks_for_both(tmp_path: Path) -> None:
    folder = tmp_path / "Result_0"
    write_result(folder)
    (folder / "scores.raw").unlink()
    message = (
        r"the output scores is missing in .*Result_0: expected scores\.raw, found only boxes\.raw;"
    )
    with pytest.raises(InputError, match=message) as error:
        read_result(folder, SPEC)
    assert "--set_output_tensors scores,boxes" in str(error.value)
    assert "`%scores boxes`" in str(error.value)
    (folder / "boxes.raw").unlink()
    with pytest.raises(InputError, match=r"expected scores\.raw, found no \.raw file"):
        read_result(folder, SPEC)


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    values = write_result(tmp_path / "r")["scores"]
    values[0, 0, 0] = np.nan
    (tmp_path / "r" / "scores.raw").write_bytes(values.tobytes())
    with pytest.raises(InputError, match=r"scores\.raw: the output scores holds NaN or infinity"):
        read_result(tmp_path / "r", SPEC)


def test_results_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in reversed(range(12)):
        (tmp_path / f"Result_{number}").mkdir()
    (tmp_path / "SNPEDiag_0.log").write_text("log")
    (tmp_path / "other").mkdir()
    assert [path.name for path in result_folders(tmp_path)] == [f"Result_{n}" for n in range(12)]


def test_one_result_by_itself(tmp_path: Path) -> None:
    write_result(tmp_path / "Result_7")
    assert result_folders(tmp_path / "Result_7") == (tmp_path / "Result_7",)


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    cases = {
        tmp_path / "none": "none is not a folder of results: it does not exist",
        file: "file is not a folder of results: it is a file",
        tmp_path: "name the --output_dir of snpe-net-run: `output` is its name unless",
    }
    for folder, message in cases.items():
        with pytest.raises(InputError, match=re.escape(message)):
            result_folders(folder)


def test_a_missing_number_is_no_run(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        (tmp_path / f"Result_{number}").mkdir()
    with pytest.raises(InputError, match=r"holds Result_3 but no Result_2: which image"):
        result_folders(tmp_path)
