"""An ONNX file as a `LayerGraph`."""

import math
from collections.abc import Mapping
from pathlib import Path

import onnx

from benchmarks.layers import (
    LAYOUT_PERMUTATIONS,
    Convolution,
    LayerGraph,
    Node,
    TensorInfo,
    layer_graph,
)
from export.onnx_model import load_onnx, tensor_shape
from persondet.errors import InputError

_ROLES = {
    "QuantizeLinear": "quantize",
    "DequantizeLinear": "dequantize",
    "Identity": "layout",
    "Relu": "activation",
    "Clip": "activation",
    "Reshape": "reshape",
    "Flatten": "reshape",
    "Squeeze": "reshape",
    "Unsqueeze": "reshape",
}


def onnx_layer_graph(path: Path) -> LayerGraph:
    """The layers of an ONNX file, float or QDQ.

    Raises InputError where the file is no ONNX model, or a shape in it is not fixed.
    """
    return layers_of_model(load_onnx(path), path)


def layers_of_model(model: onnx.ModelProto, path: Path) -> LayerGraph:
    """The layers of a checked model; path: where it came from, for messages."""
    graph = _with_shapes(model, path).graph
    try:
        return _layers(graph, path.name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _layers(graph: onnx.GraphProto, name: str) -> LayerGraph:
    infos = {info.name: info for info in (*graph.input, *graph.value_info, *graph.output)}
    static = _static_tensors(graph, infos)
    running = [node for node in graph.node if not set(node.output) <= static.keys()]
    inputs = [info.name for info in graph.input if info.name not in static]
    used = [*inputs, *(edge for node in running for edge in (*node.input, *node.output))]
    tensors = {
        edge: _named_tensor(infos, edge)
        for edge in dict.fromkeys(used)  # in file order, so that errors name the first
        if edge and edge not in static
    }
    is_qdq = any(node.op_type == "QuantizeLinear" for node in running)
    nodes = [_node(node, tensors, static, _role(node, is_qdq)) for node in running]
    return layer_graph(name, tensors, nodes, inputs, [info.name for info in graph.output])


def _with_shapes(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """A copy with every tensor's shape.

    onnxruntime's quantizer writes 16-bit Quantize nodes in its own domain, which onnx's inference
    does not know; their shapes follow the standard ones.
    """
    standard = onnx.ModelProto()
    standard.CopyFrom(model)
    for node in standard.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = ""
    try:
        return onnx.shape_inference.infer_shapes(standard, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"the shapes in {path} do not fit: {reason}; export it again") from None


def _static_tensors(
    graph: onnx.GraphProto, infos: Mapping[str, onnx.ValueInfoProto]
) -> dict[str, TensorInfo]:
    """Initializers, and what nodes make of nothing else: constants, weights behind a Dequantize.

    The type is the stored one: int8 for a weight that a Dequantize makes float.
    """
    static = {
        tensor.name: TensorInfo(tensor.name, tuple(tensor.dims), _dtype(tensor.data_type))
        for tensor in graph.initializer
    }
    for node in graph.node:
        if not all(name in static for name in node.input if name):
            continue
        for output in node.output:
            tensor = _named_tensor(infos, output)
            is_stored = node.op_type != "DequantizeLinear"
            dtype = tensor.dtype if is_stored else static[node.input[0]].dtype
            static[output] = TensorInfo(output, tensor.shape, dtype)
    return static


def _named_tensor(infos: Mapping[str, onnx.ValueInfoProto], name: str) -> TensorInfo:
    return tensor_info(infos.get(name) or onnx.ValueInfoProto(name=name))


def tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    """Shape and type of a graph input, an output or an inferred tensor.

    Raises InputError where a dimension is not fixed.
    """
    tensor_type = value.type.tensor_type
    shape = tensor_shape(value)
    if not tensor_type.HasField("shape") or not all(isinstance(d, int) and d for d in shape):
        shown = " x ".join(map(str, shape)) or "unknown"
        raise InputError(
            f"the shape of tensor {value.name!r} is not fixed ({shown}); figures need fixed "
            "shapes; export it with them"
        )
    fixed = tuple(int(dimension) for dimension in shape)
    return TensorInfo(value.name, fixed, _dtype(tensor_type.elem_type))


def _dtype(data_type: int) -> str:
    return onnx.helper.tensor_dtype_to_np_dtype(data_type).name


def _node(
    node: onnx.NodeProto,
    tensors: Mapping[str, TensorInfo],
    static: Mapping[str, TensorInfo],
    role: str,
) -> Node:
    convolution = None
    if node.op_type == "Conv":
        convolution = _convolution(node, tensors, static)
    return Node(
        node.name or node.output[0],
        node.op_type,
        tuple(name for name in node.input if name in tensors),
        tuple(name for name in node.output if name in tensors),
        role,
        convolution,
    )


def _role(node: onnx.NodeProto, is_qdq: bool) -> str:
    if node.op_type == "DequantizeLinear" and not is_qdq:
        return "layer"  # the float network's own normalisation of a uint8 picture
    if node.op_type == "Transpose":
        order = next((tuple(item.ints) for item in node.attribute if item.name == "perm"), ())
        return "layout" if order in LAYOUT_PERMUTATIONS else "layer"
    return _ROLES.get(node.op_type, "layer")


def _convolution(
    node: onnx.NodeProto, tensors: Mapping[str, TensorInfo], static: Mapping[str, TensorInfo]
) -> Convolution:
    if node.input[1] not in static:
        raise InputError(f"the weights of convolution {node.name!r} are not stored in the model")
    weights = static[node.input[1]]  # (out, in / groups, kernel ...)
    bias = static.get(node.input[2]) if len(node.input) > 2 else None
    batch, _, *positions = tensors[node.output[0]].shape
    return Convolution(
        kernel=weights.shape[2:],
        in_channels=tensors[node.input[0]].shape[1],
        positions=batch * math.prod(positions),
        weights=weights.elements,
        biases=bias.elements if bias else 0,
        weight_dtype=weights.dtype,
    )
