"""Reading a DLC: Qualcomm's loader, driven by an interface that records.

The loader composes a file's graphs on whatever backend interface it is handed. Handed one whose
functions are ours, it walks the whole file and calls them with every tensor (static data included)
and every op. No byte of the format is guessed.
"""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from ctypes import byref, c_char_p, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from persondet.errors import InputError, PersondetError
from runtime.qairt import abi
from runtime.qairt.container import DlcContainer, check_container
from runtime.qairt.graph import DlcGraph, DlcOp, DlcTensor, Encoding
from runtime.qairt.libraries import function, open_system

# The recording interface has the layout of this core API: what libQnnSystem of the pinned wheel
# was built with.
_CORE_API = (2, 40, 0)
_HANDLE = 1  # any non-null pointer does for the handles that the loader passes back to us


def read_dlc(path: Path) -> DlcGraph:
    """The one graph of a DLC file.

    Raises InputError for a file that is no DLC, is damaged, is of SNPE 1.x or that the loader
    refuses; PersondetError where the libraries themselves fail.
    """
    container = check_readable(path)
    recorder = _Recorder()
    with OpenDlc(container.path) as dlc:
        dlc.compose(recorder.interface, backend=_HANDLE, context=_HANDLE)
    if recorder.failure is not None:
        raise recorder.failure
    if len(recorder.graphs) != 1:
        raise InputError(f"{path} holds {len(recorder.graphs)} graphs; only one is supported")
    return recorder.graph(container.metadata)


def check_readable(path: Path) -> DlcContainer:
    """Check all that can make the loader fail or crash before it sees the file.

    A file whose writer left the CRCs zero cannot be checked for damage, and the loader may crash
    on a damaged one: such a file is first read in a child process.
    Raises InputError with the reason and the remedy.
    """
    container = check_container(Path(path))
    if container.generation == "SNPE 1.x":
        version = container.metadata.get("converter-version", "unknown")
        raise InputError(
            f"{path} was written by SNPE 1.x (converter {version}); Qualcomm's current libraries "
            "read SNPE 2.x and QAIRT files only: convert the original model again with "
            "`persondet convert`"
        )
    if not container.crc_verified:
        _read_in_child(container.path)
    return container


def _read_in_child(path: Path) -> None:
    """Let a child process load the file, so that a crash of the loader is only the child's."""
    code = "import sys; from runtime.qairt import reader; reader.OpenDlc.probe(sys.argv[1])"
    child = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120
    )
    if child.returncode < 0:
        raise InputError(
            f"{path} crashes Qualcomm's loader (signal {-child.returncode}): the file is damaged; "
            "its writer left no checksums to tell where. Copy or convert it again"
        )
    if child.returncode != 0:
        lines = child.stderr.strip().splitlines()
        raise InputError(f"{path} cannot be loaded: {lines[-1] if lines else 'no message'}")


class OpenDlc:
    """A DLC file opened by libQnnSystem; a context manager."""

    def __init__(self, path: Path) -> None:
        self._system = open_system()
        self._path = path
        self._handle = c_void_p()

    def __enter__(self) -> "OpenDlc":
        create = function(
            self._system.functions,
            abi.SYSTEM_DLC_CREATE_FROM_FILE,
            *(c_void_p, c_char_p, c_void_p),
        )
        status = create(None, str(self._path).encode(), byref(self._handle))
        if status != abi.SUCCESS:
            raise InputError(
                f"Qualcomm's loader refuses {self._path} (status {status}): the file is damaged or "
                "newer than this library; convert the ONNX again with `persondet convert`"
            )
        return self

    def __exit__(self, *_: object) -> None:
        function(self._system.functions, abi.SYSTEM_DLC_FREE, c_void_p)(self._handle)

    def compose(self, interface: ctypes.Structure, *, backend: Any, context: Any) -> list[Any]:
        """Compose the file's graphs on a backend interface; returns their abi.GraphInfo."""
        compose = function(
            self._system.functions,
            abi.SYSTEM_DLC_COMPOSE_GRAPHS,
            *(c_void_p, c_void_p, c_uint32, c_void_p, c_void_p, type(interface)),
            *(c_uint32, c_void_p, c_void_p),
        )
        graphs = ctypes.POINTER(abi.GraphInfo)()
        count = c_uint32()
        status = compose(
            *(self._handle, None, 0, backend, context, interface),
            *(1, byref(graphs), byref(count)),
        )
        if status != abi.SUCCESS:
            raise InputError(
                f"Qualcomm's loader cannot compose the graph of {self._path} (status {status}); "
                "the file is damaged or needs another backend; convert the ONNX again"
            )
        return [graphs[index] for index in range(count.value)]

    @staticmethod
    def probe(path: str) -> None:
        """Compose the file once, throwing the result away."""
        with OpenDlc(Path(path)) as dlc:
            dlc.compose(_Recorder().interface, backend=_HANDLE, context=_HANDLE)


