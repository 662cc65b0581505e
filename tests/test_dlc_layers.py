"""DLC graphs, built by hand as the reader gives them, to layers."""

import numpy as np
import pytest

from benchmarks.dlc_layers import dlc_layer_graph
from benchmarks.figures import figures_of
from persondet.errors import InputError
from runtime.qairt.graph import DlcGraph, DlcOp, DlcTensor


def dlc(tensors, ops):
    """tensors: (name, kind, shape, dtype); ops: (type, params, inputs, outputs)."""
    named = {
        name: DlcTensor(name, kind, shape, dtype, None) for name, kind, shape, dtype in tensors
    }
    return DlcGraph(
        "hand",
        named,
        tuple(DlcOp(f"op{i}", *op) for i, op in enumerate(ops)),
        tuple(t.name for t in named.values() if t.kind == "input"),
        tuple(t.name for t in named.values() if t.kind == "output"),
    )


TO_NHWC = {"perm": np.array([0, 2, 3, 1], np.uint32)}


def quantized(*, middle=()):
    """Float NCHW picture to float rows, 8-bit inside, as the QNN provider writes it."""
    return dlc(
        [
            ("x", "input", (1, 3, 6, 10), "float32"),
            ("x_q", "native", (1, 3, 6, 10), "ufixed8"),
            ("x_nhwc", "native", (1, 6, 10, 3), "ufixed8"),
            ("w", "static", (2, 2, 3, 4), "sfixed8"),
            ("b", "static", (4,), "sfixed32"),
            ("c", "native", (1, 5, 9, 4), "ufixed8"),
            ("rows", "native", (1, 45, 4), "ufixed8"),
            ("y", "output", (1, 45, 4), "float32"),
            ("clamp", "static", (1,), "ufixed8"),
            ("clamp_dq", "native", (1,), "float32"),
        ],
        [
            ("Quantize", {}, ("x",), ("x_q",)),
            ("Transpose", TO_NHWC, ("x_q",), ("x_nhwc",)),
            ("Conv2d", {}, ("x_nhwc", "w", "b"), ("c",)),
            ("Reshape", {}, ("c",), ("rows",)),
            ("Dequantize", {}, ("rows",), ("y",)),
            ("Dequantize", {}, ("clamp",), ("clamp_dq",)),
        ],
    )


def test_a_quantized_dlc():
    graph = dlc_layer_graph(quantized())
    assert [layer.type for layer in graph.layers] == ["Input", "Conv2d", "Reshape"]
    assert {tensor.dtype for tensor in graph.tensors.values()} == {"ufixed8"}
    convolution = graph.layers[1].convolution
    assert (convolution.kernel, convolution.in_channels, convolution.positions) == ((2, 2), 3, 45)
    figures = figures_of(graph)
    assert (figures.parameters, figures.macs) == (48 + 4, 48 * 45)
    expanded = 45 * (4 * 3 + 31)
    outputs = (180 + 16) + (180 + 16) + (180 + 16)
    assert figures.snpe_memory_bytes == outputs + (expanded + 16) + (48 + 16)
    assert figures.peak_activation_bytes == 180 + 180


def test_depthwise_weights_are_kernel_by_channels():
    graph = dlc_layer_graph(
        dlc(
            [
                ("x", "input", (1, 5, 7, 6), "float32"),
                ("w", "static", (3, 3, 1, 6), "float32"),
                ("y", "output", (1, 5, 7, 6), "float32"),
            ],
            [("DepthWiseConv2d", {}, ("x", "w"), ("y",))],
        )
    )
    convolution = graph.layers[1].convolution
    assert (convolution.kernel, convolution.in_channels) == ((3, 3), 6)
    assert (convolution.weights, convolution.biases) == (54, 0)


def test_a_dequantize_inside_the_graph_is_a_layer():
    graph = dlc_layer_graph(
        dlc(
            [
                ("x", "input", (1, 5, 7, 6), "ufixed8"),
                ("f", "native", (1, 5, 7, 6), "float32"),
                ("y", "output", (1, 5, 7, 6), "float32"),
            ],
            [("Dequantize", {}, ("x",), ("f",)), ("ElementWiseNeuron", {}, ("f",), ("y",))],
        )
    )
    types = [layer.type for layer in graph.layers]
    assert types == ["Input", "Dequantize", "ElementWiseNeuron"]
    assert figures_of(graph).snpe_memory_bytes == (210 + 16) * (1 + 4 + 4)


def test_weights_that_are_computed_are_refused():
    graph = dlc(
        [
            ("x", "input", (1, 5, 7, 6), "float32"),
            ("w", "input", (3, 3, 1, 6), "float32"),
            ("y", "output", (1, 5, 7, 6), "float32"),
        ],
        [("Conv2d", {}, ("x", "w"), ("y",))],
    )
    with pytest.raises(InputError, match="weights of convolution 'op0' are not stored"):
        dlc_layer_graph(graph)


def test_a_shape_that_is_not_fixed_is_refused():
    graph = dlc([("x", "input", (1, 0, 7, 6), "float32")], [])
    with pytest.raises(InputError, match="shape of tensor 'x' is not fixed"):
        dlc_layer_graph(graph)
