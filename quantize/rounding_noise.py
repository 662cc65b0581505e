"""What rounding one tensor to 8 bits does to the outputs, measured: the order in which mixed
precision tries them.

The noise model of equalisation weighs a layer's noise by the energy of what reads it. That is right
for comparing the scales of one graph, and too coarse here: a channel of a large constant value
hides how much the others lose. So each tensor alone is rounded in the float graph, and the outputs
are looked at.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantize.bias_correction import rounded, rounded_weight, with_values
from quantize.channel_spaces import channel_graph
from quantize.encodings import TensorEncoding, encoding_from_range
from quantize.tensor_values import Feed, tensor_values

MAX_IMAGES = 4


@dataclass(frozen=True)
class Candidate:
    """A tensor that may get more bits or scales. noise: what that takes off the outputs' noise, as
    a share of their variance. is_weight: or else an activation."""

    tensor: str
    is_weight: bool
    noise: float


def ranked_candidates(
    model: onnx.ModelProto,
    feeds: Iterable[Feed],
    activations: Mapping[str, TensorEncoding],
    *,
    per_channel: bool,
    exact: Collection[str] = (),
    advance: Callable[[], None] = lambda: None,
) -> tuple[Candidate, ...]:
    """All activations, and the weights that scales per channel make more exact, the noisiest first.

    activations: the encodings in 8 bits. per_channel: whether all weights have such scales already.
    exact: activations that 8 bits hold without loss. advance: called for each tensor.
    """
    noise = _OutputNoise(model, list(feeds))
    found = []
    for name, encoding in activations.items():
        if name not in exact:
            found.append(Candidate(name, False, noise.of_activation(name, encoding)))
        advance()
    for conv in () if per_channel else channel_graph(model).convolutions.values():
        one, each = weight_encodings(conv.weight)
        saved = noise.of_weight(conv.weight_name, rounded_weight(conv.weight, one))
        saved -= noise.of_weight(conv.weight_name, rounded_weight(conv.weight, each))
        if saved > 0:
            found.append(Candidate(conv.weight_name, True, saved))
        advance()
    return tuple(sorted(found, key=lambda candidate: -candidate.noise))


def weight_encodings(
    weight: np.ndarray,
) -> tuple[tuple[TensorEncoding, ...], tuple[TensorEncoding, ...]]:
    """One asymmetric encoding of the (O, ...) weight, and symmetric ones per output channel."""
    one = encoding_from_range(8, float(weight.min()), float(weight.max()))
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    each = [encoding_from_range(8, -float(top), float(top), symmetric=True) for top in largest]
    return (one,), tuple(each)


class _OutputNoise:
    """The outputs of variants of a graph beside its own."""

    def __init__(self, model: onnx.ModelProto, feeds: list[Feed]) -> None:
        self._model = model
        self._feeds = feeds
        self._names = [value.name for value in model.graph.output]
        self._exact = self._outputs(model)

    def of_weight(self, name: str, values: np.ndarray) -> float:
        return self._of(self._outputs(with_values(self._model, {name: values.astype(np.float32)})))

    def of_activation(self, name: str, encoding: TensorEncoding) -> float:
        found = self._outputs(_with_rounding(self._model, name, encoding))
        if name in self._names:  # what leaves the graph is not renamed
            for outputs in found:
                outputs[name] = rounded(outputs[name], encoding)
        return self._of(found)

    def _outputs(self, model: onnx.ModelProto) -> list[dict[str, np.ndarray]]:
        values_of = tensor_values(model, self._names)
        found = (values_of(feed) for feed in self._feeds)
        return [{name: values[name] for name in self._names} for values in found]

    def _of(self, found: list[dict[str, np.ndarray]]) -> float:
        """The mean over the outputs of error^2 / variance."""
        shares = []
        for name in self._names:
            exact = np.stack([outputs[name] for outputs in self._exact])
            error = np.stack([outputs[name] for outputs in found]) - exact
            shares.append(np.square(error).mean() / max(float(exact.var()), 1e-30))
        return float(np.mean(shares))


def _with_rounding(model: onnx.ModelProto, name: str, encoding: TensorEncoding) -> onnx.ModelProto:
    """The graph with a tensor that goes through 8 bits before it is read."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    scale, zero, stored, real = (f"{name}_8_bits_{what}" for what in ("s", "z", "q", "r"))
    for node in graph.node:
        for index, read in enumerate(node.input):
            if read == name:
                node.input[index] = real
    graph.initializer.append(numpy_helper.from_array(np.array(encoding.scale, np.float32), scale))
    graph.initializer.append(numpy_helper.from_array(np.array(-encoding.offset, np.uint8), zero))
    pair = [
        helper.make_node("QuantizeLinear", [name, scale, zero], [stored]),
        helper.make_node("DequantizeLinear", [stored, scale, zero], [real]),
    ]
    made = next((i + 1 for i, node in enumerate(graph.node) if name in node.output), 0)
    nodes = [*graph.node[:made], *pair, *graph.node[made:]]
    del graph.node[:]
    graph.node.extend(nodes)
    return copy
