"""A DLC as a `LayerGraph`."""

import math

from benchmarks.layers import (
    LAYOUT_PERMUTATIONS,
    Convolution,
    LayerGraph,
    Node,
    TensorInfo,
    layer_graph,
)
from persondet.errors import InputError
from runtime.qairt.graph import DlcGraph, DlcOp

# Qualcomm's op types: https://docs.qualcomm.com, QNN "Operations"
_CONVOLUTIONS = ("Conv2d", "DepthWiseConv2d", "Conv1d", "DepthWiseConv1d", "Conv3d")


def dlc_layer_graph(dlc: DlcGraph) -> LayerGraph:
    """The layers of a DLC, float or quantized. Raises InputError where a shape is not fixed."""
    static = _static_names(dlc)
    tensors = {
        tensor.name: TensorInfo(tensor.name, tensor.shape, tensor.dtype)
        for tensor in dlc.tensors.values()
        if tensor.name not in static
    }
    for tensor in tensors.values():
        if not all(tensor.shape):
            raise InputError(
                f"the shape of tensor {tensor.name!r} is not fixed: {tensor.shape}; figures need "
                "fixed shapes; convert it with them"
            )
    running = [op for op in dlc.ops if not set(op.outputs) <= static]
    nodes = [_node(op, dlc, tensors) for op in running]
    return layer_graph(dlc.name, tensors, nodes, dlc.inputs, dlc.outputs)


def _static_names(dlc: DlcGraph) -> set[str]:
    """Tensors stored, and those made of nothing else: the writer leaves a Dequantize of a clamp's
    two constants behind."""
    static = {tensor.name for tensor in dlc.tensors.values() if tensor.kind == "static"}
    for op in dlc.ops:
        if set(op.inputs) <= static:
            static |= set(op.outputs)
    return static


def _node(op: DlcOp, dlc: DlcGraph, tensors: dict[str, TensorInfo]) -> Node:
    return Node(
        op.name,
        op.type,
        tuple(name for name in op.inputs if name in tensors),
        op.outputs,
        _role(op, dlc),
        _convolution(op, dlc) if op.type in _CONVOLUTIONS else None,
    )


def _role(op: DlcOp, dlc: DlcGraph) -> str:
    """Quantize and Dequantize are the user's float picture and outputs only at the graph's edge;
    elsewhere they are ops that run."""
    if op.type == "Reshape":
        return "reshape"
    if op.type == "Transpose" and tuple(map(int, op.params["perm"])) in LAYOUT_PERMUTATIONS:
        return "layout"
    if op.type in ("Quantize", "Convert") and op.inputs[0] in dlc.inputs:
        return "quantize"
    if op.type == "Dequantize" and op.outputs[0] in dlc.outputs:
        return "dequantize"
    return "layer"


def _convolution(op: DlcOp, dlc: DlcGraph) -> Convolution:
    source, weights, *rest = (dlc.tensors[name] for name in op.inputs)
    if weights.kind != "static":
        raise InputError(f"the weights of convolution {op.name!r} are not stored in the DLC")
    *positions, _ = dlc.tensors[op.outputs[0]].shape  # (N, H, W, C)
    return Convolution(
        kernel=weights.shape[:-2],  # (kernel ..., in / groups, out)
        in_channels=source.shape[-1],
        positions=math.prod(positions),
        weights=math.prod(weights.shape),
        biases=math.prod(rest[0].shape) if rest else 0,
        weight_dtype=weights.dtype,
    )
