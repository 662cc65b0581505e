"""Equalisation: an exact rescaling of channels after which eight bits hold them all.

The scales are those of least quantization noise at the outputs (`noise_model`), or, fast and
simple, a closed form: cross-layer equalisation (Nagel et al. 2019) in which the activations count
as one more producer. Without that, channels with tiny weights are blown up, and with them the
ranges of activations.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import onnx

from persondet.errors import PersondetError
from quantize.channel_spaces import ChannelGraph, channel_graph, rescaled, rescaled_model
from quantize.channel_statistics import (
    ChannelStatistics,
    channel_statistics,
)
from quantize.noise_model import NoiseModel, ScaleLimits, quietest_scales, scale_limits
from quantize.tensor_values import Feed, tensor_values

MAX_DIFFERENCE = 1e-3  # of the largest output: float32 rounds some 1e-6 per layer
_ROUNDS = 20
_METADATA_KEY = "persondet_equalized"
_LEAST_SHARE = 1e-4  # a channel smaller than this share of the largest counts as this large


class Equalization(Enum):
    """How the scales are chosen."""

    NONE = "none"
    CLOSED_FORM = "closed-form"
    NOISE = "noise"


@dataclass(frozen=True, kw_only=True)
class Equalized:
    """A rescaled float graph.

    spaces: how many sets of tensors were rescaled; 0: the graph is as it was. held: channels that a
    Clip's cap keeps as they are. gain_db: less noise, by the noise model; None for the closed form.
    max_difference: the largest difference of an output to the float graph's on the calibration
    images, over the largest value of that output.
    """

    model: onnx.ModelProto
    spaces: int = 0
    held: int = 0
    gain_db: float | None = None
    max_difference: float = 0.0

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
    if not graph.free or method is Equalization.NONE:
        return Equalized(model=model)
    statistics = channel_statistics(graph, feeds())
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
    )


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
            "report this model; --no-equalize quantizes without"
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
