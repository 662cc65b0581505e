"""The rules of benchmarks.figures and benchmarks.layers on graphs small enough to count by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.figures import (
    figures_of,
    mib_text,
    peak_activation_bytes,
    snpe_memory_bytes,
    snpe_scaled,
)
from benchmarks.layers import (
    Convolution,
    Layer,
    LayerGraph,
    Node,
    TensorInfo,
    bytes_per_element,
    layer_graph,
)
from persondet.errors import InputError


def floats(**shapes):
    return {name: TensorInfo(name, shape, "float32") for name, shape in shapes.items()}


def chain(tensors, *nodes):
    names = list(tensors)
    return layer_graph("hand", tensors, nodes, names[:1], names[-1:])


# 3x3 depthwise-like: 6 input channels, output 5 x 7, 6 * 9 weights, 6 biases.
CONVOLUTION = Convolution((3, 3), 6, 35, 54, 6, "float32")
CONV_NODE = Node("conv", "Conv", ("x",), ("y",), convolution=CONVOLUTION)
CONV_TENSORS = floats(x=(1, 6, 5, 7), y=(1, 6, 5, 7))


def test_a_convolution_counted_by_hand():
    figures = figures_of(chain(CONV_TENSORS, CONV_NODE))
    source, convolution = figures.layers
    assert (source.name, source.type, source.parameters) == ("x", "Input", 0)
    assert source.memory_bytes == (210 + 16) * 4
    assert convolution.parameters == 54 + 6
    assert convolution.macs == 54 * 35
    expanded = 35 * (9 * 6 + 31)
    assert convolution.memory_bytes == (210 + 16 + expanded + 16 + 54 + 16) * 4
    assert figures.snpe_memory_bytes == source.memory_bytes + convolution.memory_bytes
    assert figures.peak_activation_bytes == 2 * 210 * 4


def test_each_array_counts_in_the_type_it_is_stored_in():
    tensors = {
        "x": TensorInfo("x", (1, 6, 5, 7), "ufixed16"),
        "y": TensorInfo("y", (1, 6, 5, 7), "ufixed8"),
    }
    convolution = Convolution((3, 3), 6, 35, 54, 6, "sfixed8")
    node = Node("conv", "Conv2d", ("x",), ("y",), convolution=convolution)
    graph = chain(tensors, node)
    expanded = 35 * (9 * 6 + 31)
    expected = (210 + 16) + (expanded + 16) * 2 + (54 + 16)
    assert snpe_memory_bytes(graph.layers[1], graph) == expected


def test_a_change_of_layout_is_no_layer_and_no_memory():
    tensors = floats(x=(1, 3, 5, 7), nhwc=(1, 5, 7, 3), y=(1, 5, 7, 3))
    graph = chain(
        tensors,
        Node("permute", "Transpose", ("x",), ("nhwc",), "layout"),
        Node("relu", "Relu", ("nhwc",), ("y",), "activation"),
    )
    assert [layer.name for layer in graph.layers] == ["x", "relu"]
    assert peak_activation_bytes(graph) == 2 * 105 * 4


def test_a_reshape_is_a_layer_of_the_estimate_and_a_view_of_the_peak():
    tensors = floats(x=(1, 10), flat=(10,))
    graph = chain(tensors, Node("reshape", "Reshape", ("x",), ("flat",), "reshape"))
    assert figures_of(graph).snpe_memory_bytes == 2 * (10 + 16) * 4
    assert peak_activation_bytes(graph) == 10 * 4


def qdq_graph(*, activation_is_read_twice=False):
    """x -Q-DQ-> conv -> relu -Q-DQ-> y, as a quantizer that keeps the relu writes it."""
    shape = (1, 6, 5, 7)
    tensors = floats(x=shape, x_dq=shape, c=shape, r=shape, y=shape)
    for name in ("x_q", "r_q"):
        tensors[name] = TensorInfo(name, shape, "uint8")
    quantized = Convolution((3, 3), 6, 35, 54, 6, "int8")
    nodes = [
        Node("q0", "QuantizeLinear", ("x",), ("x_q",), "quantize"),
        Node("dq0", "DequantizeLinear", ("x_q",), ("x_dq",), "dequantize"),
        Node("conv", "Conv", ("x_dq",), ("c",), convolution=quantized),
        Node("relu", "Relu", ("c",), ("r",), "activation"),
        Node("q1", "QuantizeLinear", ("r",), ("r_q",), "quantize"),
        Node("dq1", "DequantizeLinear", ("r_q",), ("y",), "dequantize"),
    ]
    if activation_is_read_twice:
        tensors |= floats(z=shape)
        nodes.append(Node("add", "Add", ("y", "c"), ("z",)))
    return layer_graph("qdq", tensors, nodes, ["x"], ["z" if activation_is_read_twice else "y"])


def test_a_quantized_graph_has_no_quantize_layers_and_fuses_activations():
    graph = qdq_graph()
    assert [layer.name for layer in graph.layers] == ["x", "conv"]
    assert {tensor.dtype for tensor in graph.tensors.values()} == {"uint8"}
    figures = figures_of(graph)
    expanded = 35 * (9 * 6 + 31)
    assert figures.snpe_memory_bytes == 2 * (210 + 16) + (expanded + 16) + (54 + 16)
    assert figures.peak_activation_bytes == 2 * 210


def test_an_activation_is_not_fused_where_its_input_is_read_elsewhere():
    names = [layer.name for layer in qdq_graph(activation_is_read_twice=True).layers]
    assert names == ["x", "conv", "relu", "add"]


def test_float_activations_stay_layers():
    tensors = floats(x=(1, 6, 5, 7), y=(1, 6, 5, 7), r=(1, 6, 5, 7))
    graph = chain(tensors, CONV_NODE, Node("relu", "Relu", ("y",), ("r",), "activation"))
    assert [layer.name for layer in graph.layers] == ["x", "conv", "relu"]


def test_a_skip_connection_keeps_its_tensor_alive():
    #   x (100) -> a (10) -> b (20) -> add with x -> y (100)
    tensors = floats(x=(100,), a=(10,), b=(20,), y=(100,))
    graph = chain(
        tensors,
        Node("a", "Conv", ("x",), ("a",)),
        Node("b", "Conv", ("a",), ("b",)),
        Node("add", "Add", ("x", "b"), ("y",)),
    )
    assert peak_activation_bytes(graph) == 4 * (100 + 20 + 100)


def test_an_early_output_lives_to_the_end():
    tensors = floats(x=(4,), early=(1000,), b=(8,), late=(2000,))
    nodes = [
        Node("early", "Conv", ("x",), ("early",)),
        Node("b", "Conv", ("x",), ("b",)),
        Node("late", "Conv", ("b",), ("late",)),
    ]
    graph = layer_graph("hand", tensors, nodes, ["x"], ["early", "late"])
    assert peak_activation_bytes(graph) == 4 * (1000 + 8 + 2000)


def slow_peak(graph):
    """At each step, add up what was written by then and is read then or later, views followed."""
    owner = {}
    for layer in graph.layers:
        for name in layer.outputs:
            owner[name] = owner[layer.inputs[0]] if layer.is_view else name

    def alive_at(name, step):
        steps = range(len(graph.layers))
        written = min(
            0 if owner[n] in graph.inputs else s
            for s in steps
            for n in graph.layers[s].outputs
            if owner[n] == name
        )
        touched = [
            s
            for s in steps
            for n in (*graph.layers[s].inputs, *graph.layers[s].outputs)
            if owner[n] == name
        ]
        is_output = any(owner[n] == name for n in graph.outputs)
        return written <= step and (is_output or step <= max(touched))

    return max(
        sum(graph.tensors[name].bytes for name in set(owner.values()) if alive_at(name, step))
        for step in range(len(graph.layers))
    )


@st.composite
def random_graphs(draw):
    """A few inputs, then layers that read any earlier tensors; any tensors are outputs."""
    count = draw(st.integers(1, 8))
    num_inputs = draw(st.integers(1, 2))
    layers = [Layer(f"i{index}", "Input", (), (f"i{index}",)) for index in range(num_inputs)]
    names = [layer.name for layer in layers]
    for index in range(count):
        read = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        is_view = draw(st.booleans())
        layers.append(Layer(f"l{index}", "Op", tuple(read), (f"t{index}",), is_view=is_view))
        names.append(f"t{index}")
    sizes = {name: draw(st.integers(1, 50)) for name in names}
    outputs = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    tensors = {name: TensorInfo(name, (size,), "float32") for name, size in sizes.items()}
    inputs = tuple(layer.name for layer in layers[:num_inputs])
    return LayerGraph("random", tensors, tuple(layers), inputs, tuple(outputs))


@given(random_graphs())
@settings(max_examples=150, deadline=None)
def test_the_peak_is_that_of_the_slow_reference(graph):
    assert peak_activation_bytes(graph) == slow_peak(graph)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (618_007_664, "618M"),
        (353_894_400, "353M"),
        (8_216_999_999, "8216M"),
        (999_999, "999k"),
        (1_000, "1k"),
        (999, "999"),
        (0, "0"),
    ],
)
def test_counts_are_scaled_by_1000_and_truncated(count, text):
    assert snpe_scaled(count) == text


def test_mebibytes_with_one_decimal():
    assert mib_text(362_717_916) == "345.9 MiB"


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float32", 4), ("float16", 2), ("ufixed8", 1), ("sfixed32", 4), ("bool", 1), ("int4", 1)],
)
def test_bytes_of_a_number(dtype, expected):
    assert bytes_per_element(dtype) == expected


def test_a_type_without_a_size_is_refused():
    with pytest.raises(InputError, match="tensors of type object cannot be counted"):
        bytes_per_element("object")
