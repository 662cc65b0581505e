"""Channels that one scale per tensor rounds to nothing, and who says so."""

import dataclasses

import numpy as np
import pytest
from click.testing import CliRunner

from persondet.cli import cli
from quantize.channel_spaces import Convolution
from quantize.channel_statistics import ChannelStatistics
from quantize.lost_channels import lost_signal, lost_signal_notes


def convolution(*largest: float) -> Convolution:
    """1x2 weights; the largest of each output channel is given, the other is its negative half."""
    weight = np.array([[[[value, -value / 2]]] for value in largest])
    return Convolution(
        name="conv",
        input="x",
        output="y",
        encoded="y",
        weight_name="w",
        bias_name=None,
        groups=1,
        weight=weight,
        bias=None,
    )


def lost(conv: Convolution, energy: list[float], heard: list[float]) -> float:
    values = {"y": np.array(energy)}
    statistics = ChannelStatistics(mean_square=values, mean=values, low=values, high=values)
    return lost_signal({"conv": conv}, statistics, {"y": np.array(heard)})["conv"]


def test_channels_under_half_a_step_are_lost_with_their_signal() -> None:
    """The step of weights from -0.5 to 1 is 1.5 / 255; rounding to it is the reference."""
    step = 1.5 / 255
    conv = convolution(1.0, step * 0.49, step * 0.51, 0.0, 0.3)
    assert (np.round(conv.weight / step) == 0).all(axis=(1, 2, 3)).tolist() == [
        *(False, True, False, True, False),
    ]
    assert lost(conv, [4, 1, 1, 0, 2], [1, 1, 1, 1, 1]) == pytest.approx(1 / 8)
    assert lost(conv, [4, 1, 1, 0, 2], [1, 8, 1, 1, 0.5]) == pytest.approx(8 / 14)


def test_dead_channels_lose_nothing() -> None:
    assert lost(convolution(1.0, 0.0, 1e-9), [1, 0, 0], [1, 1, 1]) == 0
    assert lost(convolution(0.0, 0.0), [0, 0], [1, 1]) == 0
    assert lost(dataclasses.replace(convolution(1.0, 0.5)), [1, 1], [1, 1]) == 0


def test_the_note_names_the_layer_that_loses_most() -> None:
    assert lost_signal_notes({"a": 0.01, "b": 0.0}) == ()
    (note,) = lost_signal_notes({"a": 0.02, "b": 0.5, "c": 0.001})
    assert "in 2 layers" in note and "50% of the signal of b" in note


def test_the_head_is_warned_of_unless_it_is_equalised(astronaut, tmp_path) -> None:
    def run(*arguments: object):
        result = CliRunner().invoke(cli, [str(word) for word in arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result.stderr

    onnx_path = tmp_path / "head.onnx"
    run("export", "head", "-o", onnx_path)
    calibrate = ("quantize", onnx_path, "--calib", astronaut)
    assert "round channels to 0 in" in run(*calibrate, "--preset", "snpe")
    assert "round channels" not in run(*calibrate, "--preset", "fast")
    assert "round channels" not in run(*calibrate, "--preset", "snpe", "--per-channel")
