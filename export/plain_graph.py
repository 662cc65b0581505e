"""Any exporter's graph as the later steps expect one: what is constant is an initializer.

Converters, the quantizer and the proof of a DLC all read weights as initializers of convolutions.
Exporters also write them as Constant nodes, behind Identity, as inputs of the graph, or leave batch
norm a node of its own.
"""

import contextlib
import io

import onnx

from export.onnx_constants import constant_nodes
from persondet.errors import PersondetError

# What the exports of this project consist of. They stay as they are, as encodings go by names.
_PLAIN_OPS = {
    *("Conv", "Relu", "Clip", "Add", "Concat", "Transpose", "Reshape", "Constant"),
    *("QuantizeLinear", "DequantizeLinear"),
}
_TOLERANCE = 1e-3  # relative and absolute; folding batch norm rounds otherwise


def plain_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model itself if it is plain, or a simplified copy.

    The copy has the same inputs without the initializers among them, the same outputs, and no
    Constant node. Raises PersondetError if simplifying changed what the graph computes.
    """
    if is_plain(model):
        return model
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    _remove_listed_initializers(plain.graph)
    if not _is_quantized(plain):  # onnxsim would fold the weights' DequantizeLinear
        plain = _simplified(plain)
    _make_initializers(plain.graph)
    return plain


def is_plain(model: onnx.ModelProto) -> bool:
    """Return whether the later steps can take the graph as it is."""
    graph = model.graph
    constants = {item.name for item in graph.initializer}
    weights = constants | {
        node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"
    }
    readers = {name: node.op_type for node in graph.node for name in node.input}
    return (
        {node.op_type for node in graph.node} <= _PLAIN_OPS
        and not any(value.name in constants for value in graph.input)
        and all(readers.get(name) == "Clip" for name in constant_nodes(graph))
        and all(
            set(node.input[1:]) - {""} <= weights for node in graph.node if node.op_type == "Conv"
        )
    )


def _is_quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxsim  # only here: figures of an ONNX file need onnx alone

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it counts its checks there
            simplified, is_equal = onnxsim.simplify(
                model, check_n=1, check_rtol=_TOLERANCE, check_atol=_TOLERANCE
            )
    except Exception:  # an operation that it cannot run: the next step names it better
        return model
    if not is_equal:
        raise PersondetError(
            "onnxsim changed what the graph computes; simplify the model another way, or export "
            "its checkpoint with `persondet export`"
        )
    return simplified


def _remove_listed_initializers(graph: onnx.GraphProto) -> None:
    """Before IR version 4 every initializer had to be listed as an input as well."""
    constants = {item.name for item in graph.initializer}
    for value in [value for value in graph.input if value.name in constants]:
        graph.input.remove(value)


def _make_initializers(graph: onnx.GraphProto) -> None:
    constants = constant_nodes(graph)
    graph.initializer.extend(constants.values())
    for node in [node for node in graph.node if node.output[0] in constants]:
        graph.node.remove(node)
