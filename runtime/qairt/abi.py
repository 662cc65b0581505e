"""The C structs of Qualcomm's QNN libraries, as this project needs them.

Layouts as in Qualcomm's public headers (QnnTypes.h, QnnInterface.h, QnnSystemInterface.h,
QnnSystemDlc.h), x86-64 and aarch64 alike, verified by running onnxruntime-qnn 2.7.0. The struct of
function pointers travels by value, so that a release with one function more would read its
arguments from the wrong place: only the versions below are accepted (see libraries.py).
"""

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_int64,
    c_uint8,
    c_uint32,
    c_uint64,
)
from ctypes import c_void_p as void_p

SUCCESS = 0
PROPERTY_NOT_SUPPORTED = 1000

# major and minor of the API versions that the layouts below are of
CORE_API = (2, 40)
SYSTEM_API = (1, 15)
WHEEL = "onnxruntime-qnn==2.7.0"

# Qnn_TensorType_t
TENSOR_STATIC = 4
TENSOR_KINDS = {0: "input", 1: "output", 2: "native", 3: "native", 4: "static", 5: "null"}

# Qnn_DataType_t: name here. "ufixed"/"sfixed" are quantized; real = (stored + offset) * scale.
DATA_TYPES = {
    0x0008: "int8",
    0x0016: "int16",
    0x0032: "int32",
    0x0064: "int64",
    0x0108: "uint8",
    0x0116: "uint16",
    0x0132: "uint32",
    0x0164: "uint64",
    0x0216: "float16",
    0x0232: "float32",
    0x0264: "float64",
    0x0308: "sfixed8",
    0x0316: "sfixed16",
    0x0332: "sfixed32",
    0x0408: "ufixed8",
    0x0416: "ufixed16",
    0x0432: "ufixed32",
    0x0508: "bool",
}

NUMPY_DTYPES = {
    name: name.replace("sfixed", "int").replace("ufixed", "uint") for name in DATA_TYPES.values()
}


class ScaleOffset(ctypes.Structure):
    _fields_ = [("scale", c_float), ("offset", c_int32)]


class AxisScaleOffset(ctypes.Structure):
    _fields_ = [("axis", c_int32), ("count", c_uint32), ("pairs", POINTER(ScaleOffset))]


class BitwidthScaleOffset(ctypes.Structure):
    _fields_ = [("bitwidth", c_uint32), ("scale", c_float), ("offset", c_int32)]


class BitwidthAxisScaleOffset(ctypes.Structure):
    _fields_ = [
        ("bitwidth", c_uint32),
        ("axis", c_int32),
        ("count", c_uint32),
        ("scales", POINTER(c_float)),
        ("offsets", POINTER(c_int32)),
    ]


class _Encodings(ctypes.Union):
    _fields_ = [
        ("scale_offset", ScaleOffset),
        ("axis", AxisScaleOffset),
        ("bitwidth", BitwidthScaleOffset),
        ("bitwidth_axis", BitwidthAxisScaleOffset),
        ("reserved", c_uint64 * 4),
    ]


ENCODING_SCALE_OFFSET = 0
ENCODING_AXIS = 1
ENCODING_BITWIDTH = 2
ENCODING_BITWIDTH_AXIS = 3
UNDEFINED = 0x7FFFFFFF


class QuantizeParams(ctypes.Structure):
    _anonymous_ = ("value",)
    _fields_ = [("definition", c_uint32), ("encoding", c_uint32), ("value", _Encodings)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("version", c_uint32),
        ("_union_alignment", c_uint32),
        ("id", c_uint32),
        ("name", c_char_p),
        ("type", c_uint32),
        ("data_format", c_uint32),
        ("data_type", c_uint32),
        ("quantize", QuantizeParams),
        ("rank", c_uint32),
        ("dims", POINTER(c_uint32)),
        ("memory_type", c_uint32),
        ("buffer", void_p),
        ("buffer_size", c_uint32),
        ("dynamic_dims", void_p),
        ("sparse", c_uint32 * 3),
        ("is_produced", c_uint8),
    ]


