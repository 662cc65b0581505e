"""A float graph and calibration images, or encodings, to a QDQ graph."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from export.onnx_model import store_spec
from persondet.preprocess import preprocess
from persondet.spec import DetectorSpec, spec_to_json
from persondet.temporary import temporary_folder
from quantize.bias_correction import corrected_values, mark_corrected, with_values
from quantize.calibration_set import MAX_IMAGES, CalibrationSet
from quantize.channel_spaces import constants_of
from quantize.converts import (
    convert_count,
    encoded_as,
    layers,
    of_graph,
    with_converts,
    without_converts,
)
from quantize.encodings import Encodings, TensorEncoding, encoding_from_range, encodings_from_qdq
from quantize.encodings_fit import check_fit
from quantize.equalization import Equalized, equalized_on_images
from quantize.lost_channels import lost_signal_notes
from quantize.mixed_precision import (
    UNIFORM,
    WIDE_BITS,
    FoundMix,
    Mix,
    MixSearch,
    graph_layers,
    layer_names,
    macs_share,
    searched_mix,
)
from quantize.presets import Recipe, Rounding
from quantize.progress import Progress, no_progress
from quantize.qdq import (
    Scheme,
    overrides_from_encodings,
    per_channel_overrides,
    qdq_from_ranges,
    scheme_of,
)
from quantize.ranges import observe, select_range
from quantize.rounding import rounded_values
from quantize.rounding_noise import MAX_IMAGES as NOISE_IMAGES
from quantize.rounding_noise import ranked_candidates
from quantize.uint8_input import float_graph, input_encoding, real_values, take_bytes


@dataclass(frozen=True)
class QuantizedGraph:
    """model: the QDQ graph; encodings: what it holds, by tensor of the float graph; float_model:
    the float graph that these belong to, rescaled and corrected, None if it is the given one;
    equalization: how it was rescaled, None if not; mix: what a search for mixed precision found."""

    model: onnx.ModelProto
    spec: DetectorSpec
    scheme: Scheme
    encodings: Encodings
    widened: tuple[str, ...]
    float_model: onnx.ModelProto | None = None
    equalization: Equalized | None = None
    mix: FoundMix | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CalibratedGraph:
    """A float graph that was rescaled and observed, to be quantized in one way or several.

    graph: that of equalized, with a float input. ranges: (low, high) of each encoded activation, by
    the number of bits.
    """

    equalized: Equalized
    graph: onnx.ModelProto
    spec: DetectorSpec
    calibration: CalibrationSet
    scheme: Scheme
    recipe: Recipe
    ranges: Mapping[int, Mapping[str, tuple[float, float]]]
    notes: tuple[str, ...]

    def encodings(self, mix: Mix) -> Encodings:
        """Those of the activations. What a layer of fewer bits reads has the range for these."""
        names = self.ranges[self.scheme.act_bits]
        bits = {name: WIDE_BITS if name in mix.wide else self.scheme.act_bits for name in names}
        of_range = dict(bits)
        source = encoded_as(self.graph.graph, bits)
        for node in layers(self.graph.graph, source):
            for name in {source[name] for name in node.input if name in source}:
                of_range[name] = min(of_range[name], bits[source[node.output[0]]])
        activations = {
            name: encoding_from_range(bits[name], *self.ranges[of_range[name]][name])
            for name in names
        }
        return Encodings(activations | _exact_input(self.spec), {})

    def quantized(self, mix: Mix = UNIFORM, progress: Progress = no_progress) -> QuantizedGraph:
        """The QDQ graph, by the recipe."""
        encodings = self.encodings(mix)
        quantized = _quantized(
            self.graph, self.spec, self.scheme, encodings, per_channel=mix.per_channel
        )
        float_model = self.equalized.model if self.equalized.spaces else None
        if self.recipe.corrects_biases:
            values = self._corrected(quantized.encodings, progress)
            float_model = _with_corrections(self.equalized.model, self.spec, values)
            weights = Encodings(encodings.activations, quantized.encodings.params)
            graph = _float_graph(float_model, self.spec)
            widened = quantized.widened
            quantized = dataclasses.replace(
                _quantized(graph, self.spec, self.scheme, weights), widened=widened
            )
        return dataclasses.replace(
            quantized,
            float_model=float_model,
            equalization=self.equalized if self.equalized.spaces else None,
            notes=self.notes,
        )

    def _corrected(self, encodings: Encodings, progress: Progress) -> dict[str, np.ndarray]:
        """Biases, with adaptive rounding weights as well, for these encodings."""
        label = "rounding" if self.recipe.rounding is Rounding.ADAPTIVE else "correcting biases"
        graph, activations = with_converts(self.graph, encodings.activations)
        with progress(label, len(graph.graph.node)) as advance:
            return _CORRECTIONS[self.recipe.rounding](
                graph,
                _inputs(self.spec, self.calibration.evenly(MAX_IMAGES)),
                Encodings(activations, encodings.params),
                advance,
            )


def graph_from_images(
    model: onnx.ModelProto,
    spec: DetectorSpec,
    calibration: CalibrationSet,
    scheme: Scheme,
    recipe: Recipe,
    progress: Progress = no_progress,
    search: MixSearch | None = None,
) -> QuantizedGraph:
    """The QDQ graph by a recipe, with the ranges observed on the images.

    search: what may be lost, for mixed precision.
    """
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
    graph = _float_graph(found.model, spec)
    with progress("calibrating", len(calibration)) as advance:
        inputs = _inputs(spec, calibration, advance)
        histograms = observe(graph, inputs, method=recipe.calibration)
    calibrated = CalibratedGraph(
        equalized=found,
        graph=graph,
        spec=spec,
        calibration=calibration,
        scheme=scheme,
        recipe=recipe,
        ranges={
            bits: {
                name: select_range(histogram, recipe.calibration, bits)
                for name, histogram in histograms.items()
            }
            for bits in {scheme.act_bits, *((WIDE_BITS,) if search else ())}
        },
        notes=notes,
    )
    if search is None:
        return calibrated.quantized(progress=progress)
    return _within_limit(calibrated, search, progress)


def _within_limit(
    calibrated: CalibratedGraph, search: MixSearch, progress: Progress
) -> QuantizedGraph:
    """The graph of the fewest layers of 16 bits or scales per channel that keeps to the limit.

    Each try is what would be written, its biases corrected for its own mix.
    """
    activations = calibrated.encodings(UNIFORM).activations
    exact = _exact_input(calibrated.spec)
    graph = graph_layers(calibrated.graph, activations)
    few = _inputs(calibrated.spec, calibrated.calibration.evenly(NOISE_IMAGES))
    with progress("measuring layers", None) as advance:
        candidates = ranked_candidates(
            calibrated.graph,
            few,
            activations,
            per_channel=calibrated.scheme.per_channel,
            exact=exact,
            advance=advance,
        )
    kept: dict[Mix, QuantizedGraph] = {}

    def points_lost(mix: Mix) -> float:
        quantized = calibrated.quantized(mix, progress)
        with temporary_folder("persondet-auto-") as folder:
            path = folder / "try.quantized.onnx"
            path.write_bytes(quantized.model.SerializeToString())
            lost = search.points_lost(path)
        if lost <= search.max_drop:
            kept[mix] = quantized
        return lost

    mix, tries = searched_mix(candidates, graph, search, points_lost, narrow=exact)
    wide, per_channel = layer_names(mix, graph)
    converting, _ = with_converts(calibrated.graph, kept[mix].encodings.activations)
    found = FoundMix(
        max_drop=search.max_drop,
        points_lost=tries[mix].points_lost,
        wide=wide,
        per_channel=per_channel,
        layers=len(graph),
        converts=convert_count(converting),
        macs_share=macs_share(mix, graph),
        tries=tuple(tries.values()),
    )
    return dataclasses.replace(kept[mix], mix=found)


_CORRECTIONS = {Rounding.NEAREST: corrected_values, Rounding.ADAPTIVE: rounded_values}


def _with_corrections(
    model: onnx.ModelProto,
    spec: DetectorSpec,
    values: Mapping[str, np.ndarray],
) -> onnx.ModelProto:
    """Return the ONNX with corrected values of `_float_graph`, whose first bias may hold a share of
    the input's normalisation."""
    found = with_values(model, {name: v for name, v in values.items() if v.ndim > 1})
    biases = constants_of(_float_graph(found, spec).graph)
    own = constants_of(found.graph)
    shifts = {name: own[name] + (v - biases[name]) for name, v in values.items() if v.ndim == 1}
    found = with_values(found, shifts)
    mark_corrected(found)
    return found


