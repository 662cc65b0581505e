"""The figures of the networks: against torch's own modules, and equal in .pth, .onnx and .dlc."""

import csv
import dataclasses
import io
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.figures_report import _made_lines
from benchmarks.model_info import info_of_file, info_of_network
from persondet.cli import cli
from persondet.errors import InputError
from persondet.networks import build_network, initialise
from persondet.sidecar import sidecar_path
from persondet.zoo import F38, detector_spec, network_names

# The specification gives f38's; the others follow from the same rules.
SNPE_MEMORY_BYTES = {
    "mb2-ssd-lite-f38": 362_717_916,
    "mb2-ssd-lite-f38-person": 364_931_612,
    "mb2-ssd-lite-f19": 336_933_276,
    "rfb-tiny-mb2-ssd-c64": 348_123_904,
    "rfb-tiny-mb2-ssd-c32": 179_392_000,
    "ssdlite-mb2-person": 336_926_716,
}


def torch_figures(network, spec):
    """Parameters and MACs, asked of each Conv2d as it runs; batch norm becomes a bias."""
    counted = {"parameters": 0, "macs": 0}

    def count(module, _inputs, output):
        counted["parameters"] += module.weight.numel() + module.out_channels
        counted["macs"] += module.weight.numel() * output.shape[2] * output.shape[3]

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, *spec.input_size_hw))
    return counted


@pytest.mark.parametrize("name", network_names())
def test_every_network_against_its_torch_modules(name):
    info = info_of_network(name)
    spec = detector_spec(name)
    expected = torch_figures(build_network(spec).eval(), spec)
    found = {"parameters": info.figures.parameters, "macs": info.figures.macs}
    assert found == expected
    assert info.figures.snpe_memory_bytes == SNPE_MEMORY_BYTES[name]
    assert (info.kind, info.network, info.file_bytes) == ("network", name, None)
    assert [port.name for port in info.outputs] == ["scores", "boxes"]


@pytest.fixture(scope="module")
def f38_files(tmp_path_factory):
    """f38 with random weights as .pth and .onnx, with their sidecars as the commands write them."""
    from export.onnx_export import export_onnx
    from persondet.checkpoint import load_checkpoint, save_checkpoint

    folder = tmp_path_factory.mktemp("f38")
    spec = detector_spec(F38)
    network = build_network(spec)
    initialise(network)
    save_checkpoint(folder / "f38.pth", network.eval(), spec)
    export_onnx(load_checkpoint(folder / "f38.pth"), folder / "f38.onnx")
    return folder


@pytest.fixture(scope="module")
def f38_dlc(f38_files):
    pytest.importorskip("onnxruntime_qnn", reason="Qualcomm's wheel is not installed")
    from export.convert import convert

    return convert(f38_files / "f38.onnx", f38_files / "f38.dlc").path


def assert_figures_of_the_specification(info):
    figures = info.figures
    assert (figures.parameters, figures.macs) == (2_750_864, 618_007_664)
    assert figures.snpe_memory_bytes == 362_717_916
    assert figures.peak_activation_bytes == 2 * 96 * 150 * 150 * 4  # around the first wide ReLU


@pytest.mark.parametrize("suffix", ["pth", "onnx"])
def test_f38_has_the_figures_of_the_specification(f38_files, suffix):
    path = f38_files / f"f38.{suffix}"
    info = info_of_file(path)
    assert_figures_of_the_specification(info)
    assert (info.name, info.kind, info.network) == (path.name, suffix, F38)
    assert info.file_bytes == path.stat().st_size


def test_f38_has_the_same_figures_as_a_dlc(f38_files, f38_dlc):
    info = info_of_file(f38_dlc)
    assert_figures_of_the_specification(info)
    assert (info.kind, info.network) == ("dlc", F38)
    assert info.op_counts["Conv2d"] + info.op_counts["DepthWiseConv2d"] == 71
    assert info.sidecar["step"] == "convert"
    onnx_layers = info_of_file(f38_files / "f38.onnx").figures.layers
    memory = sorted(layer.memory_bytes for layer in info.figures.layers)
    assert memory == sorted(layer.memory_bytes for layer in onnx_layers)


def test_a_sidecar_of_another_file_is_a_note(f38_files, tmp_path):
    copy = tmp_path / "other.onnx"
    copy.write_bytes((f38_files / "f38.onnx").read_bytes() + b"")
    record = json.loads((f38_files / "f38.onnx.json").read_text())
    record["artefact"]["sha256"] = "0" * 64
    (tmp_path / "other.onnx.json").write_text(json.dumps(record))
    info = info_of_file(copy)
    assert info.sidecar is None
    assert "describes another file" in info.notes[0]


def test_a_network_is_given_for_checkpoints_only(f38_files):
    with pytest.raises(InputError, match="a network is given for a"):
        info_of_file(f38_files / "f38.onnx", F38)


