"""ONNX to DLC."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from export import embedded
from export.dlc_names import with_dlc_names
from export.onnx_model import graph_file, is_quantized, load_detector_onnx
from export.socs import Soc
from export.verify import DlcProof
from persondet.sidecar import Publication, check_destination, publishing
from persondet.spec import DetectorSpec
from persondet.temporary import temporary_folder

_CLIP_INPUTS_OPSET = 11


@dataclass(frozen=True)
class ConvertResult:
    path: Path
    spec: DetectorSpec
    proof: DlcProof
    context_binary: Path | None


def convert(
    onnx_path: Path,
    destination: Path | None = None,
    *,
    soc: Soc | None = None,
    spec: DetectorSpec | None = None,
) -> ConvertResult:
    """Write `destination` and its sidecar; with a SoC also the compiled context beside it.

    destination: None for model.onnx to model.dlc. spec: instead of the ONNX file's own.
    Raises InputError for an ONNX that is not a detector of ours or that the HTP does not take,
    PersondetError where Qualcomm's libraries fail; then nothing is written.
    """
    model, spec = load_detector_onnx(onnx_path, spec)
    destination = Path(destination or onnx_path.with_suffix(".dlc"))
    check_destination(destination, ".dlc", inputs=[onnx_path])
    with publishing() as publication, graph_file(onnx_path, model) as graph_path:
        return add_dlc(
            *(publication, graph_path, destination, spec),
            soc=soc,
            step="convert",
            inputs=[onnx_path],
            details={"quantized": is_quantized(model)},
        )


def add_dlc(
    publication: Publication,
    graph_path: Path,
    destination: Path,
    spec: DetectorSpec,
    *,
    soc: Soc | None,
    step: str,
    inputs: list[Path],
    details: dict[str, object],
) -> ConvertResult:
    """The DLC of a float or QDQ graph, the context binary where asked for, and their sidecars.

    The spec of the result has the names of inputs and outputs that a DLC can have.
    """
    with _dlc_graph(graph_path, spec) as (graph_path, spec):
        proof = embedded.write_dlc(graph_path, publication.file(destination), spec, inputs[0])
        details = {
            **details,
            "toolchain": "embedded",
            "ops": proof.ops,
            "parameters": proof.parameters,
        }
        describe = functools.partial(
            publication.describe, inputs=inputs, spec=spec, packages=embedded.PACKAGES
        )
        describe(destination, step=step, details=details)
        binary = context_binary_path(destination, soc) if soc else None
        if soc and binary:
            embedded.write_context_binary(graph_path, publication.file(binary), soc)
            describe(binary, step="context-binary", details={**details, "soc": soc.name})
        return ConvertResult(destination, spec, proof, binary)


@contextlib.contextmanager
def _dlc_graph(path: Path, spec: DetectorSpec) -> Iterator[tuple[Path, DetectorSpec]]:
    """The graph's file and spec as the libraries take them right; the same file if it is so."""
    model = onnx.load(path)
    named, named_spec = with_dlc_names(_with_clip_inputs(model), spec)
    if named is model:
        yield path, spec
        return
    with temporary_folder("persondet-names-") as folder:
        onnx.save(named, folder / path.name)
        yield folder / path.name, named_spec


def _with_clip_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """In an opset before 11 the limits of a Clip are attributes, which QNN drops without a word."""
    if not any(node.op_type == "Clip" and node.attribute for node in model.graph.node):
        return model
    return onnx.version_converter.convert_version(model, _CLIP_INPUTS_OPSET)


def context_binary_path(dlc: Path, soc: Soc) -> Path:
    """model.dlc to model.sm8550.bin."""
    return dlc.with_name(f"{dlc.name.removesuffix('.dlc')}.{soc.name}.bin")
