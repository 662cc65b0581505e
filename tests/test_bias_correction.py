"""Bias correction gives the channels of the quantized graph the float graph's means."""

import numpy as np
import onnx
import pytest
from conv_graph import constants
from random_graphs import feeds, random_graph

from quantize.bias_correction import corrected_values, rounded, rounded_weight, with_values
from quantize.encodings import encoding_of, encodings_from_qdq
from quantize.qdq import Scheme, qdq_from_ranges
from quantize.ranges import observe, select_range
from quantize.tensor_values import tensor_values


def quantized(model: onnx.ModelProto, given, per_channel: bool) -> onnx.ModelProto:
    ranges = {
        name: select_range(histogram, "minmax", 8)
        for name, histogram in observe(model, given, method="minmax").items()
    }
    return qdq_from_ranges(model, ranges, Scheme(8, per_channel), {})[0]


def means(model: onnx.ModelProto, name: str, given) -> np.ndarray:
    values_of = tensor_values(model, [name])
    return np.mean([values_of(feed)[name].mean((0, 2, 3)) for feed in given], axis=0)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_means_of_the_outputs_are_the_float_graphs(seed: int, per_channel: bool) -> None:
    """As the written graph is run: what is left is half a step of the output's own encoding, and
    the bias's int32 rounding."""
    model, given = random_graph(seed), feeds(12)
    before = quantized(model, given, per_channel)
    encodings = encodings_from_qdq(before)
    corrected = with_values(model, corrected_values(model, given, encodings))
    after = quantized(corrected, given, per_channel)
    for name in ("scores", "boxes"):
        exact = means(model, name, given)
        gap = np.abs(means(after, name, given) - exact).max()
        assert gap < 0.3 * encodings.activations[name].scale
        assert gap <= np.abs(means(before, name, given) - exact).max() + 1e-6


def test_one_layer_by_hand() -> None:
    """Weights 0.3 and 1 in steps of 1 / 255, input 1: the mean of the output is off by the rounding
    of 0.3 x 255 = 76.5."""
    weight = np.array([[[[0.3]]], [[[1.0]]]], np.float32)
    channels = (encoding_of(8, 1 / 255, 0),)
    assert rounded_weight(weight, channels).ravel().tolist() == pytest.approx([76 / 255, 1.0])
    two = (encoding_of(8, 0.1, -128, symmetric=True), encoding_of(8, 0.25, -128, symmetric=True))
    assert rounded_weight(weight, two).ravel().tolist() == pytest.approx([0.3, 1.0])


def test_rounding_is_that_of_the_encoding() -> None:
    """Ties to even, clipped at both ends, 0 exact."""
    encoding = encoding_of(8, 0.5, -10)
    values = np.array([-7.0, -5.0, -0.25, 0.0, 0.25, 0.75, 122.5, 130.0], np.float32)
    assert rounded(values, encoding).tolist() == [-5, -5, 0, 0, 0, 1, 122.5, 122.5]


def test_only_biases_change() -> None:
    model, given = random_graph(2), feeds(3)
    encodings = encodings_from_qdq(quantized(model, given, False))
    steps: list[int] = []
    found = corrected_values(model, given, encodings, lambda: steps.append(1))
    assert len(steps) == len(model.graph.node)
    assert set(found) == {name for name in constants(model) if name.endswith(".b")}
    written = constants(with_values(model, found))
    for name, array in constants(model).items():
        np.testing.assert_array_equal(written[name], found.get(name, array))
