"""The child process that drives onnxruntime's QNN execution provider. See export/embedded.py.

python -m export.embedded_worker RESULT JOB (see export/child.py), where JOB is a JSON object:
  {"job": "dlc", "onnx": ..., "folder": ...}
  {"job": "context", "onnx": ..., "binary": ..., "soc_model": ..., "arch": ..., "fp16": ...}
RESULT receives {"files": [...]} or {"refused": [[node, op type], ...], "message": ...}.
"""

import json
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import onnxruntime_qnn as qnn

from persondet.files import parse_json
from runtime.onnx_session import open_session


def main() -> None:
    result, job = Path(sys.argv[1]), parse_json(sys.argv[2])
    onnxruntime.register_execution_provider_library(qnn.get_ep_name(), qnn.get_library_path())
    kind = job.pop("job")
    answer = _write_dlc(**job) if kind == "dlc" else _write_context(**job)
    result.write_text(json.dumps(answer), encoding="utf-8")


def _write_dlc(onnx: str, folder: str) -> dict[str, Any]:
    """Creating the session writes one DLC for each subgraph that QNN takes."""
    provider_options = {
        "backend_path": qnn.get_qnn_htp_path(),
        "dump_qnn_ir_dlc": "1",
        "dump_qnn_ir_dlc_dir": folder,
        "qnn_ir_backend_path": str(Path(qnn.LIB_DIR_FULL_PATH, "libQnnIr.so")),
    }
    return _create_session(onnx, provider_options, {}) or {
        "files": sorted(path.name for path in Path(folder).glob("*.dlc"))
    }


def _write_context(onnx: str, binary: str, soc_model: int, arch: int, fp16: bool) -> dict[str, Any]:
    """The ahead-of-time compiled graph: a small wrapping ONNX and the binary beside it."""
    wrapper = Path(binary).with_suffix(".onnx")
    provider_options = {
        "backend_path": qnn.get_qnn_htp_path(),
        "soc_model": str(soc_model),
        "htp_arch": str(arch),
        "enable_htp_fp16_precision": str(int(fp16)),
    }
    session_options = {
        "ep.context_enable": "1",
        "ep.context_file_path": str(wrapper),
        "ep.context_embed_mode": "0",
    }
    return _create_session(onnx, provider_options, session_options) or {
        "files": sorted(path.name for path in wrapper.parent.glob("*.bin"))
    }


def _create_session(
    onnx: str, provider_options: dict[str, str], session_options: dict[str, str]
) -> dict[str, Any] | None:
    """Build the session on QNN alone. Where that fails, say which nodes QNN does not take."""
    try:
        _session(
            onnx, provider_options, {**session_options, "session.disable_cpu_ep_fallback": "1"}
        )
        return None
    except Exception as error:
        message = str(error)
    try:
        session = _session(onnx, {"backend_path": provider_options["backend_path"]}, {})
    except Exception:
        return {"refused": [], "message": message}
    refused = [
        (node.name, node.op_type)
        for subgraph in session.get_provider_graph_assignment_info()
        if subgraph.ep_name != qnn.get_ep_name()
        for node in subgraph.get_nodes()
    ]
    return {"refused": refused, "message": message}


def _session(
    onnx: str, provider_options: dict[str, str], session_options: dict[str, str]
) -> onnxruntime.InferenceSession:
    devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name == qnn.get_ep_name()]
    return open_session(
        onnx,
        entries={"session.record_ep_graph_assignment_info": "1", **session_options},
        provider=(devices, provider_options),
        log_errors=True,  # export/child.py shows the end of the log where this process crashes
    )


if __name__ == "__main__":
    main()
