"""ONNX and calibration pictures, or encodings, to a quantized DLC."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.convert import ConvertResult, add_dlc
from export.onnx_model import is_quantized, load_detector_onnx, store_spec
from export.socs import Soc
from persondet.errors import InputError
from persondet.preprocess import preprocess
from persondet.sidecar import Publication, check_destination, publishing, sha256_of
from persondet.spec import DetectorSpec, spec_to_json
from quantize.bias_correction import corrected_values, mark_corrected, with_values
from quantize.calibration_set import MAX_IMAGES, CalibrationSet
from quantize.channel_spaces import constants_of
from quantize.encodings import Encodings, encodings_from_qdq, encodings_to_json, read_encodings
from quantize.encodings_fit import check_belongs, check_fit, refuse_corrected
from quantize.equalization import Equalized, equalized_on_images
from quantize.lost_channels import lost_signal_notes
from quantize.presets import DEFAULT_RECIPE, Recipe, Rounding
from quantize.progress import Progress, no_progress
from quantize.qdq import Scheme, overrides_from_encodings, qdq_from_ranges, scheme_of
from quantize.ranges import observe, select_range
from quantize.rounding import rounded_values
from quantize.uint8_input import float_graph, input_encoding, real_values, take_bytes
from runtime.onnx_session import EXACT_SUMS_ENTRY

QDQ_ENTRY = "qdq_onnx"  # in the details of a DLC's sidecar: name and sha256 of the same graph


@dataclass(frozen=True)
class QuantizeResult:
    """dlc: the quantized DLC; qdq: its ONNX, for onnxruntime; widened: weights whose scale was
    widened so that their bias fits int32; notes: what its user should know; equalized: the float
    ONNX that the encodings belong to, None if it is the given one."""

    dlc: ConvertResult
    qdq: Path
    encodings: Path
    widened: tuple[str, ...]
    notes: tuple[str, ...] = ()
    equalized: Path | None = None
    equalization: Equalized | None = None


@dataclass(frozen=True)
class QuantizedGraph:
    """model: the QDQ graph; encodings: what it holds, by tensor of the float graph; float_model:
    the float graph that these belong to, rescaled and corrected, None if it is the given one;
    equalization: how it was rescaled, None if not."""

    model: onnx.ModelProto
    spec: DetectorSpec
    scheme: Scheme
    encodings: Encodings
    widened: tuple[str, ...]
    float_model: onnx.ModelProto | None = None
    equalization: Equalized | None = None
    notes: tuple[str, ...] = ()


def quantize(
    onnx_path: Path,
    destination: Path | None = None,
    *,
    calibration: CalibrationSet | None = None,
    encodings: Path | None = None,
    scheme: Scheme | None = None,
    recipe: Recipe = DEFAULT_RECIPE,
    soc: Soc | None = None,
    spec: DetectorSpec | None = None,
    progress: Progress = no_progress,
) -> QuantizeResult:
    """Write the quantized DLC, the QDQ ONNX and the encodings, each with its sidecar; and the
    float ONNX that they belong to, if the recipe equalises or corrects.

    Exactly one of calibration (images) and encodings (a file of an earlier run, which says scheme
    and ranges, and belongs to the ONNX that it was written for) is needed. destination: None for
    model.onnx to model.quantized.dlc; the other files lie beside it. spec: instead of the ONNX
    file's own. progress: shows each phase.
    Raises InputError for a model or a set that cannot be used, PersondetError where quantizing or
    writing fails; then nothing is written.
    """
    if (calibration is None) == (encodings is None):
        raise InputError("give either calibration pictures or an encodings file")
    if encodings is not None and scheme is not None:
        raise InputError("give either a scheme or an encodings file, which has its own")
    destination = Path(destination or onnx_path.with_suffix(".quantized.dlc"))
    beside = FilesBeside.of(destination)
    inputs = [onnx_path, *([encodings] if encodings else [])]
    for path in (destination, beside.qdq, beside.encodings, beside.equalized):
        check_destination(path, path.suffix if path != destination else ".dlc", inputs=inputs)
    model, spec = load_detector_onnx(onnx_path, spec)
    if is_quantized(model):
        raise InputError(f"{onnx_path} is quantized already; give the float ONNX")
    notes: tuple[str, ...] = ()
    if encodings is not None:
        notes = check_belongs(encodings, onnx_path)
        graph = graph_from_encodings(model, spec, read_encodings(encodings))
    else:
        assert calibration is not None
        refuse_corrected(model, onnx_path)
        graph = graph_from_images(model, spec, calibration, scheme or Scheme(), recipe, progress)
    details = {
        "scheme": dataclasses.asdict(graph.scheme),
        "widened_weight_scales": list(graph.widened),
        **(_recipe_record(recipe) | calibration.record() if calibration else {}),
    }
    written = _Written(onnx_path=onnx_path, destination=destination, inputs=inputs, spec=spec)
    with publishing() as publication:  # all of them and their sidecars appear, or none
        dlc = written.publish(publication, graph, details, soc)
    return QuantizeResult(
        dlc=dlc,
        qdq=beside.qdq,
        encodings=beside.encodings,
        widened=graph.widened,
        notes=(*notes, *graph.notes),
        equalized=beside.equalized if graph.float_model else None,
        equalization=graph.equalization,
    )


@dataclass(frozen=True, kw_only=True)
class _Written:
    """Where a quantized graph goes. inputs: what it was made from."""

    onnx_path: Path
    destination: Path
    inputs: list[Path]
    spec: DetectorSpec

    def publish(
        self,
        publication: Publication,
        graph: QuantizedGraph,
        details: dict[str, Any],
        soc: Soc | None,
    ) -> ConvertResult:
        """Write and describe the DLC and the files beside it."""
        beside = FilesBeside.of(self.destination)
        details = details | self._float_record(publication, graph)
        described: dict[str, Any] = {"step": "quantize", "inputs": self.inputs}
        qdq_file = publication.file(beside.qdq)
        qdq_file.write_bytes(graph.model.SerializeToString())
        encodings_file = publication.file(beside.encodings)
        encodings_file.write_text(encodings_to_json(graph.encodings), encoding="utf-8")
        qdq_record = {"name": beside.qdq.name, "sha256": sha256_of(qdq_file)}
        dlc = add_dlc(
            *(publication, qdq_file, self.destination, self.spec),
            soc=soc,
            details={**details, QDQ_ENTRY: qdq_record},
            **described,
        )
        described |= {"spec": self.spec, "packages": ("onnxruntime", "onnx")}
        publication.describe(beside.encodings, details=details, **described)
        of_qdq = {**details, "onnxruntime_session_entries": dict([EXACT_SUMS_ENTRY])}
        publication.describe(beside.qdq, details=of_qdq, **described)
        if graph.float_model is not None:
            publication.describe(
                beside.equalized, details=details, **{**described, "step": "equalize"}
            )
        return dlc

    def _float_record(self, publication: Publication, graph: QuantizedGraph) -> dict[str, Any]:
        """The float graph that the encodings belong to: the given one, or another, which is
        written."""
        if graph.float_model is None:
            found = {"name": self.onnx_path.name, "sha256": sha256_of(self.onnx_path)}
            return {"float_onnx": found}
        path = FilesBeside.of(self.destination).equalized
        file = publication.file(path)
        file.write_bytes(graph.float_model.SerializeToString())
        return {
            "float_onnx": {"name": path.name, "sha256": sha256_of(file)},
            "equalization": graph.equalization.record() if graph.equalization else None,
        }


def graph_from_images(
    model: onnx.ModelProto,
    spec: DetectorSpec,
    calibration: CalibrationSet,
    scheme: Scheme,
    recipe: Recipe,
    progress: Progress = no_progress,
) -> QuantizedGraph:
    """The QDQ graph by a recipe, with the ranges observed on the images."""
    found, notes = equalized_on_images(
        model,
        spec,
        calibration,
        method=recipe.equalization,
        act_bits=scheme.act_bits,
        progress=progress,
    )
    if not scheme.per_channel:
        notes = (*notes, *lost_signal_notes(found.lost))
    graph = _float_graph(found.model, spec, scheme)
    with progress("calibrating", len(calibration)) as advance:
        inputs = _inputs(spec, calibration, advance)
        histograms = observe(graph, inputs, method=recipe.calibration)
    ranges = {
        name: select_range(histogram, recipe.calibration, scheme.act_bits)
        for name, histogram in histograms.items()
    }
    quantized = _quantized(graph, spec, scheme, ranges, Encodings({}, {}))
    equalization = found if found.spaces else None
    float_model = found.model if found.spaces else None
    if recipe.corrects_biases:
        label = "rounding" if recipe.rounding is Rounding.ADAPTIVE else "correcting biases"
        with progress(label, len(graph.graph.node)) as advance:
            correct = _CORRECTIONS[recipe.rounding]
            few = _inputs(spec, calibration.evenly(MAX_IMAGES))
            values = correct(graph, few, quantized.encodings, advance)
        float_model = _with_corrections(found.model, spec, scheme, values)
        weights = Encodings({}, quantized.encodings.params)
        graph = _float_graph(float_model, spec, scheme)
        quantized = dataclasses.replace(
            _quantized(graph, spec, scheme, ranges, weights), widened=quantized.widened
        )
    return dataclasses.replace(
        quantized, float_model=float_model, equalization=equalization, notes=notes
    )


_CORRECTIONS = {Rounding.NEAREST: corrected_values, Rounding.ADAPTIVE: rounded_values}


def _with_corrections(
    model: onnx.ModelProto,
    spec: DetectorSpec,
    scheme: Scheme,
    values: Mapping[str, np.ndarray],
) -> onnx.ModelProto:
    """Return the ONNX with corrected values of `_float_graph`, whose first bias may hold a share of
    the input's normalisation."""
    found = with_values(model, {name: v for name, v in values.items() if v.ndim > 1})
    biases = constants_of(_float_graph(found, spec, scheme).graph)
    own = constants_of(found.graph)
    shifts = {name: own[name] + (v - biases[name]) for name, v in values.items() if v.ndim == 1}
    found = with_values(found, shifts)
    mark_corrected(found)
    return found


