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
    """libQnnHtp: executes graphs. `interface` is the library's own table."""

    path: Path
    interface: abi.Interface
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
            f"pip install {abi.WHEEL} (Python 3.11 or newer on Linux x86-64 or aarch64)"
        )
    import onnxruntime_qnn

    return Path(onnxruntime_qnn.LIB_DIR_FULL_PATH)


@functools.cache
def open_system() -> SystemLibrary:
    """Raises PersondetError for a system API version whose layout is not known."""
    path, pointer = _open_library("libQnnSystem.so", "QnnSystemInterface_getProviders")
    interface = abi.SystemInterface.from_address(pointer)
    _check_version(path, "system API", interface.version, abi.SYSTEM_API)
    return SystemLibrary(path, interface.table)


@functools.cache
def open_backend() -> BackendLibrary:
    """Raises PersondetError for a core API version whose layout is not known."""
    path, pointer = _open_library("libQnnHtp.so", "QnnInterface_getProviders")
    interface = abi.Interface.from_address(pointer)
    _check_version(path, "core API", interface.core_api, abi.CORE_API)
    return BackendLibrary(path, interface, _build_id(interface))


def _open_library(name: str, get_providers_name: str) -> tuple[Path, int]:
    """Load a library and find its first interface; returns the path and the struct's address."""
    path = library_folder() / name
    try:
        # Qualcomm's libraries bring an unwinder of their own (LLVM's libunwind). Loaded before
        # GCC's, it takes the place of some of its functions, and the next C++ exception in any
        # other library, torch's or onnxruntime's, crashes the process.
        ctypes.CDLL("libgcc_s.so.1")
        get_providers = getattr(ctypes.CDLL(str(path)), get_providers_name)
    except OSError as error:
        raise InputError(f"cannot load Qualcomm's library {path}: {error}") from None
    except AttributeError:
        raise PersondetError(
            f"{path} has no function {get_providers_name}; install {abi.WHEEL}"
        ) from None
    providers = ctypes.POINTER(ctypes.c_void_p)()
    count = ctypes.c_uint32()
    get_providers.restype = abi.Status
    status = get_providers(ctypes.byref(providers), ctypes.byref(count))
    if status != abi.SUCCESS or count.value == 0 or not providers[0]:
        raise PersondetError(f"{path} offers no interface (status {status}); install {abi.WHEEL}")
    return path, providers[0]


def _check_version(path: Path, what: str, found: Any, expected: tuple[int, int]) -> None:
    """An unknown version means an unknown struct layout, which crashes."""
    if tuple(found[:2]) != expected:
        raise PersondetError(
            f"{path} has {what} {'.'.join(map(str, found))}, expected "
            f"{'.'.join(map(str, expected))}, the version whose structs are known here; "
            f"install {abi.WHEEL}"
        )


def _build_id(interface: abi.Interface) -> str:
    text = ctypes.c_char_p()
    get_build_id = function(interface.table, abi.BACKEND_GET_BUILD_ID, ctypes.c_void_p)
    return (text.value or b"").decode() if get_build_id(ctypes.byref(text)) == abi.SUCCESS else ""


def function(table: Any, index: int, *argument_types: Any) -> Any:
    """The function pointer at `index` of an interface table as a callable returning its status."""
    return ctypes.CFUNCTYPE(abi.Status, *argument_types)(table[index])
