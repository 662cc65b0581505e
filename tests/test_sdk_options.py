"""The table and the command lines made from it."""

import dataclasses
import re
import shlex
from itertools import product
from pathlib import Path

import pytest

from export.sdk.command_lines import convert_plan, quantize_plan, toolset_of
from export.sdk.intent import ConvertIntent, QuantizeIntent, dlc_spec
from export.sdk.options import OPTIONS, entry_of
from export.sdk.versions import parse_version
from persondet.errors import InputError
from persondet.zoo import detector_spec

SPEC = dataclasses.replace(detector_spec("mb2-ssd-lite-f38"), input_name="picture")
OUTPUTS = ("scores", "boxes")
FILES = {
    **{"dlc": Path("m.dlc"), "input_list": Path("l.txt"), "output": Path("q.dlc")},
    "outputs": OUTPUTS,
}


def _convert(version: str, tools: str | None = None, spec=SPEC, **wishes) -> list[str]:
    parsed = parse_version(version)
    plan = convert_plan(
        ConvertIntent(**wishes),
        *(spec, parsed, toolset_of(parsed, tools)),
        onnx=Path("m.onnx"),
        dlc=Path("m.dlc"),
    )
    return [shlex.join(call.words) for call in plan.calls]


def _quantize(version: str, tools: str | None = None, **wishes) -> list[str]:
    parsed = parse_version(version)
    plan = quantize_plan(QuantizeIntent(**wishes), parsed, toolset_of(parsed, tools), **FILES)
    return [shlex.join(call.words) for call in plan.calls]


OLD = "snpe-onnx-to-dlc --input_network m.onnx --output_path m.dlc"
NODES = "--out_node scores --out_node boxes"
NAMES = "--out_name scores --out_name boxes"
NEW = (
    "qairt-converter --input_network m.onnx --output_path m.dlc "
    "--source_model_input_layout picture NCHW --desired_input_layout picture NHWC "
    "--out_tensor_name scores --out_tensor_name boxes"
)


@pytest.mark.parametrize(
    ("version", "tools", "expected"),
    [
        ("1.47", None, OLD),
        ("1.51", None, f"{OLD} {NODES}"),
        ("1.56.2", None, f"{OLD} {NAMES}"),
        ("1.68", None, f"{OLD} --input_layout picture NCHW {NAMES}"),
        ("2.10.0.4541", None, f"{OLD} --input_layout picture NCHW {NAMES}"),
        ("2.22", None, f"{OLD} --input_layout picture NCHW {NAMES}"),
        ("2.25", None, NEW),
        ("2.39", None, NEW),
        ("2.39", "snpe", f"{OLD} --input_layout picture NCHW {NAMES}"),
    ],
)
def test_the_same_wish_in_every_version(version, tools, expected) -> None:
    assert _convert(version, tools) == [expected]


QUANT = "--input_dlc m.dlc --input_list l.txt --output_dlc"
PREPARE = "snpe-dlc-graph-prepare --input_dlc"


@pytest.mark.parametrize(
    ("version", "tools", "expected"),
    [
        (
            "1.68",
            None,
            [
                f"snpe-dlc-quantize {QUANT} q.dlc --bias_bitwidth 32 "
                "--use_symmetric_quantize_weights --use_enhanced_quantizer --axis_quant "
                "--optimizations cle --override_params --enable_htp --htp_socs sm8550"
            ],
        ),
        (
            "2.10",
            None,
            [
                f"snpe-dlc-quant {QUANT} q.uncached.dlc --bias_bitwidth 32 "
                "--use_symmetric_quantize_weights --use_enhanced_quantizer "
                "--use_per_channel_quantization --optimizations cle --override_params",
                f"{PREPARE} q.uncached.dlc --output_dlc q.dlc "
                "--htp_socs sm8550 --set_output_tensors scores,boxes",
            ],
        ),
        (
            "2.39",
            "snpe",
            [
                f"snpe-dlc-quant {QUANT} q.uncached.dlc --bias_bitwidth 32 "
                "--param_quantizer symmetric --act_quantizer enhanced "
                "--use_per_channel_quantization --algorithms cle --override_params",
                f"{PREPARE} q.uncached.dlc --output_dlc q.dlc "
                "--htp_socs sm8550 --set_output_tensors scores,boxes",
            ],
        ),
        (
            "2.39",
            None,
            [
                f"qairt-quantizer {QUANT} q.uncached.dlc --bias_bitwidth 32 "
                "--param_quantizer_schema symmetric --param_quantizer_calibration sqnr "
                "--act_quantizer_calibration sqnr "
                "--use_per_channel_quantization --apply_algorithms cle",
                f"{PREPARE} q.uncached.dlc --output_dlc q.dlc "
                "--htp_socs sm8550 --set_output_tensors scores,boxes",
            ],
        ),
    ],
)
def test_one_intent_in_four_spellings(version, tools, expected) -> None:
    wishes = {"bias_bits": 32, "weight_scheme": "symmetric", "calibration": "sqnr"}
    switches = dict.fromkeys(("per_channel", "cle", "apply_overrides"), True)
    assert _quantize(version, tools, **wishes, **switches, socs=("SM8550",)) == expected


