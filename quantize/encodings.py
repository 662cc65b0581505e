"""Encodings as JSON, in the form that the vendor's `--quantization_overrides` reads (AIMET's).

{"activation_encodings": {tensor: [encoding]}, "param_encodings": {tensor: [encoding, ...]}}: one
encoding a tensor, or one an output channel. real = (stored + offset) * scale, offset <= 0; a
symmetric encoding has offset -2^(bits-1).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from persondet.errors import InputError

# onnxruntime's quantizer renames what produces a graph output: the output is what it dequantizes.
_OUTPUT_SUFFIX = "_QuantizeLinear_Input"


@dataclass(frozen=True)
class TensorEncoding:
    """One encoding; `is_symmetric` is "True" or "False" because the vendor's tools want texts."""

    bitwidth: int
    min: float
    max: float
    scale: float
    offset: int
    dtype: str = "int"
    is_symmetric: str = "False"


@dataclass(frozen=True)
class Encodings:
    """By tensor name of the float ONNX graph."""

    activations: dict[str, TensorEncoding]
    params: dict[str, tuple[TensorEncoding, ...]]


def encodings_from_qdq(model: onnx.ModelProto) -> Encodings:
    """The encodings of a QDQ graph.

    Left out: biases, whose encodings follow from the others, and what a transpose or reshape makes,
    which keeps the encoding of its input.
    """
    inputs = {value.name for value in model.graph.input}
    moved = {
        name.removesuffix(_OUTPUT_SUFFIX)
        for node in model.graph.node
        if node.op_type in ("Transpose", "Reshape")
        for name in node.output
    } - {value.name for value in model.graph.output}
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    activations: dict[str, TensorEncoding] = {}
    params: dict[str, tuple[TensorEncoding, ...]] = {}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        tensor, scale = node.input[0], constants[node.input[1]]
        zero_point = constants[node.input[2]]
        if zero_point.dtype == np.int32:
            continue
        pairs = zip(np.atleast_1d(scale), np.atleast_1d(zero_point), strict=True)
        found = tuple(_encoding(float(s), int(z), zero_point.dtype) for s, z in pairs)
        if tensor in constants:
            params[tensor.removesuffix("_quantized")] = found
        elif node.op_type == "QuantizeLinear" or tensor in inputs:
            name = tensor.removesuffix(_OUTPUT_SUFFIX)
            if name not in moved:
                activations.setdefault(name, found[0])
    return Encodings(activations, params)


def _encoding(scale: float, zero_point: int, dtype: np.dtype) -> TensorEncoding:
    bits = dtype.itemsize * 8
    signed = dtype.kind == "i"
    offset = -zero_point - (2 ** (bits - 1) if signed else 0)
    return TensorEncoding(
        bitwidth=bits,
        min=offset * scale,
        max=(2**bits - 1 + offset) * scale,
        scale=scale,
        offset=offset,
        is_symmetric=str(signed and zero_point == 0),
    )


def encodings_to_json(encodings: Encodings) -> str:
    record = {
        "version": "0.6.1",
        "activation_encodings": {k: [asdict(v)] for k, v in encodings.activations.items()},
        "param_encodings": {k: [asdict(e) for e in v] for k, v in encodings.params.items()},
    }
    return json.dumps(record, indent=1) + "\n"


def read_encodings(path: Path) -> Encodings:
    """Raises InputError for what is not such a file, naming the tensor and the field."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the encodings {path}: {error}") from None
    keys = ("activation_encodings", "param_encodings")
    if not isinstance(record, dict) or not all(isinstance(record.get(key), dict) for key in keys):
        raise InputError(
            f"{path} is no encodings file: expected an object with {' and '.join(keys)}, each an "
            "object of tensor names"
        )
    activations = {name: _parsed(path, name, values)[0] for name, values in record[keys[0]].items()}
    params = {name: _parsed(path, name, values) for name, values in record[keys[1]].items()}
    return Encodings(activations, params)


def _parsed(path: Path, name: str, values: Any) -> tuple[TensorEncoding, ...]:
    if not isinstance(values, list) or not values:
        raise InputError(f"{path}: tensor {name} has no list of encodings")
    try:
        return tuple(_parsed_one(value) for value in values)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: encoding of tensor {name}: {error}") from None


def _parsed_one(value: dict[str, Any]) -> TensorEncoding:
    """scale and offset may be absent: they follow from min, max and the bits."""
    if str(value.get("dtype", "int")) != "int":
        raise ValueError(f"dtype {value['dtype']!r} is not supported, expected 'int'")
    bits = int(value["bitwidth"])
    if bits not in (8, 16):
        raise ValueError(f"bitwidth {bits} is not supported, expected 8 or 16")
    low, high = float(value["min"]), float(value["max"])
    scale = float(value.get("scale", (high - low) / (2**bits - 1)))
    if not scale > 0:
        raise ValueError(f"scale {scale} is not positive")
    offset = int(value.get("offset", round(low / scale)))
    symmetric = str(value.get("is_symmetric", "False")).capitalize()
    return TensorEncoding(bits, low, high, scale, offset, "int", symmetric)
