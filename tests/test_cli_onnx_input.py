"""convert and quantize take whatever can become an ONNX; damage is noticed by the sidecar."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from export.onnx_export import export_onnx
from export.onnx_model import load_detector_onnx
from persondet.checkpoint import load_checkpoint
from persondet.cli import cli
from persondet.errors import InputError
from persondet.images import write_image_rgb
from persondet.sidecar import sidecar_path
from runtime.backend import open_backend


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "head.pth"
    result = CliRunner().invoke(
        cli, ["init", "mb2-ssd-lite-f38", "--width-mult", "0.25", "-o", str(path)]
    )
    assert result.exit_code == 0, result.output
    return path


def test_a_checkpoint_is_exported_in_passing(checkpoint: Path) -> None:
    result = CliRunner().invoke(cli, ["convert", str(checkpoint)], catch_exceptions=False)
    assert result.stdout.startswith(f"{checkpoint.with_suffix('.dlc')}: ")
    assert "was exported in passing, input float-nchw" in result.stderr
    assert not checkpoint.with_suffix(".onnx").exists()


def test_a_model_s_name_gives_files_of_that_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_image_rgb(tmp_path / "grey.png", np.full((40, 60, 3), 99, np.uint8))
    CliRunner().invoke(
        cli, ["quantize", "ssdlite-mb2-person", "--calib", "grey.png"], catch_exceptions=False
    )
    assert (tmp_path / "ssdlite-mb2-person.quantized.dlc").exists()
    assert (tmp_path / "ssdlite-mb2-person.quantized.onnx").exists()


def test_a_flipped_byte_is_noticed_by_the_sidecar(checkpoint: Path) -> None:
    onnx_path = checkpoint.with_suffix(".onnx")
    export_onnx(load_checkpoint(checkpoint), onnx_path)
    for path, reader in ((onnx_path, load_detector_onnx), (onnx_path, open_backend)):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"head\.onnx\.json describes another file"):
            reader(path)
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(InputError, match=r"head\.pth .*the checksum of its entry \S+ differs"):
        load_checkpoint(checkpoint)


def test_weights_that_are_no_numbers_are_refused(checkpoint: Path) -> None:
    path = checkpoint.with_suffix(".onnx")
    export_onnx(load_checkpoint(checkpoint), path)
    model = onnx.load(path)
    item = next(i for i in model.graph.initializer if len(i.dims) == 4)
    values = numpy_helper.to_array(item).copy()
    values.flat[3] = np.nan
    item.CopyFrom(numpy_helper.from_array(values, item.name))
    onnx.save(model, path)
    sidecar_path(path).unlink()
    with pytest.raises(InputError, match=rf"NaN or infinite in .*{item.name}"):
        load_detector_onnx(path)


def test_a_graph_that_onnxruntime_cannot_run_is_the_users_error(checkpoint: Path) -> None:
    path = checkpoint.with_suffix(".onnx")
    export_onnx(load_checkpoint(checkpoint), path)
    model = onnx.load(path)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type, relu.domain = "Mystery", "my.domain"
    model.opset_import.append(onnx.helper.make_opsetid("my.domain", 1))
    onnx.save(model, path)
    sidecar_path(path).unlink()
    picture = checkpoint.with_name("grey.png")
    write_image_rgb(picture, np.full((40, 60, 3), 99, np.uint8))
    result = CliRunner().invoke(cli, ["quantize", str(path), "--calib", str(picture)])
    assert isinstance(result.exception, InputError), result.exception
    assert "cannot run the graph" in str(result.exception)


def test_the_networks_name_is_checked_and_original_spellings_are_known(checkpoint: Path) -> None:
    assert load_checkpoint(checkpoint, model="mb_ssd_lite_f38").spec.network == "mb2-ssd-lite-f38"
    with pytest.raises(InputError, match="unknown network 'bogus'; known: mb2-ssd-lite-f38"):
        load_checkpoint(checkpoint, model="bogus")
