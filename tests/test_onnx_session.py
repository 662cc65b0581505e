"""Quantized graphs give their own arithmetic's result, whatever the CPU.

The graphs here sum hundreds of large products, so that ONNX Runtime's default kernels saturate on
an x86 CPU without VNNI: per channel their SQNR there is 22 dB instead of 43. On other CPUs only
`test_every_session_asks_for_exact_sums` notices a session without the option.
"""

import functools
import os

import numpy as np
import onnx
import onnxruntime
import pytest
from conv_graph import conv_graph
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from tiny_detector import outputs_with, save_onnx

from quantize.encodings import Encodings, encoding_of
from quantize.qdq import Scheme, overrides_from_encodings, qdq_from_ranges
from runtime.backend import open_backend
from runtime.onnx_session import Arithmetic, open_session

ALLOWED_LOSS_DB = 0.5
TENSORS = ("x", "z0", "z1", "y2")
ENTRIES = ("session.x64quantprecision", "session.disable_quant_qdq")


@functools.cache
def float_graph() -> onnx.ModelProto:
    """Three convolutions; the middle one sums 288 positive products of up to 255 * 127."""
    rng = np.random.default_rng(0)
    weights = [
        rng.uniform(0.5, 1, (32, 3, 3, 3)),
        np.abs(rng.normal(size=(32, 32, 3, 3))),
        rng.normal(size=(8, 32, 1, 1)),
    ]
    return conv_graph(weights, [np.zeros(len(w)) for w in weights], size_hw=(9, 13), after=AFTER)


AFTER = ("Relu", "Relu", "")
X = np.random.default_rng(1).uniform(0, 1, (1, 3, 9, 13)).astype(np.float32)


@functools.cache
def observed() -> dict[str, np.ndarray]:
    """Every activation of the float graph, by name."""
    model = onnx.ModelProto()
    model.CopyFrom(float_graph())
    for name in TENSORS[1:3]:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    names = list(TENSORS[1:])
    values = open_session(model.SerializeToString()).run(names, {"x": X})
    return dict(zip(TENSORS, [X, *values], strict=True))


def ours(scheme: Scheme) -> onnx.ModelProto:
    """The QDQ graph that `persondet quantize` makes."""
    ranges = {name: (float(v.min()), float(v.max())) for name, v in observed().items()}
    return qdq_from_ranges(float_graph(), ranges, scheme, {})[0]


def signed_per_tensor() -> onnx.ModelProto:
    """QDQ with one symmetric int8 scale per weight, as encodings of other tools may ask for."""
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in float_graph().graph.initializer}
    params = {}
    for name in ("w0", "w1", "w2"):
        scale = float(np.abs(constants[name]).max()) / 127
        params[name] = (encoding_of(8, scale, -128, symmetric=True),)
    ranges = {name: (float(v.min()), float(v.max())) for name, v in observed().items()}
    overrides = overrides_from_encodings(Encodings({}, params))
    return qdq_from_ranges(float_graph(), ranges, Scheme(), overrides)[0]


