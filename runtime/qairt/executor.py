"""Executing a DLC with Qualcomm's HTP backend: the chip on a board, its emulation on x86-64."""

import contextlib
import ctypes
from collections.abc import Mapping
from ctypes import byref, c_char_p, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from persondet.errors import InputError, PersondetError
from runtime.qairt import abi
from runtime.qairt.chatter import chatter_held_back
from runtime.qairt.graph import DlcTensor
from runtime.qairt.libraries import BackendLibrary, function, open_backend
from runtime.qairt.loader import OpenDlc
from runtime.qairt.reader import check_readable
from runtime.qairt.structs import tensor_from_struct

# QnnHtpDevice_Arch_t. The emulation takes any other number too, without a word.
ARCHS = (68, 69, 73, 75, 79, 81)

_DEVICE_CONFIG_CUSTOM = 0
_HTP_DEVICE_CONFIG_ARCH = 1


class _HtpArchConfig(ctypes.Structure):
    """QnnHtpDevice_CustomConfig_t with the option ARCH; its union starts 8-aligned."""

    _fields_ = [
        ("option", c_uint32),
        ("_union_alignment", c_uint32),
        ("device_id", c_uint32),
        ("arch", c_uint32),
        ("_largest_member", c_uint32 * 4),
    ]


class _DeviceConfig(ctypes.Structure):
    """QnnDevice_Config_t (QnnDevice.h)."""

    _fields_ = [("option", c_uint32), ("custom", ctypes.POINTER(_HtpArchConfig))]


class DlcExecutor:
    """A DLC ready to run. `inputs` and `outputs` are its tensors by name; close when done.

    arch: Hexagon architecture to emulate, one of ARCHS; None: the library's choice, on a board the
    chip's own. One thread at a time may use it.
    Raises InputError for a file that cannot be read, PersondetError where the backend fails.
    """

    def __init__(self, path: Path, *, arch: int | None = None) -> None:
        self.path = check_readable(path).path
        self._closing = contextlib.ExitStack()
        self._closed = False
        with chatter_held_back(), contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            self.library: BackendLibrary = open_backend()
            self._open(arch)
            on_failure.pop_all()

    def execute(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph once on stored values: dtype and shape of each tensor as in the file.

        Raises InputError for a wrong name, shape or dtype; PersondetError where execution fails
        or the executor is closed.
        """
        if self._closed:  # its handles are freed: using them would crash
            raise PersondetError(f"{self.path} is closed; open it again to run it")
        if set(tensors) != set(self.inputs):
            raise InputError(
                f"{self.path} takes the inputs {', '.join(self.inputs)}, "
                f"got {', '.join(tensors) or 'nothing'}"
            )
        fed = {name: self._checked(self.inputs[name], array) for name, array in tensors.items()}
        results = {
            name: np.empty(tensor.shape, tensor.numpy_dtype)
            for name, tensor in self.outputs.items()
        }
        _attach(self._input_structs, fed)
        _attach(self._output_structs, results)
        self._call(
            *("graphExecute", abi.GRAPH_EXECUTE),
            *((c_void_p, self._graph), (c_void_p, self._input_structs), (c_uint32, len(fed))),
            *((c_void_p, self._output_structs), (c_uint32, len(results))),
            *((c_void_p, None), (c_void_p, None)),
        )
        return results

    def close(self) -> None:
        self._closed = True
        self._closing.close()

    def _open(self, arch: int | None) -> None:
        backend, device, context = c_void_p(), c_void_p(), c_void_p()
        self._create("backendCreate", abi.BACKEND_CREATE, (None, None), backend, abi.BACKEND_FREE)
        config = _device_configs(arch)
        self._create("deviceCreate", abi.DEVICE_CREATE, (None, config), device, abi.DEVICE_FREE)
        self._create(
            *("contextCreate", abi.CONTEXT_CREATE, (backend, device, None), context),
            abi.CONTEXT_FREE,
        )
        dlc = self._closing.enter_context(OpenDlc(self.path))
        graphs = dlc.compose(self.library.interface, backend=backend, context=context)
        if len(graphs) != 1:
            raise InputError(f"{self.path} holds {len(graphs)} graphs; only one is supported")
        self._take_tensors(graphs[0])
        self._graph = c_void_p()
        self._call(
            *("graphRetrieve", abi.GRAPH_RETRIEVE, (c_void_p, context)),
            *((c_char_p, graphs[0].name), (c_void_p, byref(self._graph))),
        )
        self._call(
            *("graphFinalize", abi.GRAPH_FINALIZE, (c_void_p, self._graph)),
            *((c_void_p, None), (c_void_p, None)),
        )

    def _take_tensors(self, info: abi.GraphInfo) -> None:
        """Our own copies of the tensor structs, to hang buffers on; the names stay the loader's."""
        self._input_structs = (abi.Tensor * info.num_inputs)(*info.inputs[: info.num_inputs])
        self._output_structs = (abi.Tensor * info.num_outputs)(*info.outputs[: info.num_outputs])
        self.inputs = _by_name(self._input_structs)
        self.outputs = _by_name(self._output_structs)

    def _checked(self, tensor: DlcTensor, array: np.ndarray) -> np.ndarray:
        dtype = tensor.numpy_dtype
        if array.shape != tensor.shape or array.dtype != dtype:
            raise InputError(
                f"input {tensor.name} of {self.path}: expected {dtype} {tensor.shape}, "
                f"got {array.dtype} {array.shape}"
            )
        return np.ascontiguousarray(array)

    def _create(self, name: str, index: int, leading: tuple, handle: c_void_p, free: int) -> None:
        """Create an object whose handle is the last argument, and have it freed on closing."""
        arguments = [(c_void_p, value) for value in leading]
        self._call(name, index, *arguments, (c_void_p, byref(handle)))
        free_types = (c_void_p, c_void_p) if free == abi.CONTEXT_FREE else (c_void_p,)
        release = function(self.library.interface.table, free, *free_types)
        self._closing.callback(release, handle, *([None] * (len(free_types) - 1)))

    def _call(self, name: str, index: int, *typed_arguments: tuple[Any, Any]) -> None:
        types = [argument_type for argument_type, _ in typed_arguments]
        call = function(self.library.interface.table, index, *types)
        status = call(*(value for _, value in typed_arguments))
        if status != abi.SUCCESS:
            raise PersondetError(
                f"Qualcomm's backend {self.library.path.name} failed in {name} for {self.path} "
                f"(status {status})"
            )


def _device_configs(arch: int | None) -> Any:
    """A null-terminated list of device configurations; None on a board, which knows its own."""
    if arch is None:
        return None
    if arch not in ARCHS:
        known = ", ".join(f"v{known}" for known in ARCHS)
        raise InputError(f"Hexagon v{arch} cannot be emulated; known: {known}")
    custom = _HtpArchConfig(option=_HTP_DEVICE_CONFIG_ARCH, arch=arch)
    config = _DeviceConfig(_DEVICE_CONFIG_CUSTOM, ctypes.pointer(custom))
    configs = (ctypes.POINTER(_DeviceConfig) * 2)()
    configs[0] = ctypes.pointer(config)
    return configs


def _by_name(structs: Any) -> dict[str, DlcTensor]:
    tensors = [tensor_from_struct(struct) for struct in structs]
    return {tensor.name: tensor for tensor in tensors}


def _attach(structs: Any, arrays: Mapping[str, np.ndarray]) -> None:
    for struct in structs:
        array = arrays[struct.name.decode()]
        struct.memory_type = 0  # raw buffer
        struct.buffer = array.ctypes.data
        struct.buffer_size = array.nbytes
