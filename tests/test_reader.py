"""runtime.qairt.reader: what is read is what was written, and nothing broken is read at all."""

import ctypes
import json
import shutil
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from dlc_files import ENTRIES, entries_of, write_entries, zero_crcs
from onnx import TensorProto, helper, numpy_helper

from export.child import run_module
from export.verify import dlc_parameters
from persondet.errors import InputError, PersondetError
from persondet.sidecar import sidecar_path
from runtime.qairt import abi, probe, reader
from runtime.qairt.container import repack
from runtime.qairt.reader import check_readable, read_dlc
from runtime.qairt.structs import tensor_from_struct


@pytest.fixture(scope="module")
def graph(tiny_dlc):
    return read_dlc(tiny_dlc)


def test_names_shapes_and_types(graph) -> None:
    assert graph.inputs == ("image",)
    assert set(graph.outputs) == {"scores", "boxes"}
    shapes = {name: graph.tensors[name].shape for name in (*graph.inputs, *graph.outputs)}
    assert shapes == {"image": (1, 3, 48, 80), "scores": (1, 150, 3), "boxes": (1, 150, 4)}
    assert {tensor.dtype for tensor in graph.tensors.values()} == {"float32", "uint32"}
    assert all(tensor.encoding is None for tensor in graph.tensors.values())
    assert all((t.data is not None) == (t.kind == "static") for t in graph.tensors.values())


def test_every_op_with_its_parameters(graph, tiny_onnx) -> None:
    types = [op.type for op in graph.ops]
    assert types.count("Conv2d") == 7
    assert types.count("DepthWiseConv2d") == 1
    stem = next(op for op in graph.ops if op.type == "Conv2d")
    np.testing.assert_array_equal(stem.params["stride"], [4, 4])
    np.testing.assert_array_equal(stem.params["pad_amount"], [[2, 2], [2, 2]])
    assert stem.params["group"] == 1
    relu6 = next(op for op in graph.ops if "max_value" in op.params)
    assert (relu6.params["min_value"], relu6.params["max_value"]) == (0.0, 6.0)
    known = set(graph.tensors)
    assert all({*op.inputs, *op.outputs} <= known for op in graph.ops)
    named = {op.name.rpartition("_token_")[0] or op.name for op in graph.ops}
    convolutions = [n.name for n in onnx.load(tiny_onnx).graph.node if n.op_type == "Conv"]
    assert set(convolutions) <= named


def test_weights_are_the_onnx_files(graph, tiny_onnx) -> None:
    """ONNX keeps (out, in, H, W), a DLC (H, W, in, out)."""
    model = onnx.load(tiny_onnx)
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    ops = {op.name.rpartition("_token_")[0]: op for op in graph.ops if "Conv" in op.type}
    for node in (node for node in model.graph.node if node.op_type == "Conv"):
        weights, bias = (graph.tensors[name].data for name in ops[node.name].inputs[1:])
        np.testing.assert_array_equal(weights, constants[node.input[1]].transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(bias, constants[node.input[2]])


def test_f38_has_the_published_number_of_parameters(f38_dlc) -> None:
    graph = read_dlc(f38_dlc)
    assert dlc_parameters(graph) == 2_750_864
    assert len(graph.ops) == 137


def test_metadata_names_the_writer(graph) -> None:
    assert set(graph.metadata) == set(ENTRIES[:2])
    (written,) = graph.metadata["dlc.metadata.history.2.3.0"]["dlcGenerationInfo"]
    assert written["converterCommand"]["converterVersion"].startswith("2.51.")


def _assert_same(first, second) -> None:
    assert first.inputs == second.inputs
    assert first.outputs == second.outputs
    assert first.tensors == second.tensors
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor.data, second.tensors[name].data)
    assert [(op.name, op.type, op.inputs, op.outputs) for op in first.ops] == [
        (op.name, op.type, op.inputs, op.outputs) for op in second.ops
    ]


def test_reading_is_repeatable_alone_and_in_threads(graph, tiny_dlc, rfb_dlc) -> None:
    other = read_dlc(rfb_dlc)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(read_dlc, [tiny_dlc, rfb_dlc] * 4):
            _assert_same(found, graph if len(found.ops) == len(graph.ops) else other)


def test_an_odd_path(graph, tiny_dlc, tmp_path) -> None:
    path = tmp_path / "modèle à tester 1:2.dlc"
    path.write_bytes(tiny_dlc.read_bytes())
    _assert_same(read_dlc(path), graph)


