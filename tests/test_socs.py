"""export.socs: the table of SoCs."""

import re

import pytest

from export.embedded import write_context_binary
from export.socs import SOCS, soc
from persondet.errors import InputError
from runtime.qairt.executor import ARCHS


@pytest.mark.parametrize(
    ("name", "model", "arch"),
    [
        *(("sm8350", 30, 68), ("sm8450", 36, 69), ("sm8550", 43, 73), ("sm8650", 57, 75)),
        *(("sm7325", 35, 68), ("sm7450", 41, 69), ("sc8380xp", 60, 73), ("qcs8550", 66, 73)),
        ("sm8845", 97, 81),
    ],
)
def test_the_pairs_of_the_reference(name, model, arch) -> None:
    assert (soc(name).model, soc(name).arch) == (model, arch)


def test_names_are_written_in_any_case() -> None:
    assert soc("SM8750") is soc("sm8750")
    assert (soc("sm8750").model, soc("sm8750").arch) == (69, 79)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        *(("qcs6490", "qcm6490"), ("QCS6490", "qcm6490"), ("rb3 gen 2", "qcm6490")),
        *(("qcs8550", "qcs8550"), ("qcm8550", "qcs8550"), ("QCS9075", "qcs9100")),
        *(("sa8295p", "sa8295"), ("sa8255P", "sa8255"), ("x elite", "sc8380xp")),
        *(("X-Elite", "sc8380xp"), ("snapdragon_8_gen_3", "sm8650")),
    ],
)
def test_names_of_products(typed, name) -> None:
    assert soc(typed) is SOCS[name]


def test_no_name_is_of_two_socs() -> None:
    for entry in SOCS.values():
        assert all(soc(name) is entry for name in (entry.name, *entry.products))


@pytest.mark.parametrize(
    ("name", "written", "arch"),
    [
        *(("qcs6490", "QCS6490", 68), ("sm7325", "SM7325", 68)),
        ("sm7450", "SM7450", 68),  # a v69, for which they compile v68 code, which it runs
        *(("x elite", "SC8380XP", 73), ("qcs8550", "QCS8550", 73), ("sm8845", "SM8845", 81)),
    ],
)
def test_the_libraries_mean_the_same_soc(
    name, written, arch, tiny_quantized_onnx, tmp_path
) -> None:
    """They write into the compiled graph which SoC a number is."""
    binary = tmp_path / "graph.bin"
    write_context_binary(tiny_quantized_onnx, binary, soc(name))
    content = binary.read_bytes()
    assert set(re.findall(rb"soc_type=(\w+);", content)) == {written.encode()}
    assert set(re.findall(rb";(?:0.)?arch=(\d+);", content)) == {b"%d" % arch}


@pytest.fixture(scope="module")
def tiny_quantized_onnx(tiny_onnx, astronaut, tmp_path_factory):
    from quantize.calibration_set import calibration_set
    from quantize.quantizer import quantize

    destination = tmp_path_factory.mktemp("quantized") / "tiny.dlc"
    return quantize(tiny_onnx, destination, calibration=calibration_set(astronaut)).qdq


def test_the_table_is_consistent() -> None:
    assert all(name == entry.name == name.lower() for name, entry in SOCS.items())
    assert len({entry.model for entry in SOCS.values()}) == len(SOCS)
    assert {entry.arch for entry in SOCS.values()} <= set(ARCHS)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=re.escape("unknown SoC 'sm9999'; known: sm8350, ")):
        soc("sm9999")
