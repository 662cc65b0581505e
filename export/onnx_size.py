"""How large the tensors of an ONNX graph get, known from their shapes before anything is run."""

import math
from collections.abc import Iterable, Iterator

import onnx

MAX_TENSOR_BYTES = 1 << 30  # a float32 of 16 channels at 4096 x 4096
MAX_CONSTANT_BYTES = 1 << 30  # what nodes make of constants alone, beside what the file stores


def oversized(model: onnx.ModelProto) -> str | None:
    """Return what takes more memory than a detector can need; None if nothing is known to.

    A few bytes can claim gigabytes (ConstantOfShape, Expand, Tile, a padding, a broadcast), which
    onnxruntime takes when it folds constants or runs. Shapes that follow from the data alone are
    not known here; the sessions have a bound of their own.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # shapes that contradict each other: whoever needs them says so
        return None
    constants = {tensor.name for tensor in model.graph.initializer}
    constant_bytes = 0
    for graph in _graphs(inferred.graph):
        sizes = {value.name: _bytes(value) for value in (*graph.value_info, *graph.output)}
        for value in graph.input:
            if _bytes(value) > MAX_TENSOR_BYTES:
                return f"its input {value.name!r} has {_bytes(value):,} bytes"
        for node in graph.node:
            is_constant = node.op_type == "Constant" or constants.issuperset(node.input)
            for name in node.output:
                size = sizes.get(name, 0)
                if size > MAX_TENSOR_BYTES:
                    return (
                        f"{node.op_type} {node.name!r} makes a tensor {name!r} of {size:,} bytes, "
                        f"expected at most {MAX_TENSOR_BYTES:,}"
                    )
                if is_constant:
                    constants.add(name)
                    constant_bytes += size
    if constant_bytes > MAX_CONSTANT_BYTES + 8 * model.ByteSize():
        return f"its nodes make {constant_bytes:,} bytes of constants"
    return None


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, and those in its nodes (the branches of an If, the body of a Loop)."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in _inner_graphs(attribute):
                yield from _graphs(inner)


def _inner_graphs(attribute: onnx.AttributeProto) -> Iterable[onnx.GraphProto]:
    return (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs)


def _bytes(value: onnx.ValueInfoProto) -> int:
    """0 if the shape is not known."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return 0
    try:
        item_bytes = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    except KeyError:
        return 0
    return item_bytes * math.prod(max(dimension.dim_value, 0) for dimension in tensor.shape.dim)
