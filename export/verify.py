"""Proof that a DLC holds its ONNX graph: interface, operations and parameters compared."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from export.onnx_model import is_quantized
from persondet.errors import PersondetError
from persondet.interface import TensorType, interface_problems
from persondet.spec import DetectorSpec
from runtime.qairt.graph import DlcGraph

CONVOLUTIONS = ("Conv2d", "DepthWiseConv2d")
# ONNX operations that must stand in the DLC under their own names. Activations are fused into
# convolutions in quantized graphs, reshapes and transposes may cancel.
_NAMED_OPS = ("Conv", "Add", "Concat")
_ACTIVATIONS = ("Relu", "Clip")
_MAY_CANCEL = (
    *("Constant", "Identity", "Transpose", "Reshape"),
    *("QuantizeLinear", "DequantizeLinear"),
)


@dataclass(frozen=True)
class DlcProof:
    """What was counted in the DLC as Qualcomm's loader reads it."""

    parameters: int
    ops: dict[str, int]  # op type: count


def prove_dlc(model: onnx.ModelProto, spec: DetectorSpec, graph: DlcGraph, path: Path) -> DlcProof:
    """Compare the DLC's graph with the ONNX graph that it was made from.

    Raises PersondetError listing every difference: a node that is missing by name, an input or
    output of another name, shape or type, a parameter count.
    """
    problems = [
        *interface_problems(spec, _types(graph, graph.inputs), _types(graph, graph.outputs)),
        *_lost_nodes(model, graph),
    ]
    expected, found = onnx_parameters(model), dlc_parameters(graph)
    if expected != found:
        problems.append(f"{found:,} convolution parameters, the ONNX has {expected:,}")
    if problems:
        raise PersondetError(
            f"the DLC made from {path} is not that graph: " + "; ".join(problems) + "; "
            "nothing was written"
        )
    return DlcProof(found, dict(Counter(op.type for op in graph.ops).most_common()))


def onnx_parameters(model: onnx.ModelProto) -> int:
    """Weights and biases of all convolutions (seen through DequantizeLinear)."""
    sizes = {item.name: int(np.prod(item.dims)) for item in model.graph.initializer}
    sizes |= {
        node.output[0]: sizes.get(node.input[0], 0)
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }
    return sum(
        sizes.get(name, 0)
        for node in model.graph.node
        if node.op_type == "Conv"
        for name in node.input[1:]
    )


def dlc_parameters(graph: DlcGraph) -> int:
    """Weights and biases of all convolutions, as Qualcomm's loader reports them."""
    return sum(
        int(np.prod(graph.tensors[name].shape))
        for op in graph.ops
        if op.type in CONVOLUTIONS
        for name in op.inputs[1:]
    )


def _types(graph: DlcGraph, names: Iterable[str]) -> dict[str, TensorType]:
    tensors = (graph.tensors[name] for name in names)
    return {tensor.name: (tensor.numpy_dtype, tensor.shape) for tensor in tensors}


def missing_nodes(model: onnx.ModelProto, graphs: Iterable[DlcGraph]) -> list[str]:
    """`name (type)` of each node that is in none of the graphs, those that may cancel left out."""
    names = _op_names(graphs)
    return [
        f"{node.name} ({node.op_type})"
        for node in model.graph.node
        if node.op_type not in _MAY_CANCEL and node.name not in names
    ]


def _op_names(graphs: Iterable[DlcGraph]) -> set[str]:
    """Names of all ops; the writer appends `_token_N` to some."""
    names = {op.name for graph in graphs for op in graph.ops}
    return names | {name.rpartition("_token_")[0] for name in names}


def _lost_nodes(model: onnx.ModelProto, graph: DlcGraph) -> Iterable[str]:
    """A line naming the nodes that must stand in the DLC under their own names, and do not."""
    types = set(_NAMED_OPS)
    if not is_quantized(model):
        types.update(_ACTIVATIONS)
    names = _op_names([graph])
    lost = [
        f"{node.name} ({node.op_type})"
        for node in model.graph.node
        if node.op_type in types and node.name not in names
    ]
    if lost:
        yield "missing nodes " + ", ".join(lost)
