"""ONNX to DLC."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from export import embedded
from export.onnx_model import load_detector_onnx
from export.socs import Soc
from export.verify import DlcProof
from persondet.sidecar import replacing, write_sidecar
from persondet.spec import DetectorSpec


@dataclass(frozen=True)
class ConvertResult:
    path: Path
    spec: DetectorSpec
    proof: DlcProof
    context_binary: Path | None


def convert(onnx_path: Path, destination: Path, *, soc: Soc | None = None) -> ConvertResult:
    """Write `destination` and its sidecar; with a SoC also the compiled context beside it.

    Raises InputError for an ONNX that is not a detector of ours or that the HTP does not take,
    PersondetError where Qualcomm's libraries fail; then nothing is written.
    """
    _, spec = load_detector_onnx(onnx_path)
    return write_artefacts(
        onnx_path, destination, spec, soc=soc, step="convert", inputs=[onnx_path], details={}
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
    binary = context_binary_path(destination, soc) if soc else None
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(replacing(destination))
        proof = embedded.write_dlc(graph_path, temporary, spec)
        if soc and binary:
            compiled = stack.enter_context(replacing(binary))
            embedded.write_context_binary(graph_path, compiled, soc)
    details = {**details, "toolchain": "embedded", "ops": proof.ops, "parameters": proof.parameters}
    for path in (destination, binary):
        if path is not None:
            write_sidecar(
                path,
                step=step if path == destination else "context-binary",
                inputs=inputs,
                spec=spec,
                packages=embedded.PACKAGES,
                details=details if path == destination or not soc else {**details, "soc": soc.name},
            )
    return ConvertResult(destination, spec, proof, binary)


def context_binary_path(dlc: Path, soc: Soc) -> Path:
    """model.dlc to model.sm8550.bin."""
    return dlc.with_name(f"{dlc.name.removesuffix('.dlc')}.{soc.name}.bin")
