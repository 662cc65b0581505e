"""Rounding with error feedback: against slow references, and in the QDQ graph that is written."""

import itertools
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from conv_graph import constants, conv_graph, run
from onnx import helper

from quantize.bias_correction import corrected_values, rounded_weight, with_values
from quantize.encodings import Encodings, encoding_of, encodings_from_qdq
from quantize.qdq import Scheme, overrides_from_encodings, qdq_from_ranges
from quantize.rounding import (
    InputMoments,
    PatchReader,
    input_moments,
    least_error_weight,
    rounded_values,
    rounded_with_feedback,
)

OPSETS = [helper.make_opsetid("", 17)]


def correlated(rng: np.random.Generator, count: int, channels: int, pixels: int) -> np.ndarray:
    """(count, channels, pixels): channels that two sources make nearly all of."""
    mixing = rng.normal(size=(channels, 2))
    sources = rng.normal(size=(count, 2, pixels))
    return mixing @ sources + 0.1 * rng.normal(size=(count, channels, pixels)) + 1


def hessians(rng: np.random.Generator, groups: int, size: int) -> np.ndarray:
    values = correlated(rng, groups, size, 50)
    return values @ values.transpose(0, 2, 1) / 50


def error(steps: np.ndarray, rows: np.ndarray, hessian: np.ndarray) -> float:
    gap = steps - rows
    return float(np.einsum("goi,gij,goj->", gap, hessian, gap))


