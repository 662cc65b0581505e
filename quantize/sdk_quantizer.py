"""ONNX and calibration pictures to a quantized DLC, through an SDK's own tools."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.dlc_names import with_dlc_names
from export.sdk.command_lines import convert_plan, quantize_plan
from export.sdk.intent import ConvertIntent, QuantizeIntent, dlc_spec
from export.sdk.proof import prove_sdk_dlc
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
from quantize.calibration_set import CalibrationSet
from quantize.encodings import KEYS, read_encodings_record
from quantize.encodings_fit import shortened
from quantize.lost_channels import lost_channel_notes

_OVERRIDES_NAME = "overrides.json"


def quantize_with_sdk(
    onnx_path: Path,
    destination: Path,
    *,
    toolchain: Toolchain,
    calibration: CalibrationSet,
    converting: ConvertIntent,
    quantizing: QuantizeIntent,
    spec: DetectorSpec | None = None,
    advance: Callable[[], None] = lambda: None,
) -> SdkResult:
    """Write `destination`, a quantized DLC, and its sidecar.

    spec: instead of the ONNX file's own. advance: called after each picture.

    Raises InputError for a model, a set or encodings that cannot be used, for what the SDK's
    version lacks and for an incomplete SDK; PersondetError where a tool fails or its file is not
    that graph: then nothing is written but `destination`.log.
    """
    model, spec = load_float_onnx(onnx_path, spec)
    check_native(spec, quantizing)
    overrides = converting.overrides
    inputs = [onnx_path, *([overrides] if overrides else [])]
    check_destination(destination, ".dlc", inputs=inputs)
    record = None
    graph, named_spec = with_dlc_names(model, spec)
    if overrides is not None:
        record = _with_names_of(named_spec, spec, check_overrides(overrides, model))
        converting = dataclasses.replace(converting, overrides=Path(_OVERRIDES_NAME))
    model, spec = graph, named_spec
    stem, version = safe_name(onnx_path.stem), toolchain.sdk.version
    source, plain, product = (Path(stem + end) for end in (".onnx", ".dlc", ".quantized.dlc"))
    files = {"dlc": plain, "input_list": Path("raw", LIST_NAME), "output": product}
    first = convert_plan(converting, spec, version, toolchain.tools, onnx=source, dlc=plain)
    second = quantize_plan(quantizing, version, toolchain.tools, **files)
    toolchain.check_tools(first, second)
    with workplace(destination) as folder, publishing() as publication:
        onnx.save(model, folder / source)
        if record is not None:
            (folder / _OVERRIDES_NAME).write_text(json.dumps(record), encoding="utf-8")
        toolchain.run(first, folder)
        spec = dlc_spec(spec, converting)
        prove_sdk_dlc(folder / plain, model, spec, version, quantized=False)
        with without_blanks(folder) as clean:
            write_calibration(
                *(calibration, spec, folder / "raw"),
                native=quantizing.native_inputs,
                advance=advance,
                listed_as=clean / "raw",
            )
            toolchain.run(second, folder)
        proof = prove_sdk_dlc(folder / product, model, spec, version, quantized=True)
        take_dlc(folder / product, publication.file(destination))
        publication.describe(
            destination,
            step="quantize",
            inputs=inputs,
            spec=spec,
            packages=("onnx",),
            details={
                **details_of(toolchain, proof, first, second),
                "intent": dataclasses.asdict(quantizing),
                **calibration.record(),
            },
        )
    notes = (*first.notes, *second.notes, *opset_notes(model, version))
    if not (quantizing.per_channel or quantizing.cle):
        notes += lost_channel_notes(model)
    return SdkResult(destination, spec, proof, notes)


def write_calibration(
    calibration: CalibrationSet,
    spec: DetectorSpec,
    folder: Path,
    *,
    native: bool,
    advance: Callable[[], None] = lambda: None,
    listed_as: Path | None = None,
) -> Path:
    """The pictures as raw files in the folder, and the list that names them; returns the list.

    spec: the DLC's. listed_as: another path of the folder, for the list, whose paths are absolute.
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
        listed.write_text(input_list(place / path.name for path in paths), encoding="utf-8")
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
