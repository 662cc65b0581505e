"""Channels that one scale a tensor rounds to nothing, and who says so."""

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from persondet.cli import cli
from quantize.lost_channels import lost_channel_notes, lost_channels


def model_with(*largest: float) -> onnx.ModelProto:
    """One convolution of 1x2 weights; the largest of each output channel is given, the other is
    its negative half."""
    weights = np.array([[[[value, -value / 2]]] for value in largest], np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph(
        [node], "g", ports[:1], ports[1:], [numpy_helper.from_array(weights, "w")]
    )
    return helper.make_model(graph)


def test_channels_under_half_a_step_are_lost() -> None:
    """The step of weights from -0.5 to 1 is 1.5 / 255; rounding to it is the reference."""
    step = 1.5 / 255
    model = model_with(1.0, step * 0.49, step * 0.51, 0.0, 0.3)
    assert lost_channels(model) == {"conv": pytest.approx(2 / 5)}
    values = numpy_helper.to_array(model.graph.initializer[0])
    assert (np.round(values / step) == 0).all(axis=(1, 2, 3)).mean() == 2 / 5


def test_all_zero_weights_are_not_counted_as_lost() -> None:
    assert lost_channels(model_with(0.0, 0.0)) == {"conv": 0.0}
    assert lost_channel_notes(model_with(1.0, 0.5)) == ()


def test_quantizing_the_head_a_tensor_at_a_time_is_warned_of(astronaut, tmp_path) -> None:
    def run(*arguments: object):
        result = CliRunner().invoke(cli, [str(word) for word in arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result.stderr

    onnx_path = tmp_path / "head.onnx"
    run("export", "head", "-o", onnx_path)
    calibrate = ("quantize", onnx_path, "--calib", astronaut)
    assert "round many channels to 0 in" in run(*calibrate)
    assert "round many" not in run(*calibrate, "--per-channel", "-o", tmp_path / "pc.dlc")
