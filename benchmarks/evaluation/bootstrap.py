"""How far the figures of a small set may be trusted: the bootstrap over its pictures (Efron)."""

import numpy as np

RESAMPLES = 1000
SEED = 0
_PERCENTILES = (2.5, 97.5)


def resample_weights(pictures: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """(resamples, pictures) float64: how often each resample, drawn with replacement and as large
    as the set, holds each picture."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(pictures, np.full(pictures, 1 / pictures), resamples).astype(float)


def interval_95(values: np.ndarray) -> tuple[float, float] | None:
    """The middle 95 % of a figure's values over the resamples; None where it has none.

    Resamples in which the figure is not defined are NaN and left out.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.percentile(defined, _PERCENTILES)
    return float(low), float(high)
