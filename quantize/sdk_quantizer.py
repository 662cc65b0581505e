"""ONNX and calibration pictures to a quantized DLC, through an SDK's own tools."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.dlc_names import with_dlc_names
from export.sdk.command_lines import Plan, convert_plan, quantize_plan
from export.sdk.intent import ConvertIntent, QuantizeIntent, dlc_spec
from export.sdk.output_layers import output_layers
from export.sdk.proof import SdkProof, prove_sdk_dlc
from export.sdk.raw_files import (
    LIST_NAME,
    input_list,
    raw_input,
    raw_name,
    safe_name,
    without_blanks,
    write_inputs,
)
from export.sdk.toolchain import (
    SdkResult,
    Toolchain,
    details_of,
    load_float_onnx,
    opset_notes,
    take_dlc,
    workplace,
)
from persondet.errors import InputError
from persondet.sidecar import check_destination, publishing
from persondet.spec import DetectorSpec
from persondet.wording import counted
from quantize.bias_correction import is_corrected
from quantize.calibration_set import CalibrationSet
from quantize.encodings import KEYS, read_encodings_record
from quantize.encodings_fit import check_belongs, refuse_corrected, shortened
from quantize.equalization import Equalized, equalized_on_images
from quantize.files_beside import FilesBeside
from quantize.lost_channels import lost_signal_notes
from quantize.presets import DEFAULT_RECIPE, Equalization
from quantize.progress import Progress, no_progress

_OVERRIDES_NAME = "overrides.json"
_OWN_RANGES = (
    "the SDK got the equalised ONNX; it chooses its own ranges, so biases are not corrected"
)
_CORRECTED_BIAS_BITS = 32
_WIDE_BIASES = (
    "the biases are corrected for the given encodings, and asked for in 32 bits; --bias-bits 8 is "
    "the SDK's own default"
)
_CLE = (
    "--cle: cross-layer equalisation as published made this project's network worse (ours, not the "
    "SDK's, was measured); --equalize noise, the default, does better without it"
)


def quantize_with_sdk(
    onnx_path: Path,
    destination: Path,
    *,
    toolchain: Toolchain,
    calibration: CalibrationSet | None,
    converting: ConvertIntent,
    quantizing: QuantizeIntent,
    spec: DetectorSpec | None = None,
    equalization: Equalization = DEFAULT_RECIPE.equalization,
    progress: Progress = no_progress,
) -> SdkResult:
    """Write `destination`, a quantized DLC, and its sidecar.

    calibration: None with float_fallback, which calibrates nothing. spec: instead of the ONNX
    file's own. equalization: of the ONNX that the SDK gets, which is written beside the DLC; with
    given encodings, which belong to one ONNX, that is left as it is.

    Raises InputError for a model, a set or encodings that cannot be used, for what the SDK's
    version lacks and for an incomplete SDK; PersondetError where a tool fails or its file is not
    that graph: then nothing is written but `destination`.log.
    """
    if (calibration is None) != quantizing.float_fallback:
        raise InputError("give calibration images, or --float-fallback with encodings; one of them")
    model, spec = load_float_onnx(onnx_path, spec)
    check_native(spec, quantizing)
    overrides = converting.overrides
    if overrides is None:
        refuse_corrected(model, onnx_path)
    wants_wide_biases = is_corrected(model) and quantizing.bias_bits is None
    if wants_wide_biases:
        quantizing = dataclasses.replace(quantizing, bias_bits=_CORRECTED_BIAS_BITS)
    inputs = [onnx_path, *([overrides] if overrides else [])]
    check_destination(destination, ".dlc", inputs=inputs)
    record = None
    notes: tuple[str, ...] = ()
    onnx_spec = spec
    graph, spec = with_dlc_names(model, spec)
    if overrides is not None:
        record = _with_names_of(spec, onnx_spec, check_overrides(overrides, model))
        notes = check_belongs(overrides, onnx_path)
    job = _Job(
        model=graph,
        spec=spec,
        onnx_path=onnx_path,
        overrides=record,
        calibration=calibration,
        converting=converting,
        quantizing=quantizing,
    )
    first, second = job.plans(toolchain)
    toolchain.check_tools(first, second)
    found = Equalized(model=model)
    if overrides is None and calibration is not None:
        found, notes = equalized_on_images(
            model,
            onnx_spec,
            calibration,
            method=equalization,
            act_bits=quantizing.act_bits,
            progress=progress,
        )
        graph, _ = with_dlc_names(found.model, onnx_spec)
        job = dataclasses.replace(job, model=graph)
    with workplace(destination) as folder, publishing() as publication:
        with progress("calibration files", len(calibration) if calibration else None) as advance:
            proof, run_notes = job.run(toolchain, folder, advance)
        spec = dlc_spec(spec, converting)
        take_dlc(folder / job.product, publication.file(destination))
        details = {
            **details_of(toolchain, proof, first, second),
            "intent": dataclasses.asdict(quantizing),
            **(calibration.record() if calibration else {}),
        }
        if found.spaces:
            details["equalization"] = found.record()
            beside = FilesBeside.of(destination).equalized
            publication.file(beside).write_bytes(found.model.SerializeToString())
            publication.describe(
                beside, step="equalize", inputs=inputs, spec=onnx_spec, packages=("onnx",)
            )
        publication.describe(
            destination,
            step="quantize",
            inputs=inputs,
            spec=spec,
            packages=("onnx",),
            details=details,
        )
    opset = opset_notes(graph, toolchain.sdk.version)
    notes = (*notes, *first.notes, *second.notes, *run_notes, *opset)
    if found.spaces:
        notes += (_OWN_RANGES,)
    if wants_wide_biases:
        notes += (_WIDE_BIASES,)
    if quantizing.cle:
        notes += (_CLE,)
    if not (quantizing.per_channel or quantizing.float_fallback):
        notes += lost_signal_notes(found.lost)
    return SdkResult(destination, spec, proof, notes)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """A model and what is wanted of it. spec: the ONNX's; overrides: given encodings."""

    model: onnx.ModelProto
    spec: DetectorSpec
    onnx_path: Path
    overrides: dict[str, Any] | None
    calibration: CalibrationSet | None
    converting: ConvertIntent
    quantizing: QuantizeIntent

    @property
    def plain(self) -> Path:
        """The float DLC, in the tools' folder."""
        return self._named(".dlc")

    @property
    def product(self) -> Path:
        """The quantized DLC there."""
        return self._named(".quantized.dlc")

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.spec.output_shapes)

    def _named(self, ending: str) -> Path:
        return Path(safe_name(self.onnx_path.stem) + ending)

    def plans(self, toolchain: Toolchain) -> tuple[Plan, Plan]:
        """Return the converter's calls and the quantizer's. Raises InputError as they do."""
        version, tools = toolchain.sdk.version, toolchain.tools
        converting = self.converting
        if self.overrides is not None:
            converting = dataclasses.replace(converting, overrides=Path(_OVERRIDES_NAME))
        source = self._named(".onnx")
        first = convert_plan(*(converting, self.spec, version, tools), onnx=source, dlc=self.plain)
        second = quantize_plan(
            *(self.quantizing, version, tools),
            dlc=self.plain,
            input_list=Path("raw", LIST_NAME),
            output=self.product,
            outputs=self.outputs,
        )
        return first, second

    def run(
        self, toolchain: Toolchain, folder: Path, advance: Callable[[], None]
    ) -> tuple[SdkProof, tuple[str, ...]]:
        """Run the tools in the folder; return the proof of the product, and notes on it."""
        first, second = self.plans(toolchain)
        spec, version = dlc_spec(self.spec, self.converting), toolchain.sdk.version
        onnx.save(self.model, folder / self._named(".onnx"))
        if self.overrides is not None:
            text = json.dumps(self.overrides)
            (folder / _OVERRIDES_NAME).write_text(text, encoding="utf-8")
        toolchain.run(first, folder)
        prove_sdk_dlc(folder / self.plain, self.model, spec, version, quantized=False)
        with without_blanks(folder) as clean:
            if self.calibration is not None:
                write_calibration(
                    *(self.calibration, spec, folder / "raw"),
                    native=self.quantizing.native_inputs,
                    advance=advance,
                    listed_as=clean / "raw",
                    output_layers=self._cached_layers(toolchain, folder),
                )
            notes = toolchain.run(second, folder)
        proof = prove_sdk_dlc(
            *(folder / self.product, self.model, spec, version),
            quantized=True,
            floats_allowed=self.quantizing.float_fallback,
        )
        return proof, notes

    def _cached_layers(self, toolchain: Toolchain, folder: Path) -> tuple[str, ...]:
        """Return the outputs of a cache that the quantizer itself makes, as 1.x does, by layer."""
        makes_cache = bool(self.quantizing.socs) and toolchain.tools.prepare is None
        return output_layers(folder / self.plain, self.outputs) if makes_cache else ()