class _Recorder:
    """A backend interface whose functions write down what the loader asks for.

    Calls arrive only during `compose`; all that is kept is copied, as the memory is the loader's.
    """

    def __init__(self) -> None:
        self.graphs: list[str] = []
        self.tensors: dict[str, DlcTensor] = {}
        self.ops: list[DlcOp] = []
        self.failure: Exception | None = None
        self._next_id = 1
        self._callbacks = {
            abi.GRAPH_CREATE: abi.GRAPH_CREATE_CALLBACK(self._guarded(self._graph_create)),
            abi.GRAPH_ADD_NODE: abi.GRAPH_ADD_NODE_CALLBACK(self._guarded(self._add_node)),
            abi.TENSOR_CREATE_CONTEXT_TENSOR: abi.TENSOR_CREATE_CALLBACK(
                self._guarded(self._create_tensor)
            ),
            abi.TENSOR_CREATE_GRAPH_TENSOR: abi.TENSOR_CREATE_CALLBACK(
                self._guarded(self._create_tensor)
            ),
            abi.PROPERTY_HAS_CAPABILITY: abi.ANY_CALLBACK(lambda: abi.PROPERTY_NOT_SUPPORTED),
        }
        self._accept = abi.ANY_CALLBACK(lambda: abi.SUCCESS)
        slots = abi.interface_slots(_CORE_API)
        self.interface = abi.interface_type(slots)()
        self.interface.name = b"persondet-recorder"
        self.interface.core_api[:] = _CORE_API
        for slot in range(slots):
            callback = self._callbacks.get(slot, self._accept)
            self.interface.table[slot] = ctypes.cast(callback, c_void_p).value

    def graph(self, metadata: dict[str, Any]) -> DlcGraph:
        def named(kind: str) -> tuple[str, ...]:
            return tuple(t.name for t in self.tensors.values() if t.kind == kind)

        return DlcGraph(
            name=self.graphs[0],
            tensors=self.tensors,
            ops=tuple(self.ops),
            inputs=named("input"),
            outputs=named("output"),
            metadata=metadata,
        )

    def _guarded(self, record: Callable[..., None]) -> Callable[..., int]:
        """An exception must not pass through C: keep it and answer with an error code."""

        def callback(*arguments: Any) -> int:
            try:
                record(*arguments)
                return abi.SUCCESS
            except Exception as error:  # re-raised by read_dlc
                self.failure = self.failure or error
                return 1

        return callback

    def _graph_create(self, _context: Any, name: bytes, _config: Any, handle: Any) -> None:
        self.graphs.append(name.decode())
        handle[0] = len(self.graphs)

    def _create_tensor(self, _graph: Any, pointer: Any) -> None:
        tensor = pointer[0]
        tensor.id = self._next_id
        self._next_id += 1
        recorded = tensor_from_struct(tensor)
        self.tensors[recorded.name] = recorded

    def _add_node(self, _graph: Any, op: abi.OpConfig) -> None:
        self.ops.append(
            DlcOp(
                name=op.name.decode(),
                type=op.type.decode(),
                params=dict(_param(op.params[i]) for i in range(op.num_params)),
                inputs=tuple(op.inputs[i].name.decode() for i in range(op.num_inputs)),
                outputs=tuple(op.outputs[i].name.decode() for i in range(op.num_outputs)),
            )
        )


def tensor_from_struct(tensor: abi.Tensor) -> DlcTensor:
    """Copy a Qnn_Tensor_t. Raises PersondetError for a data type or encoding not known here."""
    name = (tensor.name or b"").decode()
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
        data=_static_data(name, tensor, shape, dtype) if kind == "static" else None,
    )


def _static_data(
    name: str, tensor: abi.Tensor, shape: tuple[int, ...], dtype: str
) -> np.ndarray | None:
    if not tensor.buffer:
        return None
    numpy_dtype = np.dtype(abi.NUMPY_DTYPES[dtype])
    expected = int(np.prod(shape)) * numpy_dtype.itemsize
    if tensor.buffer_size != expected:
        raise PersondetError(
            f"tensor {name}: {tensor.buffer_size} bytes of data, expected {expected} for {shape}"
        )
    return np.frombuffer(ctypes.string_at(tensor.buffer, expected), numpy_dtype).reshape(shape)


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
    name = param.name.decode()
    if param.type == abi.PARAM_TENSOR:
        return name, tensor_from_struct(param.value.tensor).data
    scalar = param.value.scalar
    if scalar.data_type == abi.SCALAR_STRING:
        return name, (scalar.value.string or b"").decode()
    dtype = abi.DATA_TYPES.get(scalar.data_type, "uint32")
    if dtype == "bool":
        return name, bool(scalar.value.uint32 & 0xFF)
    width = np.dtype(abi.NUMPY_DTYPES[dtype]).itemsize
    raw = ctypes.string_at(ctypes.addressof(scalar.value), width)
    return name, np.frombuffer(raw, abi.NUMPY_DTYPES[dtype])[0].item()
