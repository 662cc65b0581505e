"""ONNX and calibration pictures, or encodings, to a quantized DLC."""

import dataclasses
from collections.abc import Callable, Iterator
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
from persondet.sidecar import check_destination, publishing, sha256_of
from persondet.spec import DetectorSpec, spec_to_json
from quantize.calibration_set import CalibrationSet
from quantize.encodings import Encodings, encodings_from_qdq, encodings_to_json, read_encodings
from quantize.encodings_fit import check_fit
from quantize.lost_channels import lost_channel_notes
from quantize.qdq import Scheme, overrides_from_encodings, qdq_from_ranges, scheme_of
from quantize.ranges import observe, select_range
from quantize.uint8_input import float_graph, input_encoding, real_values, take_bytes
from runtime.onnx_session import EXACT_SUMS_ENTRY

QDQ_ENTRY = "qdq_onnx"  # in the details of a DLC's sidecar: name and sha256 of the same graph


@dataclass(frozen=True)
class QuantizeResult:
    """dlc: the quantized DLC; qdq: its ONNX, for onnxruntime; widened: weights whose scale was
    widened so that their bias fits int32; notes: what its user should know."""

    dlc: ConvertResult
    qdq: Path
    encodings: Path
    widened: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuantizedGraph:
    """model: the QDQ graph; encodings: what it holds, by tensor of the float graph."""

    model: onnx.ModelProto
    spec: DetectorSpec
    scheme: Scheme
    encodings: Encodings
    widened: tuple[str, ...]


def quantize(
    onnx_path: Path,
    destination: Path | None = None,
    *,
    calibration: CalibrationSet | None = None,
    encodings: Path | None = None,
    scheme: Scheme | None = None,
    method: str = "minmax",
    soc: Soc | None = None,
    spec: DetectorSpec | None = None,
    advance: Callable[[], None] = lambda: None,
) -> QuantizeResult:
    """Write the quantized DLC, the QDQ ONNX and the encodings, each with its sidecar.

    Exactly one of calibration (pictures) and encodings (a file of an earlier run, which says scheme
    and ranges) is needed. destination: None for model.onnx to model.quantized.dlc; the other two
    files lie beside it. spec: instead of the ONNX file's own. advance: called after each picture.
    Raises InputError for a model or a set that cannot be used, PersondetError where quantizing or
    writing fails; then nothing is written.
    """
    if (calibration is None) == (encodings is None):
        raise InputError("give either calibration pictures or an encodings file")
    if encodings is not None and scheme is not None:
        raise InputError("give either a scheme or an encodings file, which has its own")
    destination = Path(destination or onnx_path.with_suffix(".quantized.dlc"))
    qdq_path, encodings_path = _paths_beside(destination)
    inputs = [onnx_path, *([encodings] if encodings else [])]
    for path, suffix in ((destination, ".dlc"), (qdq_path, ".onnx"), (encodings_path, ".json")):
        check_destination(path, suffix, inputs=inputs)
    model, spec = load_detector_onnx(onnx_path, spec)
    if is_quantized(model):
        raise InputError(f"{onnx_path} is quantized already; give the float ONNX")
    with publishing() as publication:  # all three and their sidecars appear, or none
        qdq_file, encodings_file = map(publication.file, (qdq_path, encodings_path))
        if calibration is not None:
            scheme = scheme or Scheme()
            graph = graph_from_pictures(model, spec, calibration, scheme, method, advance)
        else:
            assert encodings is not None
            graph = graph_from_encodings(model, spec, read_encodings(encodings))
        qdq_file.write_bytes(graph.model.SerializeToString())
        encodings_file.write_text(encodings_to_json(graph.encodings), encoding="utf-8")
        details = {
            "scheme": dataclasses.asdict(graph.scheme),
            "widened_weight_scales": list(graph.widened),
            **({"calibration": method, **calibration.record()} if calibration else {}),
        }
        described: dict[str, Any] = {"step": "quantize", "inputs": inputs, "details": details}
        of_dlc = {**details, QDQ_ENTRY: {"name": qdq_path.name, "sha256": sha256_of(qdq_file)}}
        dlc = add_dlc(
            *(publication, qdq_file, destination, spec),
            soc=soc,
            **{**described, "details": of_dlc},
        )
        described |= {"spec": spec, "packages": ("onnxruntime", "onnx")}
        publication.describe(encodings_path, **described)
        of_qdq = {**details, "onnxruntime_session_entries": dict([EXACT_SUMS_ENTRY])}
        publication.describe(qdq_path, **{**described, "details": of_qdq})
    notes = () if graph.scheme.per_channel else lost_channel_notes(model)
    return QuantizeResult(dlc, qdq_path, encodings_path, graph.widened, notes)


def graph_from_pictures(
    model: onnx.ModelProto,
    spec: DetectorSpec,
    calibration: CalibrationSet,
    scheme: Scheme,
    method: str,
    advance: Callable[[], None] = lambda: None,
) -> QuantizedGraph:
    """The QDQ graph with the ranges observed on the pictures."""
    graph = _float_graph(model, spec, scheme)
    histograms = observe(graph, _inputs(spec, calibration, advance), method=method)
    ranges = {
        name: select_range(histogram, method, scheme.act_bits)
        for name, histogram in histograms.items()
    }
    return _quantized(graph, spec, scheme, ranges, Encodings({}, {}))


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
    spec: DetectorSpec, calibration: CalibrationSet, advance: Callable[[], None]
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


def _paths_beside(dlc: Path) -> tuple[Path, Path]:
    """model.dlc or model.quantized.dlc to the QDQ ONNX and the encodings: the first must not take
    the name of the float model.onnx."""
    stem = dlc.stem.removesuffix(".quantized") + ".quantized"
    return dlc.with_name(f"{stem}.onnx"), dlc.with_name(f"{stem}.encodings.json")