def write_calibration(
    calibration: CalibrationSet,
    spec: DetectorSpec,
    folder: Path,
    *,
    native: bool,
    advance: Callable[[], None] = lambda: None,
    listed_as: Path | None = None,
    output_layers: Sequence[str] = (),
) -> Path:
    """The pictures as raw files in the folder, and the list that names them; returns the list.

    spec: the DLC's. listed_as: another path of the folder, for the list, whose paths are absolute.
    output_layers: for a cache that the quantizer makes itself.
    Raises InputError for a folder with blanks in its path, which a list cannot express, and where
    it cannot be written.
    """
    place = (listed_as or folder).absolute()
    names = [path.name for path in calibration.pictures]
    input_list([place / raw_name(0, "file")])  # raises before the work
    try:
        folder.mkdir(parents=True, exist_ok=True)
        images = _counted(calibration, advance)
        paths = write_inputs(images, spec, folder, native=native, names=names)
        listed = folder / LIST_NAME
        text = input_list((place / path.name for path in paths), output_layers=output_layers)
        listed.write_bytes(os.fsencode(text))
    except OSError as error:
        raise InputError(
            f"cannot write the calibration files into {folder}: {error.strerror}; they need "
            f"{len(calibration) * raw_input(spec, native=native).size_bytes / 1e6:.0f} MB there"
        ) from error
    return listed


