"""Channels that one scale for a whole weight tensor rounds to 0, and what is lost with them."""

from collections.abc import Mapping

import numpy as np

from persondet.wording import counted
from quantize.channel_spaces import Convolution
from quantize.channel_statistics import ChannelStatistics

_LEVELS = 255  # steps of 8 bits
_NOTED_SHARE = 0.01  # of what a layer's output means to the outputs of the graph


def lost_signal(
    convolutions: Mapping[str, Convolution],
    statistics: ChannelStatistics,
    sensitivities: Mapping[str, np.ndarray],
) -> dict[str, float]:
    """By convolution: the share of its signal in output channels all of whose weights are under
    half a step of an 8-bit scale over the whole tensor, and so become 0.

    convolutions: as they are quantized. statistics, sensitivities: of the graph before it was
    rescaled; a channel's energy times its sensitivity does not change with its scale.
    """
    shares = {}
    for conv in convolutions.values():
        step = (max(conv.weight.max(), 0.0) - min(conv.weight.min(), 0.0)) / _LEVELS
        largest = np.abs(conv.weight).reshape(len(conv.weight), -1).max(axis=1)
        signal = statistics.mean_square[conv.encoded] * sensitivities[conv.encoded]
        shares[conv.name] = float(signal[largest < step / 2].sum() / max(signal.sum(), 1e-30))
    return shares


def lost_signal_notes(shares: Mapping[str, float]) -> tuple[str, ...]:
    """A note if weights with one scale per tensor lose much, naming the worst layer; else ()."""
    lost = {name: share for name, share in shares.items() if share > _NOTED_SHARE}
    if not lost:
        return ()
    worst = max(lost, key=lambda name: lost[name])
    return (
        f"8 bits for a whole tensor round channels to 0 in {counted(len(lost), 'layer')}, and with "
        f"them {lost[worst]:.0%} of the signal of {worst}: detections may be gone; --preset "
        "accurate or --per-channel keeps them",
    )