class ScalarValue(ctypes.Union):
    _fields_ = [
        ("float32", c_float),
        ("float64", c_double),
        ("int32", c_int32),
        ("uint32", c_uint32),
        ("int64", c_int64),
        ("uint64", c_uint64),
        ("string", c_char_p),
    ]


class Scalar(ctypes.Structure):
    _fields_ = [("data_type", c_uint32), ("value", ScalarValue)]


class _ParamValue(ctypes.Union):
    _fields_ = [("scalar", Scalar), ("tensor", Tensor)]


PARAM_TENSOR = 1
SCALAR_STRING = 0x0608


class Param(ctypes.Structure):
    _fields_ = [("type", c_uint32), ("name", c_char_p), ("value", _ParamValue)]


class OpConfig(ctypes.Structure):
    _fields_ = [
        ("version", c_uint32),
        ("name", c_char_p),
        ("package", c_char_p),
        ("type", c_char_p),
        ("num_params", c_uint32),
        ("params", POINTER(Param)),
        ("num_inputs", c_uint32),
        ("inputs", POINTER(Tensor)),
        ("num_outputs", c_uint32),
        ("outputs", POINTER(Tensor)),
    ]


class GraphInfo(ctypes.Structure):
    _fields_ = [
        ("version", c_uint32),
        ("name", c_char_p),
        ("num_inputs", c_uint32),
        ("inputs", POINTER(Tensor)),
        ("num_outputs", c_uint32),
        ("outputs", POINTER(Tensor)),
        ("_later_versions", c_uint64 * 5),
    ]


class SystemInterface(ctypes.Structure):
    """QnnSystemInterface_t; `table` is indexed by the SYSTEM_* constants."""

    _fields_ = [
        ("system_id", c_uint32),
        ("name", c_char_p),
        ("version", c_uint32 * 3),
        ("_table_alignment", c_uint32),
        ("table", void_p * 13),
    ]


SYSTEM_DLC_CREATE_FROM_FILE = 8
SYSTEM_DLC_COMPOSE_GRAPHS = 10
SYSTEM_DLC_FREE = 12


class Interface(ctypes.Structure):
    """QnnInterface_t; `table`, indexed by the constants below, grows from version to version."""

    _fields_ = [
        ("backend_id", c_uint32),
        ("name", c_char_p),
        ("core_api", c_uint32 * 3),
        ("backend_api", c_uint32 * 3),
        ("table", void_p * 75),
    ]


PROPERTY_HAS_CAPABILITY = 0
BACKEND_CREATE = 1
BACKEND_GET_BUILD_ID = 4
BACKEND_VALIDATE_OP_CONFIG = 7
BACKEND_FREE = 8
CONTEXT_CREATE = 9
CONTEXT_FREE = 14
GRAPH_CREATE = 15
GRAPH_ADD_NODE = 18
GRAPH_FINALIZE = 19
GRAPH_RETRIEVE = 20
GRAPH_EXECUTE = 21
TENSOR_CREATE_CONTEXT_TENSOR = 23
TENSOR_CREATE_GRAPH_TENSOR = 24
DEVICE_CREATE = 40
DEVICE_FREE = 43

# Every function returns a Qnn_ErrorHandle_t, which is 64 bits wide.
Status = c_uint64
ANY_CALLBACK = CFUNCTYPE(Status)
GRAPH_CREATE_CALLBACK = CFUNCTYPE(Status, void_p, c_char_p, void_p, POINTER(void_p))
GRAPH_ADD_NODE_CALLBACK = CFUNCTYPE(Status, void_p, OpConfig)  # by value
TENSOR_CREATE_CALLBACK = CFUNCTYPE(Status, void_p, POINTER(Tensor))
