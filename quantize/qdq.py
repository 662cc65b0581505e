"""From ranges or encodings to a QDQ graph: onnxruntime's static quantizer, fed with our ranges."""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorData, TensorsData, save_tensors_data

from persondet.errors import InputError
from persondet.temporary import temporary_folder
from quantize.bias import refuse, refuse_hopeless, saturated_biases
from quantize.encodings import MIN_WIDTH, Encodings, TensorEncoding, encodings_from_qdq
from quantize.encodings_fit import shortened

ACT_BITS = (8, 16)
_ACTIVATION_TYPES = {8: QuantType.QUInt8, 16: QuantType.QUInt16}
_PER_CHANNEL_OPSET = 13  # since then DequantizeLinear has an axis

Overrides = dict[str, list[dict[str, Any]]]
_Value = TypeVar("_Value")


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


def scheme_of(encodings: Encodings) -> Scheme:
    """The scheme that most encodings follow, for what they leave open, the weights."""
    bits = Counter(encoding.bitwidth for encoding in encodings.activations.values())
    per_channel = Counter(len(channels) > 1 for channels in encodings.params.values())
    return Scheme(_most_common(bits, default=8), _most_common(per_channel, default=False))


def _most_common(counts: Counter[_Value], *, default: _Value) -> _Value:
    return counts.most_common(1)[0][0] if counts else default