def obq_in_order(row: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Round one value after the other, each time solving for the rest anew. (n,) -> (n,)"""
    order = np.argsort(-np.diag(hessian), kind="stable")
    free = row.copy()
    for place, index in enumerate(order):
        rest = order[place + 1 :]
        lost = np.rint(free[index]) - free[index]
        free[index] += lost
        among_rest = hessian[np.ix_(rest, rest)]
        free[rest] -= np.linalg.solve(among_rest, hessian[rest, index]) * lost
    return free


@pytest.mark.parametrize("size", [1, 9, 130])  # 130: more than one block
def test_feedback_is_the_slow_one_that_solves_anew_after_each_value(size: int) -> None:
    rng = np.random.default_rng(size)
    hessian = hessians(rng, 2, size) + 0.1 * np.eye(size)
    rows = 9 * rng.normal(size=(2, 3, size))
    found = rounded_with_feedback(rows, hessian, -128, 127)
    slow = [[obq_in_order(row, hessian[group]) for row in rows[group]] for group in range(2)]
    assert np.array_equal(found, np.array(slow))


def test_feedback_is_near_the_best_of_all_roundings() -> None:
    rng = np.random.default_rng(0)
    hessian = hessians(rng, 40, 5) + 0.01 * np.eye(5)
    rows = rng.uniform(-9, 9, (40, 1, 5))
    every = np.floor(rows) + np.array(list(itertools.product((0, 1), repeat=5)))
    best = sum(
        min(error(steps[None, None], rows[[g]], hessian[[g]]) for steps in every[g])
        for g in range(40)
    )
    found = error(rounded_with_feedback(rows, hessian, -128, 127), rows, hessian)
    nearest = error(np.rint(rows), rows, hessian)
    assert found < 1.5 * best < nearest / 2


def test_feedback_stays_within_the_encoding() -> None:
    rows = np.array([[[300.0, -5.2, 3.4]]])
    found = rounded_with_feedback(rows, np.eye(3)[None], -4, 251)
    assert found.tolist() == [[[251, -4, 3]]]


@pytest.mark.parametrize(
    ("groups", "attributes"),
    [
        (1, {}),
        (1, {"strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]}),
        (2, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        (4, {"pads": [1, 1, 1, 1]}),
    ],
    ids=["plain", "strides and dilations", "groups and auto_pad", "depthwise"],
)
def test_patches_times_weights_are_the_convolution(groups: int, attributes: dict) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 4 // groups, 3, 2)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups, **attributes)
    x = rng.normal(size=(1, 4, 7, 10)).astype(np.float32)
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)]
    outputs = [helper.make_empty_tensor_value_info("y")]
    items = [onnx.numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph([node], "one", inputs, outputs, items)
    (expected,) = run(helper.make_model(graph, opset_imports=OPSETS, ir_version=8), x)
    patches = PatchReader(node, OPSETS, weight.shape)(x)
    found = weight.reshape(groups, 8 // groups, -1) @ patches
    assert np.allclose(found.reshape(8, -1), expected.reshape(8, -1), atol=1e-5)


def test_moments_are_covariances_over_all_images() -> None:
    rng = np.random.default_rng(0)
    exact = [values.astype(np.float32) for values in correlated(rng, 3, 4, 20)[:, None]]
    quantized = [values + rng.normal(size=values.shape) / 9 + 0.1 for values in exact]
    found = input_moments(lambda values: values, zip(exact, quantized, strict=True))
    q, lost = np.concatenate(quantized, 2)[0], np.concatenate(exact, 2)[0]
    lost = lost - q
    assert np.allclose(found.quantized[0], np.cov(q, bias=True), atol=1e-5)
    assert np.allclose(found.lost[0], np.cov(lost, q, bias=True)[:4, 4:], atol=1e-5)


def test_a_large_mean_does_not_drown_the_variance() -> None:
    rng = np.random.default_rng(0)
    values = 1000 + rng.normal(size=(1, 2, 500)).astype(np.float32)
    found = input_moments(lambda each: each, [(values, values)])
    assert np.allclose(found.quantized[0], np.cov(values[0], bias=True), rtol=1e-3, atol=1e-3)


def test_weights_make_up_for_what_the_layers_before_have_lost() -> None:
    """An input of the quantized graph is half the float graph's: the weight doubles."""
    encoding = encoding_of(8, 0.01, -128, symmetric=True)
    moments = InputMoments(quantized=np.eye(2)[None], lost=np.diag([0.0, 1.0])[None])
    weight = np.full((1, 2, 1, 1), 0.3, np.float32)
    found = least_error_weight(weight, [encoding], moments)
    assert found.reshape(-1) == pytest.approx([0.3, 0.6])


def test_inputs_without_variance_are_rounded_to_the_nearest() -> None:
    encoding = encoding_of(8, 0.1, -100)
    nothing = InputMoments(quantized=np.zeros((2, 9, 9)), lost=np.zeros((2, 9, 9)))
    weight = np.random.default_rng(0).normal(size=(2, 1, 3, 3)).astype(np.float32)
    found = least_error_weight(weight, [encoding], nothing)
    assert np.allclose(found, rounded_weight(weight, (encoding,)))


class Chain:
    """A dense and a pointwise layer on correlated inputs, calibrated on 3 images."""

    def __init__(self, per_channel: bool) -> None:
        rng = np.random.default_rng(7)
        mixing = rng.normal(size=(8, 2))
        fields = rng.normal(size=(3, 2, 12 * 15))
        values = np.maximum(mixing @ fields + 0.05 * rng.normal(size=(3, 8, 180)), 0)
        self.feeds = [{"x": v.reshape(1, 8, 12, 15).astype(np.float32)} for v in values]
        shapes = [(12, 8, 3, 3), (6, 12, 1, 1)]
        weights = [rng.normal(size=shape) for shape in shapes]
        self.model = conv_graph(
            weights, [rng.normal(size=12), rng.normal(size=6)], size_hw=(12, 15), after=["Relu"]
        )
        self.float = [run(self.model, feed["x"], "z0", "y1") for feed in self.feeds]
        tensors = {"x": [feed["x"] for feed in self.feeds]}
        tensors |= dict(zip(["z0", "y1"], zip(*self.float, strict=True), strict=True))
        ranges = {
            name: (float(np.min(values)), float(np.max(values))) for name, values in tensors.items()
        }
        self.scheme = Scheme(16, per_channel)  # activations so fine that the weights decide
        quantized, _ = qdq_from_ranges(self.model, ranges, self.scheme, {})
        self.encodings = encodings_from_qdq(quantized)

    def rounded(self, advance: Callable[[], None] = lambda: None) -> onnx.ModelProto:
        values = rounded_values(self.model, self.feeds, self.encodings, advance)
        return with_values(self.model, values)

    def written(self, model: onnx.ModelProto) -> onnx.ModelProto:
        overrides = overrides_from_encodings(self.encodings)
        return qdq_from_ranges(model, {}, self.scheme, overrides)[0]

    def outputs(self, model: onnx.ModelProto) -> np.ndarray:
        return np.stack([run(model, feed["x"])[0] for feed in self.feeds])

    def noise(self, model: onnx.ModelProto) -> float:
        exact = np.stack([outputs[1] for outputs in self.float])
        return float(np.square(self.outputs(self.written(model)) - exact).mean())


@pytest.mark.parametrize("per_channel", [False, True], ids=["per tensor", "per channel"])
def test_the_written_graph_holds_the_chosen_weights_and_is_nearer(per_channel: bool) -> None:
    chain = Chain(per_channel)
    nodes = []
    found = chain.rounded(lambda: nodes.append(1))
    assert len(nodes) == len(chain.model.graph.node)
    stored = constants(chain.written(found))
    for name in ("w0", "w1"):
        zero_point = stored[f"{name}_zero_point"].astype(np.float64)
        scale = stored[f"{name}_scale"].astype(np.float64)
        turned = (stored[f"{name}_quantized"].T - zero_point) * scale
        assert np.allclose(turned.T, constants(found)[name], rtol=1e-6)
    biases = corrected_values(chain.model, chain.feeds, chain.encodings)
    nearest = with_values(chain.model, biases)
    assert chain.noise(found) < chain.noise(nearest) / 2


def test_channel_means_are_the_float_graphs_afterwards() -> None:
    chain = Chain(per_channel=False)
    found = chain.outputs(chain.written(chain.rounded()))
    exact = np.stack([outputs[1] for outputs in chain.float])
    assert np.allclose(found.mean((0, 1, 3, 4)), exact.mean((0, 1, 3, 4)), atol=2e-3)


def test_weights_without_encodings_stay_as_they_are() -> None:
    chain = Chain(per_channel=False)
    encodings = Encodings(chain.encodings.activations, {"w0": chain.encodings.params["w0"]})
    found = rounded_values(chain.model, chain.feeds, encodings)
    assert "w1" not in found
    assert not np.array_equal(found["w0"], constants(chain.model)["w0"])


def test_one_image_of_one_colour() -> None:
    chain = Chain(per_channel=True)
    feed = {"x": np.full((1, 8, 12, 15), 0.5, np.float32)}
    found = rounded_values(chain.model, [feed], chain.encodings)
    assert all(np.isfinite(values).all() for values in found.values())
