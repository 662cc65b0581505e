"""The entry of every stub: environment, faults, command line, then the tool's own module.

A fault is named by the variable IMITATION_FAULT, as `fault` or `tool:fault`:
    silent_success      exit 0, nothing printed, nothing written
    lying_success       the success lines and exit 0, nothing written
    writes_then_fails   all written, exit 1
    truncated           the artefact cut in half, exit 0
    hangs               starts a child that sleeps, and sleeps
    killed              ends itself by SIGKILL, as the system does when memory runs out
    no_python_module    the SDK's Python package is not found
    no_space            `No space left on device`
    no_diag             snpe-net-run writes no diagnostic log
    gibberish_log       it writes noise as diagnostic log, and snpe-diagview prints noise
    short_output        it writes raw files of half their size
    no_output           it writes no raw files
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from imitation_sdk.command_line import Options, ToolError, help_text, parse, path
from imitation_sdk.flags import PYTHON_TOOLS, numbers

_QUANTIZERS = ("snpe-dlc-quantize", "snpe-dlc-quant", "qairt-quantizer")
_MISSING_LIBRARY_EXIT = 127  # the dynamic loader's


def main(tool: str, version: str, executable: str, baked_fault: str) -> int:
    """Exit code of the tool run on sys.argv."""
    for_tool, _, fault = (os.environ.get("IMITATION_FAULT") or baked_fault).rpartition(":")
    if for_tool not in ("", tool):
        fault = ""
    try:
        library = _require_environment(tool, version, Path(executable).absolute(), fault)
        options = parse(tool, version, sys.argv[1:])
        if "version" in options:
            print(f"SNPE v{version}" if tool not in PYTHON_TOOLS else version)
            return 0
        if "help" in options:
            print(help_text(tool, version))
            return 0
        _before(fault)
        if fault != "silent_success":
            _run(tool, version, options, fault, library)
        return _after(tool, options, fault)
    except ToolError as error:
        if str(error):
            print(error, file=sys.stderr)
        return error.code


def _run(tool: str, version: str, options: Options, fault: str, library: Path) -> None:
    saving = fault != "lying_success"
    if tool in ("snpe-onnx-to-dlc", "qairt-converter"):
        from imitation_sdk.convert import convert

        convert(tool, version, options, saving=saving)
    elif tool in _QUANTIZERS:
        from imitation_sdk.quantize import quantize

        quantize(tool, version, options, saving=saving)
    elif tool == "snpe-dlc-graph-prepare":
        from imitation_sdk.quantize import prepare

        prepare(version, options, saving=saving)
    elif tool in ("snpe-dlc-info", "qairt-dlc-info"):
        from imitation_sdk.info import info

        info(version, options)
    elif tool == "snpe-diagview":
        from imitation_sdk.diagview import diagview

        diagview(version, options, fault)
    elif tool == "snpe-platform-validator":
        from imitation_sdk.validator import validate

        validate(options)
    else:
        from imitation_sdk.run import net_run, throughput

        (net_run if tool == "snpe-net-run" else throughput)(version, options, fault, library)


def _require_environment(tool: str, version: str, executable: Path, fault: str) -> Path:
    """Check what bin/envsetup.sh sets, and on a device the caller: Python's and the loader's path.

    Returns the libSNPE.so that the loader finds.
    """
    if tool in PYTHON_TOOLS:
        package = "snpe" if numbers(version) < (2, 0) else "qti"
        package_folder = executable.parents[2] / "lib" / "python"
        found = str(package_folder) in os.environ.get("PYTHONPATH", "").split(":")
        if not found or not (package_folder / package).is_dir() or fault == "no_python_module":
            raise ToolError(
                "Traceback (most recent call last):\n"
                f'  File "{executable}", line 17, in <module>\n'
                f"    from {package}.converters import onnx\n"
                f"ModuleNotFoundError: No module named '{package}'"
            )
    folders = filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    libraries = [Path(folder, "libSNPE.so") for folder in folders]
    library = next((each for each in libraries if each.is_file()), None)
    if library is None:
        raise ToolError(
            f"{executable}: error while loading shared libraries: libSNPE.so: cannot open shared "
            "object file: No such file or directory",
            _MISSING_LIBRARY_EXIT,
        )
    if version not in library.read_text(errors="replace"):
        text = f"{executable}: symbol lookup error: {executable}: undefined symbol: _ZN4zdl4SNPE"
        raise ToolError(text, _MISSING_LIBRARY_EXIT)
    for name in ("LD_LIBRARY_PATH", "PYTHONPATH"):  # not for what the imitation itself starts
        os.environ.pop(name, None)
    return library


def _before(fault: str) -> None:
    if fault == "hangs":
        print("[INFO] still working", file=sys.stderr, flush=True)
        subprocess.Popen(["sleep", "600"])
        time.sleep(600)
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "no_space":
        raise ToolError("[ERROR] write failed: No space left on device")


def _after(tool: str, options: Options, fault: str) -> int:
    if fault == "truncated":
        keys = ("output_dlc", "output_path")
        for artefact in filter(None, (path(options, key) for key in keys)):
            artefact.write_bytes(artefact.read_bytes()[: artefact.stat().st_size // 2])
    if fault == "writes_then_fails":
        print("[ERROR] Assertion failed", file=sys.stderr)
        return 255 if tool in PYTHON_TOOLS else 1
    return 0
