"""From ranges or encodings to a QDQ graph: onnxruntime's static quantizer, fed with our ranges."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorData, TensorsData, save_tensors_data

from persondet.errors import InputError, PersondetError
from quantize.encodings import Encodings, TensorEncoding

ACT_BITS = (8, 16)
_ACTIVATION_TYPES = {8: QuantType.QUInt8, 16: QuantType.QUInt16}
_INT32_MAX = 2**31 - 1
# A weight scale that has to be widened more than this leaves fewer than 4 of 8 bits.
_MAX_WIDENING = 16.0

Overrides = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Scheme:
    """act_bits: 8 or 16, asymmetric. per_channel: weights symmetric, one scale an output channel;
    otherwise asymmetric, one scale a tensor, as SNPE does by default. Weights have 8 bits."""

    act_bits: int = 8
    per_channel: bool = False

    def __post_init__(self) -> None:
        if self.act_bits not in ACT_BITS:
            raise InputError(f"activations of {self.act_bits} bits; 8 and 16 are possible")

    @property
    def weight_type(self) -> QuantType:
        return QuantType.QInt8 if self.per_channel else QuantType.QUInt8


def qdq_from_ranges(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    scheme: Scheme,
    overrides: Overrides,
) -> tuple[onnx.ModelProto, list[str]]:
    """The QDQ graph, and the names of the weights whose scale was widened for their bias.

    ranges: (low, high) of every float activation. overrides: fixed encodings by tensor.
    A bias is stored as int32 with the scale input scale * weight scale; where that is tiny the
    bias saturates and the output is wrong without a word, so each is checked.
    Raises PersondetError naming the layers that cannot be quantized this way.
    """
    quantized = _quantize(model, ranges, scheme, overrides)
    if not (widening := _saturated_biases(model, quantized)):
        return quantized, []
    hopeless = [name for name, factor in widening.items() if factor > _MAX_WIDENING]
    if hopeless:
        raise PersondetError(
            "the biases of these layers do not fit their int32 encoding, and widening the weights' "
            f"scale {_MAX_WIDENING:g} times is not enough: {', '.join(hopeless)}; use 8-bit "
            "activations (--act-bits 8) or check that the network is trained"
        )
    widened = {**overrides, **_widened_weights(quantized, widening)}
    quantized = _quantize(model, ranges, scheme, widened)
    if left := _saturated_biases(model, quantized):
        raise PersondetError(f"the biases of these layers saturate: {', '.join(left)}")
    return quantized, sorted(widening)


def overrides_from_encodings(encodings: Encodings) -> Overrides:
    """Fixed scales and zero points for onnxruntime's quantizer."""
    overrides: Overrides = {
        name: [_override(encoding)] for name, encoding in encodings.activations.items()
    }
    for name, channels in encodings.params.items():
        overrides[name] = [_override(encoding, weight=True) for encoding in channels]
        if len(channels) > 1:
            overrides[name][0]["axis"] = 0
    return overrides


def _override(encoding: TensorEncoding, *, weight: bool = False) -> dict[str, Any]:
    signed = weight and encoding.is_symmetric == "True"
    sign_shift = 2 ** (encoding.bitwidth - 1) if signed else 0
    dtype = np.dtype(f"{'int' if signed else 'uint'}{encoding.bitwidth}")
    quant_type = {
        "uint8": QuantType.QUInt8,
        "uint16": QuantType.QUInt16,
        "int8": QuantType.QInt8,
        "int16": QuantType.QInt16,
    }[dtype.name]
    return {
        "quant_type": quant_type,
        "scale": np.array(encoding.scale, np.float32),
        "zero_point": np.array(-encoding.offset - sign_shift, dtype),
    }


def _quantize(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    scheme: Scheme,
    overrides: Overrides,
) -> onnx.ModelProto:
    extra_options = {
        "MinimumRealRange": 0.0001,
        "DedicatedQDQPair": False,
        "TensorQuantOverrides": overrides,
        # A transpose or reshape at the input is quantized too, or the input itself stays float.
        "ForceQuantizeNoInputCheck": True,
        "ActivationSymmetric": False,
        "WeightSymmetric": scheme.per_channel,
        # 16-bit Q and DQ are in onnxruntime's own domain below opset 21.
        "UseQDQContribOps": scheme.act_bits == 16,
    }
    with tempfile.TemporaryDirectory(prefix="persondet-quantize-") as folder:
        cache, output = Path(folder, "ranges.json"), Path(folder, "qdq.onnx")
        save_tensors_data(_tensors_data(ranges), cache)
        with _quiet():
            quantize_static(
                model,
                output,
                None,
                quant_format=QuantFormat.QDQ,
                per_channel=scheme.per_channel,
                activation_type=_ACTIVATION_TYPES[scheme.act_bits],
                weight_type=scheme.weight_type,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options=extra_options,
                calibration_cache_path=cache,
            )
        return onnx.load(output)


def _tensors_data(ranges: Mapping[str, tuple[float, float]]) -> TensorsData:
    return TensorsData(
        CalibrationMethod.MinMax,
        {
            name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
            for name, (low, high) in ranges.items()
        },
    )


@contextlib.contextmanager
def _quiet():
    """onnxruntime's quantizer logs advice about preprocessing, which onnxsim has done."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _saturated_biases(model: onnx.ModelProto, quantized: onnx.ModelProto) -> dict[str, float]:
    """Weights whose bias does not fit int32: name and the factor by which their scale is too small.

    model: the float graph, for the biases; quantized: its QDQ graph, for the scales.
    """
    floats = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    biases = {n.input[1]: floats[n.input[2]] for n in model.graph.node if _has_bias(n)}
    constants = {item.name: numpy_helper.to_array(item) for item in quantized.graph.initializer}
    dequantize = {n.output[0]: n for n in quantized.graph.node if n.op_type == "DequantizeLinear"}
    found: dict[str, float] = {}
    for node in quantized.graph.node:
        if not _has_bias(node) or node.input[0] not in dequantize:
            continue
        input_scale = constants[dequantize[node.input[0]].input[1]].astype(np.float64)
        weights = dequantize[node.input[1]]
        weight_scale = constants[weights.input[1]].astype(np.float64)
        name = weights.input[0].removesuffix("_quantized")
        factor = float((np.abs(biases[name]) / (input_scale * weight_scale * _INT32_MAX)).max())
        if factor > 1:
            found[name] = factor
    return found


def _has_bias(node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv" and len(node.input) > 2


def _widened_weights(quantized: onnx.ModelProto, widening: Mapping[str, float]) -> Overrides:
    constants = {item.name: numpy_helper.to_array(item) for item in quantized.graph.initializer}
    overrides: Overrides = {}
    for name, factor in widening.items():
        scale = np.atleast_1d(constants[f"{name}_scale"]) * np.float32(factor * 1.01)
        zero_point = np.atleast_1d(constants[f"{name}_zero_point"])
        quant_type = QuantType.QUInt8 if zero_point.dtype == np.uint8 else QuantType.QInt8
        overrides[name] = [
            {"quant_type": quant_type, "scale": np.array(s), "zero_point": np.array(z)}
            for s, z in zip(scale, zero_point, strict=True)
        ]
        if len(scale) > 1:
            overrides[name][0]["axis"] = 0
    return overrides
