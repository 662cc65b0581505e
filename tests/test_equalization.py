"""Equalisation changes no output, and what eight bits lose on it is what they would lose on the
network that the scales of channels hid."""

import numpy as np
import onnx
import pytest
import torch
from conv_graph import conv_graph
from onnx import numpy_helper
from random_graphs import feeds, random_graph, spread_apart

from persondet.errors import InputError, PersondetError
from quantize import equalization
from quantize.channel_spaces import ChannelGraph, channel_graph, rescaled_model
from quantize.channel_statistics import ChannelStatistics, channel_statistics
from quantize.equalization import closed_form_scales, equalized, is_equalized
from quantize.noise_model import NoiseModel, scale_limits, sensitivities
from quantize.presets import Equalization
from quantize.qdq import Scheme, qdq_from_ranges
from quantize.ranges import observe, select_range
from quantize.tensor_values import tensor_values

NAMES = ("scores", "boxes")


def outputs(model: onnx.ModelProto, given) -> list[np.ndarray]:
    values_of = tensor_values(model, NAMES)
    return [np.concatenate([values_of(feed)[name].ravel() for feed in given]) for name in NAMES]


def sqnr_db(exact: np.ndarray, found: np.ndarray) -> float:
    exact, found = exact.astype(np.float64), found.astype(np.float64)
    return 10 * np.log10((exact**2).sum() / max(((exact - found) ** 2).sum(), 1e-30))


def quantized(model: onnx.ModelProto, given, *, per_channel: bool = False) -> onnx.ModelProto:
    ranges = {
        name: select_range(histogram, "minmax", 8)
        for name, histogram in observe(model, given, method="minmax").items()
    }
    return qdq_from_ranges(model, ranges, Scheme(8, per_channel), {})[0]


@pytest.mark.parametrize("seed", range(12))
def test_any_scales_change_nothing_without_clips(seed: int) -> None:
    model = random_graph(seed, spread=1e-9)
    apart = spread_apart(model, np.random.default_rng(seed), 2.0)
    for exact, found in zip(outputs(model, feeds(3)), outputs(apart, feeds(3)), strict=True):
        np.testing.assert_allclose(found, exact, atol=2e-5 * np.abs(exact).max())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("method", [Equalization.NOISE, Equalization.CLOSED_FORM])
def test_equalisation_changes_nothing_on_what_it_saw(seed: int, method: Equalization) -> None:
    """Clips with their caps, residual groups, taps, depthwise and grouped convolutions."""
    model, given = random_graph(seed), feeds(4)
    found = equalized(model, lambda: given, method=method)
    assert found.spaces > 0 and found.max_difference < 2e-5
    for exact, other in zip(outputs(model, given), outputs(found.model, given), strict=True):
        np.testing.assert_allclose(other, exact, atol=2e-5 * np.abs(exact).max())
    changed = [
        not np.array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))
        for a, b in zip(model.graph.initializer, found.model.graph.initializer, strict=True)
    ]
    assert any(changed)
    assert is_equalized(found.model) and not is_equalized(model)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("method", [Equalization.NOISE, Equalization.CLOSED_FORM])
def test_channels_that_were_scaled_apart_are_restored(seed: int, method: Equalization) -> None:
    """Planted: 10^3 either way at random, after which eight bits hold nothing (under 12 dB)."""
    model, given, fresh = random_graph(seed, spread=1e-9), feeds(8), feeds(6, seed=2)
    apart = spread_apart(model, np.random.default_rng(seed), 3.0)
    exact = outputs(model, fresh)

    def worst(graph: onnx.ModelProto) -> float:
        return min(map(sqnr_db, exact, outputs(quantized(graph, given), fresh)))

    found = equalized(apart, lambda: given, method=method).model
    assert worst(apart) < 12
    assert worst(found) > worst(model) - 4.0


def test_a_graph_without_a_free_space_passes_through() -> None:
    model = conv_graph([np.ones((2, 3, 1, 1))], [np.zeros(2)])
    found = equalized(model, lambda: [{"x": np.ones((1, 3, 2, 3), np.float32)}])
    assert found.spaces == 0 and found.model is model


def test_a_clip_that_does_not_begin_at_0_is_left_alone() -> None:
    weights = [np.ones((2, 2, 1, 1)), np.ones((2, 2, 1, 1))]
    model = conv_graph(weights, [np.zeros(2)] * 2, after=["Clip"])
    assert len(channel_graph(model).free) == 1
    (zero,) = (item for item in model.graph.initializer if item.name == "zero")
    zero.CopyFrom(numpy_helper.from_array(np.float32(-1), "zero"))
    assert channel_graph(model).free == ()


def test_weights_that_two_layers_share_are_left_alone() -> None:
    weights = [np.ones((2, 2, 1, 1))] * 3
    model = conv_graph(weights, [np.zeros(2)] * 3)
    assert len(channel_graph(model).free) == 2
    model.graph.node[1].input[1] = model.graph.node[0].input[1]
    assert channel_graph(model).free == ()  # of the first two nothing may change, nor the third's


