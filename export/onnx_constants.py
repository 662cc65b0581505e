"""Constants of an ONNX graph, wherever an exporter put them: initializers and Constant nodes."""

import math

import numpy as np
import onnx
from onnx import numpy_helper

_NUMBERS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def constant_nodes(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the values of the Constant nodes by the tensors' names; texts are left out."""
    return {
        node.output[0]: _tensor(node.attribute[0], node.output[0])
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name in ("value", *_NUMBERS)
    }


def constant_sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Return the number of elements of each constant by the tensors' names."""
    items = [*model.graph.initializer, *constant_nodes(model.graph).values()]
    return {item.name: math.prod(item.dims) for item in items}


def _tensor(attribute: onnx.AttributeProto, name: str) -> onnx.TensorProto:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name in _NUMBERS:
        value = numpy_helper.from_array(np.array(value, _NUMBERS[attribute.name]))
    named = onnx.TensorProto()
    named.CopyFrom(value)
    named.name = name
    return named