def check_native(spec: DetectorSpec, intent: QuantizeIntent) -> None:
    """Raises InputError where the input's own type is what is written anyway."""
    if intent.native_inputs and spec.input_dtype != "uint8":
        raise InputError(
            "--native-inputs: the model's own input type is float32, which calibration files have "
            "anyway; export with --input uint8-nhwc for uint8 files"
        )


def _counted(calibration: CalibrationSet, advance: Callable[[], None]) -> Iterator[np.ndarray]:
    for image_rgb in calibration.images_rgb():
        yield image_rgb
        advance()


def _with_names_of(
    named: DetectorSpec, spec: DetectorSpec, record: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The encodings, as every SDK reads them, of a graph whose inputs and outputs were renamed."""
    names = {
        spec.input_name: named.input_name,
        spec.scores_name: named.scores_name,
        spec.boxes_name: named.boxes_name,
    }
    activations = {names.get(name, name): values for name, values in record[KEYS[0]].items()}
    return {"version": "0.6.1", **record, KEYS[0]: activations}


def check_overrides(path: Path, model: onnx.ModelProto) -> dict[str, dict[str, Any]]:
    """Return the encodings in the file, in the older form.

    Raises InputError where the file is none of encodings, or names tensors that the model does
    not have: an SDK ignores those without a word."""
    record = read_encodings_record(path)
    graph = model.graph
    tensors = {name for node in graph.node for name in node.output}
    tensors |= {value.name for value in graph.input}
    constants = {item.name for item in graph.initializer}
    unknown = set(record[KEYS[0]]) - tensors - constants
    unknown |= set(record[KEYS[1]]) - constants
    if unknown:
        raise InputError(
            f"{path} names {counted(len(unknown), 'tensor')} that the model does not have: "
            f"{shortened(sorted(unknown))}; it belongs to another model, or to another export of it"
        )
    return record
