"""export.sdk.parsers.diagview: both text families, and what is neither."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.sdk.parsers.diagview import DiagReport, parse_diagview
from export.sdk.parsers.statistics import Amount, amount_in, key_of
from persondet.errors import PersondetError

OLD_CPU = """\
Log File Created: Thu May 25 10:39:50 2023
Time Scale: 1e-06
Epoch Timestamp: 1684982390553962 Steady Clock Timestamp: 133813288514
Software library version: 2.9.0.4462

Dnn Runtime Load/Deserialize/Create/De-Init Statistics:
--------------------------------------------------
Load: 149 us
Deserialize: 15997 us
Create: 28905 us

Init: 48856 us
De-Init: 6699 us

Create Network(s): 25547 us
RPC Init Time: 0 NONE
Snpe Accelerator Init Time: 0 NONE
Accelerator Init Time: 0 NONE

Average SNPE Statistics:
------------------------------
Total Inference Time: 26458 us
Forward Propagate Time: 26448 us
RPC Execute Time: 0 us
Snpe Accelerator Time: 0 us
Accelerator Time: 0 us
Misc Accelerator Time: 0

Layer Times:
---------------
0: 1419 us : CPU
1: 0 : CPU
2: 21 us : CPU
"""

OLD_DSP = OLD_CPU.replace("0: 1419 us : CPU\n1: 0 : CPU\n2: 21 us : CPU\n", "") + (
    "0: 0 : DSP\n1: 162014 cycles : DSP\n2: 40 us : CPU\n3: 0 us : CPU\n"
)

NEW_DSP = """\
Log File Created: Sun Oct  5 19:40:11 2025
Time Scale: 1e-06
Software library version: 2.37.0.250724175447_124859
------------------------------------------------------------

SNPE Create Statistics:
----------------------------------------
  Load: 1813 us
  Init: 158658 us
  De-Init: 6636 us

  Create Network(s): 152110 us
  RPC Init Time: 0\x20
  Accelerator Init Time: 1009 us

SNPE Execute Statistics (Averaged):
----------------------------------------
  Total Inference Time: 1328 us
  Forward Propagate Time: 1315 us
  RPC Execute Time: 290 us
  Snpe Accelerator Time: 250 us
  Num times yield occurred: 3
  Accelerator Time: 59 us

  Per-Subnet Execution Times:\x20
  ------------------------------
    Subnet 0 (DSP) : 13545 cycles
    Subnet 1 (CPU) : 12 us

  Per-Layer Execution Times:\x20
  ------------------------------
    0: Input OpId_2 (cycles) : 2142 cycles : DSP
    1: seq/dense/MatMul:OpId_18 (cycles) : 0 : DSP
    2: seq/dense/Relu:OpId_20 (cycles) : 1252 cycles : DSP
    3: odd : name/Softmax : 7 us : CPU
