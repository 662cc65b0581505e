"""Equalisation: an exact rescaling of channels after which eight bits hold them all.

The scales are those of least quantization noise at the outputs (`noise_model`), or, fast and
simple, a closed form: cross-layer equalisation (Nagel et al. 2019) in which the activations count
as one more producer. Without that, channels with tiny weights are blown up, and with them the
ranges of activations.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from export.onnx_model import is_quantized, load_detector_onnx, store_spec
from persondet.errors import InputError, PersondetError
from persondet.preprocess import preprocess
from persondet.sidecar import check_destination, publishing
from persondet.spec import DetectorSpec, spec_to_json
from quantize.calibration_set import MAX_IMAGES, CalibrationSet
from quantize.channel_spaces import ChannelGraph, channel_graph, rescaled, rescaled_model
from quantize.channel_statistics import (
    ChannelStatistics,
    channel_statistics,
)
from quantize.lost_channels import lost_signal
from quantize.noise_model import (
    NoiseModel,
    ScaleLimits,
    quietest_scales,
    scale_limits,
    sensitivities,
)
from quantize.presets import Equalization
from quantize.progress import Progress, no_progress
from quantize.tensor_values import Feed, tensor_values

MAX_DIFFERENCE = 1e-3  # of the largest output: float32 rounds some 1e-6 per layer
_ROUNDS = 20
_METADATA_KEY = "persondet_equalized"
_LEAST_SHARE = 1e-4  # a channel smaller than this share of the largest counts as this large


@dataclass(frozen=True, kw_only=True)
class Equalized:
    """A rescaled float graph.

    spaces: how many sets of tensors were rescaled; 0: the graph is as it was. held: channels that a
    Clip's cap keeps as they are. gain_db: less noise, by the noise model; None for the closed form.
    max_difference: the largest difference of an output to the float graph's on the calibration
    images, over the largest value of that output. lost: the share of each convolution's signal that
    one 8-bit scale per tensor would round to nothing (`quantize.lost_channels`).
    """

    model: onnx.ModelProto
    spaces: int = 0
    held: int = 0
    gain_db: float | None = None
    max_difference: float = 0.0
    lost: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, float | None]:
        """What a sidecar keeps."""
        kept = ("spaces", "held", "gain_db", "max_difference")
        return {name: getattr(self, name) for name in kept}


def is_equalized(model: onnx.ModelProto) -> bool:
    """Whether the graph was written by `equalized`."""
    return any(entry.key == _METADATA_KEY for entry in model.metadata_props)


def equalized(
    model: onnx.ModelProto,
    feeds: Callable[[], Iterable[Feed]],
    *,
    method: Equalization = Equalization.NOISE,
    act_bits: int = 8,
) -> Equalized:
    """Rescale the channels of a float graph whose nodes have names.

    feeds: gives the calibration inputs, each time anew. act_bits: bits of the activations later.
    Raises PersondetError if the rescaled graph does not compute what the graph computes on these
    inputs, and InputError if they are none.
    """
    graph = channel_graph(model)
    statistics = channel_statistics(graph, feeds())
    heard = sensitivities(graph, statistics)
    if not graph.free or method is Equalization.NONE:
        return Equalized(model=model, lost=lost_signal(graph.convolutions, statistics, heard))
    limits = scale_limits(graph, statistics)
    gain_db = None
    if method is Equalization.NOISE:
        noise = NoiseModel(graph, statistics, act_bits=act_bits)
        scales, gain_db = quietest_scales(noise, limits)
    else:
        scales = closed_form_scales(graph, statistics, limits)
    found = rescaled_model(graph, scales)
    found.metadata_props.add(key=_METADATA_KEY, value=method.value)
    return Equalized(
        model=found,
        spaces=len(scales),
        held=sum(int((~limit.is_free).sum()) for limit in limits),
        gain_db=gain_db,
        max_difference=_checked_difference(model, found, feeds()),
        lost=lost_signal(
            {name: rescaled(graph, scales, name) for name in graph.convolutions},
            statistics,
            heard,
        ),
    )


def equalized_on_images(
    model: onnx.ModelProto,
    spec: DetectorSpec,
    calibration: CalibrationSet,
    *,
    method: Equalization,
    act_bits: int,
    progress: Progress = no_progress,
) -> tuple[Equalized, tuple[str, ...]]:
    """Equalise a detector on at most MAX_IMAGES of the set, taken evenly; returns notes as well.

    Raises as `equalized` does.
    """
    few = calibration.evenly(MAX_IMAGES)
    notes: tuple[str, ...] = ()
    if is_equalized(model) and method is not Equalization.NONE:
        method = Equalization.NONE
        notes = ("the ONNX is equalised already: it is taken as it is",)

    def feeds() -> Iterator[Feed]:
        return ({spec.input_name: preprocess(image, spec)} for image in few.images_rgb())

    with progress("equalising", None):
        found = equalized(model, feeds, method=method, act_bits=act_bits)
    if not found.spaces and method is not Equalization.NONE:
        notes = ("no channel of this graph can be rescaled: it is quantized as it is",)
    return found, notes


def equalize_file(
    onnx_path: Path,
    destination: Path,
    *,
    calibration: CalibrationSet,
    method: Equalization,
    act_bits: int,
    spec: DetectorSpec | None = None,
    progress: Progress = no_progress,
) -> tuple[Equalized, tuple[str, ...]]:
    """Write an ONNX detector's equalised float graph with its sidecar; returns notes as well.

    spec: instead of the file's own. Raises InputError for a file that is quantized or equalised
    already, and as `equalized` does; then nothing is written.
    """
    check_destination(destination, ".onnx", inputs=[onnx_path])
    model, spec = load_detector_onnx(onnx_path, spec)
    if is_quantized(model):
        raise InputError(f"{onnx_path} is quantized already; give the float ONNX")
    if is_equalized(model):
        raise InputError(f"{onnx_path} is equalised already; quantize it, or give the original")
    found, notes = equalized_on_images(
        model, spec, calibration, method=method, act_bits=act_bits, progress=progress
    )
    store_spec(found.model, spec, spec_to_json(spec))
    with publishing() as publication:
        publication.file(destination).write_bytes(found.model.SerializeToString())
        publication.describe(
            destination,
            step="equalize",
            inputs=[onnx_path],
            spec=spec,
            packages=("onnx", "onnxruntime", "torch"),
            details={"method": method.value, **found.record(), **calibration.record()},
        )
    return found, notes


def _checked_difference(
    model: onnx.ModelProto, found: onnx.ModelProto, feeds: Iterable[Feed]
) -> float:
    names = [value.name for value in model.graph.output]
    before, after = tensor_values(model, names), tensor_values(found, names)
    difference = dict.fromkeys(names, 0.0)
    largest = dict.fromkeys(names, 0.0)
    for feed in feeds:
        exact, rescaled_values = before(feed), after(feed)
        for name in names:
            gap = np.abs(exact[name] - rescaled_values[name]).max(initial=0)
            difference[name] = max(difference[name], float(gap))
            largest[name] = max(largest[name], float(np.abs(exact[name]).max(initial=0)))
    relative = max(difference[name] / max(largest[name], 1e-30) for name in names)
    if relative > MAX_DIFFERENCE:
        raise PersondetError(
            f"the equalised graph differs from the float graph by {relative:.2g} of the largest "
            f"output on the calibration images (at most {MAX_DIFFERENCE:g} is rounding); please "
            "report this model; --equalize none quantizes it without"
        )
    return relative


def closed_form_scales(
    graph: ChannelGraph, statistics: ChannelStatistics, limits: Sequence[ScaleLimits]
) -> list[np.ndarray]:
    """Scales (C,) per free space after _ROUNDS rounds over the spaces in graph order.

    Each round sets a channel's share of the largest, over its producers' weights and its
    activations, equal to its share over its readers' weights.
    """
    logs = [np.zeros(len(limit.lowest)) for limit in limits]
    for _ in range(_ROUNDS):
        for index in range(len(graph.free)):
            made, read = _shares(graph, statistics, [np.exp(log) for log in logs], index)
            step = np.log(np.maximum(made, _LEAST_SHARE) / np.maximum(read, _LEAST_SHARE)) / 2
            logs[index] = limits[index].applied(logs[index] + step - step.mean())
    return [np.exp(log) for log in logs]


def _shares(
    graph: ChannelGraph,
    statistics: ChannelStatistics,
    scales: Sequence[np.ndarray],
    index: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The largest share of each channel where it is made, and where it is read."""
    space = graph.free[index]
    producers = [rescaled(graph, scales, name).by_group for name in space.producers]
    readers = [rescaled(graph, scales, name).by_group for name in space.readers]
    made = [np.abs(weight).max((2, 3)).reshape(-1) for weight in producers]
    for tensor in space.tensors & set(statistics.high):
        largest = np.maximum(statistics.high[tensor], -statistics.low[tensor])
        made.append(largest / scales[index])
    read = [np.abs(weight).max((1, 3)).reshape(-1) for weight in readers]
    return _largest_share(made), _largest_share(read)


def _largest_share(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.max([part / max(part.max(), 1e-30) for part in parts], axis=0)
