"""Raw-head ONNX files as other exporters and other people write them."""

import io
import warnings
from collections.abc import Sequence

import onnx
import torch
from onnx import helper
from torch import nn

from persondet.spec import DetectorSpec


def exported(network: nn.Module, spec: DetectorSpec, opset: int = 17, **options) -> onnx.ModelProto:
    """torch's own export, not simplified, without a spec; batch norm stays a node of its own.

    options: of torch.onnx.export instead of these.
    """
    options = {
        "training": torch.onnx.TrainingMode.PRESERVE,
        "do_constant_folding": False,
        "input_names": [spec.input_name],
        "output_names": [spec.scores_name, spec.boxes_name],
        **options,
    }
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 3, *spec.input_size_hw),),
            buffer,
            opset_version=opset,
            dynamo=False,
            **options,
        )
    return onnx.load_from_string(buffer.getvalue())


def with_constant_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every initializer a Constant node."""
    for item in reversed(model.graph.initializer):
        model.graph.node.insert(0, helper.make_node("Constant", [], [item.name], value=item))
    model.graph.ClearField("initializer")
    return model


def with_identity(model: onnx.ModelProto, op_types: Sequence[str] = ("Conv",)) -> onnx.ModelProto:
    """The last input of every node of these types behind an Identity."""
    for node in [node for node in model.graph.node if node.op_type in op_types]:
        source = node.input[-1]
        node.input[-1] = f"{node.output[0]}_identity"
        model.graph.node.insert(0, helper.make_node("Identity", [source], [node.input[-1]]))
    return model


def without_node_names(model: onnx.ModelProto) -> onnx.ModelProto:
    for node in model.graph.node:
        node.ClearField("name")
    return model


class Cooked(nn.Module):
    """A detector with softmax, sigmoid or box decoding inside, as other exports have it."""

    def __init__(
        self, network: nn.Module, anchors: torch.Tensor, scores: str = "", boxes: str = ""
    ):
        super().__init__()
        self.network, self.scores, self.boxes = network, scores, boxes
        self.register_buffer("anchors", anchors)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores, boxes = self.network(images)
        if self.scores:
            scores = torch.sigmoid(scores) if self.scores == "sigmoid" else scores.softmax(2)
        if self.boxes:
            sizes = torch.exp(boxes[..., 2:] * 0.2) * self.anchors[:, 2:]
            centres = boxes[..., :2] * 0.1 * self.anchors[:, 2:] + self.anchors[:, :2]
            first, last = centres, sizes
            if self.boxes == "corners":
                first, last = centres - sizes / 2, centres + sizes / 2
            boxes = torch.cat([first, last], 2)
        return scores, boxes
