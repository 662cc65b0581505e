"""export.sdk.parsers.dlc_info: tables and CSV of 1.x and 2.x."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.sdk.parsers.dlc_info import (
    DlcInfo,
    ScaledCount,
    TablePort,
    parse_dlc_info,
    parse_dlc_info_csv,
)
from persondet.errors import PersondetError

COLUMNS = ("Id", "Name", "Type", "Inputs", "Outputs", "Out Dims", "Runtimes", "Parameters")


def boxed(*rows: tuple[str, ...]) -> str:
    """A table as the tools draw it: rules of dashes, cells as wide as their column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    rule = "-" * len(lines[0])
    return "\n".join((rule, lines[0], rule, *lines[1:], rule))


OLD = f"""\
DLC info for: /home/user/yolov5s.dlc
Model Version: N/A
Model Copyright:N/A
{
    boxed(
        COLUMNS,
        (
            "0",
            "images",
            "data",
            "images",
            "images",
            "1x640x640x3",
            "A D G C",
            "input_type: default",
        ),
        (
            "1",
            "Conv_0",
            "convolutional",
            "images",
            "122",
            "1x320x320x32",
            "A D G C",
            "padding x: 2",
        ),
        ("", "", "", "", "", "", "", "param count: 3k (0.0483%)"),
        ("", "", "", "", "", "", "", "MACs per inference: 353M (4.31%)"),
        (
            "2",
            "Concat_1",
            "concatenation",
            "122",
            "output|odd",
            "1x320x320x64",
            "A D G C",
            "axis: 3",
        ),
        ("", "", "", "images", "", "", "", ""),
    )
}
Note: The supported runtimes column assumes a processor target of Snapdragon 835 (8998)
Key : A:AIP
      D:DSP
      G:GPU
      C:CPU

Total parameters: 7225885 (27 MB assuming single precision float)
Total MACs per inference: 8216M (100%)
Converter command: snpe-onnx-to-dlc input_dim=[['images', '1,3,640,640']] out_node=[]
Quantizer command: N/A
DLC created with converter version: 1.63.0.3523
Layers used by DLC: CONCAT, CONVOLUTIONAL, DATA
Est. Steady-State Memory Needed to Run: 379.8 MiB
{"-" * 40}
"""

NEW = f"""\
DLC info for: /home/user/model.dlc
Model Version: N/A
Model Copyright:N/A
{
    boxed(
        COLUMNS,
        (
            "0",
            "/conv/Conv",
            "Conv2d",
            "image (data type: uFxp_8; tensor dimension: [1,300,300,3]; tensor type: APP_WRITE)"
            " [NW Input]",
            "scores (data type: uFxp_8; tensor dimension: [1,3860,2]; tensor type: APP_READ)",
            "1x3860x2",
            "D G C",
            "bias_op_name: conv.bias",
        ),
        ("", "", "", "conv.weight (Float_32)", "", "", "", "packageName: qti.aisw"),
        ("", "", "", "", "", "", "", "param count: 896 (100%)"),
    )
}
Note: The supported runtimes column assumes a processor target of Snapdragon 855
Key : A:AIP
{
    boxed(
        ("Input Name", "Dimensions", "Type", "Encoding Info"),
        ("image", "1,300,300,3", "uFxp_8", "bitwidth 8, min 0, max 1, scale 0.0039, offset 0"),
    )
}
{
    boxed(
        ("Output Name", "Dimensions", "Type", "Encoding Info"),
        ("scores", "1,3860,2", "uFxp_8", "No encoding info for this tensor"),
        ("boxes", "1,3860,4", "uFxp_8", "No encoding info for this tensor"),
    )
}
{boxed(("Unconsumed Tensor Name", "Dimensions", "Type", "Encoding Info"))}
Total parameters: 896 (0 MB assuming single precision float. This does not represent memory)
Total MACs per inference: 6M (100%)
Converter command: qairt-converter input_network=model.onnx
Quantizer command: qairt-quantizer input_dlc=model.dlc
DLC created with converter version: 2.26.0.240828
Ops used by DLC: Conv2d
Est. Steady-State Memory Needed to Run: 379.8 KiB
"""


def test_a_table_of_1x():
    info = parse_dlc_info(OLD)
    data, conv, concat = info.layers
    assert (info.path, info.model_version, info.copyright) == (
        "/home/user/yolov5s.dlc",
        "N/A",
        "N/A",
    )
    assert (conv.index, conv.name, conv.type) == (1, "Conv_0", "convolutional")
    assert (conv.inputs, conv.outputs, conv.shape) == (("images",), ("122",), (1, 320, 320, 32))
    assert conv.runtimes == "ADGC"
    assert conv.attributes["padding x"] == "2"
    assert conv.parameters == ScaledCount("3k") and conv.macs == ScaledCount("353M")
    assert data.parameters is None
    assert concat.inputs == ("122", "images")
    assert concat.outputs == ("output|odd",)
    assert (info.parameters, info.macs) == (7225885, ScaledCount("8216M"))
    assert (info.memory_text, info.memory_bytes) == ("379.8 MiB", round(379.8 * 2**20))
    assert info.converter_version == "1.63.0.3523"
    assert info.quantizer_command == "N/A"
    assert info.converter_command.endswith("'1,3,640,640']] out_node=[]")
    assert info.op_types == ("CONCAT", "CONVOLUTIONAL", "DATA")


