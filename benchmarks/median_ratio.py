"""How much slower: the ratio of two medians, and how far noise alone may move it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 2000
ENOUGH_RUNS = 5  # a median of fewer says nothing about its own noise


@dataclass(frozen=True)
class MedianRatio:
    """change: median after / median before - 1, so 0.1 is 10 % slower.

    low, high: 95 % bootstrap interval of it (percentiles of the ratio over resampled runs; Efron
    and Tibshirani 1993, chapter 13); None where a side has fewer than ENOUGH_RUNS values. Runs that
    follow one another are alike, so the interval is rather too narrow than too wide.
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


def median_ratio(before: Sequence[float], after: Sequence[float]) -> MedianRatio:
    """before, after: positive durations in one unit, at least one each."""
    first, last = np.asarray(before, np.float64), np.asarray(after, np.float64)
    change = float(np.median(last) / np.median(first) - 1)
    if min(len(first), len(last)) < ENOUGH_RUNS:
        return MedianRatio(change, None, None)
    generator = np.random.default_rng(0)  # the same files give the same verdict
    ratios = _resampled_medians(last, generator) / _resampled_medians(first, generator) - 1
    low, high = np.percentile(ratios, (2.5, 97.5)).tolist()
    return MedianRatio(change, low, high)


def _resampled_medians(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    picked = generator.integers(0, len(values), (_RESAMPLES, len(values)))
    return np.median(values[picked], axis=1)
