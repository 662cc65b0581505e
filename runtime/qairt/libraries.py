"""Finding and opening Qualcomm's libraries."""

import ctypes
import functools
import os
import platform
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from persondet.errors import InputError, PersondetError
from runtime.qairt import abi

LIBRARY_FOLDER_VARIABLE = "PERSONDET_QNN_LIBS"


@dataclass(frozen=True)
class SystemLibrary:
    """libQnnSystem: reads DLC files. `functions` is indexed by abi.SYSTEM_*."""

    path: Path
    functions: Any


@dataclass(frozen=True)
class BackendLibrary:
    """libQnnHtp: executes graphs. `interface` is the library's own table, `core_api` its version."""

    path: Path
    interface: Any
    core_api: tuple[int, int, int]
    build_id: str


def is_emulated() -> bool:
    """Whether libQnnHtp is Qualcomm's functional emulation here rather than the chip."""
    return platform.machine() not in ("aarch64", "arm64")


@functools.cache
def library_folder() -> Path:
    """The folder of Qualcomm's libraries: $PERSONDET_QNN_LIBS, or the wheel onnxruntime-qnn.

    Raises InputError where neither is there.
    """
    if named := os.environ.get(LIBRARY_FOLDER_VARIABLE):
        folder = Path(named)
        if not (folder / "libQnnSystem.so").exists():
            raise InputError(f"{LIBRARY_FOLDER_VARIABLE}={named}: no libQnnSystem.so in it")
        return folder
    if find_spec("onnxruntime_qnn") is None:
        raise InputError(
            "DLC files are read and run by Qualcomm's libraries, which are not installed: "
            "pip install 'persondet[qairt]' (the wheel onnxruntime-qnn; Python 3.11 or newer on "
            "Linux x86-64 or aarch64)"
        )
    import onnxruntime_qnn

    return Path(onnxruntime_qnn.LIB_DIR_FULL_PATH)


def open_library(name: str) -> tuple[Path, ctypes.CDLL]:
    path = library_folder() / name
    try:
        return path, ctypes.CDLL(str(path))
    except OSError as error:
        raise InputError(f"cannot load Qualcomm's library {path}: {error}") from None


@functools.cache
def open_system() -> SystemLibrary:
    """Raises PersondetError for a system API version whose layout is not known."""
    path, library = open_library("libQnnSystem.so")
    pointer = _first_provider(library.QnnSystemInterface_getProviders, path)
    interface = abi.SystemInterface.from_address(pointer)
    version = tuple(interface.version)
    if version[0] != abi.SYSTEM_API_MAJOR or version[1] < abi.SYSTEM_API_MINOR_MIN:
        raise PersondetError(
            f"{path} has system API {'.'.join(map(str, version))}, expected "
            f"{abi.SYSTEM_API_MAJOR}.{abi.SYSTEM_API_MINOR_MIN}; install onnxruntime-qnn==2.7.0"
        )
    return SystemLibrary(path, interface.table)


@functools.cache
def open_backend(name: str = "libQnnHtp.so") -> BackendLibrary:
    """Raises PersondetError for a core API version whose layout is not known."""
    path, library = open_library(name)
    pointer = _first_provider(library.QnnInterface_getProviders, path)
    head = abi.InterfaceHead.from_address(pointer)
    core_api = (head.core_api[0], head.core_api[1], head.core_api[2])
    interface = abi.interface_type(abi.interface_slots(core_api)).from_address(pointer)
    return BackendLibrary(path, interface, core_api, _build_id(interface))


def _first_provider(get_providers: Any, path: Path) -> int:
    providers = ctypes.POINTER(ctypes.c_void_p)()
    count = ctypes.c_uint32()
    get_providers.restype = abi.Status
    status = get_providers(ctypes.byref(providers), ctypes.byref(count))
    if status != abi.SUCCESS or count.value == 0 or not providers[0]:
        raise PersondetError(f"{path} offers no interface (status {status})")
    return providers[0]


def _build_id(interface: Any) -> str:
    text = ctypes.c_char_p()
    get_build_id = function(interface.table, abi.BACKEND_GET_BUILD_ID, ctypes.c_void_p)
    return (text.value or b"").decode() if get_build_id(ctypes.byref(text)) == abi.SUCCESS else ""


def function(table: Any, index: int, *argument_types: Any) -> Any:
    """The function pointer at `index` of an interface table as a callable returning its status."""
    return ctypes.CFUNCTYPE(abi.Status, *argument_types)(table[index])
