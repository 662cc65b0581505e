"""A detector of 38 anchors for tests: not square, two classes, levels of different shapes."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from persondet.spec import AnchorLevel, DetectorSpec, spec_to_json

SPEC = DetectorSpec(
    "tiny",
    1.0,
    ("background", "person", "head"),
    (48, 80),
    (
        AnchorLevel((3, 5), (16.0, 16.0), ((12.0, 20.0), (24.0, 16.0))),
        AnchorLevel((2, 4), (24.0, 20.0), ((40.0, 30.0),)),
    ),
    mean_rgb=(127.0, 100.0, 3.0),
    std_rgb=(128.0, 50.0, 60.0),
)


def outputs_with(chosen, spec=SPEC):
    """Outputs in which anchor i has logits `chosen[i]` = (background, person, head); boxes: the
    anchors themselves. All other anchors are background."""
    scores = np.zeros((1, spec.num_anchors, spec.num_classes), np.float32)
    scores[..., 0] = 20.0
    for anchor, logits in chosen.items():
        scores[0, anchor] = logits
    return {"scores": scores, "boxes": np.zeros((1, spec.num_anchors, 4), np.float32)}


class FakeBackend:
    """Gives the outputs it was made with, and remembers what it was fed."""

    name = "fake.onnx"
    device = "nothing"

    def __init__(self, outputs, spec=SPEC):
        self.outputs = outputs
        self.spec = spec
        self.fed = []
        self.closed = False

    def infer(self, tensor):
        self.fed.append(tensor)
        return dict(self.outputs)

    def close(self):
        self.closed = True


def save_onnx(path: Path, outputs, spec=SPEC, *, metadata=True, rename=None, input_shape=None):
    """An ONNX file that gives `outputs`, plus 0 times the mean of its input.

    rename: new names of outputs. input_shape: instead of the spec's; may hold names.
    """
    rename = rename or {}
    dtype = TensorProto.UINT8 if spec.input_dtype == "uint8" else TensorProto.FLOAT
    constants = {"zero": np.float32(0)}
    nodes = [
        helper.make_node("Cast", [spec.input_name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    infos = []
    for name, array in outputs.items():
        constants[f"{name}_constant"] = array
        output = rename.get(name, name)
        # Not an Add: arithmetic with a number per anchor is taken for box decoding.
        nodes.append(helper.make_node("Sum", [f"{name}_constant", "nothing"], [output]))
        infos.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, array.shape))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(spec.input_name, dtype, input_shape or spec.input_shape)],
        infos,
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata:
        helper.set_model_props(model, {"persondet_spec": spec_to_json(spec)})
    onnx.save(model, path)
    return path


def with_format(input_format, spec=SPEC):
    return dataclasses.replace(spec, input_format=input_format)
