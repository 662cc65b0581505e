"""Histograms against numpy's, chosen ranges against slow references on the raw samples."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from persondet.errors import InputError, PersondetError
from quantize.ranges import _BINS, METHODS, PERCENTILE, Histogram, observe, select_range


def histogram_of(*batches: np.ndarray) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(np.asarray(batch, np.float32), count=True)
    return histogram


def samples(kind: str, count: int = 40_000) -> np.ndarray:
    generator = np.random.default_rng(7)
    normal = generator.normal(size=count).astype(np.float32)
    if kind == "outlier":  # on one side only
        return np.append(normal, np.float32(60))
    return {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "relu6": np.clip(3 * normal, 0, 6),
        "laplace": generator.laplace(0.5, 1, count).astype(np.float32),
        "uniform": generator.uniform(-1, 3, count).astype(np.float32),
        "negative": -np.abs(normal) - 1,
    }[kind]


KINDS = ("normal", "outlier", "relu", "relu6", "laplace", "uniform", "negative")


@pytest.mark.parametrize("second", [0.5, 1.5, 2.99, 40.0, 2000.0])
def test_growth_equals_numpys_histogram_of_all(second: float) -> None:
    first = np.linspace(-1, 0.97, 5003)
    batches = first, np.linspace(-0.1, second, 7001), -first
    histogram = histogram_of(*batches)
    every = np.concatenate(batches).astype(np.float32)
    expected, edges = np.histogram(every, _BINS, (-histogram.limit, histogram.limit))
    assert histogram.counts is not None
    assert histogram.counts.sum() == every.size
    # A value on an edge may fall on either side of it, as one counts in float32.
    assert np.abs(np.cumsum(histogram.counts) - np.cumsum(expected)).max() <= 3
    assert np.allclose(histogram.centres(), (edges[1:] + edges[:-1]) / 2, atol=1e-9)
    assert (histogram.low, histogram.high) == (every.min(), every.max())


def test_zero_has_the_middle_of_a_bin_at_any_size() -> None:
    for batches in ([np.zeros(9)], [[0, 1]], [[0, 1], [0, 500.0]], [[0, 1e-9], [0, -1e5]]):
        histogram = histogram_of(*map(np.asarray, batches))
        assert histogram.counts is not None
        zeros = sum(int((np.asarray(batch) == 0).sum()) for batch in batches)
        assert histogram.centres()[_BINS // 2] == 0
        assert histogram.counts[_BINS // 2] >= zeros


def test_of_many_values_a_share_is_counted_and_all_for_the_extremes() -> None:
    values = np.tile(samples("relu"), 20)
    values[12_345] = 9
    whole = histogram_of(*np.split(values, 20))
    part = histogram_of(values.reshape(4, 10, -1))
    assert part.counts is not None and whole.counts is not None
    assert part.counts.sum() == -(-values.size // 3)
    assert (part.low, part.high) == (whole.low, whole.high) == (0, 9)
    shares = [np.cumsum(h.counts) / h.counts.sum() for h in (part, whole)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01


def test_a_value_on_the_limit_is_counted() -> None:
    histogram = histogram_of(np.array([1.0]))
    for sign in (1, -1):
        grown = histogram_of(np.array([1.0]), np.array([sign * histogram.limit]))
        assert grown.counts is not None
        assert grown.counts.sum() == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [True, False])
def test_values_that_are_not_finite(bad: float, count: bool) -> None:
    with pytest.raises(ValueError, match="not finite"):
        Histogram().add(np.array([0, bad], np.float32), count=count)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 0], (0, 0)),
        ([2.5, 2.5], (0, 2.5)),
        ([-3, -3], (-3, 0)),
        ([0] * 99_999 + [4], (0, 4)),  # no tail to cut: all but one are 0
    ],
)
def test_constant_tensors(method: str, values: list[float], expected: tuple[float, float]) -> None:
    low, high = select_range(histogram_of(np.array(values)), method, 8)
    assert low == pytest.approx(expected[0])
    assert high == pytest.approx(expected[1], rel=0.06)


@pytest.mark.parametrize("kind", KINDS)
def test_minmax_is_the_extremes_with_zero(kind: str) -> None:
    values = samples(kind)
    expected = min(values.min(), 0), max(values.max(), 0)
    assert select_range(histogram_of(values), "minmax", 8) == expected
    extremes_only = Histogram()
    extremes_only.add(values, count=False)
    assert select_range(extremes_only, "minmax", 8) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_percentile_as_numpy_sorts_it(kind: str) -> None:
    values = samples(kind)
    histogram = histogram_of(values[:100], values[100:])
    low, high = select_range(histogram, "percentile", 8)
    expected = np.percentile(values, [100 - PERCENTILE, PERCENTILE], method="inverted_cdf")
    assert low == pytest.approx(min(expected[0], 0), abs=histogram.step)
    assert high == pytest.approx(max(expected[1], 0), abs=histogram.step)


def squared_error(values: np.ndarray, low: float, high: float, bits: int) -> float:
    """By quantizing every sample as the encoding of this range does."""
    scale = (high - low) / (2**bits - 1)
    zero_point = np.round(-low / scale)
    stored = np.clip(np.round(values / scale) + zero_point, 0, 2**bits - 1)
    return float((((stored - zero_point) * scale - values.astype(np.float64)) ** 2).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [8, 16])
def test_mse_against_brute_force(kind: str, bits: int) -> None:
    values = samples(kind, 10_000)
    full = min(values.min(), 0), max(values.max(), 0)
    ends = [np.geomspace(0.02, 1, 35) * end if end else [0.0] for end in full]
    best = min(squared_error(values, low, high, bits) for low in ends[0] for high in ends[1])
    low, high = select_range(histogram_of(values[:100], values[100:]), "mse", bits)
    assert squared_error(values, low, high, bits) <= 1.05 * best


def test_mse_at_16_bits_clips_nothing_that_counts() -> None:
    values = samples("normal")
    low, high = select_range(histogram_of(values), "mse", 16)
    assert low == pytest.approx(values.min(), rel=0.06)
    assert high == pytest.approx(values.max(), rel=0.06)


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_one_outlier_is_clipped_and_the_other_side_is_not(method: str) -> None:
    values = samples("outlier")
    low, high = select_range(histogram_of(values, *[values[:-1]] * 200), method, 8)
    assert 2.5 < high < 12
    assert -5 < low < -2.5


@pytest.mark.parametrize("kind", ["normal", "relu", "relu6", "uniform"])
def test_entropy_keeps_well_behaved_values(kind: str) -> None:
    """Zeros, of which a ReLU makes half of all, must not decide alone."""
    values = samples(kind)
    low, high = select_range(histogram_of(values), "entropy", 8)
    inside = ((values >= low) & (values <= high)).mean()
    assert inside > 0.99
    signal = (values.astype(np.float64) ** 2).mean()
    assert squared_error(values, low, high, 8) < 3e-3 * signal


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(
        st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False), min_size=1, max_size=40
    ),
    method=st.sampled_from(METHODS),
    bits=st.sampled_from([8, 16]),
)
def test_ranges_contain_zero_and_lie_in_what_was_observed(
    values: list[float], method: str, bits: int
) -> None:
    split = len(values) // 2
    batches = [batch for batch in (values[:split], values[split:]) if batch]
    low, high = select_range(histogram_of(*map(np.array, batches)), method, bits)
    assert min(*values, 0) <= low <= 0 <= high <= max(*values, 0)
    assert low < high or not any(values)


def graph_of(nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.ModelProto:
    shape = [1, 1, 2, 3]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(np.full((1, 1, 1, 1), -2, np.float32), "w"),
            numpy_helper.from_array(np.array([0.5], np.float32), "b"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def model() -> onnx.ModelProto:
    """x -> conv -> relu (fused) -> transpose (moves) -> exp; conv2 is read twice: not fused."""
    node = helper.make_node
    return graph_of(
        [
            node("Conv", ["x", "w", "b"], ["conv"], "conv"),
            node("Relu", ["conv"], ["relu"], "relu"),
            node("Transpose", ["relu"], ["moved"], "move", perm=[0, 2, 3, 1]),
            node("Exp", ["moved"], ["exp"], "exp"),
            node("Conv", ["x", "w", "b"], ["conv2"], "conv2"),
            node("Relu", ["conv2"], ["relu2"], "relu2"),
            node("Add", ["conv2", "relu2"], ["sum"], "sum"),
        ],
        ["exp", "sum"],
    )


def feeds(*arrays: object) -> list[Mapping[str, np.ndarray]]:
    return [{"x": np.resize(np.array(array, np.float32), (1, 1, 2, 3))} for array in arrays]


@pytest.mark.parametrize("method", METHODS)
def test_observes_what_gets_an_encoding(model: onnx.ModelProto, method: str) -> None:
    before = model.SerializeToString()
    histograms = observe(model, feeds([1, 2], [-3, 0]), method=method)
    assert model.SerializeToString() == before
    extremes = {name: (found.low, found.high) for name, found in histograms.items()}
    assert extremes == {
        "x": (-3, 2),
        "relu": (0, 6.5),
        "exp": (1, pytest.approx(np.exp(6.5))),
        "conv2": (-3.5, 6.5),
        "relu2": (0, 6.5),
        "sum": (-3.5, 13),
    }
    assert all((found.counts is None) == (method == "minmax") for found in histograms.values())


def test_a_fused_tensor_that_is_an_output_is_observed() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    assert set(observe(graph_of(nodes, ["y", "z"]), feeds(1), method="mse")) == {"x", "y", "z"}


def test_observe_refuses(model: onnx.ModelProto) -> None:
    with pytest.raises(InputError, match=r"unknown calibration 'median', expected one of minmax"):
        observe(model, feeds(1), method="median")
    with pytest.raises(InputError, match="the calibration set is empty"):
        observe(model, [], method="mse")
    with pytest.raises(PersondetError, match="tensor exp has a value that is not finite") as caught:
        observe(model, feeds([-1000]), method="minmax")
    assert not isinstance(caught.value, InputError)
