"""Bytes in: exact encodings, the same numbers as the float path."""

import dataclasses

import numpy as np
import onnx
import pytest
from conv_graph import constants
from tiny_network import TINY_SPEC, tiny_checkpoint

from export.onnx_export import onnx_from_checkpoint
from persondet.preprocess import preprocess
from quantize.uint8_input import float_graph, input_encoding, real_values
from runtime.onnx_session import open_session

PICTURE = np.random.default_rng(0).integers(0, 256, (61, 97, 3), np.uint8)


def exported(tmp_path, mean: float, std: float, input_format: str):
    checkpoint = tiny_checkpoint(tmp_path / "tiny.pth")
    spec = dataclasses.replace(TINY_SPEC, mean_rgb=(mean,) * 3, std_rgb=(std,) * 3)
    checkpoint = dataclasses.replace(checkpoint, spec=spec)
    return onnx_from_checkpoint(checkpoint, input_format=input_format)


def outputs(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    return open_session(model.SerializeToString()).run(["scores", "boxes"], {"image": x})


def test_encoding_is_the_normalisation_itself() -> None:
    found = input_encoding(TINY_SPEC)
    assert (found.scale, found.offset, found.bitwidth) == (1 / 128, -127, 8)
    assert (found.min, found.max) == (-127 / 128, 1.0)


@pytest.mark.parametrize(("mean", "std"), [(127.0, 128.0), (0.0, 255.0), (127.5, 127.5)])
def test_float_graph_gives_the_outputs_of_the_uint8_graph(tmp_path, mean, std) -> None:
    model, spec = exported(tmp_path, mean, std, "uint8-nhwc")
    before = model.SerializeToString()
    graph = float_graph(model, spec)
    assert model.SerializeToString() == before
    onnx.checker.check_model(graph, full_check=True)
    assert graph.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    pixels = preprocess(PICTURE, spec)
    real = real_values(pixels, spec)
    assert real.dtype == np.float32
    assert np.allclose(real, (pixels.astype(np.float64) - int(mean)) / std, atol=1e-7, rtol=0)
    for found, expected in zip(outputs(graph, real), outputs(model, pixels), strict=True):
        inner = np.abs(found - expected)
        # A fraction of the mean goes into the bias, which is not exact where the layer pads.
        assert inner.max() < (2e-5 if mean == int(mean) else 0.02)
        assert np.median(inner) < 2e-5 or mean != int(mean)


def test_the_fraction_goes_into_the_first_bias_only(tmp_path) -> None:
    model, spec = exported(tmp_path, 127.5, 127.5, "uint8-nhwc")
    graph = float_graph(model, spec)
    assert not any(node.name == "image_shift_add" for node in graph.graph.node)
    first = next(node for node in graph.graph.node if node.op_type == "Conv")
    before, after = constants(model), constants(graph)
    changed = [name for name in after if not np.array_equal(after[name], before[name])]
    assert changed == [first.input[2]]
    weights = before[first.input[1]].astype(np.float64)
    expected = before[first.input[2]] - 0.5 / 127.5 * weights.sum((1, 2, 3))
    assert after[first.input[2]] == pytest.approx(expected, abs=1e-6)
