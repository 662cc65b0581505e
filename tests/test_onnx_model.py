"""export.onnx_model: an ONNX file is a detector of ours or is refused with the reason."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.onnx_model import is_quantized, load_detector_onnx, load_onnx, tensor_shape
from persondet.errors import InputError
from persondet.spec import METADATA_KEY


@pytest.fixture
def model(tiny_onnx) -> onnx.ModelProto:
    return onnx.load(tiny_onnx)


@pytest.fixture
def saved(tmp_path):
    def save(model: onnx.ModelProto):
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return save


def _set_spec(model: onnx.ModelProto, text: str) -> None:
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = text


def test_our_own_file(tiny_onnx, tiny_checkpoint) -> None:
    model, spec = load_detector_onnx(tiny_onnx)
    assert spec == tiny_checkpoint.spec
    assert {value.name: tensor_shape(value) for value in model.graph.output} == spec.output_shapes
    assert not is_quantized(model)


def test_a_uint8_input_is_not_a_quantized_graph(tiny_uint8_onnx) -> None:
    model, spec = load_detector_onnx(tiny_uint8_onnx)
    assert spec.input_dtype == "uint8"
    assert not is_quantized(model)


def test_dynamic_shapes(model, saved) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(
        InputError, match=r"got float32 \(batch, 3, 48, 80\) \(dynamic shapes: export with fixed"
    ):
        load_detector_onnx(saved(model))
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    with pytest.raises(InputError, match=r"got float32 \(\?, 3, 48, 80\) \(dynamic shapes"):
        load_detector_onnx(saved(model))


def test_other_output_names(model, saved) -> None:
    for node in model.graph.node:
        node.output[:] = ["confidences" if name == "scores" else name for name in node.output]
    next(v for v in model.graph.output if v.name == "scores").name = "confidences"
    with pytest.raises(InputError, match="output 'scores' is missing, found") as caught:
        load_detector_onnx(saved(model))
    assert "unexpected output confidences" in str(caught.value)
    assert "persondet export" in str(caught.value)


def test_another_input_type(model, saved) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in model.graph.node:  # a cast in front, so that the model stays valid
        node.input[:] = ["cast" if name == "image" else name for name in node.input]
    cast = helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    with pytest.raises(InputError, match=r"input 'image': expected float32 .*, got float64"):
        load_detector_onnx(saved(model))


def test_a_model_of_somebody_else(model, saved) -> None:
    del model.metadata_props[:]
    with pytest.raises(
        InputError, match=r"no detector spec in its metadata \(its outputs are \w+, \w+\)"
    ):
        load_detector_onnx(saved(model))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object, got list"),
        ('{"spec_version": 99}', "spec_version is 99, this release reads 1"),
    ],
)
def test_a_spec_that_cannot_be_read(model, saved, text, message) -> None:
    _set_spec(model, text)
    with pytest.raises(InputError, match=rf"model\.onnx, metadata {METADATA_KEY}: .*{message}"):
        load_detector_onnx(saved(model))


def test_damaged_and_renamed_files(tiny_onnx, tiny_dlc, tiny_checkpoint, tmp_path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(tiny_onnx.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"x\.onnx is not a valid ONNX model \(.*persondet export"):
        load_onnx(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        load_onnx(path)
    path.write_bytes(b"just some text")
    with pytest.raises(InputError, match="not a valid ONNX model"):
        load_onnx(path)
    path.write_bytes(tiny_dlc.read_bytes())
    with pytest.raises(InputError, match="expected an ONNX model, found a DLC"):
        load_onnx(path)
    path.write_bytes(tiny_checkpoint.path.read_bytes())
    with pytest.raises(InputError, match="expected an ONNX model, found a PyTorch checkpoint"):
        load_onnx(path)
    with pytest.raises(InputError, match=r"tiny\.dlc is not an ONNX file"):
        load_onnx(tiny_dlc)


def test_a_graph_that_is_inconsistent_or_empty(model, saved) -> None:
    next(node for node in model.graph.node if node.input).input[0] = "nobody"
    with pytest.raises(InputError, match=r"not a valid ONNX model \(.*nobody"):
        load_onnx(saved(model))
    del model.graph.node[:]
    empty = helper.make_model(helper.make_graph([], "empty", [], []))
    with pytest.raises(InputError, match="not a valid ONNX model"):
        load_onnx(saved(empty))


def test_no_file_and_a_folder(tmp_path) -> None:
    with pytest.raises(InputError, match=r"gone\.onnx does not exist"):
        load_onnx(tmp_path / "gone.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match="is a folder; expected a model file"):
        load_onnx(tmp_path / "folder.onnx")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(saved, model) -> None:
    path = saved(model)
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        load_onnx(path)


def test_quantized_graphs_are_told_by_their_activations() -> None:
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "s")
    nodes = [helper.make_node("QuantizeLinear", ["x", "s"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "q",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1])],
        [scale],
    )
    assert is_quantized(helper.make_model(graph))
