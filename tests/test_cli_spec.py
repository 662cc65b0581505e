"""--spec of export, convert and quantize: a bare checkpoint becomes the network that it says."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from export.onnx_model import load_detector_onnx
from persondet.cli import cli
from persondet.errors import InputError
from persondet.networks import build_network, initialise
from persondet.sidecar import spec_beside
from persondet.spec import AnchorLevel, DetectorSpec, spec_to_json
from persondet.zoo import detector_spec
from runtime.backend import open_backend

F19 = "mb2-ssd-lite-f19"


@pytest.fixture(scope="module")
def spec() -> DetectorSpec:
    """f19 in nearly nothing as published: input, anchors, activation, normalisation, threshold."""
    own = detector_spec(F19, width_mult=0.25, backbone_activation="relu")
    grids = ((10, 13), (5, 7), (3, 4), (2, 2), (1, 1), (1, 1))
    return dataclasses.replace(
        own,
        input_size_hw=(160, 208),
        levels=tuple(
            AnchorLevel(grid, (160 / grid[0], 208 / grid[1]), ((20.0 * size, 30.0 * size),) * 6)
            for size, grid in enumerate(grids, 1)
        ),
        mean_rgb=(123.0, 123.0, 123.0),
        nms_iou=0.2,
    )


@pytest.fixture
def files(tmp_path: Path, spec: DetectorSpec, monkeypatch) -> Path:
    network = build_network(spec)
    initialise(network, seed=3)
    torch.save(network.state_dict(), tmp_path / "bare.pth")
    (tmp_path / "spec.json").write_text(spec_to_json(spec))
    monkeypatch.chdir(tmp_path)  # where `export` writes
    return tmp_path


def _run(*arguments: str | Path):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_export(files, spec) -> None:
    result = _run("export", files / "bare.pth", "--spec", files / "spec.json")
    assert result.exit_code == 0, result.output
    assert "note:" not in result.output
    model, found = load_detector_onnx(files / "bare.onnx")
    assert found == spec == spec_beside(files / "bare.onnx")
    assert [node.op_type for node in model.graph.node].count("Clip") < 20  # heads and extras alone
    tensor = np.random.default_rng(0).normal(0, 1, (1, 3, 160, 208)).astype(np.float32)
    by_torch, by_onnx = (
        open_backend(files / name, given).infer(tensor)
        for name, given in (("bare.pth", spec), ("bare.onnx", None))
    )
    for name, output in by_torch.items():
        np.testing.assert_allclose(by_onnx[name], output, atol=1e-4)


def test_the_input_format_is_the_specs_unless_said(files, spec) -> None:
    bytes_spec = dataclasses.replace(spec, input_format="uint8-nhwc")
    (files / "spec.json").write_text(spec_to_json(bytes_spec))
    assert _run("export", files / "bare.pth", "--spec", files / "spec.json").exit_code == 0
    assert spec_beside(files / "bare.onnx") == bytes_spec
    arguments = ["export", files / "bare.pth", "--spec", files / "spec.json"]
    assert _run(*arguments, "--input", "float-nhwc").exit_code == 0
    assert spec_beside(files / "bare.onnx").input_format == "float-nhwc"


def test_convert_and_quantize_in_passing(files, spec) -> None:
    arguments = [files / "bare.pth", "--spec", files / "spec.json"]
    picture = Path(__file__).parents[1] / "export" / "check_picture.jpg"
    for result in (
        _run("convert", *arguments),
        _run("quantize", *arguments, "--calib", picture, "--per-channel"),
    ):
        assert result.exit_code == 0, result.output
        assert "assumed" not in result.output
    assert spec_beside(files / "bare.dlc") == spec
    assert spec_beside(files / "bare.quantized.dlc") == spec
    dry = _run("convert", *arguments, "--dry-run", "--sdk-version", "2.22")
    assert f"--spec {files / 'spec.json'}" in dry.stdout


def test_without_a_spec_the_note_says_what_is_assumed(files) -> None:
    result = _run("export", files / "bare.pth", "--backbone-activation", "relu")
    assert result.exit_code == 0, result.output
    assert "assumed: the published anchors; input 300 x 300 (height x width);" in result.output
    assert "in the backbone" not in result.output
    clips = [node.op_type for node in onnx.load(files / "bare.onnx").graph.node].count("Clip")
    assert spec_beside(files / "bare.onnx").backbone_activation == "relu"
    assert _run("export", files / "bare.pth", "-o", files / "other.onnx").exit_code == 0
    more = [node.op_type for node in onnx.load(files / "other.onnx").graph.node].count("Clip")
    assert more > clips


def test_a_spec_and_what_it_says_already(files) -> None:
    result = _run("export", files / "bare.pth", "--spec", files / "spec.json", "--model", "f19")
    assert result.exit_code == 2
    assert "leave away --model, --classes, --anchor-ratios and --backbone-acti" in result.output


def test_a_spec_of_another_network_lists_the_differences(files) -> None:
    (files / "spec.json").write_text(spec_to_json(detector_spec(F19)))
    result = _run("export", files / "bare.pth", "--spec", files / "spec.json")
    assert isinstance(result.exception, InputError)
    assert "bare.pth does not fit mb2-ssd-lite-f19 (width 1, 2 classes)" in str(result.exception)
