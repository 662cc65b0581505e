"""export.sdk.parsers.dlc_info: tables of 1.x and 2.x."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.sdk.parsers.dlc_info import (
    CacheRecord,
    DlcInfo,
    ScaledCount,
    TablePort,
    parse_dlc_info,
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
    (graph,) = info.graphs
    data, conv, concat = graph.layers
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
    assert (graph.parameters, graph.macs) == (7225885, ScaledCount("8216M"))
    assert graph.memory_text == "379.8 MiB" and graph.memory_fits(398_249_164)
    assert not graph.memory_fits(398_400_000)
    assert info.converter_version == "1.63.0.3523"
    assert info.quantizer_command == "N/A"
    assert info.converter_command.endswith("'1,3,640,640']] out_node=[]")
    assert graph.op_types == ("CONCAT", "CONVOLUTIONAL", "DATA")


def test_a_table_of_2x_with_types_and_ports():
    info = graph_of(NEW)
    (conv,) = info.layers
    assert conv.inputs == ("image", "conv.weight") and conv.outputs == ("scores",)
    assert conv.runtimes == "DGC"
    assert conv.parameters == ScaledCount("896")
    assert info.inputs[0].shape == (1, 300, 300, 3)
    assert info.inputs[0].encoding.startswith("bitwidth 8")
    assert [port.name for port in info.outputs] == ["scores", "boxes"]
    assert info.unconsumed == ()
    assert info.memory_fits(round(379.8 * 2**10)) and not info.memory_fits(379_800)
    assert info.parameters == 896


def test_the_short_input_table_of_2_5():
    text = NEW[: NEW.index("Total parameters")]
    table = boxed(("Input Name", "Dimensions", "Type"), ("images", "1,640,640,3", "Float_32"))
    info = graph_of(f"{text}{table}\nTotal parameters: 7225885 (27 MB assuming single)\n")
    assert info.inputs[-1] == TablePort("images", (1, 640, 640, 3), "Float_32")


def test_totals_inside_the_box_are_found():
    rows = "\n".join(f"| {line.ljust(90)} |" for line in OLD.splitlines()[-9:] if "---" not in line)
    info = parse_dlc_info(OLD[: OLD.index("Note:")] + rows)
    (graph,) = info.graphs
    assert (graph.parameters, info.converter_version) == (7225885, "1.63.0.3523")
    assert len(graph.layers) == 3


def graph_of(text):
    (graph,) = parse_dlc_info(text).graphs
    return graph


GRAPHS = f"""\
DLC info of: /home/user/two.dlc
{" " * 100}
Model Version: N/A
Model Copyright:N/A
Converter command: qairt-converter input_network=model.onnx
Quantizer command: N/A
DLC created with converter version: 2.45.0.260326
{"=" * 90}
Info of graph: small
{
    boxed(
        (*COLUMNS[:-2], "Parameters"),
        ("0", "c", "Conv2d", "i", "o", "1x2x3x4", "param count: 7 (100%)"),
    )
}
Note: The supported runtimes column assumes a processor target of Snapdragon 855
{boxed(("Input Name", "Dimensions", "Type", "Encoding Info"), ("i", "1,4,6,3", "Float_32", "-"))}
Total parameters: 7 (0 MB assuming single precision float. This does not represent memory)
Total MACs per inference: 168 (100%)
Ops used by Graph: Conv2d
Est. Steady-State Memory Needed to Run: 1.5 MiB
{"=" * 90}
Info of graph: large
{
    boxed(
        COLUMNS,
        ("0", "d", "Conv2d", "i", "p", "1x8", "D", "-"),
        ("1", "r", "Relu", "p", "q", "1x8", "D", "-"),
    )
}
Total parameters: 9000 (0 MB assuming single precision float)
Ops used by Graph: Conv2d, Relu

