"""How much slower: the ratio of two medians, and how far noise alone may move it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ROUNDS, _A_ROUND = 20, 100  # resamples; all at once would take gigabytes for many runs
ENOUGH_RUNS = 5  # a median of fewer says nothing about its own noise


@dataclass(frozen=True)
class MedianRatio:
    """change: median after / median before - 1, so 0.1 is 10 % slower.

    low, high: 95 % bootstrap interval of it (percentiles of the ratio over resampled runs; Efron
    and Tibshirani 1993, chapter 13); None where a side has fewer than ENOUGH_RUNS values. With few
    starts the interval is rather too narrow than too wide.
    """

    change: float
    low: float | None
    high: float | None

    @property
    def is_noise(self) -> bool:
        """Whether the interval holds no change; unknown noise is none."""
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high

    @property
    def text(self) -> str:
        """`+12.0% (95 % interval +9.1% to +15.2%)`."""
        if self.low is None or self.high is None:
            return f"{self.change:+.1%} (too few runs to say how much of it is noise)"
        return f"{self.change:+.1%} (95 % interval {self.low:+.1%} to {self.high:+.1%})"


def median_ratio(
    before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]
) -> MedianRatio:
    """before, after: positive durations in one unit, those of each start of the runtime by
    themselves; at least one start with one duration each.

    Runs of one start are alike, so starts are resampled, and then runs in them (Davison and Hinkley
    1997, section 3.8).
    """
    first, last = np.concatenate(before), np.concatenate(after)
    change = float(np.median(last) / np.median(first) - 1)
    if min(len(first), len(last)) < ENOUGH_RUNS:
        return MedianRatio(change, None, None)
    generator = np.random.default_rng(0)  # the same files give the same verdict
    ratios = _resampled_medians(after, generator) / _resampled_medians(before, generator) - 1
    low, high = np.percentile(ratios, (2.5, 97.5)).tolist()
    return MedianRatio(change, low, high)


def _resampled_medians(
    starts: Sequence[Sequence[float]], generator: np.random.Generator
) -> np.ndarray:
    """Medians of resamples. Every start gives as many runs as the longest has, so that starts count
    alike; ours differ by one run."""
    values = np.concatenate(starts).astype(np.float64)
    sizes = np.array([len(start) for start in starts])
    begins = np.cumsum(sizes) - sizes
    shape = (_A_ROUND, len(starts), int(sizes.max()))
    medians = []
    for _ in range(_ROUNDS):
        picked = generator.integers(0, len(starts), (*shape[:2], 1))
        runs = (generator.random(shape) * sizes[picked]).astype(np.int64)
        drawn = values[begins[picked] + runs]
        medians.append(np.median(drawn.reshape(_A_ROUND, -1), axis=1))
    return np.concatenate(medians)
