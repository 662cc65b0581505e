"""A network as a list of layers, whichever file it came from.

The readers (`onnx_layers`, `dlc_layers`) state facts and `figures` counts. Four things are settled
here, so that the same network gives the same figures from ONNX and from DLC:

* A tensor that two names show (before and after a change of layout, on both sides of a Quantize or
  Dequantize) is one tensor, held once, in the type in which it is stored.
* A permute between NCHW and NHWC is no layer: on the device every tensor is NHWC and it is gone.
* Quantize and Dequantize are no layers: they say how the tensor between them is stored.
* An activation that stands between a convolution (or an add) and a Quantize is no layer: the
  quantized runtimes compute it in the layer before, and a quantized DLC does not hold it.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from persondet.errors import InputError

LAYOUT_PERMUTATIONS = ((0, 2, 3, 1), (0, 3, 1, 2))


@dataclass(frozen=True)
class TensorInfo:
    """One activation. shape: as the file has it, NCHW or NHWC; dtype: the type it is stored in."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * bytes_per_element(self.dtype)


@dataclass(frozen=True)
class Convolution:
    """What the rules need to know of a convolution, depthwise and grouped ones included.

    kernel: its spatial size; in_channels: of the input tensor; positions: of the output map, over
    the batch; weights, biases: numbers stored; weight_dtype: the type the weights are stored in.
    """

    kernel: tuple[int, ...]
    in_channels: int
    positions: int
    weights: int
    biases: int
    weight_dtype: str


@dataclass(frozen=True)
class Layer:
    """A layer. inputs, outputs: activations by name in `LayerGraph.tensors`; weights are not there.

    type: the file's own word for it, `Input` for a graph input. is_view: its output is its input's
    memory under another shape.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    convolution: Convolution | None = None
    is_view: bool = False


@dataclass(frozen=True)
class LayerGraph:
    """Layers in running order, graph inputs first; inputs, outputs: names in `tensors`."""

    name: str
    tensors: Mapping[str, TensorInfo]
    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """A node as a reader found it, before `layer_graph` settles what is a layer.

    role: "layer", "reshape", "layout" (a permute between NCHW and NHWC, an Identity), "quantize",
    "dequantize" or "activation" (one that quantized runtimes fuse).
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    role: str = "layer"
    convolution: Convolution | None = None


def bytes_per_element(dtype: str) -> int:
    """Bytes of one number; dtype is a name that ends in its bits, as float32 or ufixed8."""
    if dtype == "bool":
        return 1
    bits = re.search(r"\d+$", dtype)
    if bits is None:
        raise InputError(f"tensors of type {dtype} cannot be counted; expected a numeric type")
    return max(1, int(bits.group()) // 8)


def layer_graph(
    name: str,
    tensors: Mapping[str, TensorInfo],
    nodes: Sequence[Node],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> LayerGraph:
    """The layers of a file's nodes, by the four rules above.

    tensors: every activation of the nodes; nodes: in running order.
    """
    same = _Aliases(tensors)
    for node in nodes:
        same.join(node)
    for node in nodes:
        if node.role == "activation" and _fuses(node, nodes, outputs, same):
            same.unite(node.inputs[0], node.outputs[0])
            same.gone.add(node.outputs)
    layers = [Layer(same.root(name), "Input", (), (same.root(name),)) for name in inputs]
    for node in nodes:
        if node.outputs not in same.gone:
            layers.append(
                Layer(
                    node.name,
                    node.type,
                    tuple(map(same.root, node.inputs)),
                    tuple(map(same.root, node.outputs)),
                    node.convolution,
                    is_view=node.role == "reshape",
                )
            )
    used = {name for layer in layers for name in (*layer.inputs, *layer.outputs)}
    return LayerGraph(
        name,
        {name: same.stored(name) for name in used},
        tuple(layers),
        tuple(map(same.root, inputs)),
        tuple(map(same.root, outputs)),
    )


@dataclass
class _Aliases:
    """Names of one and the same tensor; the first name stands for all."""

    tensors: Mapping[str, TensorInfo]
    parent: dict[str, str] = field(default_factory=dict)
    stored_dtype: dict[str, str] = field(default_factory=dict)
    gone: set[tuple[str, ...]] = field(default_factory=set)

    def root(self, name: str) -> str:
        while name in self.parent:
            name = self.parent[name]
        return name

    def join(self, node: Node) -> None:
        if node.role not in ("layout", "quantize", "dequantize"):
            return
        before, after = node.inputs[0], node.outputs[0]
        root = self.root(before)
        self.unite(before, after)
        self.gone.add(node.outputs)
        if node.role == "quantize":
            self.stored_dtype[root] = self.tensors[after].dtype
        elif node.role == "dequantize":
            self.stored_dtype.setdefault(root, self.tensors[before].dtype)

    def unite(self, before: str, after: str) -> None:
        root, later = self.root(before), self.root(after)
        self.parent[later] = root
        if later in self.stored_dtype:
            self.stored_dtype[root] = self.stored_dtype[later]

    def stored(self, root: str) -> TensorInfo:
        tensor = self.tensors[root]
        return replace(tensor, dtype=self.stored_dtype.get(root, tensor.dtype))


def _fuses(node: Node, nodes: Iterable[Node], outputs: Sequence[str], same: _Aliases) -> bool:
    """Whether a quantized runtime computes this activation in the layer before it."""
    before = same.root(node.inputs[0])
    after = same.root(node.outputs[0])
    if after not in same.stored_dtype or before in same.stored_dtype:
        return False
    made_here = any(other.role == "layer" and before in other.outputs for other in nodes)
    readers = sum(before in map(same.root, other.inputs) for other in nodes)
    return made_here and readers == 1 and before not in map(same.root, outputs)
