"""ONNX graphs, built by hand, to layers."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.figures import figures_of
from benchmarks.onnx_layers import onnx_layer_graph
from persondet.errors import InputError

RNG = np.random.default_rng(0)


def save(path: Path, nodes, initializers, *, inputs, outputs, opset=17) -> Path:
    graph = helper.make_graph(
        nodes,
        "hand",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def float_model(path: Path) -> Path:
    """Input NHWC (1, 6, 10, 3): transpose, grouped conv, relu, transpose, reshape."""
    return save(
        path,
        [
            helper.make_node("Transpose", ["x"], ["nchw"], "to_nchw", perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["nchw", "w", "b"], ["c"], "conv", strides=[2, 2]),
            helper.make_node("Relu", ["c"], ["r"], "relu"),
            helper.make_node("Conv", ["r", "dw"], ["d"], "depthwise", group=4, pads=[1, 1, 1, 1]),
            helper.make_node("Transpose", ["d"], ["nhwc"], "to_nhwc", perm=[0, 2, 3, 1]),
            helper.make_node("Constant", [], ["shape"], value_ints=[1, -1, 4]),
            helper.make_node("Reshape", ["nhwc", "shape"], ["y"], "rows"),
        ],
        {
            "w": RNG.normal(size=(4, 3, 2, 2)).astype(np.float32),
            "b": np.zeros(4, np.float32),
            "dw": RNG.normal(size=(4, 1, 3, 3)).astype(np.float32),
        },
        inputs=[("x", TensorProto.FLOAT, (1, 6, 10, 3))],
        outputs=[("y", TensorProto.FLOAT, (1, 15, 4))],
    )


def test_a_float_model(tmp_path):
    graph = onnx_layer_graph(float_model(tmp_path / "m.onnx"))
    assert [(layer.name, layer.type) for layer in graph.layers] == [
        ("x", "Input"),
        ("conv", "Conv"),
        ("relu", "Relu"),
        ("depthwise", "Conv"),
        ("rows", "Reshape"),
    ]
    conv, depthwise = graph.layers[1].convolution, graph.layers[3].convolution
    assert (conv.kernel, conv.in_channels, conv.positions) == ((2, 2), 3, 15)
    assert (conv.weights, conv.biases, conv.weight_dtype) == (48, 4, "float32")
    assert (depthwise.kernel, depthwise.in_channels) == ((3, 3), 4)
    assert (depthwise.weights, depthwise.biases) == (36, 0)
    assert graph.layers[4].is_view
    figures = figures_of(graph)
    assert (figures.parameters, figures.macs) == (48 + 4 + 36, (48 + 36) * 15)
    assert figures.layers[4].output_shape == (1, 15, 4)


@pytest.mark.parametrize(
    ("domain", "activation_type"), [("", np.uint8), ("com.microsoft", np.uint16)]
)
def test_a_qdq_model(tmp_path, domain, activation_type):
    """uint8 and, in onnxruntime's own domain, uint16 activations; int8 weights."""

    def pair(source, result):
        return [
            helper.make_node("QuantizeLinear", [source, "s", "z"], [f"{result}_q"], domain=domain),
            helper.make_node(
                "DequantizeLinear", [f"{result}_q", "s", "z"], [result], domain=domain
            ),
        ]

    path = save(
        tmp_path / "qdq.onnx",
        [
            *pair("x", "x_dq"),
            helper.make_node("DequantizeLinear", ["w_q", "s", "wz"], ["w"]),
            helper.make_node("DequantizeLinear", ["b_q", "s", "bz"], ["b"]),
            helper.make_node("Conv", ["x_dq", "w", "b"], ["c"], "conv"),
            helper.make_node("Relu", ["c"], ["r"], "relu"),
            *pair("r", "y"),
        ],
        {
            "s": np.float32(0.1),
            "z": activation_type(7),
            "wz": np.int8(0),
            "bz": np.int32(0),
            "w_q": np.ones((4, 3, 2, 2), np.int8),
            "b_q": np.ones(4, np.int32),
        },
        inputs=[("x", TensorProto.FLOAT, (1, 3, 6, 10))],
        outputs=[("y", TensorProto.FLOAT, (1, 4, 5, 9))],
    )
    graph = onnx_layer_graph(path)
    assert [layer.name for layer in graph.layers] == ["x", "conv"]
    assert {t.dtype for t in graph.tensors.values()} == {np.dtype(activation_type).name}
    assert graph.layers[1].convolution.weight_dtype == "int8"
    figures = figures_of(graph)
    assert (figures.parameters, figures.macs) == (48 + 4, 48 * 45)


