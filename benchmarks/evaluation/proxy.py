"""The QDQ ONNX that stands for a quantized DLC: the same graph, without emulating the HTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persondet.errors import InputError
from persondet.files import is_file
from persondet.sidecar import read_sidecar, sha256_of
from quantize.files_beside import QDQ_ENTRY


@dataclass(frozen=True)
class Proxy:
    """dlc: what is asked about. qdq: what runs instead. reference: its float ONNX, or None."""

    dlc: Path
    qdq: Path
    reference: Path | None


def proxy_of(dlc: Path) -> Proxy:
    """Find the QDQ ONNX and the float ONNX of a DLC beside it, by the sha256 in its sidecar.

    Raises InputError if the sidecar names no QDQ ONNX, or the file beside is missing or another.
    """
    record = read_sidecar(dlc)
    named = _entry(record and record.get("details"))
    if named is None:
        raise InputError(
            f"--proxy: nothing beside {dlc} says which QDQ ONNX has its graph; quantize it again "
            "with `persondet quantize` (the toolchain embedded records it), or evaluate the DLC "
            "itself, without --proxy"
        )
    qdq = _beside(dlc, named)
    if qdq is None:
        raise InputError(
            f"--proxy: {dlc} was written with the QDQ ONNX {named['name']} of sha256 "
            f"{str(named['sha256'])[:12]}..., which is not beside it; copy it there, or evaluate "
            "the DLC itself, without --proxy"
        )
    assert record is not None
    return Proxy(dlc, qdq, _reference(dlc, record.get("inputs")))


def _entry(details: Any) -> Mapping[str, Any] | None:
    entry = details.get(QDQ_ENTRY) if isinstance(details, dict) else None
    return entry if _is_file_record(entry) else None


def _is_file_record(entry: Any) -> bool:
    return isinstance(entry, dict) and {"name", "sha256"} <= entry.keys()


def _reference(dlc: Path, inputs: Any) -> Path | None:
    """Return the float ONNX, the first input of the quantization."""
    if not (isinstance(inputs, list) and inputs and _is_file_record(inputs[0])):
        return None
    path = _beside(dlc, inputs[0])
    return path if path is not None and path.suffix.lower() == ".onnx" else None


def _beside(dlc: Path, named: Mapping[str, Any]) -> Path | None:
    """Return the file of that name beside the DLC if its content is what was recorded."""
    path = dlc.parent / Path(str(named["name"])).name
    return path if is_file(path) and sha256_of(path) == named["sha256"] else None
