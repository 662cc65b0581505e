"""The rules that turn layers into figures: parameters, MACs, memory.

* Parameters: the weights and biases stored with convolutions. Batch norm is folded by then.
* MACs: of convolutions only, one for each weight at each position of the output map. Biases,
  activations, additions, concatenations count 0, as in snpe-dlc-info.
* Memory needed to run, as SNPE 1.x estimated it: every layer, the graph's input included, holds
  its outputs; a convolution also holds its input expanded to one row a position,
  positions * (kernel area * channels of the input tensor + 31) elements, depthwise or not, and its
  weights without the biases. Each of these is (elements + 16) * bytes an element: 4 in float, 1
  and 2 in 8 and 16 bits, each array by the type it is stored in. What is a layer: `layers`.
* Peak activation memory: the layers run in the file's order, each tensor lives from the layer that
  writes it to the last that reads it, graph inputs from the start and outputs to the end; a layer's
  inputs and outputs live together (nothing is computed in place), a reshape is a view. The peak is
  the largest sum of bytes alive at once. It is what an allocator needs at least; SNPE's estimate
  keeps everything.
"""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate

from benchmarks.layers import Layer, LayerGraph, bytes_per_element

_PADDING_ELEMENTS = 16
_EXPANSION_ELEMENTS = 31
MIB = 2**20


@dataclass(frozen=True)
class LayerFigures:
    """A layer's row. memory_bytes: its part of the SNPE-style estimate."""

    name: str
    type: str
    output_shape: tuple[int, ...]
    dtype: str
    parameters: int
    macs: int
    memory_bytes: int


@dataclass(frozen=True)
class Figures:
    layers: tuple[LayerFigures, ...]
    peak_activation_bytes: int

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def snpe_memory_bytes(self) -> int:
        return sum(layer.memory_bytes for layer in self.layers)

    @property
    def layer_counts(self) -> dict[str, int]:
        """Layers by type, most frequent first."""
        return dict(Counter(layer.type for layer in self.layers).most_common())


def figures_of(graph: LayerGraph) -> Figures:
    return Figures(
        tuple(_layer_figures(layer, graph) for layer in graph.layers),
        peak_activation_bytes(graph),
    )


def _layer_figures(layer: Layer, graph: LayerGraph) -> LayerFigures:
    convolution = layer.convolution
    output = graph.tensors[layer.outputs[0]]
    return LayerFigures(
        layer.name,
        layer.type,
        output.shape,
        output.dtype,
        convolution.weights + convolution.biases if convolution else 0,
        convolution.weights * convolution.positions if convolution else 0,
        snpe_memory_bytes(layer, graph),
    )


def snpe_memory_bytes(layer: Layer, graph: LayerGraph) -> int:
    """A layer's part of the SNPE 1.x estimate: outputs, expanded input, weights."""
    outputs = [graph.tensors[name] for name in layer.outputs]
    total = sum(_padded_bytes(tensor.elements, tensor.dtype) for tensor in outputs)
    convolution = layer.convolution
    if convolution is None:
        return total
    row = math.prod(convolution.kernel) * convolution.in_channels + _EXPANSION_ELEMENTS
    input_dtype = graph.tensors[layer.inputs[0]].dtype
    total += _padded_bytes(convolution.positions * row, input_dtype)
    return total + _padded_bytes(convolution.weights, convolution.weight_dtype)


def _padded_bytes(elements: int, dtype: str) -> int:
    return (elements + _PADDING_ELEMENTS) * bytes_per_element(dtype)


def peak_activation_bytes(graph: LayerGraph) -> int:
    """The largest sum of bytes of activations alive at once; the rule is in the module's text."""
    owner: dict[str, str] = {}
    for layer in graph.layers:
        for name in layer.outputs:
            owner[name] = owner[layer.inputs[0]] if layer.is_view else name
    first: dict[str, int] = {owner[name]: 0 for name in graph.inputs}
    last: dict[str, int] = {}
    for step, layer in enumerate(graph.layers):
        for name in (*layer.inputs, *layer.outputs):
            first.setdefault(owner[name], step)
            last[owner[name]] = step
    last |= {owner[name]: len(graph.layers) for name in graph.outputs}
    change = [0] * (len(graph.layers) + 2)
    for name, step in first.items():
        change[step] += graph.tensors[name].bytes
        change[last[name] + 1] -= graph.tensors[name].bytes
    return max(accumulate(change), default=0)


def snpe_scaled(count: int) -> str:
    """A count as snpe-dlc-info prints it: scaled by 1000 and truncated; 618,007,664 is `618M`.

    Thousands and millions only: SNPE was seen to print 8216M.
    """
    for factor, letter in ((10**6, "M"), (10**3, "k")):
        if count >= factor:
            return f"{count // factor}{letter}"
    return str(count)


def mib_text(count: int) -> str:
    """Bytes as MiB (2**20 bytes) with one decimal, as snpe-dlc-info prints memory."""
    return f"{count / MIB:.1f} MiB"
