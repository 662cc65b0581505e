"""The toolchain `snpe`: ONNX to DLC through an SDK's own tools.

The tools run in a temporary folder, on files with plain names, and never see the user's paths. What
they write is proved there and only then put into its place.
"""

import contextlib
import shlex
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from export.dlc_names import with_dlc_names
from export.onnx_model import is_quantized, load_detector_onnx
from export.plain_graph import is_plain
from export.sdk.command_lines import Plan, Toolset, convert_plan
from export.sdk.intent import ConvertIntent, dlc_spec
from export.sdk.options import GRAPH_PREPARE
from export.sdk.proof import SdkProof, cache_notes, prove_sdk_dlc
from export.sdk.raw_files import safe_name
from export.sdk.sdk import Sdk
from export.sdk.tool_run import DEFAULT_TIMEOUT_S, run_call
from export.sdk.versions import Family, SdkVersion
from persondet.errors import InputError, PersondetError
from persondet.sidecar import check_destination, publishing
from persondet.spec import DetectorSpec
from persondet.temporary import temporary_folder
from runtime.qairt.container import repack

# Opsets that the converters are known to take well (inferred).
OPSETS = {
    Family.SNPE_1_4: range(9, 12),
    Family.SNPE_1: range(9, 12),
    Family.SNPE_2: range(11, 18),
    Family.QAIRT: range(11, 18),
}
LOG_NAME = "tools.log"


@dataclass(frozen=True)
class Toolchain:
    """An SDK ready to run. tools: which of its tools; on_call: gets the name of each that starts;
    on_line: gets each line that they print."""

    sdk: Sdk
    tools: Toolset
    timeout_s: float = DEFAULT_TIMEOUT_S
    on_line: Callable[[str], None] = lambda line: None
    on_call: Callable[[str], None] = lambda tool: None

    def run(self, plan: Plan, folder: Path) -> tuple[str, ...]:
        """Run the calls, one after the other, in the folder; return what to say of their files.

        Raises as `run_call`.
        """
        for call in plan.calls:
            self.on_call(call.tool)
            run_call(
                call,
                self.sdk,
                folder=folder,
                log=folder / LOG_NAME,
                timeout_s=self.timeout_s,
                on_line=self.on_line,
            )
        if plan.calls[-1].tool != GRAPH_PREPARE:
            return ()
        before, prepared = (folder / call.product for call in plan.calls[-2:])
        return cache_notes(before, prepared)

    def check_tools(self, *plans: Plan) -> None:
        """Before long work: raises InputError where the SDK lacks a tool of the plans."""
        for plan in plans:
            for call in plan.calls:
                self.sdk.tool(call.tool)


@dataclass(frozen=True)
class SdkResult:
    """path: the DLC; spec: the model's, with the input as the DLC has it; notes: sentences."""

    path: Path
    spec: DetectorSpec
    proof: SdkProof
    notes: tuple[str, ...]


def convert(
    onnx_path: Path,
    destination: Path,
    *,
    toolchain: Toolchain,
    intent: ConvertIntent,
    spec: DetectorSpec | None = None,
) -> SdkResult:
    """Write `destination`, a float DLC, and its sidecar. spec: instead of the ONNX file's own.

    Raises InputError for an ONNX that is not a detector of ours, for what the SDK's version lacks,
    and for an incomplete SDK; PersondetError where a tool fails or its file is not that graph: then
    nothing is written but `destination`.log.
    """
    model, spec = with_dlc_names(*load_float_onnx(onnx_path, spec))
    check_destination(destination, ".dlc", inputs=[onnx_path])
    stem = safe_name(onnx_path.stem)
    source, product = Path(f"{stem}.onnx"), Path(f"{stem}.dlc")
    version = toolchain.sdk.version
    plan = convert_plan(intent, spec, version, toolchain.tools, onnx=source, dlc=product)
    toolchain.check_tools(plan)
    with workplace(destination) as folder, publishing() as publication:
        onnx.save(model, folder / source)
        notes = toolchain.run(plan, folder)
        spec = dlc_spec(spec, intent)
        proof = prove_sdk_dlc(folder / product, model, spec, version, quantized=False)
        take_dlc(folder / product, publication.file(destination))
        publication.describe(
            destination,
            step="convert",
            inputs=[onnx_path],
            spec=spec,
            packages=("onnx",),
            details=details_of(toolchain, proof, plan),
        )
    return SdkResult(destination, spec, proof, (*plan.notes, *notes, *opset_notes(model, version)))


def load_float_onnx(
    onnx_path: Path, spec: DetectorSpec | None = None
) -> tuple[onnx.ModelProto, DetectorSpec]:
    """Raises InputError for what is not a float detector: SDKs quantize by themselves.

    spec: instead of the ONNX file's own.
    """
    model, spec = load_detector_onnx(onnx_path, spec)
    if is_quantized(model):
        raise InputError(
            f"{onnx_path} is quantized; an SDK takes the float ONNX and quantizes it with "
            "`persondet quantize`"
        )
    return model, spec


def simplified_notes(onnx_path: Path) -> tuple[str, ...]:
    """For a dry run, whose commands read the user's file."""
    if is_plain(onnx.load(onnx_path)):
        return ()
    return (
        f"{onnx_path} has batch norm, Constant nodes or the like, which a real run simplifies "
        "before the tools see it",
    )


def opset_notes(model: onnx.ModelProto, version: SdkVersion) -> tuple[str, ...]:
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    known = OPSETS[version.family]
    if opset in known:
        return ()
    return (
        f"the ONNX has opset {opset}; {version.name} is known to take {known[0]} to {known[-1]}: "
        f"`persondet export --opset {known[-1]}` if it misbehaves",
    )


def details_of(toolchain: Toolchain, proof: SdkProof, *plans: Plan) -> dict[str, Any]:
    """What a sidecar keeps: the SDK, the exact commands, and what was proved."""
    counted = proof.counted
    return {
        "toolchain": "snpe",
        "sdk": {"name": toolchain.sdk.name, "version": str(toolchain.sdk.version)},
        "commands": [shlex.join(call.words) for plan in plans for call in plan.calls],
        "container": proof.generation,
        **({"ops": counted.ops, "parameters": counted.parameters} if counted else {}),
    }


def take_dlc(source: Path, destination: Path) -> None:
    """Copy the DLC; where its writer left CRCs out, put them in: some loaders mind, and damage is
    noticed by them."""
    with zipfile.ZipFile(source) as archive:
        is_whole = all(info.CRC or not info.file_size for info in archive.infolist())
    if is_whole:
        shutil.copyfile(source, destination)
    else:
        repack(source, destination)


@contextlib.contextmanager
def workplace(destination: Path) -> Iterator[Path]:
    """A temporary folder for the tools; where they fail, their log is kept as `destination`.log."""
    with temporary_folder("persondet-sdk-") as folder:
        try:
            yield folder
        except PersondetError as error:
            log, kept = folder / LOG_NAME, destination.with_name(destination.name + ".log")
            if not log.exists():
                raise
            try:
                shutil.copyfile(log, kept)
            except OSError:
                raise error from None
            raise type(error)(f"{error}\nall that was printed: {kept}") from None
