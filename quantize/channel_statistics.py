"""What calibration images make of each channel, observed image by image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from persondet.errors import InputError, PersondetError
from quantize.channel_spaces import ChannelGraph
from quantize.tensor_values import Feed, tensor_values


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """Over all images and pixels, by tensor (N, C, H, W): each a (C,) float64 array.

    mean_square, mean: of the values. low, high: their extremes, made to contain 0.
    """

    mean_square: Mapping[str, np.ndarray]
    mean: Mapping[str, np.ndarray]
    low: Mapping[str, np.ndarray]
    high: Mapping[str, np.ndarray]


def observed_tensors(graph: ChannelGraph) -> tuple[str, ...]:
    """What must be observed: the convolutions' inputs, what they make, and the tensors of the free
    spaces."""
    names = {name for conv in graph.convolutions.values() for name in (conv.input, conv.encoded)}
    made = [value.name for value in graph.model.graph.input]
    made += [name for node in graph.model.graph.node for name in node.output]
    inside = {name for space in graph.free for name in space.tensors}
    return tuple(name for name in made if name in names | inside)


def channel_statistics(graph: ChannelGraph, feeds: Iterable[Feed]) -> ChannelStatistics:
    """Run the graph on each feed; an image is dropped before the next is read.

    Raises PersondetError for values that are not finite, naming the tensor, and InputError if there
    are no feeds.
    """
    names = observed_tensors(graph)
    values_of = tensor_values(graph.model, names)
    sums: dict[str, np.ndarray] = {}
    squares: dict[str, np.ndarray] = {}
    low: dict[str, np.ndarray] = {}
    high: dict[str, np.ndarray] = {}
    count = 0
    for feed in feeds:
        count += 1
        found = values_of(feed)
        for name in names:
            values = found[name]
            if not np.isfinite(values).all():
                raise PersondetError(
                    f"calibration: tensor {name} has a value that is not finite; check that the "
                    "network is trained"
                )
            axes = (0, *range(2, values.ndim))
            sums[name] = sums.get(name, 0.0) + values.mean(axes, dtype=np.float64)
            squares[name] = squares.get(name, 0.0) + np.square(values).mean(axes, dtype=np.float64)
            low[name] = np.minimum(low.get(name, 0.0), values.min(axes))
            high[name] = np.maximum(high.get(name, 0.0), values.max(axes))
    if count == 0:
        raise InputError("the calibration set is empty: no image was read")
    return ChannelStatistics(
        mean_square={name: total / count for name, total in squares.items()},
        mean={name: total / count for name, total in sums.items()},
        low=low,
        high=high,
    )
