"""ONNX to DLC."""

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path

from export import embedded
from export.onnx_model import load_detector_onnx
from export.socs import Soc
from export.verify import DlcProof
from persondet.sidecar import check_destination, replacing, write_sidecar
from persondet.spec import DetectorSpec


@dataclass(frozen=True)
class ConvertResult:
    path: Path
    spec: DetectorSpec
    proof: DlcProof
    context_binary: Path | None


def convert(
    onnx_path: Path, destination: Path | None = None, *, soc: Soc | None = None
) -> ConvertResult:
    """Write `destination` and its sidecar; with a SoC also the compiled context beside it.

    destination: None for model.onnx to model.dlc.
    Raises InputError for an ONNX that is not a detector of ours or that the HTP does not take,
    PersondetError where Qualcomm's libraries fail; then nothing is written.
    """
    _, spec = load_detector_onnx(onnx_path)
    return write_artefacts(
        *(onnx_path, destination or onnx_path.with_suffix(".dlc"), spec),
        soc=soc,
        step="convert",
        inputs=[onnx_path],
        details={},
    )


def write_artefacts(
    graph_path: Path,
    destination: Path,
    spec: DetectorSpec,
    *,
    soc: Soc | None,
    step: str,
    inputs: list[Path],
    details: dict[str, object],
) -> ConvertResult:
    """The DLC of a float or QDQ graph, the context binary where asked for, then the sidecars."""
    destination = Path(destination)
    check_destination(destination, ".dlc", inputs=inputs)
    binary = context_binary_path(destination, soc) if soc else None
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(replacing(destination))
        proof = embedded.write_dlc(graph_path, temporary, spec)
        if soc and binary:
            compiled = stack.enter_context(replacing(binary))
            embedded.write_context_binary(graph_path, compiled, soc)
    details = {**details, "toolchain": "embedded", "ops": proof.ops, "parameters": proof.parameters}
    sidecar = functools.partial(write_sidecar, inputs=inputs, spec=spec, packages=embedded.PACKAGES)
    sidecar(destination, step=step, details=details)
    if soc and binary:
        sidecar(binary, step="context-binary", details={**details, "soc": soc.name})
    return ConvertResult(destination, spec, proof, binary)


def context_binary_path(dlc: Path, soc: Soc) -> Path:
    """model.dlc to model.sm8550.bin."""
    return dlc.with_name(f"{dlc.name.removesuffix('.dlc')}.{soc.name}.bin")