def _recipe_record(recipe: Recipe) -> dict[str, Any]:
    return {
        "calibration": recipe.calibration,
        "equalization_method": recipe.equalization.value,
        "corrects_biases": recipe.corrects_biases,
        "rounding": recipe.rounding.value,
    }


def graph_from_encodings(
    model: onnx.ModelProto, spec: DetectorSpec, encodings: Encodings
) -> QuantizedGraph:
    """The QDQ graph with given encodings; weights that they leave out get their own extremes.

    Activations that are constants of the graph (AIMET lists a Clip's limits) are passed over.
    Raises InputError for names that the graph does not have, and for activations that the file
    leaves open: the vendor's tools ignore both without a word.
    """
    scheme = scheme_of(encodings)
    graph = _float_graph(model, spec, scheme)
    constants = {item.name for item in graph.graph.initializer}
    activations = {k: v for k, v in encodings.activations.items() if k not in constants}
    encodings = Encodings(activations, encodings.params)
    check_fit(encodings, graph.graph)
    return _quantized(graph, spec, scheme, {}, encodings)


def _float_graph(model: onnx.ModelProto, spec: DetectorSpec, scheme: Scheme) -> onnx.ModelProto:
    if spec.input_format != "uint8-nhwc":
        return model
    if scheme.act_bits != 8:
        raise InputError(
            f"{scheme.act_bits}-bit activations behind a uint8 input: the HTP has no layer that "
            "takes the one and gives the other; export with --input float-nhwc"
        )
    return float_graph(model, spec)


