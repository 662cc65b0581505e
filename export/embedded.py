"""The toolchain `embedded`: real DLC files written by Qualcomm's own libraries, without the SDK.

onnxruntime's QNN execution provider hands each subgraph that it takes to libQnnIr, which writes it
as a DLC. The whole graph must be one subgraph: a node that QNN refuses would silently stay out.
"""

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx

from export.child import run_module
from export.onnx_model import is_quantized, name_nodes
from export.socs import Soc
from export.verify import DlcProof, missing_nodes, prove_dlc
from persondet.errors import InputError, PersondetError
from persondet.spec import DetectorSpec
from persondet.temporary import temporary_folder
from runtime.qairt import abi
from runtime.qairt.container import repack
from runtime.qairt.reader import read_dlc

PACKAGES = ("onnxruntime-qnn", "onnxruntime", "onnx")
_TIMEOUT_S = 600.0
_PRINTED_NODES = 20
_WRITE_FAILED = "Code: 6022"  # seen on a full disk, and nowhere else


def write_dlc(
    onnx_path: Path, destination: Path, spec: DetectorSpec, source: Path | None = None
) -> DlcProof:
    """Write the ONNX graph (float or QDQ) as a DLC and prove that it is that graph.

    source: the user's file, where onnx_path is made from it, for messages.

    The file gets right CRCs and is read back by Qualcomm's loader.
    Raises InputError naming the nodes that QNN does not take, PersondetError where the libraries
    fail or the file is not the graph.
    """
    _require_libraries()
    source = source or onnx_path
    model = onnx.load(onnx_path)
    with temporary_folder("persondet-dlc-") as folder:
        graph_path = onnx_path
        if name_nodes(model):  # the proof goes by names
            graph_path = folder / "named.onnx"
            onnx.save(model, graph_path)
        job = {"job": "dlc", "onnx": str(graph_path.absolute()), "folder": str(folder)}
        files = _run(job, source, what=f"writing the DLC of {source}")
        if len(files) != 1:
            graphs = [read_dlc(folder / name) for name in files]
            raise InputError(_split_message(source, missing_nodes(model, graphs), len(files)))
        repack(folder / files[0], destination)
    return prove_dlc(model, spec, read_dlc(destination), source)


def write_context_binary(onnx_path: Path, destination: Path, soc: Soc) -> None:
    """Compile the ONNX graph ahead of time for one SoC; the HTP loads the result as it is.

    A float graph is computed in half precision: the HTP has no float32.
    Raises InputError where the SoC does not take the graph, PersondetError where compiling fails.
    """
    _require_libraries()
    fp16 = not is_quantized(onnx.load(onnx_path))
    with temporary_folder("persondet-context-") as folder:
        job = {
            "job": "context",
            "onnx": str(onnx_path.absolute()),
            "binary": str(folder / "graph.bin"),
            "soc_model": soc.model,
            "arch": soc.arch,
            "fp16": fp16,
        }
        what = f"compiling {onnx_path} for {soc.name}"
        try:
            files = _run(job, onnx_path, what=what)
        except PersondetError as error:
            if not fp16:
                raise
            raise InputError(
                f"{soc.name} may not run float graphs at all (some HTPs have no half precision): "
                f"quantize the model and compile that\n{error}"
            ) from None
        if len(files) != 1:
            raise PersondetError(f"{what} gave {len(files)} binaries instead of one")
        destination.write_bytes((folder / files[0]).read_bytes())


def _split_message(source: Path, missing: list[str], parts: int) -> str:
    """What to say where the graph fell into parts around what the HTP does not take."""
    nodes = f": {_listed(missing)} cannot be in it" if missing else ""
    return (
        f"{source} cannot become one DLC: the graph falls into {parts} parts{nodes}; replace "
        "these operations in the model"
    )


def _listed(nodes: list[str]) -> str:
    more = len(nodes) - _PRINTED_NODES
    return ", ".join(nodes[:_PRINTED_NODES]) + (f" and {more} more" if more > 0 else "")


def _require_libraries() -> None:
    if find_spec("onnxruntime_qnn") is None:
        raise InputError(
            "the embedded toolchain is the wheel onnxruntime-qnn, which is not installed: "
            f"pip install {abi.WHEEL} (Python 3.11 or newer, Linux x86-64 or aarch64)"
        )


def _run(job: dict[str, Any], onnx_path: Path, *, what: str) -> list[str]:
    answer = run_module(
        "export.embedded_worker", [json.dumps(job)], what=what, timeout_s=_TIMEOUT_S
    )
    if "files" in answer:
        return answer["files"]
    refused = [f"{name} ({op_type})" for name, op_type in answer["refused"]]
    if not refused and _WRITE_FAILED in answer["message"]:
        raise InputError(
            f"{what} failed, as Qualcomm's library could not write its file: is the disk full? "
            f"The temporary folder is {tempfile.gettempdir()}; the variable TMPDIR names another"
        )
    if not refused:
        raise PersondetError(f"{what} failed: {answer['message']}")
    raise InputError(
        f"{onnx_path} cannot become a DLC: Qualcomm's HTP does not take the nodes "
        f"{_listed(refused)}; replace these operations in the model"
    )
