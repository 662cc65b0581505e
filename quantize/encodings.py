"""Encodings as JSON, in the form that the vendor's `--quantization_overrides` reads (AIMET's).

{"activation_encodings": {tensor: [encoding]}, "param_encodings": {tensor: [encoding, ...]}}: one
encoding a tensor, or one an output channel. real = (stored + offset) * scale, offset <= 0; a
symmetric encoding has offset -2^(bits-1).
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from persondet.errors import InputError
from persondet.files import FormatError, read_json
from persondet.wording import shown
from quantize.aimet import older_form

MIN_WIDTH = 0.0001  # of a range (SNPE 2.25's documentation)
# onnxruntime's quantizer renames what produces a graph output: the output is what it dequantizes.
_OUTPUT_SUFFIX = "_QuantizeLinear_Input"
KEYS = ("activation_encodings", "param_encodings")


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

    @property
    def is_centred(self) -> bool:
        """Whether 0 is stored in the middle, or one below it as strict symmetry has it."""
        return 0 <= self.offset + 2 ** (self.bitwidth - 1) <= 1


@dataclass(frozen=True)
class Encodings:
    """By tensor name of the float ONNX graph."""

    activations: dict[str, TensorEncoding]
    params: dict[str, tuple[TensorEncoding, ...]]


def encoding_of(bits: int, scale: float, offset: int, *, symmetric: bool = False) -> TensorEncoding:
    """The encoding with its range: min = offset * scale, max 2^bits - 1 steps above."""
    low, high = offset * scale, (2**bits - 1 + offset) * scale
    return TensorEncoding(bits, low, high, scale, offset, is_symmetric=str(symmetric))


def encodings_from_qdq(model: onnx.ModelProto) -> Encodings:
    """The encodings of a QDQ graph whose input is float.

    Left out: biases, whose encodings follow from the others, and what a transpose or reshape makes,
    which keeps the encoding of its input.
    """
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
        name, scales, zero_points = node.input[0], *(constants[key] for key in node.input[1:3])
        if node.op_type == "QuantizeLinear":
            name = name.removesuffix(_OUTPUT_SUFFIX)
            if name not in moved:
                activations[name] = _stored_encodings(scales, zero_points)[0]
        elif name in constants and zero_points.dtype != np.int32:
            params[name.removesuffix("_quantized")] = _stored_encodings(scales, zero_points)
    return Encodings(activations, params)


def _stored_encodings(scales: np.ndarray, zero_points: np.ndarray) -> tuple[TensorEncoding, ...]:
    bits, signed = zero_points.dtype.itemsize * 8, zero_points.dtype.kind == "i"
    shift = 2 ** (bits - 1) if signed else 0
    pairs = zip(np.atleast_1d(scales).tolist(), np.atleast_1d(zero_points).tolist(), strict=True)
    return tuple(
        encoding_of(bits, scale, -zero_point - shift, symmetric=signed and zero_point == 0)
        for scale, zero_point in pairs
    )


def encodings_to_json(encodings: Encodings) -> str:
    record = {
        "version": "0.6.1",
        "activation_encodings": {k: [asdict(v)] for k, v in encodings.activations.items()},
        "param_encodings": {k: [asdict(e) for e in v] for k, v in encodings.params.items()},
    }
    return json.dumps(record, indent=1) + "\n"


def read_encodings_record(path: Path) -> dict[str, dict[str, Any]]:
    """Return the file's two objects, by KEYS; what is in them is not looked at.

    Files of AIMET's version 1.0.0 are brought into the older form. Raises InputError.
    """
    try:
        record = read_json(path, "the encodings")
    except FormatError as error:
        raise InputError(f"{error}; expected what `persondet quantize` or AIMET writes") from None
    values = {key: record.get(key) if isinstance(record, dict) else None for key in KEYS}
    try:
        found = {k: older_form(v) if isinstance(v, list) else v for k, v in values.items()}
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    objects = {key: value for key, value in found.items() if isinstance(value, dict)}
    if len(objects) < len(KEYS):
        raise InputError(
            f"{path} is no encodings file: expected JSON, an object with {' and '.join(KEYS)}, "
            "each an object of tensor names, as `persondet quantize` writes it, or a list, as "
            "AIMET writes it (encoding_version 0.6.1 or 1.0.0)"
        )
    return objects


def read_encodings(path: Path) -> Encodings:
    """Raises InputError for what is not such a file, naming the tensor and the field."""
    record = read_encodings_record(path)
    activations, params = (
        {name: _parsed(path, name, values) for name, values in record[key].items()} for key in KEYS
    )
    for name, values in activations.items():
        if len(values) != 1:
            raise InputError(f"{path}: activation {name} has {len(values)} encodings, expected 1")
    return Encodings({name: values[0] for name, values in activations.items()}, params)


def _parsed(path: Path, name: str, values: Any) -> tuple[TensorEncoding, ...]:
    if not isinstance(values, list) or not values:
        raise InputError(f"{path}: tensor {name} has no list of encodings")
    try:
        return tuple(_parsed_one(value) for value in values)
    except KeyError as error:
        raise InputError(f"{path}: encoding of tensor {name}: {error} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: encoding of tensor {name}: {error}") from None


def _parsed_one(value: Any) -> TensorEncoding:
    """scale and offset may be absent: they follow from min, max and the bits."""
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {shown(value)}")
    if value.get("dtype", "int") != "int":
        raise ValueError(f"dtype {value['dtype']!r} is not supported, expected 'int'")
    bits, symmetric = value["bitwidth"], str(value.get("is_symmetric", "False"))
    if not isinstance(bits, int) or bits not in (8, 16):
        raise ValueError(f"bitwidth {bits!r} is not supported, expected 8 or 16")
    if symmetric.capitalize() not in ("True", "False"):
        raise ValueError(f"is_symmetric {symmetric!r}, expected 'True' or 'False'")
    low, high = float(value["min"]), float(value["max"])
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"min {low} and max {high} are no range")
    found = encoding_from_range(bits, low, high, symmetric=symmetric.capitalize() == "True")
    if "scale" not in value and "offset" not in value:
        return found
    scale = float(value.get("scale", found.scale))
    offset = float(value.get("offset", found.offset))
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale {scale} is not positive")
    if not (offset.is_integer() and -(2**bits) < offset <= 0):
        raise ValueError(f"offset {offset:g}, expected a whole number from {1 - 2**bits} to 0")
    given = encoding_of(bits, scale, int(offset), symmetric=found.is_symmetric == "True")
    if max(abs(given.min - low), abs(given.max - high)) > 1.5 * scale:
        raise ValueError(
            f"scale {scale:g} and offset {offset} give the range {given.min:g} to {given.max:g}, "
            f"but min and max are {low:g} and {high:g}; correct them, or leave scale and offset out"
        )
    return given


def encoding_from_range(
    bits: int, low: float, high: float, *, symmetric: bool = False
) -> TensorEncoding:
    """The vendor's rule: the range made to contain 0, at least MIN_WIDTH wide, 0 exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    high = max(high, low + MIN_WIDTH)
    half = 2 ** (bits - 1)
    if symmetric:
        return encoding_of(bits, max(-low / half, high / (half - 1)), -half, symmetric=True)
    scale = (high - low) / (2**bits - 1)
    return encoding_of(bits, scale, round(low / scale))
