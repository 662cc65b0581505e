"""How much noise eight bits put into the outputs of a graph, as a function of its channels' scales.

Each rounding to a grid of step d adds noise of variance d^2 / 12 (Widrow and Kollar 2008). A weight
tensor's step is its range over 255, and its noise is multiplied by the energy of what the layer
reads; an activation's step is its range over 2^bits - 1. What noise in a channel does to the
outputs is its sensitivity. Rescaling channels moves both: the sum is minimised over the logarithms
of the scales. Largest values are p-norms, so that there is a gradient everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from quantize.channel_spaces import ChannelGraph, Convolution
from quantize.channel_statistics import ChannelStatistics

STEPS = 150
_LEARNING_RATE = 0.2  # of Adam, in units of log s; falls to _LAST_RATE
_LAST_RATE = 0.002
_NORM = 14  # p: the largest of 1,000 equal values comes out 1.6 times too large, of few at most 1.2
_WEIGHT_LEVELS = 255
_LOWEST = -50.0  # of log s: no limit
_REACHED = 0.999  # of a Clip's cap: a channel that comes this near is held


@dataclass(frozen=True, kw_only=True)
class ScaleLimits:
    """What Clips allow in one space. is_free: (C,) bool; a channel that reaches its cap is not.
    lowest: (C,) least log s: below it a channel would reach its cap."""

    is_free: np.ndarray
    lowest: np.ndarray

    def applied(self, log_scales: np.ndarray) -> np.ndarray:
        """The nearest allowed logarithms of the scales."""
        return np.where(self.is_free, np.maximum(log_scales, self.lowest), 0.0)


def scale_limits(graph: ChannelGraph, statistics: ChannelStatistics) -> tuple[ScaleLimits, ...]:
    """What the Clips of each free space allow, from the largest values seen."""
    limits = []
    for space in graph.free:
        channels = len(graph.convolutions[space.producers[0]].weight)
        is_free = np.ones(channels, dtype=bool)
        lowest = np.full(channels, _LOWEST)
        for tensor, cap in space.caps.items():
            high = statistics.high[tensor]
            is_free &= high < _REACHED * cap
            lowest = np.maximum(lowest, np.log(np.maximum(high, 1e-6) / cap))
        limits.append(ScaleLimits(is_free=is_free, lowest=lowest))
    return tuple(limits)


def sensitivities(graph: ChannelGraph, statistics: ChannelStatistics) -> dict[str, np.ndarray]:
    """What noise in a channel does to the outputs, by encoded tensor: (C,) float64.

    In reverse graph order, without gradients: what each reader makes of the channel, as a share of
    the energy of the reader's output; and what the sum of an Add does with it. A tensor that no
    convolution reads counts by its own energy.
    """
    readers: dict[str, list[Convolution]] = {}
    for conv in graph.convolutions.values():
        readers.setdefault(conv.input, []).append(conv)
    added = {
        name: node.output[0]
        for node in graph.model.graph.node
        if node.op_type == "Add"
        for name in node.input
    }
    found: dict[str, np.ndarray] = {}
    for tensor in reversed(list(statistics.mean_square)):
        own = statistics.mean_square[tensor]
        total = np.zeros(len(own))
        for conv in readers.get(tensor, []):
            gain = np.square(conv.by_group).sum((1, 3)).reshape(-1)
            total += gain / _positive(statistics.mean_square[conv.encoded].sum())
        if added.get(tensor) in found and found[added[tensor]].shape == total.shape:
            total += found[added[tensor]]
        found[tensor] = total if total.any() else total + 1 / _positive(own.sum())
    return found


class NoiseModel:
    """The noise of a graph's weights and activations at its outputs, for any scales."""

    def __init__(
        self, graph: ChannelGraph, statistics: ChannelStatistics, *, act_bits: int
    ) -> None:
        weights_of = sensitivities(graph, statistics)
        self._layers = [
            _Layer(conv, graph, statistics, weights_of) for conv in graph.convolutions.values()
        ]
        encoded = dict.fromkeys(
            conv.encoded for conv in graph.convolutions.values()
        ) | dict.fromkeys(
            tensor
            for tensor in statistics.mean_square
            if graph.space_of(tensor) is not None and _is_sum(graph, tensor)
        )
        self._activations = [
            _Activation(tensor, graph, statistics, weights_of[tensor], act_bits)
            for tensor in encoded
        ]

    def __call__(self, log_scales: Sequence[torch.Tensor]) -> torch.Tensor:
        """(C,) float64 logarithms per free space to the noise, a scalar."""
        parts = [layer.noise(log_scales) for layer in self._layers]
        parts += [activation.noise(log_scales) for activation in self._activations]
        return torch.stack(parts).sum()


