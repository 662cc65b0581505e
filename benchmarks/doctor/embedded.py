"""The toolchain `embedded`: whether the wheel's libraries load, and are the known ones."""

import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from benchmarks.doctor.findings import Finding, note, ok, problem
from benchmarks.doctor.shared_libraries import missing_libraries, remedy_for
from export.child import run_module
from persondet.errors import PersondetError
from runtime.qairt import abi
from runtime.qairt.libraries import (
    LIBRARY_FOLDER_VARIABLE,
    is_emulated,
    library_folder,
    open_backend,
    open_system,
)

_TOPIC = "toolchain embedded"
# library: jobs that need it
_LIBRARIES = {
    "libQnnSystem.so": ("convert", "quantize", "run:dlc"),
    "libQnnIr.so": ("convert", "quantize"),
    "libQnnHtp.so": ("run:dlc",),
}
_ALL = ("convert", "quantize", "run:dlc")
_TIMEOUT_S = 120.0


def embedded_findings() -> list[Finding]:
    """Opens the libraries in a child process, where a crash of theirs hurts nobody."""
    if find_spec("onnxruntime_qnn") is None and LIBRARY_FOLDER_VARIABLE not in os.environ:
        remedy = f"for DLC models, convert and quantize: pip install {abi.WHEEL}"
        return [note(_TOPIC, "onnxruntime-qnn is not installed", remedy, _ALL)]
    try:
        folder = library_folder()
    except PersondetError as error:
        return [problem(_TOPIC, str(error), f"pip install {abi.WHEEL}", _ALL)]
    if lacking := _lacking(folder):
        return lacking
    try:
        answer = run_module(
            "benchmarks.doctor.embedded", [], what="opening the libraries", timeout_s=_TIMEOUT_S
        )
    except PersondetError as error:
        return [problem(_TOPIC, str(error), f"pip install --force-reinstall {abi.WHEEL}", _ALL)]
    if "problem" in answer:
        return [problem(_TOPIC, answer["problem"], f"pip install {abi.WHEEL}", _ALL)]
    chip = "an emulated chip" if is_emulated() else "the chip"
    text = f"{abi.WHEEL}, QAIRT {answer['build_id']}, runs DLCs on {chip}: {folder}"
    return [ok(_TOPIC, text)]


def _lacking(folder: Path) -> list[Finding]:
    found = []
    for name, stops in _LIBRARIES.items():
        if not (folder / name).is_file():
            text = f"{folder} has no {name}"
            found.append(problem(_TOPIC, text, f"pip install --force-reinstall {abi.WHEEL}", stops))
    present = [folder / name for name in _LIBRARIES if (folder / name).is_file()]
    if missing := missing_libraries(present):
        text = f"the system lacks {', '.join(missing)}, which Qualcomm's libraries need"
        found.append(problem(_TOPIC, text, remedy_for(missing), _ALL))
    return found


def probe(open_libraries: Callable[[], str]) -> dict[str, str]:
    """What opening said, as JSON-ready values: the build, or the problem."""
    try:
        return {"build_id": open_libraries()}
    except PersondetError as error:
        return {"problem": str(error)}


def _open_both() -> str:
    open_system()
    return open_backend().build_id


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(probe(_open_both)), encoding="utf-8")