@pytest.mark.parametrize(
    ("version", "wishes", "message"),
    [
        (
            "1.47",
            {"per_channel": True},
            r"a scale per output channel \(--per-channel\): snpe-dlc-quantize of SDK 1\.47 has no "
            r"option for that; versions that have one: 1\.56 to 1\.68 \(snpe-dlc-quantize\), 2\.0 "
            r"on \(snpe-dlc-quant\), 2\.25 on \(qairt-quantizer\)",
        ),
        ("2.10", {"weight_bits": 4}, r"2\.10 has no option for that.*: 2\.25 on \(snpe-dlc-quant"),
        ("1.68", {"calibration": "mse"}, r"--calibration mse.*: 2\.25 on \(qairt-quantizer\)$"),
        ("2.4", {"native_inputs": True}, r"--native-inputs.*: 2\.5 on \(snpe-dlc-quant\)"),
        ("2.24", {"per_row": True}, r"--per-row.*2\.25 on"),
    ],
)
def test_what_a_version_lacks(version, wishes, message) -> None:
    with pytest.raises(InputError, match=message):
        _quantize(version, **wishes)


@pytest.mark.parametrize(
    ("version", "wishes", "message"),
    [
        ("1.50", {"overrides": Path("e.json")}, r"--encodings.*: 1\.51 on \(snpe-onnx-to-dlc\)"),
        ("1.53", {"simplify": False}, r"--no-simplify.*: 1\.54 on"),
        ("1.68", {"float_bits": 16}, r"--float-bits 16.*: 2\.0 on \(snpe-onnx-to-dlc\), 2"),
        ("2.10", {"dlc_layout": "source"}, r"--dlc-layout source.*: 2\.25 on"),
        ("2.39", {"fold_batch_norm": False}, r"--no-fold-batch-norm.*: 1\.40 on \(snpe-onnx-to"),
        (
            "1.68",
            {"socs": ("sm8550",), "float_bits": 16},
            r"--float-bits 16.*: 2\.0 on \(snpe-onnx-to-dlc\), 2",
        ),
    ],
)
def test_what_a_converter_lacks(version, wishes, message) -> None:
    with pytest.raises(InputError, match=message):
        _convert(version, **wishes)


def test_the_other_tools_of_the_same_sdk() -> None:
    with pytest.raises(InputError, match=r"this SDK's other tools have it: --sdk-tools snpe$"):
        _convert("2.39", fold_batch_norm=False)
    with pytest.raises(InputError, match=r"this SDK's other tools have it: --sdk-tools qairt$"):
        _quantize("2.39", "snpe", calibration="mse")
    with pytest.raises(InputError, match=r": 2\.25 on \(qairt-quantizer\)$"):
        _quantize("2.24", calibration="mse")


def test_every_named_version_has_the_option() -> None:
    """What a refusal says of tools and versions is what the table does."""
    for option in OPTIONS.values():
        tools = {entry.tool for entry in option.entries}
        for tool, numbers in product(
            tools, ("1.40", "1.55", "1.68", "2.4", "2.10", "2.25", "2.30")
        ):
            version = parse_version(numbers)
            try:
                has_it = entry_of(option.key, tool, version).words is not None
            except InputError as error:
                assert not _named(str(error), tool, version.numbers), (option.key, str(error))
            else:
                assert has_it or option.key in ("bias correction", "symmetric weights sqnr")


def _named(message: str, tool: str, numbers: tuple[int, ...]) -> bool:
    """Whether the message names the version among those of the tool."""
    ranges = re.findall(rf"(\d+)\.(\d+) (on|to (\d+)\.(\d+)) \({tool}\)", message)
    return any(
        (int(a), int(b)) <= numbers and (how == "on" or numbers <= (int(c), int(d)))
        for a, b, how, c, d in ranges
    )


def _notes(version: str, tools: str | None = None, **wishes) -> str:
    parsed = parse_version(version)
    plan = quantize_plan(QuantizeIntent(**wishes), parsed, toolset_of(parsed, tools), **FILES)
    return "; ".join(plan.notes)


