"""export.onnx_export and its command: torch's outputs, in every format, or no file."""

import dataclasses
import errno
import json
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from export import onnx_export
from export.onnx_export import export_onnx
from persondet.checkpoint import load_checkpoint
from persondet.cli import cli
from persondet.errors import InputError, PersondetError
from persondet.images import read_image_rgb
from persondet.preprocess import preprocess
from persondet.sidecar import read_sidecar, sha256_of, sidecar_path
from persondet.spec import INPUT_FORMATS, METADATA_KEY, spec_from_json
from runtime.onnx_session import open_session

CASES = [
    (input_format, opset)
    for input_format in INPUT_FORMATS
    for opset in (9, 11, 13, 17, 20)
    if (input_format, opset) != ("uint8-nhwc", 9)
]


def _run(path: Path, tensor: np.ndarray) -> tuple[np.ndarray, ...]:
    session = open_session(path)
    return tuple(session.run(["scores", "boxes"], {"image": tensor}))


def _torch(checkpoint, image_rgb: np.ndarray) -> tuple[np.ndarray, ...]:
    with torch.inference_mode():
        outputs = checkpoint.network(torch.from_numpy(preprocess(image_rgb, checkpoint.spec)))
    return tuple(output.numpy() for output in outputs)


@pytest.mark.parametrize(("input_format", "opset"), CASES)
def test_formats_and_opsets(tiny_checkpoint, tmp_path, astronaut, input_format, opset) -> None:
    picture = read_image_rgb(astronaut)[:400]  # not square
    result = export_onnx(
        tiny_checkpoint, tmp_path / "x.onnx", input_format=input_format, opset=opset
    )
    assert result.spec == dataclasses.replace(tiny_checkpoint.spec, input_format=input_format)
    model = onnx.load(result.path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    tensor = preprocess(picture, result.spec)
    assert tensor.dtype == result.spec.input_dtype
    for found, expected in zip(
        _run(result.path, tensor), _torch(tiny_checkpoint, picture), strict=True
    ):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_mean_that_is_no_whole_number(tiny_checkpoint, tmp_path, astronaut) -> None:
    """The byte's zero point is a whole number; the rest of the mean is added."""
    spec = dataclasses.replace(tiny_checkpoint.spec, mean_rgb=(127.5,) * 3, std_rgb=(127.5,) * 3)
    checkpoint = dataclasses.replace(tiny_checkpoint, spec=spec)
    result = export_onnx(checkpoint, tmp_path / "x.onnx", input_format="uint8-nhwc")
    picture = read_image_rgb(astronaut)
    found = _run(result.path, preprocess(picture, result.spec))
    for ours, theirs in zip(found, _torch(checkpoint, picture), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("name", ["mean_rgb", "std_rgb"])
def test_bytes_need_one_mean_and_one_std(tiny_checkpoint, tmp_path, name) -> None:
    spec = dataclasses.replace(tiny_checkpoint.spec, **{name: (123.0, 117.0, 104.0)})
    checkpoint = dataclasses.replace(tiny_checkpoint, spec=spec)
    with pytest.raises(InputError, match=r"needs one (mean|std) for all .*--input float-nhwc"):
        export_onnx(checkpoint, tmp_path / "x.onnx", input_format="uint8-nhwc")
    assert list(tmp_path.iterdir()) == []
    export_onnx(checkpoint, tmp_path / "x.onnx", input_format="float-nhwc")


def test_the_f38_graph_is_as_small_as_it_can_be(f38_onnx) -> None:
    types = Counter(node.op_type for node in onnx.load(f38_onnx).graph.node)
    del types["Constant"]
    assert types == {
        **{"Conv": 71, "Relu": 43, "Clip": 2, "Add": 10},
        **{"Transpose": 8, "Reshape": 8, "Concat": 2},
    }


def test_the_spec_travels_in_the_metadata(tiny_onnx, tiny_checkpoint) -> None:
    properties = {entry.key: entry.value for entry in onnx.load(tiny_onnx).metadata_props}
    assert spec_from_json(properties[METADATA_KEY]) == tiny_checkpoint.spec


def test_the_sidecar(tiny_checkpoint, tmp_path) -> None:
    result = export_onnx(tiny_checkpoint, tmp_path / "x.onnx", opset=13)
    record = read_sidecar(result.path)
    assert record is not None
    assert record["step"] == "export"
    assert record["inputs"][0]["sha256"] == sha256_of(tiny_checkpoint.path)
    assert record["details"]["opset"] == 13
    assert record["details"]["max_abs_difference_to_torch"] == result.max_abs
    assert {"torch", "onnx", "onnxsim"} <= set(record["versions"])


def test_equal_checkpoints_give_equal_files(tiny_checkpoint, tmp_path) -> None:
    paths = [export_onnx(tiny_checkpoint, tmp_path / f"{i}.onnx").path for i in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 8}, "opset 8 is out of range, expected 9 to 20"),
        ({"opset": 21}, "opset 21 is out of range"),
        ({"opset": 9, "input_format": "uint8-nhwc"}, "a uint8 input needs opset 10"),
        ({"input_format": "uint8-nchw"}, "unknown input format 'uint8-nchw', expected one of"),
    ],
)
def test_options_that_cannot_be(tiny_checkpoint, tmp_path, options, message) -> None:
    with pytest.raises(InputError, match=message):
        export_onnx(tiny_checkpoint, tmp_path / "x.onnx", **options)
    assert list(tmp_path.iterdir()) == []


