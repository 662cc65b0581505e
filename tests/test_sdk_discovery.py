"""export.sdk.sdk: which SDK, which version, which interpreter; and what is said of a broken one."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from export.sdk.sdk import find_sdk, script_interpreter, sdk_environment
from export.sdk.versions import Family, parse_version
from persondet.errors import InputError

HOST = "x86_64-linux-clang"


@pytest.fixture
def root(tmp_path) -> Path:
    """An SDK by its shape, whose snpe-net-run says a version."""
    root = tmp_path / "my sdk"
    for part in (f"bin/{HOST}", f"lib/{HOST}", "lib/python"):
        (root / part).mkdir(parents=True)
    _program(root, "snpe-net-run", "#!/bin/sh\necho '---'\necho 'SNPE v1.66.0.3729'\n")
    return root


def _program(root: Path, name: str, text: str) -> Path:
    path = root / "bin" / HOST / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def _find(root: Path, variable: str = "SNPE_ROOT", **options):
    return find_sdk({"PATH": os.environ["PATH"], variable: str(root)}, **options)


def test_the_environment_names_it(root) -> None:
    assert find_sdk({"PATH": "/bin"}) is None
    sdk = _find(root, "QNN_SDK_ROOT")
    assert sdk is not None
    assert (sdk.root, str(sdk.version), sdk.family) == (root, "1.66.0.3729", Family.SNPE_1)
    assert (sdk.name, sdk.variables) == ("SNPE 1.66.0.3729", ("QNN_SDK_ROOT",))


def test_an_option_goes_before_the_environment(root) -> None:
    sdk = find_sdk({"SNPE_ROOT": "/nowhere"}, folder=root, version=parse_version("2.39"))
    assert sdk is not None
    assert (sdk.name, sdk.variables) == ("QAIRT 2.39", ())


def test_variables_that_agree_and_disagree(root, tmp_path) -> None:
    (tmp_path / "link").symlink_to(root)
    both = {"SNPE_ROOT": str(root), "QAIRT_SDK_ROOT": str(tmp_path / "link")}
    sdk = find_sdk(both)
    assert sdk is not None
    assert sdk.variables == ("QAIRT_SDK_ROOT", "SNPE_ROOT")
    with pytest.raises(InputError, match=r"several SDKs: QAIRT_SDK_ROOT=.*, SNPE_ROOT=.*--sdk DIR"):
        find_sdk({**both, "SNPE_ROOT": str(tmp_path)})


def test_the_folders_name_says_the_version_where_the_tool_does_not(root, tmp_path) -> None:
    _program(root, "snpe-net-run", "#!/bin/sh\nexit 127\n")
    message = (
        r"version of the SDK in .*my sdk is unknown.*which said: nothing, and ended with exit "
    )
    with pytest.raises(InputError, match=message + r"code 127; .*--sdk-version"):
        _find(root)
    _program(root, "snpe-net-run", "#!/bin/sh\necho 'libSNPE.so: cannot open' >&2\nexit 127\n")
    with pytest.raises(InputError, match=r"which said: libSNPE\.so: cannot open; unpack"):
        _find(root)
    for name, version in [("snpe-1.68.0.3932", "1.68.0.3932"), ("2.26.0.240828", "2.26.0.240828")]:
        named = shutil.copytree(root, tmp_path / name)
        sdk = _find(named)
        assert sdk is not None
        assert str(sdk.version) == version


@pytest.mark.parametrize("part", [f"bin/{HOST}", f"lib/{HOST}", "lib/python"])
def test_an_incomplete_folder(root, part) -> None:
    shutil.rmtree(root / part)
    with pytest.raises(InputError, match=rf"\(from SNPE_ROOT\) is incomplete: it has no {part};"):
        _find(root)


def test_no_folder_at_all(tmp_path) -> None:
    with pytest.raises(InputError, match=r"there is no SDK folder .*gone \(from SNPE_ROOT\)"):
        _find(tmp_path / "gone")


def test_a_missing_tool(root) -> None:
    sdk = _find(root)
    with pytest.raises(
        InputError, match=rf"should have bin/{HOST}/snpe-onnx-to-dlc; unpack the SDK"
    ):
        sdk.tool("snpe-onnx-to-dlc")


def test_interpreters(root, tmp_path) -> None:
    script = _program(root, "snpe-onnx-to-dlc", "#!/usr/bin/env python3\n")
    binary = _program(root, "snpe-dlc-quantize", "\x7fELF")
    assert (script_interpreter(script), script_interpreter(binary)) == ("python3", None)

    python = tmp_path / "python3.6"
    python.symlink_to(sys.executable)
    environ = {"SNPE_ROOT": str(root), "PATH": f"{tmp_path}:/bin:/usr/bin"}
    documented = find_sdk(environ)
    assert documented is not None  # what this version is documented for is on PATH
    assert documented.argv("snpe-onnx-to-dlc", environ["PATH"]) == (str(python), str(script))
    assert documented.argv("snpe-dlc-quantize", environ["PATH"]) == (str(binary),)

    given = find_sdk({**environ, "PERSONDET_SDK_PYTHON": sys.executable})
    assert given is not None
    assert given.python == Path(sys.executable)
    with pytest.raises(InputError, match=r"interpreter /no/python cannot be run"):
        find_sdk(environ, python=Path("/no/python"))


def test_a_stand_in_of_a_version_manager_is_no_interpreter(root, tmp_path) -> None:
    _program(root, "snpe-onnx-to-dlc", "#!/usr/bin/env python3\n")
    for name, text in (("python3.6", "exit 127"), ("python3.5", "echo 3.5")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    sdk = find_sdk({"SNPE_ROOT": str(root), "PATH": f"{tmp_path}:/bin:/usr/bin"})
    assert sdk is not None
    assert sdk.python == tmp_path / "python3.5"


@pytest.mark.parametrize("printed", ["SNPE v1.66.0.3729.", "SNPE v1.66.0.3729, built", "SNPE v7"])
def test_a_version_amid_other_text(root, tmp_path, printed) -> None:
    _program(root, "snpe-net-run", f"#!/bin/sh\necho '{printed}'\n")
    named = shutil.copytree(root, tmp_path / "snpe-1.66.0.3729.zip-unpacked")
    sdk = _find(named)
    assert sdk is not None
    assert str(sdk.version) == "1.66.0.3729"


def test_a_script_whose_interpreter_is_gone(root) -> None:
    _program(root, "snpe-onnx-to-dlc", "#!/opt/gone/python3.6\n")
    sdk = _find(root)
    message = r"wants the interpreter /opt/gone/python3\.6, which is not here; .*3\.6 or 3\.5"
    with pytest.raises(InputError, match=message):
        sdk.argv("snpe-onnx-to-dlc", "/bin")


def test_the_environment_of_the_tools(root) -> None:
    environ = sdk_environment(root, {"PATH": "/bin", "HOME": "/h", "PYTHONPATH": ""})
    assert environ["PATH"] == f"{root}/bin/{HOST}:/bin"
    assert environ["LD_LIBRARY_PATH"] == f"{root}/lib/{HOST}"
    assert environ["PYTHONPATH"] == f"{root}/lib/python"
    assert environ["HOME"] == "/h"
    assert {environ[name] for name in ("SNPE_ROOT", "QNN_SDK_ROOT", "QAIRT_SDK_ROOT")} == {
        str(root)
    }
