"""Channels that one scale for a whole weight tensor rounds to nothing."""

import numpy as np
import onnx
from onnx import numpy_helper

from persondet.wording import counted

_LEVELS = 255  # steps of 8 bits
_NOTED_SHARE = 0.1  # of a layer's output channels


def lost_channels(model: onnx.ModelProto) -> dict[str, float]:
    """By the name of each convolution, or else of its weights: the share of its output channels
    all of whose weights are under half a step of an 8-bit scale over the whole tensor, and so
    become 0."""
    weights = {item.name: item for item in model.graph.initializer}
    shares = {}
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[1] in weights:
            values = numpy_helper.to_array(weights[node.input[1]])
            step = (max(values.max(), 0.0) - min(values.min(), 0.0)) / _LEVELS
            largest = np.abs(values).reshape(len(values), -1).max(axis=1)
            shares[node.name or node.input[1]] = float((largest < step / 2).mean())
    return shares


def lost_channel_notes(model: onnx.ModelProto) -> tuple[str, ...]:
    """A note where per-tensor weights lose much, naming the worst layer; () where they do not."""
    lost = {name: share for name, share in lost_channels(model).items() if share > _NOTED_SHARE}
    if not lost:
        return ()
    worst = max(lost, key=lambda name: lost[name])
    return (
        f"8 bits for a whole tensor round many channels to 0 in {counted(len(lost), 'layer')}, "
        f"{lost[worst]:.0%} of them in {worst}: detections may be gone; --per-channel keeps them",
    )
