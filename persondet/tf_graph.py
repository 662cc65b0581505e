"""The constants of a frozen TensorFlow graph, read without TensorFlow.

A GraphDef is a protobuf message, so a reader of the wire format and these field numbers suffice
(tensorflow/core/framework: graph.proto, node_def.proto, attr_value.proto, tensor.proto):
GraphDef.node 1; NodeDef.name 1, .op 2, .attr 5 (key 1, value 2); AttrValue.tensor 8;
TensorProto.dtype 1, .tensor_shape 2, .tensor_content 4, .float_val 5, .int_val 7;
TensorShapeProto.dim 2; Dim.size 1.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from persondet.errors import InputError

_DTYPES = {1: np.dtype("<f4"), 3: np.dtype("<i4")}  # DT_FLOAT, DT_INT32
_MOST_ELEMENTS = 1 << 26  # far above any layer's; a damaged shape must not fill the memory
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types

_Field = tuple[int, int, "int | memoryview"]  # number, wire type, value


class _MalformedError(Exception):
    pass


def read_constants(path: Path) -> dict[str, np.ndarray]:
    """The Const nodes of a GraphDef file: name to float32 or int32 array.

    Constants of other types are left out. Raises InputError for a file that is not a GraphDef.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        constants = dict(_constants(data))
    except (_MalformedError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not a frozen TensorFlow graph, or it is damaged ({error}); "
            "expected a binary GraphDef (.pb)"
        ) from None
    if not constants:
        raise InputError(f"{path} holds no constants; expected a frozen TensorFlow graph (.pb)")
    return constants


def _constants(graph: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    for node in _messages(graph, 1):
        name, is_const, tensor = "", False, None
        for number, wire_type, value in _fields(node):
            if number == 1:
                name = str(_bytes(wire_type, value), "utf-8")
            elif number == 2:
                is_const = _bytes(wire_type, value) == b"Const"
            elif number == 5:
                tensor = _tensor_of_attribute(_bytes(wire_type, value)) or tensor
        if is_const and tensor is not None:
            array = _array(name, tensor)
            if array is not None:
                yield name, array


def _tensor_of_attribute(attribute: memoryview) -> memoryview | None:
    for value in _messages(attribute, 2):
        for tensor in _messages(value, 8):
            return tensor
    return None


def _array(name: str, tensor: memoryview) -> np.ndarray | None:
    """The TensorProto as an array; None for a type that is not read."""
    dtype, content = None, None
    shape: list[int] = []
    values: list[float] = []
    for number, wire_type, value in _fields(tensor):
        if number == 1 and isinstance(value, int):
            dtype = _DTYPES.get(value)
        elif number == 2:
            shape = [_dim_size(dim) for dim in _messages(_bytes(wire_type, value), 2)]
        elif number == 4:
            content = _bytes(wire_type, value)
        elif number in (5, 7):
            values += _listed_values(number, wire_type, value)
    if dtype is None:
        return None
    size = math.prod(shape)
    if size > _MOST_ELEMENTS:
        raise _MalformedError(f"{name} has the shape {shape}")
    if content is None:
        if len(values) > size:
            raise _MalformedError(f"{name} has {len(values)} values for the shape {shape}")
        values += (values[-1:] or [0]) * (size - len(values))  # the last one stands for the rest
        return np.array(values, dtype).reshape(shape)
    if len(content) != size * dtype.itemsize:
        raise _MalformedError(f"{name} has {len(content)} bytes for the shape {shape}")
    return np.frombuffer(content, dtype).reshape(shape).copy()


def _dim_size(dim: memoryview) -> int:
    for number, _, value in _fields(dim):
        if number == 1 and isinstance(value, int):
            return value
    return 0  # protobuf leaves out a zero


def _listed_values(number: int, wire_type: int, value: "int | memoryview") -> list[float]:
    """float_val (5) or int_val (7), packed or one at a time."""
    if number == 5:
        return np.frombuffer(_whole_floats(value), "<f4").tolist()
    if isinstance(value, int):
        return [_signed(value)]
    numbers: list[float] = []
    position = 0
    while position < len(value):
        item, position = _varint(value, position)
        numbers.append(_signed(item))
    return numbers


def _whole_floats(value: "int | memoryview") -> memoryview:
    if isinstance(value, int) or len(value) % 4:
        raise _MalformedError("float_val is not made of 4-byte numbers")
    return value


def _signed(value: int) -> int:
    """An int32 from its varint: negative ones are written as 64-bit two's complement."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, wire_type, value in _fields(data):
        if number == wanted:
            yield _bytes(wire_type, value)


def _bytes(wire_type: int, value: "int | memoryview") -> memoryview:
    if wire_type != _BYTES or isinstance(value, int):
        raise _MalformedError(f"wire type {wire_type} where bytes were expected")
    return value


def _fields(data: memoryview) -> Iterator[_Field]:
    """The fields of one message: varints as int, everything else as its bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise _MalformedError("field number 0")
        if wire_type == _VARINT:
            value, position = _varint(data, position)
            yield number, wire_type, value
            continue
        if wire_type == _BYTES:
            length, position = _varint(data, position)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise _MalformedError(f"wire type {wire_type}")
        if length > len(data) - position:
            raise _MalformedError("truncated")
        yield number, wire_type, data[position : position + length]
        position += length


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """A base-128 number and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise _MalformedError("truncated")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _MalformedError("a number of more than 64 bits")
