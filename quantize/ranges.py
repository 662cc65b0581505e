"""The range of each activation, observed on real pictures.

minmax takes the extremes. The other methods clip outliers, which buys resolution for the rest:
percentile cuts a fixed share of the values, mse and entropy try ranges and keep the one of least
squared error or of least Kullback-Leibler divergence.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import onnx

from persondet.errors import InputError, PersondetError
from quantize.tensor_values import tensor_values

METHODS = ("minmax", "percentile", "entropy", "mse")
PERCENTILE = 99.99  # of the values stay inside, on each side that has a tail
# An odd number: the middle bin is centred on 0, which encodings hold exactly and ReLU makes a lot
# of. A power of 3: when the limit triples, three bins become one and the middle stays the middle.
_BINS = 3**9
_MIDDLE = _BINS // 2
_MOST_COUNTED = 1 << 18  # values of a tensor and a picture, about; the extremes are of all
_SHARES = np.geomspace(1, 0.01, 91)  # of each end of the full range, that mse and entropy try
MOVING_OPS = ("Transpose", "Reshape")  # what they make keeps the encoding of their input
FUSED_OPS = ("Relu", "Clip")  # the encoding does their work, on what only they read


@dataclass
class Histogram:
    """Values counted in _BINS equal bins over [-limit, limit]; the limit triples when outgrown."""

    low: float = np.inf
    high: float = -np.inf
    limit: float = 0.0
    counts: np.ndarray | None = None

    def add(self, values: np.ndarray, *, count: bool) -> None:
        """count: keep the histogram too; otherwise only the extremes."""
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("a value that is not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        if count:
            self._grow(max(-low, high))
            stride = values.size // _MOST_COUNTED | 1  # odd, unlike most row lengths
            flat = np.ascontiguousarray(values.reshape(-1)[::stride], np.float32)
            found = cv2.calcHist([flat[:, None]], [0], None, [_BINS], [-self.limit, self.limit])
            assert self.counts is not None
            self.counts += found.reshape(-1)  # (bins, 1) before OpenCV 5

    @property
    def step(self) -> float:
        """Width of a bin."""
        return 2 * self.limit / _BINS

    def centres(self) -> np.ndarray:
        return (np.arange(_BINS) - _MIDDLE) * self.step

    def nonzero(self) -> tuple[np.ndarray, np.ndarray]:
        """Centres and counts of the bins that hold values, without the one of 0."""
        assert self.counts is not None
        used = self.counts > 0
        used[_MIDDLE] = False
        return self.centres()[used], self.counts[used]

    def _grow(self, magnitude: float) -> None:
        if self.counts is None:
            self.limit, self.counts = max(magnitude, 1e-6) * 1.001, np.zeros(_BINS)
        while magnitude >= self.limit:
            merged = self.counts.reshape(-1, 3).sum(1)
            self.counts = np.pad(merged, _BINS // 3)
            self.limit *= 3


def observe(
    model: onnx.ModelProto, inputs: Iterable[Mapping[str, np.ndarray]], *, method: str
) -> dict[str, Histogram]:
    """Run the float graph on each input and collect the values of every encoded activation.

    That is the graph's input and what nodes make, except what a transpose or reshape makes, which
    keeps the encoding of its input, and what only a Relu or Clip reads, which is fused with it.
    Raises InputError for an unknown method or no inputs, PersondetError for values that are not
    finite, naming the tensor.
    """
    if method not in METHODS:
        raise InputError(f"unknown calibration {method!r}, expected one of {', '.join(METHODS)}")
    names = _encoded_activations(model)
    values_of = tensor_values(model, names)
    histograms = {name: Histogram() for name in (*(v.name for v in model.graph.input), *names)}
    for feed in inputs:
        for name, array in values_of(feed).items():
            try:
                histograms[name].add(array, count=method != "minmax")
            except ValueError as error:
                raise PersondetError(
                    f"calibration: tensor {name} has {error}; check that the network is trained"
                ) from None
    if any(not np.isfinite(histogram.low) for histogram in histograms.values()):
        raise InputError("the calibration set is empty: no picture was read")
    return histograms


def select_range(histogram: Histogram, method: str, bits: int) -> tuple[float, float]:
    """(low, high) of an asymmetric encoding of this many bits; contains 0, inside the extremes."""
    full = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if method == "minmax" or full[0] == full[1]:
        return full
    if method == "percentile":
        return _percentile_range(histogram, full)
    return {"mse": _least_error, "entropy": _least_divergence}[method](histogram, full, bits)


def _encoded_activations(model: onnx.ModelProto) -> list[str]:
    read_by = {value.name: ["output"] for value in model.graph.output}
    for node in model.graph.node:
        for name in node.input:
            read_by.setdefault(name, []).append(node.op_type)
    fused = {name for name, ops in read_by.items() if len(ops) == 1 and ops[0] in FUSED_OPS}
    return [
        name
        for node in model.graph.node
        if node.op_type not in ("Constant", *MOVING_OPS)
        for name in node.output
        if name not in fused
    ]


def _percentile_range(histogram: Histogram, full: tuple[float, float]) -> tuple[float, float]:
    assert histogram.counts is not None
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    tail = 1 - PERCENTILE / 100
    first, last = np.searchsorted(share, [tail, 1 - tail]).clip(0, _BINS - 1)
    if first == last:  # nearly all values are one: there is no tail to cut
        return full
    centres, half = histogram.centres(), histogram.step / 2
    low, high = float(centres[first] - half), float(centres[last] + half)
    return max(full[0], min(low, 0.0)), min(full[1], max(high, 0.0))


def _ends(end: float) -> np.ndarray:
    """What to try in place of one end of the full range, the widest first."""
    return end * _SHARES if end else np.zeros(1)


def _least_error(histogram: Histogram, full: tuple[float, float], bits: int) -> tuple[float, float]:
    """Over all pairs of ends: what is outside moves to the end, what is inside is rounded, which
    costs scale^2 / 12 on average; 0 costs nothing."""
    centres, counts = histogram.nonzero()
    lows, highs = _ends(full[0]), _ends(full[1])
    below = np.maximum(lows[:, None] - centres, 0)  # (lows, bins)
    above = np.maximum(centres - highs[:, None], 0)  # (highs, bins)
    inside = counts.sum() - ((below > 0) @ counts)[:, None] - (above > 0) @ counts
    scales = (highs - lows[:, None]) / (2**bits - 1)
    errors = (below**2 @ counts)[:, None] + above**2 @ counts + inside * scales**2 / 12
    low, high = np.unravel_index(np.argmin(errors), errors.shape)
    return float(lows[low]), float(highs[high])


def _least_divergence(
    histogram: Histogram, full: tuple[float, float], bits: int
) -> tuple[float, float]:
    """One end after the other; 0 is left out, or its many values would decide alone."""
    centres, counts = histogram.nonzero()
    low, high = full
    highs, lows = _ends(high)[::2], _ends(low)[::2]
    high = highs[np.argmin([_divergence(centres, counts, low, end, bits) for end in highs])]
    low = lows[np.argmin([_divergence(centres, counts, end, high, bits) for end in lows])]
    return float(low), float(high)


def _divergence(
    centres: np.ndarray, counts: np.ndarray, low: float, high: float, bits: int
) -> float:
    """KL(P, Q) as in TensorRT's calibration. P: the values, those outside moved to the last bins
    inside; Q: those inside, the mass of each quantized level spread evenly over its bins. What
    unevenness chance alone makes, half a count for each bin beyond one a level, is taken off."""
    first, last = np.searchsorted(centres, [low, high])
    inside = counts[first:last]
    if not inside.size:
        return np.inf
    scale = (high - low) / (2**bits - 1)
    levels = np.round((centres[first:last] - low) / scale).astype(np.int64)
    mass, bins = np.bincount(levels, inside), np.bincount(levels)
    spread = (mass[levels] / bins[levels]) / inside.sum()
    share = inside.copy()
    share[0] += counts[:first].sum()
    share[-1] += counts[last:].sum()
    share /= counts.sum()
    chance = (inside.size - np.count_nonzero(bins)) / (2 * counts.sum())
    return float((share * np.log(share / spread)).sum() - chance)