def test_a_lone_dequantize_of_a_uint8_picture_is_a_layer(tmp_path):
    path = save(
        tmp_path / "u8.onnx",
        [
            helper.make_node("DequantizeLinear", ["x", "s", "z"], ["f"], "normalise"),
            helper.make_node("Conv", ["f", "w"], ["y"], "conv"),
        ],
        {"s": np.float32(0.1), "z": np.uint8(127), "w": np.ones((4, 3, 2, 2), np.float32)},
        inputs=[("x", TensorProto.UINT8, (1, 3, 6, 10))],
        outputs=[("y", TensorProto.FLOAT, (1, 4, 5, 9))],
    )
    graph = onnx_layer_graph(path)
    assert [layer.name for layer in graph.layers] == ["x", "normalise", "conv"]
    assert [graph.tensors[name].dtype for name in ("x", "f", "y")] == ["uint8", *["float32"] * 2]


def test_a_transpose_that_changes_more_than_the_layout_is_a_layer(tmp_path):
    path = save(
        tmp_path / "t.onnx",
        [helper.make_node("Transpose", ["x"], ["y"], "swap", perm=[0, 1, 3, 2])],
        {},
        inputs=[("x", TensorProto.FLOAT, (1, 3, 6, 10))],
        outputs=[("y", TensorProto.FLOAT, (1, 3, 10, 6))],
    )
    assert [layer.name for layer in onnx_layer_graph(path).layers] == ["x", "swap"]


@pytest.mark.parametrize("size", ["height", None])
def test_dynamic_shapes_are_refused(tmp_path, size):
    path = save(
        tmp_path / "dynamic.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        {},
        inputs=[("x", TensorProto.FLOAT, (1, 3, size, 10))],
        outputs=[("y", TensorProto.FLOAT, (1, 3, size, 10))],
    )
    shown = r"dynamic\.onnx: .*tensor 'x' is not fixed \(1 x 3 x (height|\?) x 10\)"
    with pytest.raises(InputError, match=shown):
        onnx_layer_graph(path)


def test_weights_that_are_computed_are_refused(tmp_path):
    path = save(
        tmp_path / "weights.onnx",
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        {},
        inputs=[("x", TensorProto.FLOAT, (1, 3, 6, 10)), ("w", TensorProto.FLOAT, (4, 3, 2, 2))],
        outputs=[("y", TensorProto.FLOAT, (1, 4, 5, 9))],
    )
    with pytest.raises(InputError, match="weights of convolution 'conv' are not stored"):
        onnx_layer_graph(path)


def test_shapes_that_do_not_fit_are_refused(tmp_path):
    path = save(
        tmp_path / "wrong.onnx",
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        {"w": np.ones((4, 3, 2, 2), np.float32)},
        inputs=[("x", TensorProto.FLOAT, (1, 3, 6, 10))],
        outputs=[("y", TensorProto.FLOAT, (1, 4, 6, 10))],
    )
    with pytest.raises(InputError, match=r"the shapes in .*wrong\.onnx do not fit"):
        onnx_layer_graph(path)


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("not a model")
    with pytest.raises(InputError, match="not a valid ONNX model"):
        onnx_layer_graph(path)