Cache Info:
{
    boxed(
        ("Cache Record Name", "SNPE Version", "Cache Version", "Identifier", "Information",
         "Graphs"),
        ("backend.metadata0.htp", "2.45.0", "3.1", "HTP_V68_QCM6490_2MB", "Record Size: 1.5 MB",
         "Graph Name: small"),
        ("", "", "", "", "Graph Optimization Level: 2 (default)", "Total Subnets: 1"),
        ("", "", "", "", "", "  Input Tensors:"),
        ("backend.metadata1.htp", "2.45.0", "3.1", "HTP_V73_SM8550_8MB", "", "Graph Name: small"),
    )
}
"""  # fmt: skip


def test_several_graphs_and_caches():
    info = parse_dlc_info(GRAPHS)
    small, large = info.graphs
    assert (info.path, info.converter_version) == ("/home/user/two.dlc", "2.45.0.260326")
    assert info.converter_command == "qairt-converter input_network=model.onnx"
    assert (small.name, small.parameters, small.memory_text) == ("small", 7, "1.5 MiB")
    assert small.inputs == (TablePort("i", (1, 4, 6, 3), "Float_32", "-"),)
    assert small.layers[0].runtimes == "" and small.layers[0].parameters == ScaledCount("7")
    assert (large.name, large.parameters, large.memory_text) == ("large", 9000, None)
    assert [layer.type for layer in large.layers] == ["Conv2d", "Relu"]
    assert large.op_types == ("Conv2d", "Relu") and large.inputs == ()
    first, second = info.caches
    assert first == CacheRecord(
        name="backend.metadata0.htp",
        sdk_version="2.45.0",
        identifier="HTP_V68_QCM6490_2MB",
        about=("Record Size: 1.5 MB", "Graph Optimization Level: 2 (default)"),
    )
    assert (second.identifier, second.about) == ("HTP_V73_SM8550_8MB", ())


def test_a_table_without_its_columns_is_none():
    text = GRAPHS.replace("Inputs ", "Inputz ")
    small, large = parse_dlc_info(text).graphs
    assert small.layers == large.layers == ()
    assert small.parameters == 7


def test_caches_of_an_older_layout():
    """The name of a column that is not there gives nothing, rather than its neighbour's value."""
    header = ("Cache Record Name", "Identifier")
    text = GRAPHS[: GRAPHS.index("\nCache Info")] + boxed(header, ("r", "HTP_V69"))
    (cache,) = parse_dlc_info(text).caches
    assert cache == CacheRecord(name="r", sdk_version="", identifier="HTP_V69")


def test_counts_are_truncated_not_rounded():
    assert ScaledCount("353M").fits(353_894_400)  # 6*6*3*32 weights at 320x320
    assert ScaledCount("3k").fits(3488) and not ScaledCount("3k").fits(4000)
    assert ScaledCount("8216M").at_least == 8_216_000_000
    assert ScaledCount("618M").fits(618_007_664) and not ScaledCount("618M").fits(617_999_999)
    assert ScaledCount("17").fits(17) and not ScaledCount("17").fits(18)


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "|||\n|a|b|\n"])
def test_what_is_no_table_is_refused(text):
    with pytest.raises(PersondetError, match="dlc-info printed no table: expected a header"):
        parse_dlc_info(text)


def test_a_table_that_is_cut_gives_its_whole_rows():
    info = graph_of(OLD[: OLD.index("Concat_1")])
    assert [layer.name for layer in info.layers] == ["images", "Conv_0"]
    assert info.parameters is None and info.macs is None and info.memory_text is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(st.text(max_size=60), st.sampled_from((OLD + NEW + GRAPHS).splitlines())),
        max_size=30,
    ).map("\n".join)
)
def test_no_text_crashes_a_parser(text):
    try:
        info = parse_dlc_info(text)
    except PersondetError:
        return
    assert isinstance(info, DlcInfo) and info.graphs
    for graph in info.graphs:
        assert graph.memory_fits(0) in (True, False)