def qdq_from_ranges(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    scheme: Scheme,
    overrides: Overrides,
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The QDQ graph, and the names of the weights whose scale was widened for their bias.

    ranges: (low, high) by activation. overrides: by tensor fixed encodings, or what else differs
    from the scheme.
    Raises InputError where an activation has neither, PersondetError naming the layers whose bias
    cannot be stored this way.
    """
    if _has_axes(scheme, overrides) and _opset(model) < _PER_CHANNEL_OPSET:
        model = onnx.version_converter.convert_version(model, _PER_CHANNEL_OPSET)
    quantized = _quantize(model, ranges, scheme, overrides)
    needed = encodings_from_qdq(quantized).activations
    if missing := sorted(set(needed) - set(ranges) - set(overrides)):
        raise InputError(_without_encodings(missing, calibrated=bool(ranges)))
    if not (saturated := saturated_biases(model, quantized)):
        return quantized, ()
    refuse_hopeless(saturated)
    wider = {
        bias.weight: _weight_overrides(quantized, bias.weight, bias.widened) for bias in saturated
    }
    quantized = _quantize(model, ranges, scheme, {**overrides, **wider})
    refuse(bias.layer for bias in saturated_biases(model, quantized))
    return quantized, tuple(sorted(wider))


def _without_encodings(missing: list[str], *, calibrated: bool) -> str:
    which = f"{len(missing)} activations of the model: {shortened(missing)}"
    if calibrated:
        return f"calibration gives no ranges for {which}; replace the operations that make them"
    return f"no encodings are given for {which}; calibrate with pictures (--calib) instead"


def _has_axes(scheme: Scheme, overrides: Overrides) -> bool:
    return scheme.per_channel or any("axis" in first for first, *_ in overrides.values())


def per_channel_overrides(weights: Iterable[str]) -> Overrides:
    """Symmetric scales per output channel for these weights alone."""
    return {
        name: [{"quant_type": QuantType.QInt8, "symmetric": True, "axis": 0}] for name in weights
    }


def overrides_from_encodings(encodings: Encodings) -> Overrides:
    """Fixed scales and zero points for onnxruntime's quantizer."""
    overrides: Overrides = {
        name: [_activation_override(encoding)] for name, encoding in encodings.activations.items()
    }
    for name, channels in encodings.params.items():
        per_channel = len(channels) > 1
        overrides[name] = [_weight_override(e, signed=per_channel) for e in channels]
        if per_channel:
            overrides[name][0]["axis"] = 0
    return overrides


def _activation_override(encoding: TensorEncoding) -> dict[str, Any]:
    dtype = np.dtype(f"uint{encoding.bitwidth}")
    return _override(_ACTIVATION_TYPES[encoding.bitwidth], encoding.scale, -encoding.offset, dtype)


def _weight_override(encoding: TensorEncoding, *, signed: bool) -> dict[str, Any]:
    if signed or (encoding.is_symmetric == "True" and encoding.is_centred):
        return _override(QuantType.QInt8, encoding.scale, 0, np.dtype(np.int8))
    return _override(QuantType.QUInt8, encoding.scale, -encoding.offset, np.dtype(np.uint8))


def _override(
    quant_type: QuantType, scale: float, zero_point: int, dtype: np.dtype
) -> dict[str, Any]:
    return {
        "quant_type": quant_type,
        "scale": np.array(scale, np.float32),
        "zero_point": np.array(zero_point, dtype),
    }


def _weight_overrides(
    quantized: onnx.ModelProto, name: str, widened: np.ndarray
) -> list[dict[str, Any]]:
    """The encoding that a weight has in the QDQ graph, its scales times `widened`."""
    constants = {item.name: numpy_helper.to_array(item) for item in quantized.graph.initializer}
    scales, zero_points = (constants[f"{name}_{what}"] for what in ("scale", "zero_point"))
    dtype = zero_points.dtype
    quant_type = QuantType.QUInt8 if dtype == np.uint8 else QuantType.QInt8
    pairs = zip(np.atleast_1d(scales * widened), np.atleast_1d(zero_points), strict=True)
    overrides = [_override(quant_type, scale, zero_point, dtype) for scale, zero_point in pairs]
    if scales.ndim:
        overrides[0]["axis"] = 0
    return overrides


def _quantize(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    scheme: Scheme,
    overrides: Overrides,
) -> onnx.ModelProto:
    extra_options = {
        "MinimumRealRange": MIN_WIDTH,
        "DedicatedQDQPair": False,
        "TensorQuantOverrides": overrides,
        # A transpose or reshape at the input is quantized too, or the input itself stays float.
        "ForceQuantizeNoInputCheck": True,
        "ActivationSymmetric": False,
        "WeightSymmetric": scheme.per_channel,
        # quantize/bias.py does it, for all kinds of weights, and says so.
        "QDQDisableWeightAdjustForInt32Bias": True,
    }
    # The quantizer wants ranges even of what it fuses or gives the encoding of something else.
    names = [value.name for value in model.graph.input]
    names += [name for node in model.graph.node for name in node.output]
    every = dict.fromkeys(names, (0.0, 0.0))
    with temporary_folder("persondet-quantize-") as folder:
        cache, output = folder / "ranges.json", folder / "qdq.onnx"
        save_tensors_data(_tensors_data({**every, **ranges}), cache)
        with _without_advice():
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
        return _without_unused(onnx.load(output))


def _opset(model: onnx.ModelProto) -> int:
    return next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))


def _tensors_data(ranges: Mapping[str, tuple[float, float]]) -> TensorsData:
    return TensorsData(
        CalibrationMethod.MinMax,
        {
            name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
            for name, (low, high) in ranges.items()
        },
    )


def _without_unused(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the limits of fused Clips, of which onnxruntime warns whenever it loads the file."""
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    for node in [n for n in graph.node if n.op_type == "Constant" and n.output[0] not in used]:
        graph.node.remove(node)
    for item in [item for item in graph.initializer if item.name not in used]:
        graph.initializer.remove(item)
    return model


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """onnxruntime's quantizer logs, on the root logger, advice that onnxsim has taken already."""

    def not_the_quantizers(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname

    root, keeper = logging.getLogger(), logging.NullHandler()
    root.addFilter(not_the_quantizers)
    root.addHandler(keeper)  # or logging.warning() would install a handler of its own
    try:
        yield
    finally:
        root.removeHandler(keeper)
        root.removeFilter(not_the_quantizers)
