"""Channels whose scale is free: dividing a channel where it is made and multiplying it where it is
read changes nothing in exact arithmetic, and a lot in eight bits.

A space is a set of tensors that must share one scale per channel: the input and output of a Relu,
all tensors of an Add. It is free if only convolutions make it, only convolutions read it, and no
input or output of the graph is in it (Nagel et al. 2019, section 4.1, there for pairs of layers).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

# f(x / s) = f(x) / s for every s > 0, channel by channel
_HOMOGENEOUS_OPS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity")


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A Conv node whose weights are constants of its own.

    weight: (O, I / groups, kH, kW) float64; bias: (O,) float64, or None.
    output: the tensor that the node makes; encoded: the one whose encoding it gets, which is the
    Relu's or Clip's if nothing else reads `output`.
    """

    name: str
    input: str
    output: str
    encoded: str
    weight_name: str
    bias_name: str | None
    groups: int
    weight: np.ndarray
    bias: np.ndarray | None

    @property
    def by_group(self) -> np.ndarray:
        """The weight as (groups, outputs per group, inputs per group, taps)."""
        outputs, inputs = self.weight.shape[:2]
        return self.weight.reshape(self.groups, outputs // self.groups, inputs, -1)

    def rescaled(self, input_scale: np.ndarray, output_scale: np.ndarray) -> "Convolution":
        """Make it read channels that were divided by (I,) input_scale, and divide its own by (O,)
        output_scale."""
        inputs = self.weight.shape[1]
        factors = input_scale.reshape(self.groups, 1, inputs, 1)
        weight = (self.by_group * factors).reshape(self.weight.shape)
        return Convolution(
            **{
                **vars(self),
                "weight": weight / output_scale[:, None, None, None],
                "bias": None if self.bias is None else self.bias / output_scale,
            }
        )


@dataclass(frozen=True, kw_only=True)
class ChannelSpace:
    """Tensors (N, C, ...) that share one scale per channel.

    producers, readers: names of the convolutions that make and that read them, in graph order.
    caps: the upper limit of each Clip in the space, by its output.
    """

    tensors: frozenset[str]
    producers: tuple[str, ...]
    readers: tuple[str, ...]
    caps: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ChannelGraph:
    """What equalisation sees of a float graph.

    convolutions: by node name, in graph order. free: the free spaces, in graph order.
    """

    model: onnx.ModelProto
    convolutions: Mapping[str, Convolution]
    free: tuple[ChannelSpace, ...]

    def space_of(self, tensor: str) -> int | None:
        """The index in `free` of the tensor's space, or None if its scale is not free."""
        return next((i for i, space in enumerate(self.free) if tensor in space.tensors), None)


def channel_graph(model: onnx.ModelProto) -> ChannelGraph:
    """Find the convolutions and the free spaces of a float graph whose nodes have names."""
    constants = constants_of(model.graph)
    convolutions = _convolutions(model.graph, constants)
    union = _Union()
    blocked = {value.name for value in (*model.graph.input, *model.graph.output)}
    caps: dict[str, float] = {}
    shapes = tensor_shapes(model)
    for node in model.graph.node:
        joined, cap = _joined(node, constants, shapes)
        if joined:
            union.join(joined)
        elif node.name not in convolutions and node.op_type != "Constant":
            blocked |= {*node.input, *node.output}
        if cap is not None:
            caps[node.output[0]] = cap
    blocked_roots = {union.find(tensor) for tensor in blocked}
    spaces: dict[str, tuple[list[str], list[str]]] = {}
    for conv in convolutions.values():
        spaces.setdefault(union.find(conv.output), ([], []))[0].append(conv.name)
        spaces.setdefault(union.find(conv.input), ([], []))[1].append(conv.name)
    free = [
        ChannelSpace(
            tensors=(tensors := union.members(root)),
            producers=tuple(producers),
            readers=tuple(readers),
            caps={tensor: cap for tensor, cap in caps.items() if tensor in tensors},
        )
        for root, (producers, readers) in spaces.items()
        if root not in blocked_roots and producers and readers
    ]
    return ChannelGraph(model=model, convolutions=convolutions, free=tuple(free))


def rescaled_model(graph: ChannelGraph, scales: Sequence[np.ndarray]) -> onnx.ModelProto:
    """Divide the channels of each free space by its scales.

    scales: one (C,) float64 array per space of `graph.free`, positive. The result computes what the
    graph computes as long as no Clip's cap is reached.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    items = {item.name: item for item in model.graph.initializer}
    for name in graph.convolutions:
        conv = rescaled(graph, scales, name)
        _store(items[conv.weight_name], conv.weight)
        if conv.bias_name is not None and conv.bias is not None:
            _store(items[conv.bias_name], conv.bias)
    return model


def rescaled(graph: ChannelGraph, scales: Sequence[np.ndarray], name: str) -> Convolution:
    """One convolution of `rescaled_model`."""
    conv = graph.convolutions[name]
    outputs, inputs = conv.weight.shape[0], conv.weight.shape[1] * conv.groups
    of_input, of_output = graph.space_of(conv.input), graph.space_of(conv.output)
    return conv.rescaled(
        np.ones(inputs) if of_input is None else scales[of_input],
        np.ones(outputs) if of_output is None else scales[of_output],
    )


def clip_limits(
    node: onnx.NodeProto, constants: Mapping[str, np.ndarray]
) -> tuple[float | None, float | None]:
    """min and max of a Clip: attributes before opset 11, inputs since; None if it has none."""
    attributes = {item.name: item.f for item in node.attribute}
    inputs = dict(zip(("min", "max"), node.input[1:], strict=False))
    low, high = (
        float(constants[inputs[key]]) if inputs.get(key) in constants else attributes.get(key)
        for key in ("min", "max")
    )
    return low, high


class _Union:
    """Union-find over tensor names."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, tensor: str) -> str:
        self._parent.setdefault(tensor, tensor)
        while self._parent[tensor] != tensor:
            tensor = self._parent[tensor]
        return tensor

    def join(self, tensors: Iterable[str]) -> None:
        first, *others = (self.find(tensor) for tensor in tensors)
        for other in others:
            self._parent[self.find(other)] = self.find(first)

    def members(self, root: str) -> frozenset[str]:
        return frozenset(tensor for tensor in self._parent if self.find(tensor) == root)


def _joined(
    node: onnx.NodeProto,
    constants: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[tuple[str, ...], float | None]:
    """The tensors of a node that share their scales, () if its inputs and outputs do not; and the
    cap of a Clip from 0."""
    if node.op_type in _HOMOGENEOUS_OPS and len(node.output) == 1:
        return (node.input[0], node.output[0]), None
    if node.op_type == "Clip":
        low, high = clip_limits(node, constants)
        given = [name for name in node.input[1:] if name]
        if low == 0 and all(name in constants for name in given):
            return (node.input[0], node.output[0]), high
    if node.op_type == "Add" and not set(node.input) & set(constants):
        found = {shapes.get(name) for name in (*node.input, *node.output)}
        if len(found) == 1 and None not in found:
            return (*node.input, node.output[0]), None
    return (), None


def _convolutions(
    graph: onnx.GraphProto, constants: Mapping[str, np.ndarray]
) -> dict[str, Convolution]:
    stored = {item.name for item in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    found = {}
    for node in graph.node:
        names = [name for name in node.input[1:] if name]
        own = all(name in stored and len(readers[name]) == 1 for name in names)
        if node.op_type != "Conv" or not own:
            continue
        output = node.output[0]
        after = readers.get(output, [])
        is_fused = len(after) == 1 and after[0].op_type in ("Relu", "Clip")
        bias_name = names[1] if len(names) > 1 else None
        found[node.name] = Convolution(
            name=node.name,
            input=node.input[0],
            output=output,
            encoded=after[0].output[0] if is_fused and output not in outputs else output,
            weight_name=names[0],
            bias_name=bias_name,
            groups=next((item.i for item in node.attribute if item.name == "group"), 1),
            weight=constants[names[0]].astype(np.float64),
            bias=None if bias_name is None else constants[bias_name].astype(np.float64),
        )
    return found


def constants_of(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The values of initializers and Constant nodes, by tensor name."""
    found = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def tensor_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shapes that can be inferred, by tensor name; 0 for a size that is not known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _store(item: onnx.TensorProto, values: np.ndarray) -> None:
    item.CopyFrom(numpy_helper.from_array(values.astype(np.float32), item.name))
