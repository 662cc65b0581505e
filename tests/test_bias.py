"""Biases beyond int32: wrong without a word in the quantizer beneath, mended or refused here."""

import numpy as np
import onnx
import pytest
from conv_graph import constants, conv_graph, run

from persondet.errors import InputError, PersondetError
from quantize.bias import saturated_biases
from quantize.qdq import Scheme, _quantize, qdq_from_ranges

X = np.random.default_rng(3).uniform(-1, 1, (1, 3, 2, 3)).astype(np.float32)


def model_and_ranges(
    bias: list[float], input_range: float
) -> tuple[onnx.ModelProto, dict[str, tuple[float, float]], np.ndarray]:
    """A layer of 3 -> 2 channels whose input is tiny; the float graph's answer to such an input."""
    weights = np.random.default_rng(4).normal(size=(2, 3, 1, 1))
    model = conv_graph([weights], [bias])
    x = X * np.float32(input_range)
    (y,) = run(model, x)
    low, high = min(float(y.min()), 0), max(float(y.max()), 0)
    return model, {"x": (-input_range, input_range), "y0": (low, high)}, x


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_ordinary_biases_are_left_alone(bits: int, per_channel: bool) -> None:
    model, ranges, x = model_and_ranges([0.5, -0.25], 1.0)
    quantized, widened = qdq_from_ranges(model, ranges, Scheme(bits, per_channel), {})
    assert widened == ()
    (expected,), (found,) = run(model, x), run(quantized, x)
    assert np.abs(found - expected).max() < 0.05


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_saturated_bias_is_widened_and_right(per_channel: bool) -> None:
    model, ranges, x = model_and_ranges([40.0, -0.001], 2e-3)
    scheme = Scheme(16, per_channel)
    (expected,) = run(model, x)

    unchecked = _quantize(model, ranges, scheme, {})
    stored = constants(unchecked)["b0_quantized"]
    assert stored[0] in (2**31 - 1, -(2**31))
    (wrong,) = run(unchecked, x)
    assert np.abs(wrong - expected).max() > 0.5 * 40
    (saturated,) = saturated_biases(model, unchecked)
    assert (saturated.layer, saturated.weight) == ("conv0", "w0")

    quantized, widened = qdq_from_ranges(model, ranges, scheme, {})
    assert widened == ("w0",)
    assert saturated_biases(model, quantized) == []
    (found,) = run(quantized, x)
    step = 40 / 65535
    assert np.abs(found - expected).max() < 3 * step
    # Only what has to be is made coarser.
    before, after = constants(unchecked)["w0_scale"], constants(quantized)["w0_scale"]
    factor = after / before
    assert np.atleast_1d(factor)[0] > 5
    if per_channel:
        assert factor[1] == 1


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_hopeless_bias_is_refused_by_name(per_channel: bool) -> None:
    model, ranges, x = model_and_ranges([40.0, 0.0], 1e-5)
    scheme = Scheme(16, per_channel)
    with pytest.raises(PersondetError, match=r"the biases of these layers .*: conv0; use 8-bit"):
        qdq_from_ranges(model, ranges, scheme, {})
    (expected,), (wrong,) = run(model, x), run(_quantize(model, ranges, scheme, {}), x)
    assert np.abs(wrong - expected).max() > 0.5 * 40
    quantized, _ = qdq_from_ranges(model, ranges, Scheme(8, per_channel), {})
    assert np.abs(run(quantized, x)[0] - expected).max() < 40 / 255


def test_it_is_a_failure_of_the_machine_not_of_the_user() -> None:
    model, ranges, _ = model_and_ranges([40.0, 0.0], 1e-5)
    with pytest.raises(PersondetError) as caught:
        qdq_from_ranges(model, ranges, Scheme(16), {})
    assert not isinstance(caught.value, InputError)


def test_layers_without_bias_and_with_a_shared_one() -> None:
    """The quantizer gives each layer a copy of a shared bias; each is checked on its own scales."""
    weights = [np.full((2, 2, 1, 1), 0.5), np.full((2, 2, 1, 1), 0.5), np.full((2, 2, 1, 1), 0.5)]
    model = conv_graph(weights, [[30, 30], [30, 30], [0, 0]])
    nodes = {node.name: node for node in model.graph.node}
    nodes["conv1"].input[2] = "b0"
    del nodes["conv2"].input[2:]
    onnx.checker.check_model(model)
    x = np.resize(X, (1, 2, 2, 3)) * np.float32(5e-3)
    names = ["y0", "y1", "y2"]
    expected = run(model, x, *names)
    ranges = {"x": (-5e-3, 5e-3)}
    ranges |= {
        name: (0.0, float(values.max())) for name, values in zip(names, expected, strict=True)
    }
    quantized, widened = qdq_from_ranges(model, ranges, Scheme(16), {})
    assert widened == ("w0",)
    for found, right in zip(run(quantized, x, "y2"), expected[2:], strict=True):
        assert np.abs(found - right).max() < 1e-3 * right.max()