def test_a_flipped_bit_anywhere_is_noticed_or_harmless(graph, tiny_dlc, tmp_path) -> None:
    data, path = tiny_dlc.read_bytes(), tmp_path / "x.dlc"
    harmless = 0
    for position in range(0, len(data), 89):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        try:
            found = read_dlc(path)
        except InputError:
            continue
        _assert_same(found, graph)
        harmless += 1
    assert harmless < 20  # dates and other fields of the zip that nobody reads


SHORT = [0, 1, 100, 1000, -100]


@pytest.mark.parametrize("length", SHORT)
@pytest.mark.parametrize("entry", ["model", "model.params", "model.params.bin"])
def test_an_entry_cut_short_with_a_right_crc(tiny_dlc, tmp_path, entry, length) -> None:
    """The CRC is of the cut entry, as after a repair of a damaged file. Weights out of the file's
    bounds used to crash."""
    entries = entries_of(tiny_dlc)
    entries[entry] = entries[entry][:length]
    with pytest.raises(InputError, match=r"is damaged|cannot compose|unknown generation"):
        read_dlc(write_entries(tmp_path / "x.dlc", entries))


def test_an_entry_of_another_file_or_none(tiny_dlc, rfb_dlc, tmp_path) -> None:
    own, other = entries_of(tiny_dlc), entries_of(rfb_dlc)
    path = tmp_path / "x.dlc"
    for entry in ("model", "model.params"):
        with pytest.raises(InputError, match=r"is damaged|cannot compose"):
            read_dlc(write_entries(path, {**own, entry: other[entry]}))
    big = {**other, "model.params.bin": own["model.params.bin"]}
    with pytest.raises(InputError, match=r"model\.params\.bin has [\d,]+ bytes, .* needs [\d,]+"):
        read_dlc(write_entries(path, big))
    del own["model.params.bin"]
    with pytest.raises(InputError, match=r"tensor \w+ has 0 bytes of data, .* needs"):
        read_dlc(write_entries(path, own))


def test_snpe_1_files_are_refused_with_version_and_remedy(shared_dlc) -> None:
    files = sorted(shared_dlc.glob("*.dlc"))
    assert len(files) == 4
    for path in files:
        with pytest.raises(InputError, match=r"SNPE 1\.x \(converter 1\.5[16].*persondet convert"):
            check_readable(path)


