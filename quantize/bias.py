"""Biases that do not fit their encoding.

A bias is stored as int32 with the scale input scale * weight scale. Where that is tiny (16-bit
activations of a small range) the bias saturates, and the layer's output is wrong without a word.
A wider weight scale mends it. It costs little: such a bias is hundreds of times larger than what a
weight and an input can add to it, and the output's own steps are coarser than what is lost.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from persondet.errors import PersondetError

_INT32_MAX = 2**31 - 1
_MARGIN = 1.01
# The largest weight of a symmetric scale is 127 steps: widened more than that, all would become 0.
_MAX_WIDENING = 127.0


@dataclass(frozen=True)
class SaturatedBias:
    """A layer's bias that does not fit. widened: factors for the scales of its weight, one, or one
    an output channel, 1 where there is nothing to mend."""

    layer: str
    weight: str
    widened: np.ndarray


def saturated_biases(model: onnx.ModelProto, quantized: onnx.ModelProto) -> list[SaturatedBias]:
    """model: the float graph, for the biases; quantized: its QDQ graph, for the scales."""
    floats = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    biases = {
        node.name: floats[node.input[2]]
        for node in model.graph.node
        if node.op_type == "Conv" and len(node.input) > 2 and node.input[2] in floats
    }
    constants = {item.name: numpy_helper.to_array(item) for item in quantized.graph.initializer}
    dequantize = {n.output[0]: n for n in quantized.graph.node if n.op_type == "DequantizeLinear"}
    found = []
    for node in quantized.graph.node:
        if node.name not in biases or not {*node.input[:2]} <= set(dequantize):
            continue
        source, weight = (dequantize[name] for name in node.input[:2])
        scales = constants[source.input[1]] * constants[weight.input[1]].astype(np.float64)
        factors = np.abs(biases[node.name]) / (scales * _INT32_MAX)
        if (factors > 1).any():
            factors = factors if scales.ndim else factors.max()
            widened = np.where(factors > 1, factors * _MARGIN, 1).astype(np.float32)
            name = weight.input[0].removesuffix("_quantized")
            found.append(SaturatedBias(node.name, name, widened))
    return found


def refuse_hopeless(saturated: Iterable[SaturatedBias]) -> None:
    """Raises PersondetError where widening would leave nothing of the weights."""
    refuse(bias.layer for bias in saturated if bias.widened.max() > _MAX_WIDENING)


def refuse(layers: Iterable[str]) -> None:
    """Raises PersondetError naming the layers, if there are any."""
    if names := sorted(layers):
        raise PersondetError(
            "the biases of these layers do not fit their int32 encoding, and a wider scale of "
            f"their weights would leave nothing of them: {', '.join(names)}; use 8-bit "
            "activations (--act-bits 8), or check that the network is trained"
        )
