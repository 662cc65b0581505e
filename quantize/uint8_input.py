"""A camera's bytes as the input of a quantized graph: exact, and no work on the device."""

import numpy as np
import onnx
from onnx import numpy_helper

from export.onnx_model import rename_inputs
from persondet.errors import InputError
from persondet.spec import DetectorSpec
from quantize.encodings import TensorEncoding, encoding_of


def float_graph(model: onnx.ModelProto, spec: DetectorSpec) -> onnx.ModelProto:
    """The uint8 NHWC graph as one that takes `(pixel - whole mean) / std` as float32 NHWC.

    What a mean has behind the point (127.5: ssdlite-mb2-person) goes into the first convolution's
    bias, as one 8-bit encoding more would cost half a step. At the picture's border, where the
    convolution pads, that is not exact: by half a pixel value on the padded row and column.
    Raises InputError for a graph that normalises its bytes in another way.
    """
    model = _copy(model)
    graph = model.graph
    dequantize = next(n for n in graph.node if spec.input_name in n.input)
    if dequantize.op_type != "DequantizeLinear":
        raise InputError(
            f"the graph takes bytes and normalises them with {dequantize.op_type}, which cannot "
            "become their encoding; export it with a float input, or its checkpoint with "
            "`persondet export --input uint8-nhwc`"
        )
    graph.node.remove(dequantize)
    rename_inputs(graph, dequantize.output[0], spec.input_name)
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    first = next(n for n in graph.node if spec.input_name in n.input)
    if first.op_type == "Add":
        constants = {item.name: item for item in graph.initializer}
        shift = numpy_helper.to_array(constants[first.input[1]])
        graph.node.remove(first)
        rename_inputs(graph, first.output[0], spec.input_name)
        _fold_shift(graph, float(shift.reshape(-1)[0]))
    return model


def real_values(pixels: np.ndarray, spec: DetectorSpec) -> np.ndarray:
    """uint8 pixels to what `float_graph` takes."""
    exact = input_encoding(spec)
    return (pixels.astype(np.float32) + np.float32(exact.offset)) * np.float32(exact.scale)


def input_encoding(spec: DetectorSpec) -> TensorEncoding:
    """The exact encoding of the bytes: scale 1 / std, zero point the whole part of the mean."""
    return encoding_of(8, 1 / spec.std_rgb[0], -int(spec.mean_rgb[0]))


def take_bytes(quantized: onnx.ModelProto, spec: DetectorSpec) -> None:
    """Remove the QuantizeLinear of the input: the bytes are the quantized values."""
    graph = quantized.graph
    quantize = next(n for n in graph.node if spec.input_name in n.input)
    assert quantize.op_type == "QuantizeLinear"
    graph.node.remove(quantize)
    rename_inputs(graph, quantize.output[0], spec.input_name)
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8


def _fold_shift(graph: onnx.GraphProto, shift: float) -> None:
    convolution = next(n for n in graph.node if n.op_type == "Conv")
    constants = {item.name: item for item in graph.initializer}
    weights = numpy_helper.to_array(constants[convolution.input[1]]).astype(np.float64)
    bias_item = constants[convolution.input[2]]
    bias = numpy_helper.to_array(bias_item) + shift * weights.sum((1, 2, 3))
    bias_item.CopyFrom(numpy_helper.from_array(bias.astype(np.float32), bias_item.name))


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