def quietest_scales(
    model: NoiseModel,
    limits: Sequence[ScaleLimits],
    *,
    steps: int = STEPS,
) -> tuple[list[np.ndarray], float]:
    """Scales (C,) per free space of about the least noise, and the gain in dB.

    One thread: the operations are thousands and tiny.
    """
    # Not from the closed form: it moves channels that no calibration image used, which the model
    # does not care about, and which other images do (`head` loses 3 dB by it).
    raw = [torch.zeros(len(limit.lowest), dtype=torch.float64) for limit in limits]
    free = [torch.from_numpy(limit.is_free.astype(np.float64)) for limit in limits]
    lowest = [torch.from_numpy(limit.lowest) for limit in limits]
    for tensor in raw:
        tensor.requires_grad_()

    def log_scales() -> list[torch.Tensor]:
        triples = zip(raw, free, lowest, strict=True)
        return [is_free * torch.maximum(z, low) for z, is_free, low in triples]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        optimizer = torch.optim.Adam(raw, lr=_LEARNING_RATE)
        with torch.no_grad():
            before = float(model(log_scales()))
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 - step / steps) + _LAST_RATE
            optimizer.zero_grad()
            torch.log(model(log_scales())).backward()
            optimizer.step()
        with torch.no_grad():
            found = log_scales()
            after = float(model(found))
    finally:
        torch.set_num_threads(threads)
    return [np.exp(z.numpy()) for z in found], 10 * float(np.log10(before / after))


class _Layer:
    """The noise of one convolution's rounded weights."""

    def __init__(
        self,
        conv: Convolution,
        graph: ChannelGraph,
        statistics: ChannelStatistics,
        weights_of: Mapping[str, np.ndarray],
    ) -> None:
        self._spaces = graph.space_of(conv.input), graph.space_of(conv.output)
        weight = torch.from_numpy(conv.by_group)
        self._largest = float(weight.abs().max()) or 1.0
        weight = weight / self._largest
        self._ends = [(end.clamp(min=0) ** _NORM).sum(3) for end in (weight, -weight)]
        groups, outputs, inputs, taps = weight.shape
        energy = torch.from_numpy(statistics.mean_square[conv.input])
        self._energy = taps * energy.reshape(groups, inputs)
        self._sensitivity = torch.from_numpy(weights_of[conv.encoded]).reshape(groups, outputs)

    def noise(self, log_scales: Sequence[torch.Tensor]) -> torch.Tensor:
        z_in, z_out = (
            torch.zeros_like(like) if space is None else log_scales[space].reshape(like.shape)
            for space, like in zip(self._spaces, (self._energy, self._sensitivity), strict=True)
        )
        grown = torch.exp(_NORM * z_in)[:, None, :]
        shrunk = torch.exp(-_NORM * z_out)[:, :, None]
        width = sum(_norm((end * grown * shrunk).sum()) for end in self._ends)
        read = (self._energy * torch.exp(-2 * z_in)).sum(1)
        heard = (self._sensitivity * torch.exp(2 * z_out)).sum(1)
        step = width * self._largest / _WEIGHT_LEVELS
        return step**2 / 12 * (read * heard).sum()


class _Activation:
    """The noise of one rounded activation."""

    def __init__(
        self,
        tensor: str,
        graph: ChannelGraph,
        statistics: ChannelStatistics,
        sensitivity: np.ndarray,
        act_bits: int,
    ) -> None:
        self._space = graph.space_of(tensor)
        self._levels = 2.0**act_bits - 1
        self._sensitivity = torch.from_numpy(sensitivity)
        ends = (statistics.high[tensor], -statistics.low[tensor])
        self._ends = [torch.from_numpy(end.astype(np.float64)).clamp(min=1e-12) for end in ends]

    def noise(self, log_scales: Sequence[torch.Tensor]) -> torch.Tensor:
        zeros = torch.zeros_like(self._sensitivity)
        z = zeros if self._space is None else log_scales[self._space]
        width = sum(_norm((end**_NORM * torch.exp(-_NORM * z)).sum()) for end in self._ends)
        return (width / self._levels) ** 2 / 12 * (self._sensitivity * torch.exp(2 * z)).sum()


def _norm(power_sum: torch.Tensor) -> torch.Tensor:
    return (power_sum + 1e-300) ** (1 / _NORM)


def _is_sum(graph: ChannelGraph, tensor: str) -> bool:
    nodes = (node for node in graph.model.graph.node if tensor in node.output)
    return any(node.op_type == "Add" for node in nodes)


def _positive(value: float) -> float:
    return max(float(value), 1e-30)
