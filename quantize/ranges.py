"""The range of each activation, observed on real pictures.

minmax takes the extremes. The other methods clip outliers, which buys resolution for the rest:
percentile cuts a fixed share of the values, mse and entropy try ranges and keep the one of least
squared error or of least Kullback-Leibler divergence.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import onnx
import onnxruntime

from persondet.errors import InputError, PersondetError

METHODS = ("minmax", "percentile", "entropy", "mse")
PERCENTILE = 99.99  # of the values stay inside, on each side that has a tail
_BINS = 4096
_CANDIDATES = np.linspace(0.1, 1.0, 91)  # shares of the full range that mse and entropy try


@dataclass
class Histogram:
    """Values counted in _BINS equal bins over [-limit, limit]; the limit doubles when outgrown."""

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
            flat = np.ascontiguousarray(values, np.float32).reshape(-1, 1)
            found = cv2.calcHist([flat], [0], None, [_BINS], [-self.limit, self.limit])
            assert self.counts is not None
            self.counts += found.reshape(-1)  # (bins, 1) before OpenCV 5

    def centres(self) -> np.ndarray:
        step = 2 * self.limit / _BINS
        return -self.limit + (np.arange(_BINS) + 0.5) * step

    def _grow(self, magnitude: float) -> None:
        if self.counts is None:
            self.limit, self.counts = max(magnitude, 1e-6) * 1.001, np.zeros(_BINS)
        while magnitude >= self.limit:  # pairs of bins become one, in the middle of twice the range
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.pad(merged, _BINS // 4)
            self.limit *= 2


def observe(
    model: onnx.ModelProto, inputs: Iterable[Mapping[str, np.ndarray]], *, method: str
) -> dict[str, Histogram]:
    """Run the float graph on each input and collect every activation's values.

    Raises InputError for an unknown method or no inputs, PersondetError for values that are not
    finite, naming the tensor.
    """
    if method not in METHODS:
        raise InputError(f"unknown calibration {method!r}, expected one of {', '.join(METHODS)}")
    session, names = _all_outputs_session(model)
    input_names = [value.name for value in model.graph.input]
    histograms = {name: Histogram() for name in (*input_names, *names)}
    for feed in inputs:
        values = {**feed, **dict(zip(names, session.run(names, dict(feed)), strict=True))}
        for name, array in values.items():
            try:
                histograms[name].add(array, count=method != "minmax")
            except ValueError as error:
                raise PersondetError(f"calibration: tensor {name} has {error}") from None
    if any(not np.isfinite(histogram.low) for histogram in histograms.values()):
        raise InputError("the calibration set is empty: no picture was read")
    return histograms


def select_range(histogram: Histogram, method: str, bits: int) -> tuple[float, float]:
    """(low, high) of an asymmetric encoding of this many bits; contains 0."""
    full = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if method == "minmax" or full[0] == full[1]:
        return full
    if method == "percentile":
        return _percentile_range(histogram, full)
    error = {"mse": _squared_error, "entropy": _divergence}[method]
    return _best_range(histogram, full, bits, error)


def _all_outputs_session(
    model: onnx.ModelProto,
) -> tuple[onnxruntime.InferenceSession, list[str]]:
    """A session whose outputs are all float activations of the graph."""
    model = onnx.shape_inference.infer_shapes(model)
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*model.graph.value_info, *model.graph.output)
    }
    names = [
        name
        for node in model.graph.node
        if node.op_type != "Constant"
        for name in node.output
        if types.get(name) == onnx.TensorProto.FLOAT
    ]
    present = {value.name for value in model.graph.output}
    for name in names:
        if name not in present:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session, names


def _percentile_range(histogram: Histogram, full: tuple[float, float]) -> tuple[float, float]:
    assert histogram.counts is not None
    centres, share = histogram.centres(), np.cumsum(histogram.counts) / histogram.counts.sum()
    tail = 1 - PERCENTILE / 100
    first, last = np.searchsorted(share, [tail, 1 - tail]).clip(0, _BINS - 1)
    low, high = float(centres[first]), float(centres[last])
    return max(full[0], min(low, 0.0)), min(full[1], max(high, 0.0))


def _best_range(
    histogram: Histogram,
    full: tuple[float, float],
    bits: int,
    error: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
) -> tuple[float, float]:
    assert histogram.counts is not None
    used = histogram.counts > 0
    centres, counts = histogram.centres()[used], histogram.counts[used]
    candidates = [(full[0] * share, full[1] * share) for share in _CANDIDATES]
    errors = [error(centres, counts, _levels(centres, low, high, bits)) for low, high in candidates]
    low, high = candidates[len(errors) - 1 - int(np.argmin(errors[::-1]))]  # the widest of equals
    return low, high


def _levels(values: np.ndarray, low: float, high: float, bits: int) -> np.ndarray:
    """The values as the encoding would give them back."""
    scale = (high - low) / (2**bits - 1)
    zero_point = round(-low / scale)
    stored = np.clip(np.round(values / scale) + zero_point, 0, 2**bits - 1)
    return (stored - zero_point) * scale


def _squared_error(centres: np.ndarray, counts: np.ndarray, levels: np.ndarray) -> float:
    return float((counts * (centres - levels) ** 2).sum())


def _divergence(centres: np.ndarray, counts: np.ndarray, levels: np.ndarray) -> float:
    """KL(P, Q), Q being P with the mass of each quantized level spread evenly over its bins."""
    _, level = np.unique(levels, return_inverse=True)
    mass = np.bincount(level, counts)
    bins = np.bincount(level)
    share = counts / counts.sum()
    spread = (mass / bins)[level] / counts.sum()
    return float((share * np.log(share / spread)).sum())
