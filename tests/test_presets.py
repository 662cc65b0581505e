"""Every preset end to end to the emulated chip; the equalised file, whose encodings are its own."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from blots import write_blots
from click.testing import CliRunner
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401

from persondet.cli import cli
from persondet.images import read_image_rgb
from persondet.preprocess import preprocess
from persondet.sidecar import read_sidecar, sha256_of
from quantize.presets import DEFAULT_PRESET, PRESETS, Equalization, recipe_of
from runtime.backend import open_backend

SDK = "2.25.0.240728"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_blots(folder, 4)
    return folder


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(cli, [str(word) for word in arguments])
    found = result.exit_code if result.exception is None else getattr(
        result.exception, "exit_code", result.exit_code
    )  # fmt: skip
    assert found == code, (result.output, result.exception)
    return result


def outputs(path: Path, image_path: Path) -> dict[str, np.ndarray]:
    backend = open_backend(path)
    found = backend.infer(preprocess(read_image_rgb(image_path), backend.spec))
    backend.close()
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_to_the_emulated_chip(preset, tiny_uint8_onnx, images, tmp_path) -> None:
    dlc = tmp_path / "t.dlc"
    result = run("quantize", tiny_uint8_onnx, "--calib", images, "--preset", preset, "-o", dlc)
    recipe = PRESETS[preset].recipe
    is_equalized = recipe.equalization is not Equalization.NONE
    assert f"({recipe.calibration})" in result.stdout
    assert ("equalised: " in result.stdout) == is_equalized
    names = {path.name for path in tmp_path.iterdir()}
    assert ("t.equalized.onnx" in names) == is_equalized
    exact = outputs(tiny_uint8_onnx, images / "1.png")
    chip = outputs(dlc, images / "1.png")
    proxy = outputs(tmp_path / "t.quantized.onnx", images / "1.png")
    for name, values in exact.items():
        noise = np.square(values - chip[name]).mean() / np.square(values).mean()
        assert noise < 0.02
        scale = np.abs(values).max()
        np.testing.assert_allclose(chip[name], proxy[name], atol=0.05 * scale)
    record = read_sidecar(dlc)
    assert record is not None
    assert record["details"]["equalization_method"] == recipe.equalization.value
    assert record["details"]["corrects_biases"] == recipe.corrects_biases


def test_single_switches_stand_above_the_preset() -> None:
    assert recipe_of(DEFAULT_PRESET) == PRESETS["accurate"].recipe
    changed = recipe_of("snpe", equalization="noise", corrects_biases=True, calibration="mse")
    assert changed == PRESETS["accurate"].recipe
    assert recipe_of("accurate", corrects_biases=False).equalization is Equalization.NOISE


@pytest.fixture(scope="module")
def made(tiny_uint8_onnx, images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    run("quantize", tiny_uint8_onnx, "--calib", images, "-o", folder / "t.dlc")
    return folder


def test_the_equalised_file_is_the_float_network(tiny_uint8_onnx, images, tmp_path) -> None:
    words = ("--calib", images, "--no-correct-biases", "-o", tmp_path / "t.dlc")
    run("quantize", tiny_uint8_onnx, *words)
    equalized = tmp_path / "t.equalized.onnx"
    for index in range(4):
        exact = outputs(tiny_uint8_onnx, images / f"{index}.png")
        for name, values in outputs(equalized, images / f"{index}.png").items():
            np.testing.assert_allclose(values, exact[name], atol=1e-4 * np.abs(exact[name]).max())
    record = read_sidecar(equalized)
    assert record is not None and record["step"] == "equalize"


@pytest.mark.parametrize("preset", ["accurate", "best"])
def test_the_encodings_and_their_float_graph_make_the_same_again(
    preset, tiny_uint8_onnx, images, tmp_path
) -> None:
    """Corrected biases and rounded weights are in the file that the encodings belong to."""
    run(
        "quantize", tiny_uint8_onnx, "--calib", images, "--preset", preset, "-o", tmp_path / "t.dlc"
    )
    encodings = tmp_path / "t.quantized.encodings.json"
    words = ("--encodings", encodings, "-o", tmp_path / "again.dlc")
    run("quantize", tmp_path / "t.equalized.onnx", *words)
    first, second = (
        outputs(tmp_path / f"{stem}.quantized.onnx", images / "1.png") for stem in ("t", "again")
    )
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values)


def test_the_encodings_belong_to_one_onnx(made, tiny_uint8_onnx, tmp_path) -> None:
    encodings = made / "t.quantized.encodings.json"
    record = read_sidecar(encodings)
    assert record is not None
    owner = record["details"]["float_onnx"]
    assert owner == {"name": "t.equalized.onnx", "sha256": sha256_of(made / "t.equalized.onnx")}

    words = ("--encodings", encodings, "-o", tmp_path / "q.dlc")
    refused = run("quantize", tiny_uint8_onnx, *words, code=2)
    assert "belongs to t.equalized.onnx" in str(refused.exception)
    run("quantize", made / "t.equalized.onnx", *words)
    again = json.loads((tmp_path / "q.quantized.encodings.json").read_text())
    assert again == json.loads(encodings.read_text())
    assert not (tmp_path / "q.equalized.onnx").exists()

    foreign = tmp_path / "foreign.json"
    foreign.write_text(encodings.read_text())
    noted = run("quantize", made / "t.equalized.onnx", "--encodings", foreign, *words[2:])
    assert "does not say which ONNX it belongs to" in noted.stderr


def test_what_is_equalised_is_not_equalised_again(made, tiny_uint8_onnx, images, tmp_path) -> None:
    equalized = tmp_path / "e.onnx"
    run("equalize", tiny_uint8_onnx, "--calib", images, "-o", equalized)
    refused = run("equalize", equalized, "--calib", images, "-o", tmp_path / "x.onnx", code=2)
    assert "is equalised already" in str(refused.exception)
    taken = run("quantize", equalized, "--calib", images, "-o", tmp_path / "t.dlc")
    assert "equalised already: it is taken as it is" in taken.stderr
    corrected = made / "t.equalized.onnx"
    refused = run("quantize", corrected, "--calib", images, "-o", tmp_path / "x.dlc", code=2)
    assert "are corrected for the encodings that were written with it" in str(refused.exception)
    qdq = made / "t.quantized.onnx"
    refused = run("equalize", qdq, "--calib", images, "-o", tmp_path / "x.onnx", code=2)
    assert "quantized already" in str(refused.exception)
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize("method", ["noise", "closed-form"])
def test_the_command_equalize(method, tiny_onnx, images, tmp_path) -> None:
    source = tmp_path / "m.onnx"
    source.write_bytes(tiny_onnx.read_bytes())
    result = run("equalize", source, "--calib", images, "--method", method)
    assert "equalised: 3 groups of channels" in result.stdout
    written = tmp_path / "m.equalized.onnx"
    onnx.checker.check_model(onnx.load(written))
    exact = outputs(source, images / "2.png")
    for name, values in outputs(written, images / "2.png").items():
        np.testing.assert_allclose(values, exact[name], atol=1e-4 * np.abs(exact[name]).max())
    refused = run("equalize", source, "--calib", images, "-o", source, code=2)
    assert "would be overwritten" in str(refused.exception)


def test_an_sdk_gets_the_equalised_onnx(
    imitation_sdk,
    tiny_onnx,
    images,
    tmp_path,
) -> None:
    dlc = tmp_path / "q.dlc"
    words = ("quantize", tiny_onnx, "--calib", images, "--sdk", imitation_sdk(SDK), "-o", dlc)
    result = run(*words)
    assert "the SDK got the equalised ONNX" in result.stderr
    record = read_sidecar(dlc)
    assert record is not None and record["details"]["equalization"]["spaces"] == 3
    equalized = read_sidecar(tmp_path / "q.equalized.onnx")
    assert equalized is not None
    plain = run(*words[:-1], tmp_path / "p.dlc", "--equalize", "none", "--cle")
    assert "as published made this project's network worse" in plain.stderr
    assert not (tmp_path / "p.equalized.onnx").exists()


def test_an_sdk_takes_corrected_biases_with_their_encodings_only(
    imitation_sdk, made, images, tmp_path
) -> None:
    model, encodings = made / "t.equalized.onnx", made / "t.quantized.encodings.json"
    words = ("quantize", model, "--calib", images, "--sdk", imitation_sdk(SDK))
    refused = run(*words, "-o", tmp_path / "x.dlc", code=2)
    assert "are corrected for the encodings" in str(refused.exception)
    taken = run(*words, "--encodings", encodings, "-o", tmp_path / "q.dlc")
    assert "asked for in 32 bits" in taken.stderr
    record = read_sidecar(tmp_path / "q.dlc")
    assert record is not None and record["details"]["intent"]["bias_bits"] == 32
