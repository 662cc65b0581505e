"""runtime.qairt.abi and libraries: layouts by the table of offsets, and the wrong libraries."""

import ctypes
import subprocess
import sys

import pytest

from persondet.errors import InputError, PersondetError
from runtime.qairt import abi, libraries

pytest.importorskip("onnxruntime_qnn")

# struct: (size, {field: offset}), as verified by running the libraries (64-bit Linux)
LAYOUTS = {
    abi.SystemInterface: (32 + 13 * 8, {"system_id": 0, "name": 8, "version": 16, "table": 32}),
    abi.Interface: (
        640,
        {"backend_id": 0, "name": 8, "core_api": 16, "backend_api": 28, "table": 40},
    ),
    abi.Tensor: (
        144,
        {
            **{"version": 0, "id": 8, "name": 16, "type": 24, "data_format": 28, "data_type": 32},
            **{"quantize": 40, "rank": 80, "dims": 88, "memory_type": 96, "buffer": 104},
            **{"buffer_size": 112, "dynamic_dims": 120, "sparse": 128, "is_produced": 140},
        },
    ),
    abi.QuantizeParams: (40, {"definition": 0, "encoding": 4, "value": 8}),
    abi.ScaleOffset: (8, {"scale": 0, "offset": 4}),
    abi.AxisScaleOffset: (16, {"axis": 0, "count": 4, "pairs": 8}),
    abi.OpConfig: (
        80,
        {
            **{"version": 0, "name": 8, "package": 16, "type": 24, "num_params": 32, "params": 40},
            **{"num_inputs": 48, "inputs": 56, "num_outputs": 64, "outputs": 72},
        },
    ),
    abi.GraphInfo: (
        88,
        {
            **{"version": 0, "name": 8, "num_inputs": 16, "inputs": 24},
            **{"num_outputs": 32, "outputs": 40},
        },
    ),
}


@pytest.mark.parametrize("struct", LAYOUTS, ids=lambda struct: struct.__name__)
def test_layout(struct: type[ctypes.Structure]) -> None:
    size, offsets = LAYOUTS[struct]
    assert ctypes.sizeof(struct) == size
    assert {name: getattr(struct, name).offset for name in offsets} == offsets


def test_the_pinned_wheel_has_the_versions_of_the_layouts() -> None:
    assert libraries.open_system().path.name == "libQnnSystem.so"
    backend = libraries.open_backend()
    assert tuple(backend.interface.core_api[:2]) == abi.CORE_API
    assert backend.build_id.startswith("v2.")


def test_every_data_type_has_a_numpy_name() -> None:
    assert abi.NUMPY_DTYPES["ufixed8"] == "uint8"
    assert abi.NUMPY_DTYPES["sfixed32"] == "int32"
    assert abi.NUMPY_DTYPES["float16"] == "float16"


@pytest.fixture
def fresh_libraries(monkeypatch: pytest.MonkeyPatch):
    """The caches empty before and after; the libraries themselves stay loaded."""
    caches = (libraries.library_folder, libraries.open_system, libraries.open_backend)
    monkeypatch.delenv(libraries.LIBRARY_FOLDER_VARIABLE, raising=False)
    for cache in caches:
        cache.cache_clear()
    yield monkeypatch
    for cache in caches:
        cache.cache_clear()


def test_a_wheel_of_another_version_is_refused_with_the_right_one(fresh_libraries) -> None:
    fresh_libraries.setattr(abi, "SYSTEM_API", (1, 99))
    with pytest.raises(
        PersondetError, match=r"system API 1\.15\.\d+, expected 1\.99.*onnxruntime-qnn==2\.7\.0"
    ):
        libraries.open_system()
    fresh_libraries.setattr(abi, "CORE_API", (2, 41))
    with pytest.raises(PersondetError, match=r"libQnnHtp\.so has core API 2\.40\.\d+, expected 2"):
        libraries.open_backend()


def test_a_missing_wheel_is_the_users_error_with_the_remedy(fresh_libraries) -> None:
    fresh_libraries.setattr(libraries, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed: pip install onnxruntime-qnn=="):
        libraries.open_system()


def test_a_folder_named_by_the_environment(fresh_libraries, tmp_path) -> None:
    wheel = libraries.library_folder()
    libraries.library_folder.cache_clear()
    fresh_libraries.setenv(libraries.LIBRARY_FOLDER_VARIABLE, str(wheel))
    assert libraries.open_system().path.parent == wheel

    libraries.library_folder.cache_clear()
    libraries.open_system.cache_clear()
    fresh_libraries.setenv(libraries.LIBRARY_FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=r"PERSONDET_QNN_LIBS=.*: no libQnnSystem\.so in it"):
        libraries.open_system()
    (tmp_path / "libQnnSystem.so").write_bytes(b"no library")
    with pytest.raises(InputError, match="cannot load Qualcomm's library"):
        libraries.open_system()
    with pytest.raises(InputError, match="cannot load Qualcomm's library"):
        libraries.open_backend()  # not there at all


def test_a_library_of_another_kind(fresh_libraries, tmp_path) -> None:
    wheel = libraries.library_folder()
    libraries.library_folder.cache_clear()
    (tmp_path / "libQnnSystem.so").symlink_to(wheel / "libQnnIr.so")
    fresh_libraries.setenv(libraries.LIBRARY_FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(PersondetError, match="no function QnnSystemInterface_getProviders"):
        libraries.open_system()


def test_exceptions_of_other_libraries_survive_the_loading() -> None:
    """Qualcomm's libraries bring an unwinder; nothing else may be loaded before them here."""
    code = (
        "from runtime.qairt import libraries; libraries.open_system(); libraries.open_backend()\n"
        "import onnxruntime\n"
        "try:\n    onnxruntime.InferenceSession(b'no model')\n"
        "except Exception as error:\n    assert 'INVALID' in str(error), error\n"
        "else:\n    raise SystemExit('no exception')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
