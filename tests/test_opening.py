"""persondet.cli.opening, and the benchmark command on a small ONNX detector."""

import dataclasses
import json

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from described import describe
from onnx import TensorProto, helper, numpy_helper

from persondet.cli import cli, opening
from persondet.errors import InputError
from persondet.spec import AnchorLevel, DetectorSpec, spec_to_dict, spec_to_json

SPEC = DetectorSpec(
    "tiny",
    1.0,
    ("background", "person"),
    (48, 80),
    (AnchorLevel((3, 5), (16.0, 16.0), ((16.0, 16.0),)),),
)


@pytest.fixture
def tiny_onnx(tmp_path):
    """A detector of 15 anchors that ignores its input but for a term of zero."""
    outputs = {"scores": (1, 15, 2), "boxes": (1, 15, 4)}
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0)]
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    constants = {"zero": np.float32(0)}
    for name, shape in outputs.items():
        constants[f"{name}_0"] = np.zeros(shape, np.float32)
        nodes.append(helper.make_node("Add", [f"{name}_0", "nothing"], [name]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, SPEC.input_shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, {"persondet_spec": spec_to_json(SPEC)})
    onnx.save(model, tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.zeros((30, 70, 3), np.uint8))
    return path


def test_a_spec_is_read_from_a_sidecar_or_alone(tmp_path, tiny_onnx):
    sidecar = describe(tiny_onnx, step="export", inputs=[], spec=SPEC)
    assert opening.read_spec(sidecar) == SPEC
    alone = tmp_path / "spec.json"
    alone.write_text(json.dumps(spec_to_dict(SPEC)))
    assert opening.read_spec(alone) == SPEC


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON .*; name a model's sidecar"),
        ("[]", "expected an object, got list"),
        ('{"spec": null}', "expected an object, got NoneType"),
        ('{"spec_version": 99}', "spec_version is 99"),
    ],
)
def test_what_is_no_spec_is_refused(tmp_path, text, message):
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        opening.read_spec(path)


def test_a_missing_spec_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.json: No such file"):
        opening.read_spec(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"nms_iou": 0.9}, "note: --spec {spec} is not used: {model} comes with its own\n"),
        ({"input_format": "uint8-nhwc"}, ""),
    ],
)
def test_an_onnx_keeps_its_own_spec(tmp_path, tiny_onnx, capsys, change, note):
    other = tmp_path / "other.json"
    other.write_text(spec_to_json(dataclasses.replace(SPEC, **change)))
    backend = opening.open_model(str(tiny_onnx), other)
    assert backend.spec == SPEC
    assert capsys.readouterr().err == note.format(spec=other, model=tiny_onnx)
    backend.close()


def test_threads_are_no_option_of_a_dlc(tmp_path):
    path = tmp_path / "model.dlc"
    path.write_bytes(b"whatever")
    with pytest.raises(InputError, match="--threads is of onnxruntime and PyTorch"):
        opening.open_model(str(path), threads=1)


def benchmark(*arguments):
    arguments = ["benchmark", *map(str, arguments)]
    return CliRunner().invoke(cli, arguments, catch_exceptions=False).stdout


def test_the_benchmark_command(tiny_onnx, picture):
    common = (tiny_onnx, "--image", picture, "--runs", 3, "--warmup", 1)
    record = json.loads(benchmark(*common, "--json"))
    assert (record["runs"], record["warmup"], record["emulated"]) == (3, 1, False)
    assert set(record["stages"]) == {"preprocess", "infer", "decode", "nms", "total"}
    assert record["detections"] == 15  # softmax of equal logits is 0.5, the threshold
    text = benchmark(*common, "--threads", 1)
    assert "3 runs after 1 to warm up, 15 detections" in text
    assert "frames per second" in text


def test_a_benchmark_without_a_picture_is_refused(tiny_onnx, tmp_path):
    with pytest.raises(InputError, match=r"none\.png"):
        benchmark(tiny_onnx, "--image", tmp_path / "none.png")
