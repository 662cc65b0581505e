"""What an ONNX graph does between its last convolutions and its outputs.

Raw heads only rearrange there. Other exports append softmax and box decoding, which 8 bits do not
hold and which the runtime would do a second time.
"""

from collections.abc import Iterator

import onnx

from export.onnx_constants import constant_sizes
from persondet.spec import DetectorSpec

_PROBABILITY_OPS = ("Softmax", "Sigmoid", "HardSigmoid", "Exp")
_DECODING_OPS = ("Exp", "Sigmoid", "Softplus")
_SELECTING_OPS = ("NonMaxSuppression", "TopK", "ArgMax")
_ARITHMETIC_OPS = ("Add", "Sub", "Mul", "Div")


def cooked_outputs(model: onnx.ModelProto, spec: DetectorSpec) -> list[str]:
    """A line per output that is not a raw head; empty when both are.

    Found by the nodes from each output back to the convolutions before it: functions that make
    probabilities or sizes, and arithmetic with one number or more per anchor, which are the
    anchors themselves. A bias or a scale has one number per channel, or one.
    """
    lines = []
    if ops := _found(model, spec.scores_name, _PROBABILITY_OPS):
        lines.append(f"output {spec.scores_name!r} is made by {ops}: it is no logits")
    decoding = _found(model, spec.boxes_name, _DECODING_OPS)
    if not decoding and spec.num_anchors > 1:
        sizes = constant_sizes(model)
        decoding = ", ".join(
            _shown(node)
            for node in _after_convolutions(model, spec.boxes_name)
            if node.op_type in _ARITHMETIC_OPS
            and any(sizes.get(name, 0) >= spec.num_anchors for name in node.input)
        )
    if decoding:
        lines.append(f"output {spec.boxes_name!r} is made by {decoding}: it is no offsets")
    return lines


def _found(model: onnx.ModelProto, output: str, op_types: tuple[str, ...]) -> str:
    """The nodes of these types, or of those that select boxes, before the output; as text."""
    return ", ".join(
        _shown(node)
        for node in _after_convolutions(model, output)
        if node.op_type in (*op_types, *_SELECTING_OPS)
    )


def _after_convolutions(model: onnx.ModelProto, output: str) -> Iterator[onnx.NodeProto]:
    producers = {name: node for node in model.graph.node for name in node.output}
    waiting, seen = [output], set[str]()
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or "Conv" in node.op_type or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        yield node
        waiting += node.input


def _shown(node: onnx.NodeProto) -> str:
    return f"{node.name or node.output[0]} ({node.op_type})"