def test_a_file_is_probed_unless_its_sidecar_knows_it(graph, tiny_dlc, tmp_path, monkeypatch):
    probes = []
    run = subprocess.run

    def counted(argv, **options):
        probes.append(Path(argv[-1]).name)
        return run(argv, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    _assert_same(read_dlc(tiny_dlc), graph)
    assert probes == []
    alone = Path(shutil.copy(tiny_dlc, tmp_path / "alone.dlc"))
    _assert_same(read_dlc(alone), graph)
    _assert_same(read_dlc(zero_crcs(tiny_dlc, tmp_path / "zeroed.dlc")), graph)
    shutil.copy(sidecar_path(tiny_dlc), sidecar_path(alone))
    write_entries(alone, {**entries_of(alone), "more": b"another file than the sidecar's"})
    _assert_same(read_dlc(alone), graph)
    assert probes == ["alone.dlc", "zeroed.dlc", "alone.dlc"]


def test_the_probes_crash_is_not_ours(tiny_dlc, tmp_path, monkeypatch) -> None:
    zeroed = zero_crcs(tiny_dlc, tmp_path / "zeroed.dlc")
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nkill -SEGV $$\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(probe.sys, "executable", str(interpreter))
    with pytest.raises(
        InputError, match=r"crashes Qualcomm's loader \(signal 11\).*; copy it again"
    ):
        read_dlc(zeroed)
    interpreter.write_text("#!/bin/sh\nsleep 60\n")
    monkeypatch.setattr(probe, "_TIMEOUT_S", 0.1)
    with pytest.raises(InputError, match="keeps Qualcomm's loader busy"):
        read_dlc(zeroed)


def test_what_the_probe_finds_without_crashing_is_said_once(tiny_dlc, tmp_path) -> None:
    entries = entries_of(tiny_dlc)
    entries["model"] = entries["model"][:500]
    cut = write_entries(tmp_path / "cut.dlc", entries)
    with pytest.raises(InputError, match=r"^Qualcomm's loader cannot compose the graph of .*"):
        read_dlc(zero_crcs(cut, tmp_path / "zeroed.dlc"))


@pytest.fixture(scope="module")
def quantized_dlc(tmp_path_factory):
    """One convolution: uint8 activations, int8 weights with a scale for each output channel."""
    folder = tmp_path_factory.mktemp("quantized")
    constants = {
        **{"x_scale": np.float32(0.05), "x_zero": np.uint8(100)},
        **{"y_scale": np.float32(0.5), "y_zero": np.uint8(7)},
        "w": np.arange(2 * 3 * 1 * 1, dtype=np.int8).reshape(2, 3, 1, 1),
        **{"w_scale": np.array([0.1, 0.2], np.float32), "w_zero": np.zeros(2, np.int8)},
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["x_q"], "xq"),
        helper.make_node("DequantizeLinear", ["x_q", "x_scale", "x_zero"], ["x_f"], "xd"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_f"], "wd", axis=0),
        helper.make_node("Conv", ["x_f", "w_f"], ["c"], "conv"),
        helper.make_node("QuantizeLinear", ["c", "y_scale", "y_zero"], ["c_q"], "cq"),
        helper.make_node("DequantizeLinear", ["c_q", "y_scale", "y_zero"], ["y"], "cd"),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "quantized",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 12])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 8, 12])],
            [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.save(model, folder / "model.onnx")
    job = {"job": "dlc", "onnx": str(folder / "model.onnx"), "folder": str(folder)}
    answer = run_module(
        "export.embedded_worker", [json.dumps(job)], what="writing a test DLC", timeout_s=60
    )
    repack(folder / answer["files"][0], folder / "model.dlc")
    return folder / "model.dlc"


def test_encodings(quantized_dlc) -> None:
    graph = read_dlc(quantized_dlc)
    convolution = next(op for op in graph.ops if op.type == "Conv2d")
    x, w = (graph.tensors[name] for name in convolution.inputs[:2])
    assert (x.dtype, x.encoding.axis, x.encoding.offsets) == ("ufixed8", None, (-100,))
    assert x.encoding.scales == pytest.approx((0.05,))
    assert (w.dtype, w.shape, w.encoding.axis) == ("sfixed8", (1, 1, 3, 2), 3)
    assert w.encoding.scales == pytest.approx((0.1, 0.2))
    assert w.encoding.offsets == (0, 0)
    np.testing.assert_array_equal(w.data[0, 0], [[0, 3], [1, 4], [2, 5]])


def _tensor(**fields) -> abi.Tensor:
    tensor = abi.Tensor(version=1, name=b"t", type=3, data_type=0x0408, rank=1, **fields)
    tensor.dims = (ctypes.c_uint32 * 1)(2)
    tensor.quantize.encoding = abi.UNDEFINED
    return tensor


def test_the_other_encodings_of_the_headers() -> None:
    tensor = _tensor()
    assert tensor_from_struct(tensor).encoding is None
    tensor.quantize.definition, tensor.quantize.encoding = 1, abi.ENCODING_BITWIDTH
    tensor.quantize.bitwidth = abi.BitwidthScaleOffset(4, 0.25, -3)
    encoding = tensor_from_struct(tensor).encoding
    assert (encoding.scales, encoding.offsets, encoding.axis) == ((0.25,), (-3,), None)

    tensor.quantize.encoding = abi.ENCODING_BITWIDTH_AXIS
    scales, offsets = (ctypes.c_float * 2)(0.5, 0.25), (ctypes.c_int32 * 2)(-1, 2)
    tensor.quantize.bitwidth_axis = abi.BitwidthAxisScaleOffset(4, 1, 2, scales, offsets)
    encoding = tensor_from_struct(tensor).encoding
    assert (encoding.scales, encoding.offsets, encoding.axis) == ((0.5, 0.25), (-1, 2), 1)
    tensor.quantize.bitwidth_axis.offsets = None  # symmetric
    assert tensor_from_struct(tensor).encoding.offsets == (0, 0)


def test_unknown_types_are_named() -> None:
    tensor = _tensor()
    tensor.quantize.definition, tensor.quantize.encoding = 1, 9
    with pytest.raises(PersondetError, match="tensor t: unknown quantization encoding 9"):
        tensor_from_struct(tensor)
    tensor.data_type = 0x0304
    with pytest.raises(PersondetError, match="tensor t: unknown data type 0x0304"):
        tensor_from_struct(tensor)


def test_an_exception_of_ours_passes_through_the_loader(tiny_dlc, monkeypatch) -> None:
    def broken(_struct):
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(reader, "tensor_from_struct", broken)
    with pytest.raises(RuntimeError, match="a bug of ours"):
        read_dlc(tiny_dlc)


def test_a_container_with_good_crcs_but_no_graph(tiny_dlc, tmp_path) -> None:
    entries = entries_of(tiny_dlc)
    entries["model"] = bytes(len(entries["model"]))
    with zipfile.ZipFile(tmp_path / "x.dlc", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"refuses|cannot compose"):
        read_dlc(tmp_path / "x.dlc")