class OneImage(CalibrationDataReader):
    """The input X once."""

    def __init__(self) -> None:
        self.feeds = iter([{"x": X}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def of_others(folder, weight_type: QuantType, *, per_channel: bool) -> onnx.ModelProto:
    """A graph of QLinearConv nodes, as ONNX Runtime's own quantizer makes them."""
    model = onnx.ModelProto()
    model.CopyFrom(float_graph())  # the quantizer changes what it is given
    path = folder / "qlinear.onnx"
    quantize_static(
        model,
        path,
        OneImage(),
        quant_format=QuantFormat.QOperator,
        activation_type=QuantType.QUInt8,
        weight_type=weight_type,
        per_channel=per_channel,
    )
    return onnx.load(path)


def node_by_node(model: onnx.ModelProto) -> np.ndarray:
    """The output with all graph optimizations off."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": X})[0]


def output(model: onnx.ModelProto, arithmetic: Arithmetic) -> np.ndarray:
    session = open_session(model.SerializeToString(), threads=1, arithmetic=arithmetic)
    return session.run(None, {"x": X})[0]


def sqnr_db(found: np.ndarray) -> float:
    """Signal to quantization noise of the graph's output, in dB, against the float graph."""
    exact = observed()["y2"].astype(np.float64)
    return float(10 * np.log10((exact**2).sum() / ((exact - found) ** 2).sum()))


QDQ_GRAPHS = {
    "per tensor": lambda: ours(Scheme()),
    "per channel": lambda: ours(Scheme(per_channel=True)),
    "16 bits, per tensor": lambda: ours(Scheme(16)),
    "16 bits, per channel": lambda: ours(Scheme(16, per_channel=True)),
    "int8 per tensor": signed_per_tensor,
}


@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("make", QDQ_GRAPHS.values(), ids=QDQ_GRAPHS)
def test_as_good_as_the_graph_with_optimizations_off(make, arithmetic) -> None:
    model = make()
    reference_db = sqnr_db(node_by_node(model))
    assert reference_db > 35
    assert abs(sqnr_db(output(model, arithmetic)) - reference_db) < ALLOWED_LOSS_DB


@pytest.mark.parametrize("make", QDQ_GRAPHS.values(), ids=QDQ_GRAPHS)
def test_as_written_is_bit_for_bit_the_graph_with_optimizations_off(make) -> None:
    model = make()
    np.testing.assert_array_equal(output(model, Arithmetic.AS_WRITTEN), node_by_node(model))


@pytest.mark.parametrize("arithmetic", Arithmetic)
@pytest.mark.parametrize("weight_type", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_graphs_of_integer_nodes(tmp_path, weight_type, per_channel, arithmetic) -> None:
    """Nothing is to be fused here: these saturate even with optimizations off."""
    model = of_others(tmp_path, weight_type, per_channel=per_channel)
    assert "QLinearConv" in {node.op_type for node in model.graph.node}
    assert sqnr_db(output(model, arithmetic)) > 40


@pytest.mark.parametrize("arithmetic", Arithmetic)
def test_every_session_asks_for_exact_sums(arithmetic) -> None:
    session = open_session(float_graph().SerializeToString(), arithmetic=arithmetic)
    options = session.get_session_options()
    found = [options.get_session_config_entry(ENTRIES[0])]
    if arithmetic is Arithmetic.AS_WRITTEN:
        found.append(options.get_session_config_entry(ENTRIES[1]))
    assert found == ["1"] * len(found)


def test_entries_and_threads(tmp_path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(float_graph().SerializeToString())
    session = open_session(path, threads=3, entries={"session.use_env_allocators": "1"})
    options = session.get_session_options()
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.use_env_allocators") == "1"
    assert options.get_session_config_entry(ENTRIES[0]) == "1"
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert open_session(path).get_session_options().intra_op_num_threads == 0


def test_the_backend_asks_for_exact_sums(tmp_path) -> None:
    backend = open_backend(save_onnx(tmp_path / "tiny.onnx", outputs_with({})))
    options = backend.session.get_session_options()
    assert options.get_session_config_entry(ENTRIES[0]) == "1"
    assert backend.infer(np.zeros(backend.spec.input_shape, backend.spec.input_dtype))
    backend.close()


def test_what_fails_is_raised_and_not_printed(capfd) -> None:
    """ONNX Runtime's message cannot be decoded: its own code would print that and try again."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Nope", ["x"], ["y"])], "g", [value], [value])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(UnicodeDecodeError):
        open_session(model.SerializeToString().replace(b"Nope", b"No\xf6e"))
    assert capfd.readouterr() == ("", "")


def test_a_name_that_is_not_utf8(tmp_path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    path = save_onnx(folder / os.fsdecode(b"\xe9.onnx"), outputs_with({}))
    assert open_session(path).get_inputs()
    assert open_backend(path).name == os.fsdecode(b"\xe9.onnx")