"""


def test_the_older_family():
    report = parse_diagview(OLD_CPU)
    assert report.library_version == "2.9.0.4462"
    assert report.create["create_networks"] == Amount(us=25547)
    assert report.create["rpc_init"] == Amount(us=0)  # `0 NONE`
    assert (report.init_us, report.total_inference_us) == (48856, 26458)
    assert report.execute["misc_accelerator"] == Amount(us=0)  # `0`
    assert [layer.time for layer in report.layers] == [Amount(us=t) for t in (1419, 0, 21)]
    assert {layer.runtime for layer in report.layers} == {"CPU"}
    assert report.notes == ()


def test_cycles_and_microseconds_are_never_added():
    report = parse_diagview(OLD_DSP)
    times = [layer.time for layer in report.layers]
    assert times == [Amount(cycles=0), Amount(cycles=162014), Amount(us=40), Amount(us=0)]
    assert [layer.runtime for layer in report.layers] == ["DSP", "DSP", "CPU", "CPU"]
    with pytest.raises(ValueError, match="in microseconds or in cycles"):
        Amount(us=1.0, cycles=1)


def test_the_newer_family():
    report = parse_diagview(NEW_DSP)
    assert report.library_version == "2.37.0.250724175447_124859"
    assert report.create["rpc_init"] == Amount(us=0)
    assert report.execute["accelerator"] == Amount(us=59)
    assert report.yields == 3
    assert [(s.index, s.runtime, s.time) for s in report.subnets] == [
        (0, "DSP", Amount(cycles=13545)),
        (1, "CPU", Amount(us=12)),
    ]
    assert [(layer.name, layer.op_id, layer.time) for layer in report.layers] == [
        ("Input", 2, Amount(cycles=2142)),
        ("seq/dense/MatMul", 18, Amount(cycles=0)),
        ("seq/dense/Relu", 20, Amount(cycles=1252)),
        ("odd : name/Softmax", None, Amount(us=7)),
    ]
    assert report.notes == ()


def test_a_log_that_is_cut_gives_what_is_there_and_says_so():
    report = parse_diagview(OLD_CPU[: OLD_CPU.index("Total Inference")])
    assert report.init_us == 48856 and report.total_inference_us is None
    assert "no total inference time: the log is cut off" in report.notes[-1]
    report = parse_diagview(NEW_DSP[: NEW_DSP.index("1252 cycles") + 3])
    assert len(report.layers) == 2  # `125` without a unit is not 125 of anything
    assert "Relu:OpId_20 (cycles) : 125" in report.notes[0]


def test_a_number_without_its_unit_is_not_guessed():
    report = parse_diagview(OLD_CPU.replace("Load: 149 us", "Load: 149"))
    assert "load" not in report.create
    assert report.notes == ("not understood: 'Load: 149'",)
    assert "create" not in parse_diagview(OLD_CPU.replace("28905 us", "-28905 us")).create


def test_odd_subnets_and_yields():
    report = parse_diagview(NEW_DSP.replace("13545 cycles", "13545").replace("red: 3", "red: many"))
    assert [subnet.index for subnet in report.subnets] == [1]
    assert report.yields is None and len(report.notes) == 2
    assert parse_diagview(NEW_DSP.replace("red: 3", "red: " + "9" * 5000)).yields is None


def test_gibberish_among_the_lines_is_noted_not_fatal():
    report = parse_diagview(OLD_CPU + "\n".join(["..", "\x00\x01", "a:b", "9: x", "1e999", "z"]))
    assert len(report.layers) == 3
    assert len(report.notes) == 5 and "more lines not understood" in report.notes[-1]


@pytest.mark.parametrize("text", ["", "Segmentation fault", "\x00\xff" * 50, "Load: 149 us"])
def test_what_is_no_report_is_refused(text):
    with pytest.raises(PersondetError, match="holds no statistics: expected a block"):
        parse_diagview(text)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", Amount(us=0)),
        ("0 NONE", Amount(us=0)),
        ("0 us", Amount(us=0)),
        ("0 cycles", Amount(cycles=0)),
        ("1.5 us", Amount(us=1.5)),
        ("5", Amount()),
        ("5 furlongs", Amount()),
        ("-5 us", None),
        ("1e999 us", None),
        ("us", None),
    ],
)
def test_amounts(text, amount):
    assert amount_in(text) == amount


def test_the_tools_words_for_one_statistic_are_one_key():
    assert key_of("Total Inference Time") == key_of(" total inference time ") == "total_inference"
    assert key_of("Create Network(s)") == "create_networks"
    assert key_of("De-Init") == "de_init"


LINES = st.lists(
    st.one_of(st.text(max_size=40), st.sampled_from((OLD_DSP + NEW_DSP).splitlines())),
    max_size=30,
).map("\n".join)


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_no_text_crashes_a_parser(text):
    try:
        report = parse_diagview(text)
    except PersondetError:
        return
    assert isinstance(report, DiagReport)
    for layer in report.layers:
        assert (layer.time.us is None) != (layer.time.cycles is None)
