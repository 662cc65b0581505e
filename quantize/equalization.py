"""Equalisation: an exact rescaling of channels after which eight bits hold them all.

The scales are those of least quantization noise at the outputs (`noise_model`), or, fast and
simple, a closed form: cross-layer equalisation (Nagel et al. 2019) in which the activations count
as one more producer. Without that, channels with tiny weights are blown up, and with them the
ranges of activations.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import onnx

from export.onnx_model import name_nodes
from quantize.channel_spaces import ChannelGraph, channel_graph, rescaled, rescaled_model
from quantize.channel_statistics import (
    ChannelStatistics,
    channel_statistics,
    observed_tensors,
)
from quantize.noise_model import NoiseModel, ScaleLimits, quietest_scales, scale_limits

_ROUNDS = 20
_LEAST_SHARE = 1e-4  # a channel smaller than this share of the largest counts as this large


class Equalization(Enum):
    """How the scales are chosen."""

    NONE = "none"
    CLOSED_FORM = "closed-form"
    NOISE = "noise"


@dataclass(frozen=True, kw_only=True)
class Equalized:
    """A rescaled float graph.

    spaces: how many sets of tensors were rescaled. held: channels that a Clip's cap keeps as they
    are. gain_db: less noise by the noise model; None for the closed form.
    """

    model: onnx.ModelProto
    spaces: int
    held: int
    gain_db: float | None


def equalized(
    model: onnx.ModelProto,
    feeds: Iterable[Mapping[str, np.ndarray]],
    run_of: Callable[
        [onnx.ModelProto, Sequence[str]],
        Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    ],
    *,
    method: Equalization = Equalization.NOISE,
    act_bits: int = 8,
) -> Equalized:
    """Rescale the channels of a float graph.

    feeds: calibration inputs. run_of: from a graph and tensor names to a function from a feed to
    the values of these tensors.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    name_nodes(copy)
    graph = channel_graph(copy)
    if not graph.free or method is Equalization.NONE:
        return Equalized(model=model, spaces=0, held=0, gain_db=None)
    names = observed_tensors(graph)
    statistics = channel_statistics(names, feeds, run_of(copy, names))
    limits = scale_limits(graph, statistics)
    gain_db = None
    if method is Equalization.NOISE:
        noise = NoiseModel(graph, statistics, act_bits=act_bits)
        scales, gain_db = quietest_scales(noise, limits)
    else:
        scales = closed_form_scales(graph, statistics, limits)
    held = sum(int((~limit.is_free).sum()) for limit in limits)
    return Equalized(
        model=rescaled_model(graph, scales), spaces=len(scales), held=held, gain_db=gain_db
    )


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
