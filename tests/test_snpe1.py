"""runtime.qairt.snpe1 and flatbuffer: graphs of SNPE 1.x files, whole and damaged."""

import random
import struct

import pytest
from dlc_files import entries_of, write_entries
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401

from persondet.errors import InputError
from runtime.qairt.flatbuffer import DamagedBufferError, FlatTable, root_table
from runtime.qairt.snpe1 import read_snpe1


def test_a_float_graph(shared_dlc):
    graph = read_snpe1(shared_dlc / "test_abs.dlc")
    source, absolute = graph.layers
    assert (source.name, source.type, source.shapes) == ("x", "Input", ((2, 3, 2),))
    assert (absolute.type, absolute.inputs, absolute.outputs) == (
        "ElementwiseUnaryOp",
        ("x",),
        ("y",),
    )
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))
    assert absolute.encodings == (None,) and not graph.is_quantized
    assert graph.axis_orders == {"x": (7,), "y": (7,)}
    assert graph.parameters == 0


def test_the_golden_encodings(shared_dlc):
    """Observed -23..24 and 11..24: documented delta, offset, minimum and maximum."""
    graph = read_snpe1(shared_dlc / "test_abs_q.dlc")
    (source,), (target,) = (layer.encodings for layer in graph.layers)
    assert source is not None and target is not None
    assert graph.is_quantized and graph.layers[0].shapes == ((3, 4, 5),)
    assert (source.offsets, target.offsets) == ((-125,), (0,))
    assert source.axis is None
    (delta,) = source.scales
    assert delta == pytest.approx(0.18431373, abs=1e-8)
    assert -125 * delta == pytest.approx(-23.03921509, abs=2e-6)
    assert (255 - 125) * delta == pytest.approx(23.96078491, abs=2e-6)
    (delta,) = target.scales
    assert delta == pytest.approx(0.09411765, abs=1e-8)
    assert 255 * delta == pytest.approx(24, abs=2e-6)


def test_several_inputs_and_outputs(shared_dlc):
    concat = read_snpe1(shared_dlc / "test_concat_2d_axis_0.dlc")
    assert (concat.inputs, concat.outputs) == (("value0", "value1"), ("output",))
    assert concat.layers[-1].shapes == ((4, 2),)
    split = read_snpe1(shared_dlc / "test_split_equal_parts_2d.dlc")
    assert split.outputs == ("output_1", "output_2")
    assert split.layers[-1].shapes == ((2, 3), (2, 3))
    assert split.axis_orders["output_2"] == (3, 0)


def test_files_of_other_generations(shared_dlc, tiny_dlc, tmp_path):
    with pytest.raises(InputError, match=r"is a DLC of QAIRT; expected one of SNPE 1\.x"):
        read_snpe1(tiny_dlc)
    entries = entries_of(shared_dlc / "test_abs.dlc")
    entries["model"] = b"\xd5\x0a\x02\x00" + entries["model"][4:]
    with pytest.raises(InputError, match=r"model of format 2, older than what is known \(3\)"):
        read_snpe1(write_entries(tmp_path / "old.dlc", entries))


def test_without_an_entry_of_parameters(shared_dlc, tmp_path):
    entries = entries_of(shared_dlc / "test_abs.dlc")
    del entries["model.params"]
    assert read_snpe1(write_entries(tmp_path / "x.dlc", entries)).parameters == 0


@pytest.mark.parametrize("name", ["test_abs_q.dlc", "test_split_equal_parts_2d.dlc"])
def test_no_damage_does_more_than_an_error(shared_dlc, tmp_path, name):
    """Right CRCs around wrong bytes: the graph is read or refused, nothing else."""
    entries = entries_of(shared_dlc / name)
    whole, chance, refused = entries["model"], random.Random(0), 0
    for trial in range(150):
        model = bytearray(whole)
        if trial % 3 == 0:
            model = model[: chance.randrange(8, len(model))]
        for _ in range(chance.randrange(0 if trial % 3 == 0 else 1, 6)):
            model[chance.randrange(8, len(model))] = chance.randrange(256)
        path = write_entries(tmp_path / "x.dlc", {**entries, "model": bytes(model)})
        try:
            read_snpe1(path)
        except InputError as error:
            refused += 1
            assert "is damaged" in str(error)
    assert refused > 20


def test_an_offset_that_is_no_number(shared_dlc, tmp_path):
    entries = entries_of(shared_dlc / "test_abs_q.dlc")
    nan = struct.pack("<f", float("nan"))
    entries["model"] = entries["model"].replace(struct.pack("<f", -125.0), nan)
    with pytest.raises(InputError, match="is damaged: an offset is nan"):
        read_snpe1(write_entries(tmp_path / "x.dlc", entries))


def test_a_table_by_hand():
    """Root, vtable of three fields, the second absent, the third a vector of two int32."""
    vtable = struct.pack("<HHHHH", 10, 12, 4, 0, 8)
    table = struct.pack("<iiI", 12, -5, 4)  # back to the vtable; field 0; field 2, four bytes on
    vector = struct.pack("<Iii", 2, 7, -8)
    data = struct.pack("<I", 16) + vtable + b"\0\0" + table + vector
    root = root_table(data)
    assert root == FlatTable(data, 16)
    assert root.scalar(0, "i", 3) == -5
    assert root.scalar(1, "i", 3) == 3 and root.scalar(9, "i", 4) == 4
    numbers = root.numbers(2, "<i4")
    assert numbers is not None and numbers.tolist() == [7, -8]
    assert (root.text(1), root.texts(1), root.tables(1), root.table(1)) == ("", (), (), None)
    with pytest.raises(DamagedBufferError, match="a vector of 2 items at byte 28 ends beyond"):
        root_table(data[:-1]).numbers(2, "<i4")
    with pytest.raises(DamagedBufferError, match="byte 16 is outside of 4 bytes"):
        root_table(data[:4]).scalar(0, "i", 3)


def test_a_detector_as_an_imitated_sdk_writes_it(tiny_uint8_onnx, imitation_sdk, tmp_path):
    """A writer of its own, made from the same description: weights are counted, ports found."""
    from benchmarks.model_info import info_of_file
    from export.sdk.command_lines import toolset_of
    from export.sdk.intent import ConvertIntent
    from export.sdk.sdk import find_sdk
    from export.sdk.toolchain import Toolchain, convert

    sdk = find_sdk({"SNPE_ROOT": str(imitation_sdk("1.68.0.3932"))})
    assert sdk is not None
    toolchain = Toolchain(sdk, toolset_of(sdk.version))
    path = tmp_path / "x.dlc"
    convert(tiny_uint8_onnx, path, toolchain=toolchain, intent=ConvertIntent())
    graph = read_snpe1(path)
    assert graph.parameters == info_of_file(tiny_uint8_onnx).figures.parameters
    assert graph.inputs == ("image",) and set(graph.outputs) == {"scores", "boxes"}
    assert not graph.is_quantized
    assert graph.layers[0].shapes == ((1, 48, 80, 3),)