def test_what_others_met_is_said() -> None:
    assert "wants batch norm in the graph" in _notes("2.39", cle=True)
    # Eight-bit weights with 16-bit activations per channel are common and good.
    assert _notes("2.39", act_bits=16, per_channel=True) == ""
    loss = "16-bit weights with a scale per channel are known to lose much"
    assert loss in _notes("2.39", weight_bits=16, per_channel=True)
    assert "apply to symmetric ones alone" in _notes("2.39", weight_bits=16)
    assert _notes("2.10", weight_bits=16) == ""
    assert _notes("2.39", weight_bits=16, weight_scheme="symmetric") == ""


def test_16_bit_weights_have_the_steps_of_the_hexagon() -> None:
    """With the minus sign that the tool's help demands, and as one word."""
    steps = "'--restrict_quantization_steps=-0x8000 0x7F7F'"
    for version, tools in (("2.25", "snpe"), ("2.25", "qairt"), ("2.48", "qairt")):
        assert steps in _quantize(version, tools, weight_bits=16)[0]
        assert "restrict" not in _quantize(version, tools, act_bits=16, weight_bits=8)[0]
    assert "restrict" not in _quantize("2.10", weight_bits=16)[0]


@pytest.mark.parametrize(
    ("version", "tools", "expected"),
    [
        ("1.68", None, "--use_enhanced_quantizer"),
        ("2.10", None, "--use_enhanced_quantizer"),
        ("2.25", "snpe", "--param_quantizer enhanced --act_quantizer enhanced"),
        (
            *("2.45", "qairt"),
            "--param_quantizer_calibration sqnr --act_quantizer_calibration sqnr",
        ),
    ],
)
def test_enhanced_is_of_weights_and_activations(version, tools, expected) -> None:
    assert _quantize(version, tools, calibration="sqnr")[0].endswith(f"q.dlc {expected}")


def test_symmetric_weights_cannot_be_enhanced_by_the_same_option() -> None:
    wishes = {"calibration": "sqnr", "weight_scheme": "symmetric"}
    assert _quantize("2.39", "snpe", **wishes)[0].endswith(
        "--param_quantizer symmetric --act_quantizer enhanced"
    )
    assert "has no words beside --param_quantizer symmetric" in _notes("2.39", "snpe", **wishes)


@pytest.mark.parametrize("version", ["2.5", "2.25", "2.39", "2.48"])
def test_no_tool_is_told_a_soc_but_graph_prepare(version) -> None:
    """The converter's and the quantizer's own option is refused by real ones."""
    socs = ("SM8550", "qcm6490", "QCS 8550")
    lines = _quantize(version, socs=socs, optimization_level=3)
    assert "soc" not in lines[0] and "target" not in lines[0]
    assert lines[1].endswith(
        "--htp_socs sm8550,qcs6490,qcs8550 --set_output_tensors scores,boxes --optimization_level 3"
    )


def test_a_float_graph_for_a_soc() -> None:
    converter, prepare = _convert("2.39", float_bits=16, socs=("sm8550", "SM8650"))
    assert "--output_path m.uncached.dlc" in converter and "--float_bitwidth 16" in converter
    assert prepare == (
        f"{PREPARE} m.uncached.dlc --output_dlc m.dlc --htp_socs sm8550,sm8650 "
        "--set_output_tensors scores,boxes --use_float_io"
    )
    assert len(_convert("2.5", float_bits=16, socs=("sm8550",))) == 2


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"socs": ("sm8550",)}, r"--soc with convert needs --float-bits 16: .*quantize --soc`"),
        (
            {"socs": ("sm8550", "qcs6490"), "float_bits": 16},
            r"--soc qcs6490: its HTP is a v68, which has no half precision .*134.*quantize",
        ),
        ({"socs": ("sm8350",), "float_bits": 16}, r"--soc sm8350: its HTP is a v68"),
        (
            {"socs": ("sm8475",), "float_bits": 16},
            r"--soc sm8475: snpe-dlc-graph-prepare makes no cache for it; it takes sm8350, sm8450, "
            r"sm8550, sm8650, sm8750, qcs6490, qcs8550; without an SDK: --toolchain embedded",
        ),
        ({"socs": ("sm9999",), "float_bits": 16}, r"it takes sm8350, .*qcs8550$"),
        ({"optimization_level": 2}, r"--optimization-level is of the graph prepared for a SoC"),
    ],
)
def test_socs_that_cannot_have_a_float_graph(wishes, message) -> None:
    with pytest.raises(InputError, match=message):
        _convert("2.39", **wishes)