def invoke(*arguments):
    result = CliRunner().invoke(cli, ["info", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_table_and_the_totals(f38_files):
    text = invoke(f38_files / "f38.onnx")
    assert "Total parameters:             2,750,864" in text
    assert "618M (618,007,664)" in text
    assert "345.9 MiB" in text
    names = {layer.name for layer in info_of_file(f38_files / "f38.onnx").figures.layers}
    lines = text.splitlines()
    assert all(any(line.startswith(f"{name} ") for line in lines) for name in names)
    assert "/base_net" not in invoke(f38_files / "f38.onnx", "--totals")


def test_json_is_one_object_and_adds_up(f38_files):
    record = json.loads(invoke(f38_files / "f38.onnx", "--json"))
    assert record["parameters"] == 2_750_864
    assert record["macs"] == sum(layer["macs"] for layer in record["layers"]) == 618_007_664
    assert record["snpe_memory_bytes"] == sum(layer["memory_bytes"] for layer in record["layers"])
    assert record["layers"][0]["output_shape"] == [1, 3, 300, 300]
    assert record["inputs"] == [
        {"name": "image", "shape": [1, 3, 300, 300], "dtype": "float32", "encoding": None}
    ]
    assert record["sidecar"]["step"] == "export"


def test_csv_on_standard_output_and_in_a_file(f38_files, tmp_path):
    rows = list(csv.DictReader(io.StringIO(invoke(f38_files / "f38.onnx", "--csv", "-"))))
    assert sum(int(row["parameters"]) for row in rows) == 2_750_864
    assert rows[0]["output_shape"] == "1x3x300x300"
    invoke(f38_files / "f38.onnx", "--csv", tmp_path / "layers.csv", "--json")
    assert list(csv.DictReader((tmp_path / "layers.csv").open())) == rows


def test_the_csv_never_replaces_the_model(f38_files, tmp_path):
    with pytest.raises(InputError, match=r"name must end in \.csv"):
        invoke(f38_files / "f38.onnx", "--csv", f38_files / "f38.onnx")
    (tmp_path / "layers.csv").symlink_to(f38_files / "f38.onnx")
    with pytest.raises(InputError, match="would be overwritten by its own result"):
        invoke(f38_files / "f38.onnx", "--csv", tmp_path / "layers.csv")


def test_json_and_csv_cannot_share_standard_output(f38_files):
    with pytest.raises(InputError, match="both want standard output"):
        invoke(f38_files / "f38.onnx", "--csv", "-", "--json")


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="no file mb2-ssd-lite-f39"):
        invoke("mb2-ssd-lite-f39")


def test_the_command_that_made_it_can_be_typed_again(f38_files):
    info = info_of_file(f38_files / "f38.onnx")
    assert info.sidecar is not None
    command = ["persondet", "export", "my model.pth", "-o", "f38.onnx"]
    spaced = dataclasses.replace(info, sidecar={**info.sidecar, "command": command})
    assert ("Made by", "persondet export 'my model.pth' -o f38.onnx") in _made_lines(spaced)


def test_a_dlc_shows_its_ports_and_its_writer(f38_dlc):
    text = invoke(f38_dlc, "--totals")
    assert "image float32 1x3x300x300" in text
    assert "qnn" in text
    assert "Made from:" in text


@pytest.fixture(scope="module")
def quantized(f38_files, f38_dlc):
    """f38 from uint8 pictures, quantized on two of noise: its DLC and its QDQ ONNX."""
    from export.onnx_export import export_onnx
    from persondet.checkpoint import load_checkpoint
    from quantize.calibration_set import calibration_set
    from quantize.quantizer import quantize

    folder = f38_files / "noise"
    folder.mkdir()
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 256, (48, 80, 3), np.uint8)
        cv2.imwrite(str(folder / f"{seed}.png"), noise)
    source = f38_files / "bytes.onnx"
    export_onnx(load_checkpoint(f38_files / "f38.pth"), source, input_format="uint8-nhwc")
    pictures = calibration_set(folder)
    return quantize(source, f38_files / "f38.quantized.dlc", calibration=pictures)


def test_a_quantized_model_counts_alike_as_dlc_and_qdq_onnx(quantized):
    dlc, qdq = info_of_file(quantized.dlc.path), info_of_file(quantized.qdq)
    for info in (dlc, qdq):
        assert (info.figures.parameters, info.figures.macs) == (2_750_864, 618_007_664)
    # One byte an element: 45 fused activations are gone from the float estimate's 137 layers.
    assert dlc.figures.snpe_memory_bytes == qdq.figures.snpe_memory_bytes == 78_251_031
    assert dlc.figures.peak_activation_bytes == qdq.figures.peak_activation_bytes == 2_700_000
    assert len(dlc.figures.layers) == len(qdq.figures.layers) == 137 - 45


def test_the_encoding_of_a_quantized_input_is_shown(quantized):
    (port,) = json.loads(invoke(quantized.dlc.path, "--json"))["inputs"]
    assert (port["dtype"], port["shape"]) == ("ufixed8", [1, 300, 300, 3])
    assert port["encoding"] == {"scales": [1 / 128], "offsets": [-127], "axis": None}
    text = invoke(quantized.dlc.path, "--totals")
    assert "real = (stored -127) * 0.0078125" in text


WITHOUT_THE_WHEEL = """
import sys
sys.modules["onnxruntime_qnn"] = None
from persondet.cli import main
main()
"""


@pytest.mark.parametrize(
    ("with_sidecar", "quantized", "runs_on"),
    [
        (True, False, "CPU: yes, float"),
        (True, True, "DSP, HTP: yes, quantized"),
        (False, False, None),
    ],
)
def test_what_a_dlc_is_without_the_wheel(tiny_dlc, tmp_path, with_sidecar, quantized, runs_on):
    """QAIRT's record in the file is the same for float and quantized graphs."""
    path = tmp_path / "model.dlc"
    shutil.copy(tiny_dlc, path)
    record = json.loads(sidecar_path(tiny_dlc).read_text())
    if quantized:  # as `quantize` writes it
        record["step"] = "quantize"
        del record["details"]["quantized"]
    if with_sidecar:
        sidecar_path(path).write_text(json.dumps(record))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_WHEEL, "info", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "Qualcomm's libraries, which are not installed: pip install onnxruntime-qnn==" in (
        done.stderr
    )
    found = " ".join(done.stdout.split())
    assert "Container: QAIRT" in found
    if runs_on is None:
        assert "Then runs on" not in found
        assert "does not say whether it is quantized" in found
    else:
        assert runs_on in found
        assert "Made by" in found
