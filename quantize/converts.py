"""Changes between 8 and 16 bits inside a graph.

The HTP has no layer that reads activations of one width and writes another: a Conv2d that should do
so is refused when the graph is handed over, on its input's side as on its output's. What it does
have is the op Convert, from one encoding to another, uint8 to uint16 and back, and onnxruntime's
QNN execution provider writes one for a DequantizeLinear followed by a QuantizeLinear. So each layer
runs at the width that it writes, and what it reads in another width goes through such a pair. It
may stand behind a graph input of bytes as well: that is how a camera's uint8 frame reaches 16-bit
layers.

In the float graph a convert is an Identity whose output has an encoding of its own. Calibration,
bias correction and onnxruntime's quantizer then need to know nothing of it.
"""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx
from onnx import helper

from quantize.encodings import TensorEncoding, encoding_of
from quantize.ranges import FUSED_OPS, MOVING_OPS

_PREFIX = "convert_"
_RATIO = 2**8 + 1  # (2^16 - 1) / (2^8 - 1): steps of 16 bits in a step of 8 over the same range


def encoded_as(graph: onnx.GraphProto, encoded: Collection[str]) -> dict[str, str]:
    """Return, by tensor, the tensor of `encoded` whose encoding it has: its own; that of what a
    transpose or reshape reads; that of the Relu or Clip that is fused with what makes it."""
    found = {value.name: value.name for value in graph.input if value.name in encoded}
    for node in graph.node:
        if node.op_type in FUSED_OPS and node.input[0] not in encoded:
            found[node.input[0]] = node.output[0]
    for node in graph.node:
        for name in node.output:
            if name in encoded:
                found[name] = name
            elif node.op_type in MOVING_OPS and node.input[0] in found:
                found[name] = found[node.input[0]]
    return {name: tensor for name, tensor in found.items() if tensor in encoded}


def layers(graph: onnx.GraphProto, source: Mapping[str, str]) -> Iterator[onnx.NodeProto]:
    """The nodes that compute, in order: neither moved values nor what is fused with another.

    source: as `encoded_as` returns it.
    """
    for node in graph.node:
        made = source.get(node.output[0])
        is_fused = node.op_type in FUSED_OPS and source.get(node.input[0]) == made
        if made is not None and node.op_type not in MOVING_OPS and not is_fused:
            yield node


def with_converts(
    model: onnx.ModelProto, activations: Mapping[str, TensorEncoding]
) -> tuple[onnx.ModelProto, dict[str, TensorEncoding]]:
    """Let each layer read its activations in as many bits as it writes.

    Returns the graph with an Identity for each tensor that is read in another width, and the
    encodings with those of the Identities' outputs, which keep the range.
    """
    source = encoded_as(model.graph, activations)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    added: dict[str, onnx.NodeProto] = {}
    encodings = dict(activations)
    for node in layers(copy.graph, source):
        bits = activations[source[node.output[0]]].bitwidth
        for index, name in enumerate(node.input):
            if name not in source or activations[source[name]].bitwidth == bits:
                continue
            new = f"{_PREFIX}{name}_to_{bits}"
            added[new] = helper.make_node("Identity", [name], [new], new)
            encodings[new] = converted(activations[source[name]], bits)
            node.input[index] = new
    _insert(copy.graph, added)
    return copy, encodings


def convert_count(model: onnx.ModelProto) -> int:
    """Return how many tensors `with_converts` converts."""
    return sum(map(_is_convert, model.graph.node))


def without_converts(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the Identities from a quantized graph: what stays is the pair that means a Convert."""
    graph = model.graph
    renamed = {node.output[0]: node.input[0] for node in graph.node if _is_convert(node)}
    kept = [node for node in graph.node if not _is_convert(node)]
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    return model


def of_graph(activations: Mapping[str, TensorEncoding]) -> dict[str, TensorEncoding]:
    """The encodings without those of converts, which follow from them."""
    return {name: found for name, found in activations.items() if not name.startswith(_PREFIX)}


def converted(encoding: TensorEncoding, bits: int) -> TensorEncoding:
    """The encoding of the same range in 8 or 16 bits. From 8 to 16 every value is kept."""
    scale = float(np.float32(encoding.scale))  # as it is stored
    if bits > encoding.bitwidth:
        return encoding_of(bits, scale / _RATIO, encoding.offset * _RATIO)
    return encoding_of(bits, scale * _RATIO, round(encoding.offset / _RATIO))


def _is_convert(node: onnx.NodeProto) -> bool:
    return node.op_type == "Identity" and node.name.startswith(_PREFIX)


def _insert(graph: onnx.GraphProto, added: Mapping[str, onnx.NodeProto]) -> None:
    """Put each node directly before its first reader."""
    waiting = dict(added)
    nodes = []
    for node in graph.node:
        nodes += [waiting.pop(name) for name in node.input if name in waiting]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