def test_the_soc_of_snpe_1() -> None:
    line = _quantize("1.68", socs=("SM8350", "RB3 Gen 2", "sdm865"))[0]
    assert line.endswith("--enable_htp --htp_socs sm8350,qcs6490,sdm865")
    with pytest.raises(InputError, match=r"--optimization-level\).*: 2\.0 on \(snpe-dlc-graph-pre"):
        _quantize("1.68", socs=("sm8350",), optimization_level=3)


def test_floats_where_no_encoding_is_given() -> None:
    wishes = {"apply_overrides": True, "float_fallback": True}
    assert _quantize("2.39", "snpe", **wishes) == [
        "snpe-dlc-quant --input_dlc m.dlc --output_dlc q.dlc --override_params --float_fallback"
    ]
    assert _quantize("2.39", **wishes) == [
        "qairt-quantizer --input_dlc m.dlc --output_dlc q.dlc --enable_float_fallback"
    ]
    with pytest.raises(InputError, match=r"--float-fallback\).*: 2\.25 on \(snpe-dlc-quant\)"):
        _quantize("2.10", **wishes)
    with pytest.raises(InputError, match=r"--float-fallback needs --encodings"):
        QuantizeIntent(float_fallback=True)


def test_the_aip_is_prepared_for_by_snpe_1() -> None:
    for version in ("1.47", "1.68"):
        assert _quantize(version, enable_hta=True)[0].endswith("--enable_hta")
    for version in ("2.10", "2.39"):
        with pytest.raises(InputError, match=r"--enable-hta\).*: 1\.40 to 1\.68 \(snpe-dlc-qua"):
            _quantize(version, enable_hta=True)


def test_a_uint8_input_needs_its_layout_said() -> None:
    bytes_spec = dataclasses.replace(SPEC, input_format="uint8-nhwc")
    assert (
        "--input_layout picture NHWC --input_dtype picture uint8"
        in (_convert("1.68", spec=bytes_spec)[0])
    )
    assert (
        "--source_model_input_layout picture NHWC --source_model_input_datatype picture uint8"
        in (_convert("2.39", spec=bytes_spec)[0])
    )
    with pytest.raises(InputError, match=r"NHWC \(export with --input float-nchw instead\).*1\.68"):
        _convert("1.67", spec=bytes_spec)


def test_what_has_no_effect_is_left_out_with_a_note() -> None:
    version = parse_version("2.39")
    intent = QuantizeIntent(bias_correction=True)
    plan = quantize_plan(intent, version, toolset_of(version), **FILES)
    assert "bc" not in plan.calls[0].arguments
    assert plan.notes == (
        "bias correction (--bias-correction) has no effect in 2.x (SDK 2.39) and is left out",
    )
    assert _quantize("1.68", bias_correction=True)[0].endswith("--optimizations bc")


def test_the_spelling_that_changed_after_2_25() -> None:
    assert _quantize("2.25", cle=True)[0].endswith("--algorithms cle")
    assert _quantize("2.25.0.240728", cle=True)[0].endswith("--algorithms cle")
    assert _quantize("2.26.0.240828", cle=True)[0].endswith("--apply_algorithms cle")


def test_versions_and_tools_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"1\.36 is older than 1\.40"):
        toolset_of(parse_version("1.36"))
    with pytest.raises(InputError, match=r"the qairt tools are used from 2\.25 on"):
        toolset_of(parse_version("2.10"), "qairt")


def test_entries_are_in_order() -> None:
    """`entry_of` and the coverage table take a later entry for a narrower one."""
    for option in OPTIONS.values():
        for tool in {entry.tool for entry in option.entries}:
            starts = [entry.since for entry in option.entries if entry.tool == tool]
            assert starts == sorted(starts), option.key
    assert entry_of("source NCHW", "snpe-onnx-to-dlc", parse_version("1.68")).words != ()


@pytest.mark.parametrize(
    "wish", [{"act_bits": 4}, {"socs": ("sm8550;reboot",)}, {"calibration": "x"}]
)
def test_wishes_that_cannot_be(wish) -> None:
    with pytest.raises(InputError, match=r"is not possible; expected one of|is no SoC's name"):
        QuantizeIntent(**wish)


def test_the_dlc_has_its_own_layout() -> None:
    assert dlc_spec(SPEC, ConvertIntent()).input_shape == (1, 300, 300, 3)
    assert dlc_spec(SPEC, ConvertIntent(dlc_layout="source")) == SPEC
