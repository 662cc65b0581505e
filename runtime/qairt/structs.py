"""Qualcomm's structs copied into plain data: tensors, encodings, parameters, ops."""

import ctypes
import math
from typing import Any

import numpy as np

from persondet.errors import PersondetError
from runtime.qairt import abi
from runtime.qairt.graph import DlcOp, DlcTensor, Encoding


def text_of(text: bytes | None) -> str:
    """A C string; a damaged file's may be null or no UTF-8."""
    return (text or b"").decode("utf-8", "replace")


def tensor_from_struct(tensor: abi.Tensor) -> DlcTensor:
    """Copy a Qnn_Tensor_t, the data of a static tensor included (see `data_size_problem` first).

    Raises PersondetError for a data type or encoding not known here.
    """
    name = text_of(tensor.name)
    dtype = abi.DATA_TYPES.get(tensor.data_type)
    if dtype is None:
        raise PersondetError(f"tensor {name}: unknown data type 0x{tensor.data_type:04x}")
    shape = tuple(tensor.dims[axis] for axis in range(tensor.rank))
    kind = abi.TENSOR_KINDS.get(tensor.type, "native")
    return DlcTensor(
        name=name,
        kind=kind,
        shape=shape,
        dtype=dtype,
        encoding=_encoding(name, tensor.quantize),
        data=_static_data(tensor, shape, dtype) if kind == "static" else None,
    )


def op_from_struct(op: abi.OpConfig) -> DlcOp:
    """Copy a Qnn_OpConfig_t."""
    return DlcOp(
        name=text_of(op.name),
        type=text_of(op.type),
        params=dict(_param(op.params[i]) for i in range(op.num_params)),
        inputs=tuple(text_of(op.inputs[i].name) for i in range(op.num_inputs)),
        outputs=tuple(text_of(op.outputs[i].name) for i in range(op.num_outputs)),
    )


def data_size_problem(tensor: abi.Tensor) -> str | None:
    """Why a static tensor's data cannot be right, from its size alone; None where it can."""
    dtype = abi.DATA_TYPES.get(tensor.data_type)
    shape = tuple(tensor.dims[axis] for axis in range(tensor.rank))
    if dtype is None:
        return None  # of a size not known here
    expected = math.prod(shape) * np.dtype(abi.NUMPY_DTYPES[dtype]).itemsize
    if tensor.buffer_size == expected:
        return None
    return (
        f"tensor {text_of(tensor.name)} has {tensor.buffer_size:,} bytes of data, "
        f"{dtype} {shape} needs {expected:,}"
    )


def _static_data(tensor: abi.Tensor, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    raw = ctypes.string_at(tensor.buffer, tensor.buffer_size) if tensor.buffer else b""
    return np.frombuffer(raw, abi.NUMPY_DTYPES[dtype]).reshape(shape)


def _encoding(name: str, params: abi.QuantizeParams) -> Encoding | None:
    kind = params.encoding
    if kind == abi.UNDEFINED or params.definition == abi.UNDEFINED:
        return None
    if kind == abi.ENCODING_SCALE_OFFSET:
        return Encoding((params.scale_offset.scale,), (params.scale_offset.offset,))
    if kind == abi.ENCODING_AXIS:
        pairs = [params.axis.pairs[i] for i in range(params.axis.count)]
        return Encoding(
            tuple(p.scale for p in pairs), tuple(p.offset for p in pairs), params.axis.axis
        )
    if kind == abi.ENCODING_BITWIDTH:
        return Encoding((params.bitwidth.scale,), (params.bitwidth.offset,))
    if kind == abi.ENCODING_BITWIDTH_AXIS:
        axis = params.bitwidth_axis
        offsets = axis.offsets[: axis.count] if axis.offsets else [0] * axis.count
        return Encoding(tuple(axis.scales[: axis.count]), tuple(offsets), axis.axis)
    raise PersondetError(f"tensor {name}: unknown quantization encoding {kind}")


def _param(param: abi.Param) -> tuple[str, Any]:
    name = text_of(param.name)
    if param.type == abi.PARAM_TENSOR:
        return name, tensor_from_struct(param.value.tensor).data
    scalar = param.value.scalar
    if scalar.data_type == abi.SCALAR_STRING:
        return name, text_of(scalar.value.string)
    dtype = abi.DATA_TYPES.get(scalar.data_type, "uint32")
    if dtype == "bool":
        return name, bool(scalar.value.uint32 & 0xFF)
    width = np.dtype(abi.NUMPY_DTYPES[dtype]).itemsize
    raw = ctypes.string_at(ctypes.addressof(scalar.value), width)
    return name, np.frombuffer(raw, abi.NUMPY_DTYPES[dtype])[0].item()