def graph_from_encodings(
    model: onnx.ModelProto, spec: DetectorSpec, encodings: Encodings
) -> QuantizedGraph:
    """The QDQ graph with given encodings; weights that they leave out get their own extremes.

    Activations that are constants of the graph (AIMET lists a Clip's limits) are passed over.
    Raises InputError for names that the graph does not have, and for activations that the file
    leaves open: the vendor's tools ignore both without a word.
    """
    scheme = scheme_of(encodings)
    graph = _float_graph(model, spec)
    constants = {item.name for item in graph.graph.initializer}
    activations = {k: v for k, v in encodings.activations.items() if k not in constants}
    encodings = Encodings(activations, encodings.params)
    check_fit(encodings, graph.graph)
    return _quantized(graph, spec, scheme, encodings, calibrated=False)


def _float_graph(model: onnx.ModelProto, spec: DetectorSpec) -> onnx.ModelProto:
    return float_graph(model, spec) if spec.input_format == "uint8-nhwc" else model


def _exact_input(spec: DetectorSpec) -> dict[str, TensorEncoding]:
    """The encoding of an input of bytes, which is known; of a float one none."""
    takes_bytes = spec.input_format == "uint8-nhwc"
    return {spec.input_name: input_encoding(spec)} if takes_bytes else {}


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
    encodings: Encodings,
    *,
    per_channel: Iterable[str] = (),
    calibrated: bool = True,
) -> QuantizedGraph:
    """encodings: those of bytes are known and go before them. per_channel: weights without
    encodings that get scales per output channel, whatever the scheme says.
    calibrated: whether the encodings come from images; for messages."""
    exact = _exact_input(spec)
    converting, activations = with_converts(graph, {**encodings.activations, **exact})
    overrides = {
        **per_channel_overrides(per_channel),
        **overrides_from_encodings(Encodings(activations, encodings.params)),
    }
    ranges = {k: (v.min, v.max) for k, v in activations.items()} if calibrated else {}
    quantized, widened = qdq_from_ranges(converting, ranges, scheme, overrides)
    found = encodings_from_qdq(quantized)
    quantized = without_converts(quantized)
    if exact:
        take_bytes(quantized, spec)
    store_spec(quantized, spec, spec_to_json(spec))
    found = Encodings(of_graph(found.activations), found.params)
    return QuantizedGraph(quantized, spec, scheme, found, widened)