def _inputs(
    spec: DetectorSpec, calibration: CalibrationSet, advance: Callable[[], None] = lambda: None
) -> Iterator[dict[str, np.ndarray]]:
    """The one preprocessing, as the float graph takes it."""
    for image_rgb in calibration.images_rgb():
        tensor = preprocess(image_rgb, spec)
        if spec.input_format == "uint8-nhwc":
            tensor = real_values(tensor, spec)
        yield {spec.input_name: tensor}
        advance()


def _quantized(
    graph: onnx.ModelProto,
    spec: DetectorSpec,
    scheme: Scheme,
    ranges: dict[str, tuple[float, float]],
    fixed: Encodings,
) -> QuantizedGraph:
    """fixed: encodings that go before ranges; those of bytes are known and go before both."""
    takes_bytes = spec.input_format == "uint8-nhwc"
    if takes_bytes:
        exact = {spec.input_name: input_encoding(spec)}
        fixed = Encodings({**fixed.activations, **exact}, fixed.params)
    overrides = overrides_from_encodings(fixed)
    quantized, widened = qdq_from_ranges(graph, ranges, scheme, overrides)
    encodings = encodings_from_qdq(quantized)
    if takes_bytes:
        take_bytes(quantized, spec)
    store_spec(quantized, spec, spec_to_json(spec))
    return QuantizedGraph(quantized, spec, scheme, encodings, widened)


@dataclass(frozen=True, kw_only=True)
class FilesBeside:
    """What is written beside model.dlc or model.quantized.dlc. The QDQ ONNX must not take the name
    of the float model.onnx."""

    qdq: Path
    encodings: Path
    equalized: Path

    @classmethod
    def of(cls, dlc: Path) -> "FilesBeside":
        stem = dlc.stem.removesuffix(".quantized")
        return cls(
            qdq=dlc.with_name(f"{stem}.quantized.onnx"),
            encodings=dlc.with_name(f"{stem}.quantized.encodings.json"),
            equalized=dlc.with_name(f"{stem}.equalized.onnx"),
        )