class _Moody(torch.nn.Module):
    """Outputs of another call are not those of the trace."""

    def __init__(self, network: torch.nn.Module, offset: float) -> None:
        super().__init__()
        self.network, self.offset, self.calls = network, offset, 0

    def forward(self, images):
        scores, boxes = self.network(images)
        self.calls += 1
        return scores, boxes + (0 if self.calls == 1 else self.offset)


@pytest.mark.parametrize(
    ("offset", "message"), [(2e-4, r"boxes by 0\.0002"), (float("nan"), "boxes by nan")]
)
def test_a_failing_comparison_leaves_what_was_there(
    tiny_checkpoint, tmp_path, offset, message
) -> None:
    path = tmp_path / "x.onnx"
    export_onnx(tiny_checkpoint, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for destination in (path, tmp_path / "new.onnx"):
        moody = _Moody(tiny_checkpoint.network, offset).eval()
        broken = dataclasses.replace(tiny_checkpoint, network=moody)
        with pytest.raises(PersondetError, match=rf"{message}, allowed 0\.0001; no file was wri"):
            export_onnx(broken, destination)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_tolerance_itself_is_allowed(tiny_checkpoint, tmp_path, monkeypatch) -> None:
    found = {"scores": onnx_export.TOLERANCE, "boxes": 0.0}
    monkeypatch.setattr(onnx_export, "compare_with_torch", lambda *_: found)
    export_onnx(tiny_checkpoint, tmp_path / "x.onnx")
    found["scores"] = float(np.nextafter(onnx_export.TOLERANCE, 1))
    with pytest.raises(PersondetError, match=r"scores by 0\.0001"):
        export_onnx(tiny_checkpoint, tmp_path / "x.onnx")


def test_a_graph_with_leftovers_is_refused(tiny_checkpoint, tmp_path) -> None:
    layers = (torch.nn.MaxPool2d(2, 1), torch.nn.ReflectionPad2d((1, 0, 1, 0)))
    padded = torch.nn.Sequential(*layers, tiny_checkpoint.network).eval()
    with pytest.raises(PersondetError, match="still has Pad nodes"):
        export_onnx(dataclasses.replace(tiny_checkpoint, network=padded), tmp_path / "x.onnx")


def test_a_full_disk(tiny_checkpoint, tmp_path, monkeypatch) -> None:
    def full(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "x.onnx").write_bytes(b"earlier")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match=r"x\.onnx: No space left on device; check .* free space"):
        export_onnx(tiny_checkpoint, tmp_path / "x.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["x.onnx"]
    assert (tmp_path / "x.onnx").read_bytes() == b"earlier"


def test_a_disk_that_is_found_full_late(tiny_checkpoint, tmp_path, monkeypatch) -> None:
    """Network file systems say so when the file is flushed."""

    def full(_descriptor):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="Disk quota exceeded"):
        export_onnx(tiny_checkpoint, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder(tiny_checkpoint, tmp_path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied; check the folder's permissions"):
        export_onnx(tiny_checkpoint, tmp_path / "x.onnx")


def test_a_folder_that_is_no_folder(tiny_checkpoint, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*file"):
        export_onnx(tiny_checkpoint, tmp_path / "file" / "x.onnx")


def test_destinations_that_cannot_be(tiny_checkpoint, tmp_path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match="it is a folder; name a file"):
        export_onnx(tiny_checkpoint, tmp_path / "folder.onnx")
    with pytest.raises(InputError, match=r"the result's name must end in \.onnx"):
        export_onnx(tiny_checkpoint, tmp_path / "x.dlc")
    own = dataclasses.replace(tiny_checkpoint, path=tmp_path / "own.onnx")
    own.path.write_bytes(b"a checkpoint of an odd name")
    (tmp_path / "link.onnx").symlink_to(own.path)
    for name in ("own.onnx", "link.onnx"):
        with pytest.raises(InputError, match="would be overwritten by its own result"):
            export_onnx(own, tmp_path / name)


def test_a_picture_that_is_none(tiny_checkpoint, tmp_path) -> None:
    (tmp_path / "p.jpg").write_text("no picture")
    with pytest.raises(InputError, match=r"p\.jpg"):
        export_onnx(tiny_checkpoint, tmp_path / "x.onnx", picture=tmp_path / "p.jpg")
    assert not (tmp_path / "x.onnx").exists()


def test_the_command(rfb_checkpoint, tmp_path) -> None:
    grey = np.linspace(0, 255, 70 * 110).reshape(70, 110).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    arguments = ["export", str(rfb_checkpoint), "-o", str(tmp_path / "x.onnx"), "--opset", "11"]
    options = ["--input", "float-nhwc", "--picture", str(tmp_path / "grey.png")]
    result = CliRunner().invoke(cli, [*arguments, *options], catch_exceptions=False)
    first, second = result.stdout.splitlines()
    assert "rfb-tiny-mb2-ssd-c32, opset 11, image float32 [1, 240, 320, 3], 13260" in first
    assert "classes background, person" in first
    assert second.startswith("max abs difference to torch on grey.png: scores ")
    written = json.loads(sidecar_path(tmp_path / "x.onnx").read_text())
    assert max(written["details"]["max_abs_difference_to_torch"].values()) < 1e-5


def test_the_command_names_the_result_after_the_checkpoint(
    f38_checkpoint, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        cli, ["export", str(f38_checkpoint), "--classes", "face"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "classes background, face" in result.stdout
    assert {file.name for file in tmp_path.iterdir()} == {"f38.onnx", "f38.onnx.json"}


def test_a_checkpoint_of_another_width_and_more_classes(tmp_path) -> None:
    from persondet.checkpoint import save_checkpoint
    from persondet.networks import build_network, initialise
    from persondet.zoo import detector_spec

    spec = detector_spec("mb2-ssd-lite-f38", width_mult=0.5, class_names=("head", "person"))
    network = build_network(spec)
    initialise(network)
    save_checkpoint(tmp_path / "half.pth", network, spec)
    result = export_onnx(load_checkpoint(tmp_path / "half.pth"), tmp_path / "half.onnx")
    assert result.spec.output_shapes["scores"] == (1, 3860, 3)