def test_a_table_of_2x_with_types_and_ports():
    info = parse_dlc_info(NEW)
    (conv,) = info.layers
    assert conv.inputs == ("image", "conv.weight") and conv.outputs == ("scores",)
    assert conv.runtimes == "DGC"
    assert conv.parameters == ScaledCount("896")
    assert info.inputs[0].shape == (1, 300, 300, 3)
    assert info.inputs[0].encoding.startswith("bitwidth 8")
    assert [port.name for port in info.outputs] == ["scores", "boxes"]
    assert info.unconsumed == ()
    assert info.memory_bytes == round(379.8 * 2**10)
    assert info.parameters == 896


def test_the_short_input_table_of_2_5():
    text = NEW[: NEW.index("Total parameters")]
    table = boxed(("Input Name", "Dimensions", "Type"), ("images", "1,640,640,3", "Float_32"))
    info = parse_dlc_info(f"{text}{table}\nTotal parameters: 7225885 (27 MB assuming single)\n")
    assert info.inputs[-1] == TablePort("images", (1, 640, 640, 3), "Float_32")


def test_totals_inside_the_box_are_found():
    rows = "\n".join(f"| {line.ljust(90)} |" for line in OLD.splitlines()[-9:] if "---" not in line)
    info = parse_dlc_info(OLD[: OLD.index("Note:")] + rows)
    assert (info.parameters, info.converter_version) == (7225885, "1.63.0.3523")
    assert len(info.layers) == 3


CSV = """\
DLC info for: /home/user/model.dlc
Model Version: N/A
Id,Name,Type,Inputs,Outputs,Out Dims,Runtimes,Parameters
0,Conv_0,Conv2d,images (Float_32) [NW Input],122 (Float_32),1x320x320x32,A D G C,bias_op_name: b
,,,w (Float_32),,,,"perm: [0, 1, 2]"
,,,,,,,MACs per inference: 353M (4.31%)
Note: The supported runtimes column assumes a processor target of Snapdragon 855
Input Name,Dimensions,Type,Encoding Info
images,"1,640,640,3",Float_32,No encoding info for this tensor
"Total parameters: 7225885 (27 MB assuming single precision float)
Total MACs per inference: 8216M (100%)
Converter command: snpe-onnx-to-dlc a=['x', 'y']
DLC created with converter version: 2.5.0.4052"
Est. Steady-State Memory Needed to Run: 379.8 MiB
"""


def test_the_csv_holds_the_same():
    info = parse_dlc_info_csv(CSV)
    (conv,) = info.layers
    assert conv.inputs == ("images", "w") and conv.shape == (1, 320, 320, 32)
    assert conv.attributes == {
        "bias_op_name": "b",
        "perm": "[0, 1, 2]",
        "MACs per inference": "353M (4.31%)",
    }
    assert info.inputs[0].shape == (1, 640, 640, 3)
    assert (info.parameters, info.macs) == (7225885, ScaledCount("8216M"))
    assert info.converter_command == "snpe-onnx-to-dlc a=['x', 'y']"
    assert info.converter_version == "2.5.0.4052"
    assert info.memory_text == "379.8 MiB"


def test_counts_are_truncated_not_rounded():
    assert ScaledCount("353M").fits(353_894_400)  # 6*6*3*32 weights at 320x320
    assert ScaledCount("3k").fits(3488) and not ScaledCount("3k").fits(4000)
    assert ScaledCount("8216M").at_least == 8_216_000_000
    assert ScaledCount("618M").fits(618_007_664) and not ScaledCount("618M").fits(617_999_999)
    assert ScaledCount("17").fits(17) and not ScaledCount("17").fits(18)


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "|||\n|a|b|\n"])
def test_what_is_no_table_is_refused(text):
    for parse in (parse_dlc_info, parse_dlc_info_csv):
        with pytest.raises(PersondetError, match="dlc-info printed no table: expected a header"):
            parse(text)


def test_a_table_that_is_cut_gives_its_whole_rows():
    info = parse_dlc_info(OLD[: OLD.index("Concat_1")])
    assert [layer.name for layer in info.layers] == ["images", "Conv_0"]
    assert info.parameters is None and info.macs is None and info.memory_bytes is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(st.text(max_size=60), st.sampled_from((OLD + NEW + CSV).splitlines())),
        max_size=30,
    ).map("\n".join)
)
def test_no_text_crashes_a_parser(text):
    for parse in (parse_dlc_info, parse_dlc_info_csv):
        try:
            info = parse(text)
        except PersondetError:
            continue
        assert isinstance(info, DlcInfo)
        assert info.memory_bytes is None or info.memory_bytes >= 0
