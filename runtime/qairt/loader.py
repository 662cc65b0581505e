"""Qualcomm's loader: opens a DLC file and composes its graphs on a backend interface.

The interface is a backend library's own, or one whose functions are ours: handed such a one, the
loader walks the whole file and calls them with every tensor (static data included) and every op.
"""

import ctypes
import os
from collections.abc import Callable
from ctypes import byref, c_char_p, c_uint32, c_void_p
from pathlib import Path
from typing import Any

from persondet.errors import InputError
from runtime.qairt import abi
from runtime.qairt.libraries import function, open_system
from runtime.qairt.structs import text_of

_HANDLE = 1  # any non-null pointer does for the handles that the loader passes back to us


class OpenDlc:
    """A DLC file opened by libQnnSystem, which maps it; a context manager."""

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
        status = create(None, os.fsencode(self._path), byref(self._handle))
        if status != abi.SUCCESS:
            raise InputError(
                f"Qualcomm's loader refuses {self._path} (status {status}): the file is damaged or "
                "newer than this library; convert the ONNX again with `persondet convert`"
            )
        return self

    def __exit__(self, *_: object) -> None:
        function(self._system.functions, abi.SYSTEM_DLC_FREE, c_void_p)(self._handle)

    def compose(self, interface: abi.Interface, *, backend: Any, context: Any) -> list[Any]:
        """Compose the file's graphs on a backend interface.

        Returns their abi.GraphInfo, which live as long as this file is open.
        Raises InputError where the loader or the backend does not take the graph.
        """
        compose = function(
            self._system.functions,
            abi.SYSTEM_DLC_COMPOSE_GRAPHS,
            *(c_void_p, c_void_p, c_uint32, c_void_p, c_void_p, abi.Interface),
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
                f"Qualcomm's loader cannot compose the graph of {self._path} (status {status}): "
                "the file is damaged or needs another backend; convert the ONNX again with "
                "`persondet convert`"
            )
        return [graphs[index] for index in range(count.value)]


def walk_dlc(
    path: Path,
    *,
    on_graph: Callable[[str], None],
    on_tensor: Callable[[abi.Tensor], None],
    on_op: Callable[[abi.OpConfig], None],
) -> None:
    """Have the loader call these with all that the file holds, in file order.

    The structs are the loader's: valid during the call only, so copy what is needed.
    Raises InputError for a file that the loader refuses, and what the functions raise.
    """
    interface = _RecordingInterface(on_graph, on_tensor, on_op)
    with OpenDlc(path) as dlc:
        try:
            dlc.compose(interface.struct, backend=_HANDLE, context=_HANDLE)
        except InputError:
            if interface.failure is None:
                raise
    if interface.failure is not None:
        raise interface.failure


class _RecordingInterface:
    """A backend interface that hands what the loader asks for to Python functions.

    struct: to be passed by value; it is valid as long as this object, which keeps the callbacks.
    failure: the first exception, as none may pass through C.
    """

    def __init__(
        self,
        on_graph: Callable[[str], None],
        on_tensor: Callable[[abi.Tensor], None],
        on_op: Callable[[abi.OpConfig], None],
    ) -> None:
        self.failure: BaseException | None = None
        self._created = 0

        def graph_create(_context: Any, name: bytes | None, _config: Any, handle: Any) -> None:
            handle[0] = self._next_id()
            on_graph(text_of(name))

        def create_tensor(_graph: Any, pointer: Any) -> None:
            pointer[0].id = self._next_id()
            on_tensor(pointer[0])

        def add_node(_graph: Any, op: abi.OpConfig) -> None:
            on_op(op)

        tensor_callback = abi.TENSOR_CREATE_CALLBACK(self._guarded(create_tensor))
        self._callbacks = {
            abi.PROPERTY_HAS_CAPABILITY: abi.ANY_CALLBACK(lambda: abi.PROPERTY_NOT_SUPPORTED),
            abi.GRAPH_CREATE: abi.GRAPH_CREATE_CALLBACK(self._guarded(graph_create)),
            abi.GRAPH_ADD_NODE: abi.GRAPH_ADD_NODE_CALLBACK(self._guarded(add_node)),
            abi.TENSOR_CREATE_CONTEXT_TENSOR: tensor_callback,
            abi.TENSOR_CREATE_GRAPH_TENSOR: tensor_callback,
        }
        self._accept = abi.ANY_CALLBACK(lambda: abi.SUCCESS)
        self.struct = abi.Interface()
        self.struct.name = b"persondet-recorder"
        self.struct.core_api[:] = (*abi.CORE_API, 0)
        for slot in range(len(self.struct.table)):
            callback = self._callbacks.get(slot, self._accept)
            self.struct.table[slot] = ctypes.cast(callback, c_void_p).value

    def _next_id(self) -> int:
        self._created += 1
        return self._created

    def _guarded(self, record: Callable[..., None]) -> Callable[..., int]:
        def callback(*arguments: Any) -> int:
            try:
                record(*arguments)
            except BaseException as error:  # Ctrl-C too
                self.failure = self.failure or error
                return 1
            return abi.SUCCESS

        return callback
