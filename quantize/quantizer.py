"""ONNX and calibration pictures, or encodings, to a quantized DLC."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.convert import ConvertResult, write_artefacts
from export.onnx_model import is_quantized, load_detector_onnx, store_spec
from export.socs import Soc
from persondet.errors import InputError
from persondet.preprocess import preprocess
from persondet.sidecar import replacing, write_sidecar
from persondet.spec import DetectorSpec, spec_to_json
from quantize.calibration_set import CalibrationSet
from quantize.encodings import (
    Encodings,
    encodings_from_qdq,
    encodings_to_json,
    read_encodings,
)
from quantize.qdq import Overrides, Scheme, overrides_from_encodings, qdq_from_ranges
from quantize.ranges import observe, select_range
from quantize.uint8_input import float_graph, input_encoding, take_bytes


@dataclass(frozen=True)
class QuantizeResult:
    """dlc: the quantized DLC; qdq: its ONNX, for onnxruntime; widened: weights whose scale was
    widened so that their bias fits int32."""

    dlc: ConvertResult
    qdq: Path
    encodings: Path
    widened: tuple[str, ...]


@dataclass(frozen=True)
class QuantizedGraph:
    model: onnx.ModelProto
    spec: DetectorSpec
    widened: tuple[str, ...]


def quantize(
    onnx_path: Path,
    destination: Path,
    *,
    calibration: CalibrationSet | None = None,
    encodings: Path | None = None,
    scheme: Scheme | None = None,
    method: str = "minmax",
    soc: Soc | None = None,
    advance: Callable[[], None] = lambda: None,
) -> QuantizeResult:
    """Write the quantized DLC, the QDQ ONNX and the encodings, each with its sidecar.

    Exactly one of calibration (pictures) and encodings (a file of an earlier run) is needed.
    advance: called after each picture.
    Raises InputError for a model or a set that cannot be used, PersondetError where quantizing or
    writing fails; then nothing is written.
    """
    scheme = scheme or Scheme()
    if (calibration is None) == (encodings is None):
        raise InputError("give either calibration pictures or an encodings file")
    model, spec = load_detector_onnx(onnx_path)
    if is_quantized(model):
        raise InputError(f"{onnx_path} is quantized already; give the float ONNX")
    if calibration is not None:
        graph = graph_from_pictures(model, spec, calibration, scheme, method, advance)
    else:
        assert encodings is not None
        graph = graph_from_encodings(model, spec, read_encodings(encodings), scheme)
    details = {
        "scheme": dataclasses.asdict(scheme),
        "widened_weight_scales": list(graph.widened),
        **({"calibration": method, **calibration.record()} if calibration else {}),
    }
    inputs = [onnx_path, *([encodings] if encodings else [])]
    return _write(graph, destination, inputs, soc, details)


def graph_from_pictures(
    model: onnx.ModelProto,
    spec: DetectorSpec,
    calibration: CalibrationSet,
    scheme: Scheme,
    method: str,
    advance: Callable[[], None] = lambda: None,
) -> QuantizedGraph:
    """The QDQ graph with the ranges observed on the pictures."""
    graph = _float_graph(model, spec)
    histograms = observe(graph, _inputs(spec, calibration, advance), method=method)
    ranges = {
        name: select_range(histogram, method, scheme.act_bits)
        for name, histogram in histograms.items()
    }
    overrides: Overrides = {}
    if spec.input_format == "uint8-nhwc":
        exact = Encodings({spec.input_name: input_encoding(spec)}, {})
        overrides = overrides_from_encodings(exact)
    return _finished(graph, ranges, spec, scheme, overrides)


def graph_from_encodings(
    model: onnx.ModelProto, spec: DetectorSpec, encodings: Encodings, scheme: Scheme
) -> QuantizedGraph:
    """The QDQ graph with given encodings.

    Raises InputError for names that the graph does not have, and for activations that the file
    leaves open: the vendor's tools ignore both without a word.
    """
    graph = _float_graph(model, spec)
    activations = {name for node in graph.graph.node for name in node.output}
    activations |= {value.name for value in graph.graph.input}
    weights = {item.name for item in graph.graph.initializer}
    unknown = sorted({*encodings.activations} - activations) + sorted({*encodings.params} - weights)
    if unknown:
        raise InputError(
            f"the encodings name {len(unknown)} tensors that the model does not have: "
            f"{', '.join(unknown[:8])}; they belong to another model, or to another export of it"
        )
    ranges = dict.fromkeys(activations, (0.0, 0.0))
    result = _finished(graph, ranges, spec, scheme, overrides_from_encodings(encodings))
    needed = encodings_from_qdq(result.model).activations
    if missing := sorted(set(needed) - set(encodings.activations)):
        raise InputError(
            f"the encodings lack {len(missing)} activations of the model: "
            f"{', '.join(missing[:8])}; calibrate with pictures (--calib) instead"
        )
    return result


def _float_graph(model: onnx.ModelProto, spec: DetectorSpec) -> onnx.ModelProto:
    return float_graph(model, spec) if spec.input_format == "uint8-nhwc" else model


def _inputs(
    spec: DetectorSpec, calibration: CalibrationSet, advance: Callable[[], None]
) -> Iterator[dict[str, np.ndarray]]:
    """The one preprocessing, as the float graph takes it."""
    for image_rgb in calibration.images_rgb():
        tensor = preprocess(image_rgb, spec)
        if spec.input_format == "uint8-nhwc":
            exact = input_encoding(spec)
            tensor = (tensor.astype(np.float32) + exact.offset) * np.float32(exact.scale)
        yield {spec.input_name: tensor}
        advance()


def _finished(
    graph: onnx.ModelProto,
    ranges: dict[str, tuple[float, float]],
    spec: DetectorSpec,
    scheme: Scheme,
    overrides: Overrides,
) -> QuantizedGraph:
    quantized, widened = qdq_from_ranges(graph, ranges, scheme, overrides)
    if spec.input_format == "uint8-nhwc":
        take_bytes(quantized, spec)
    store_spec(quantized, spec, spec_to_json(spec))
    return QuantizedGraph(quantized, spec, tuple(widened))


def _write(
    graph: QuantizedGraph,
    destination: Path,
    inputs: list[Path],
    soc: Soc | None,
    details: dict[str, Any],
) -> QuantizeResult:
    destination = Path(destination)
    stem = destination.name.removesuffix(".dlc")
    qdq, encodings = (destination.with_name(stem + end) for end in (".onnx", ".encodings.json"))
    if clash := {qdq.absolute(), encodings.absolute()} & {path.absolute() for path in inputs}:
        raise InputError(f"{clash.pop()} would be overwritten by its own result; choose another -o")
    with tempfile.TemporaryDirectory(prefix="persondet-quantized-") as folder:
        graph_path = Path(folder, qdq.name)
        graph_path.write_bytes(graph.model.SerializeToString())
        dlc = write_artefacts(
            *(graph_path, destination, graph.spec),
            soc=soc,
            step="quantize",
            inputs=inputs,
            details=details,
        )
    for path, content in (
        (qdq, graph.model.SerializeToString()),
        (encodings, encodings_to_json(encodings_from_qdq(graph.model)).encode()),
    ):
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        write_sidecar(
            path,
            step="quantize",
            inputs=inputs,
            spec=graph.spec,
            packages=("onnxruntime", "onnx"),
            details=details,
        )
    return QuantizeResult(dlc, qdq, encodings, graph.widened)