def slow_closed_form(graph: ChannelGraph, statistics: ChannelStatistics, limits) -> list:
    """Channel by channel over the whole rescaled model, each time anew."""
    logs = [np.zeros(len(limit.lowest)) for limit in limits]
    for _ in range(20):
        for number, space in enumerate(graph.free):
            now = channel_graph(rescaled_model(graph, [np.exp(log) for log in logs]))
            made, read = [], []
            for name in space.producers:
                weight = now.convolutions[name].weight
                made.append([np.abs(row).max() for row in weight])
            for tensor in space.tensors:
                if tensor in statistics.high:
                    largest = np.maximum(statistics.high[tensor], -statistics.low[tensor])
                    made.append(list(largest / np.exp(logs[number])))
            for name in space.readers:
                conv = now.convolutions[name]
                outputs_per_group = len(conv.weight) // conv.groups
                inputs_per_group = conv.weight.shape[1]
                shares = []
                for channel in range(conv.groups * inputs_per_group):
                    group, inside = divmod(channel, inputs_per_group)
                    rows = range(group * outputs_per_group, (group + 1) * outputs_per_group)
                    shares.append(max(np.abs(conv.weight[row, inside]).max() for row in rows))
                read.append(shares)
            r1 = [max(part[c] / max(part) for part in made) for c in range(len(logs[number]))]
            r2 = [max(part[c] / max(part) for part in read) for c in range(len(logs[number]))]
            step = [np.log(max(a, 1e-4) / max(b, 1e-4)) / 2 for a, b in zip(r1, r2, strict=True)]
            moved = logs[number] + np.array(step) - np.mean(step)
            allowed = np.maximum(moved, limits[number].lowest)
            logs[number] = np.where(limits[number].is_free, allowed, 0)
    return [np.exp(log) for log in logs]


@pytest.mark.parametrize("seed", range(3))
def test_the_closed_form_equals_its_slow_reference(seed: int) -> None:
    graph = channel_graph(random_graph(seed, layers=4))
    statistics = channel_statistics(graph, feeds(3))
    limits = scale_limits(graph, statistics)
    fast = closed_form_scales(graph, statistics, limits)
    for one, other in zip(fast, slow_closed_form(graph, statistics, limits), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)  # the slow one rounds to float32


def test_the_models_noise_of_a_layer_is_the_measured_one() -> None:
    """Of the last layer, whose rounded weights reach an output directly: on average within a factor
    of 2. Of one layer with 32 to 288 weights within a factor of 5; padding makes it less."""
    ratios = []
    for seed in range(12):
        model, given = random_graph(seed), feeds(16)
        graph = channel_graph(model)
        statistics = channel_statistics(graph, given)
        conv = graph.convolutions["head_scores"]
        step = (conv.weight.max() - conv.weight.min()) / 255
        taps = conv.weight[0, 0].size
        predicted = step**2 / 12 * taps * statistics.mean_square[conv.input].sum()
        rounded = onnx.ModelProto()
        rounded.CopyFrom(model)
        for item in rounded.graph.initializer:
            if item.name == conv.weight_name:
                weight = np.rint(numpy_helper.to_array(item) / step) * step
                item.CopyFrom(numpy_helper.from_array(weight.astype(np.float32), item.name))
        exact, found = outputs(model, given)[0], outputs(rounded, given)[0]
        ratios.append(predicted / float(np.square(exact - found).mean()))
    assert min(ratios) > 1 / 5 and max(ratios) < 5
    assert 1 / 2 < float(np.exp(np.mean(np.log(ratios)))) < 2


def test_the_optimised_scales_are_quieter_than_the_closed_form() -> None:
    model = random_graph(3, spread=2.0)
    graph = channel_graph(model)
    statistics = channel_statistics(graph, feeds(6))
    limits = scale_limits(graph, statistics)
    noise = NoiseModel(graph, statistics, act_bits=8)

    def of(scales: list[np.ndarray]) -> float:
        with torch.no_grad():
            return float(noise([torch.from_numpy(np.log(scale)) for scale in scales]))

    best = equalized(model, lambda: feeds(6), method=Equalization.NOISE)
    closed = closed_form_scales(graph, statistics, limits)
    start = [np.ones_like(scale) for scale in closed]
    assert of(closed) < of(start)
    assert best.gain_db is not None
    assert best.gain_db > 10 * np.log10(of(start) / of(closed))


def test_sensitivities_by_hand() -> None:
    """Two channels, of which the reader takes one three times as strongly."""
    weights = [np.eye(2).reshape(2, 2, 1, 1), np.array([[1.0, 3.0]]).reshape(1, 2, 1, 1)]
    model = conv_graph(weights, [np.zeros(2), np.zeros(1)], after=["Relu"])
    graph = channel_graph(model)
    statistics = channel_statistics(graph, [{"x": np.ones((1, 2, 2, 3), np.float32)}])
    found = sensitivities(graph, statistics)
    assert statistics.mean_square["z0"].tolist() == [1.0, 1.0]
    assert statistics.mean_square["y1"].tolist() == [16.0]
    assert found["z0"].tolist() == [1 / 16, 9 / 16]
    assert found["y1"].tolist() == [1 / 16]


def test_dead_channels_and_a_constant_image() -> None:
    model = random_graph(1)
    for item in model.graph.initializer:
        if item.name in ("c0.w", "c0.b"):
            array = numpy_helper.to_array(item).copy()
            array[2:4] = 0
            item.CopyFrom(numpy_helper.from_array(array, item.name))
    zeros = [{"image": np.zeros((1, 3, 6, 5), np.float32)}]
    for given in (feeds(2), zeros):
        found = equalized(model, lambda given=given: given)
        weights = [numpy_helper.to_array(item) for item in found.model.graph.initializer]
        assert all(np.isfinite(array).all() for array in weights)


def test_what_cannot_be_equalised_is_said(monkeypatch) -> None:
    model = random_graph(0)
    with pytest.raises(InputError, match="the calibration set is empty"):
        equalized(model, lambda: [])
    nan = [{"image": np.full((1, 3, 6, 5), np.nan, np.float32)}]
    with pytest.raises(PersondetError, match="has a value that is not finite"):
        equalized(model, lambda: nan)
    monkeypatch.setattr(equalization, "MAX_DIFFERENCE", 0.0)
    with pytest.raises(PersondetError, match=r"differs from the float graph by .*--equalize none"):
        equalized(model, lambda: feeds(2))
