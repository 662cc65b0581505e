"""The table: what is wanted x tool x version -> spelling, no effect, or refused.

An entry covers the versions from `since` up to, but without, `before`. Where no entry covers a tool
in a version, the option is refused there. Versions between the documented samples are inferred, as
are the rows marked so.
"""

from dataclasses import dataclass

from export.sdk.versions import SdkVersion
from persondet.errors import InputError

ONNX_TO_DLC = "snpe-onnx-to-dlc"
QAIRT_CONVERTER = "qairt-converter"
DLC_QUANTIZE = "snpe-dlc-quantize"
DLC_QUANT = "snpe-dlc-quant"
QAIRT_QUANTIZER = "qairt-quantizer"
GRAPH_PREPARE = "snpe-dlc-graph-prepare"

OLDEST = (1, 40)
SNPE_2 = (2, 0)
LATE = (2, 25)
# 2.25 itself still has some older spellings of the qairt tools; the next version is taken to have
# the newer ones (inferred).
AFTER_2_25 = (2, 26)

# The tool's help has the minus sign: "a hexadecimal string literal and not a signed integer". One
# word, so that no parser takes the value for an option.
RESTRICTED_STEPS = "--restrict_quantization_steps=-0x8000 0x7F7F"

Numbers = tuple[int, ...]
# how an entry's `before` is said
_LAST: dict[Numbers | None, str] = {None: "on", SNPE_2: "to 1.68", LATE: "to 2.24"}
# an SDK of 2.25 or later has both of a line
_OTHER_TOOLS = (
    {ONNX_TO_DLC: "snpe", DLC_QUANT: "snpe"},
    {QAIRT_CONVERTER: "qairt", QAIRT_QUANTIZER: "qairt"},
)


@dataclass(frozen=True)
class Entry:
    """words: with {name} and {value} to fill in; none where nothing need be said. None: accepted,
    but without effect, and left out."""

    tool: str
    since: Numbers
    before: Numbers | None
    words: tuple[str, ...] | None
    note: str = ""

    def covers(self, tool: str, version: SdkVersion) -> bool:
        numbers = version.numbers
        in_time = self.since <= numbers and (self.before is None or numbers < self.before)
        return tool == self.tool and in_time


@dataclass(frozen=True)
class Option:
    """key: for the code; title: in words, with our command's own option where there is one."""

    key: str
    title: str
    entries: tuple[Entry, ...]


def _snpe1(tool: str, *words: str, since: Numbers = OLDEST, note: str = "") -> Entry:
    return Entry(tool, since, SNPE_2, words, note)


def _snpe2(tool: str, *words: str, since: Numbers = SNPE_2, note: str = "") -> Entry:
    return Entry(tool, since, LATE, words, note)


def _late(tool: str, *words: str, since: Numbers = LATE, note: str = "") -> Entry:
    return Entry(tool, since, None, words, note)


def _always(tool: str, *words: str, since: Numbers = OLDEST, note: str = "") -> Entry:
    return Entry(tool, since, None, words, note)


def _quantizers(*words: str) -> tuple[Entry, ...]:
    """The same words for every quantizer."""
    return (
        _snpe1(DLC_QUANTIZE, *words),
        _always(DLC_QUANT, *words, since=SNPE_2),
        _late(QAIRT_QUANTIZER, *words),
    )


_WITH_ACTIVATIONS = "with the activations'"
CONVERTER_OPTIONS = (
    Option(
        "input",
        "the ONNX",
        (
            _always(ONNX_TO_DLC, "--input_network", "{value}"),
            _late(QAIRT_CONVERTER, "--input_network", "{value}"),
        ),
    ),
    Option(
        "output",
        "the DLC",
        (
            _always(ONNX_TO_DLC, "--output_path", "{value}"),
            _late(QAIRT_CONVERTER, "--output_path", "{value}"),
        ),
    ),
    Option(
        "source NCHW",
        "an ONNX input of layout NCHW",
        (
            _snpe1(ONNX_TO_DLC, note="what it takes for granted"),
            _always(ONNX_TO_DLC, "--input_layout", "{name}", "NCHW", since=(1, 68)),
            _late(QAIRT_CONVERTER, "--source_model_input_layout", "{name}", "NCHW"),
        ),
    ),
    Option(
        "source NHWC",
        "an ONNX input of layout NHWC (export with --input float-nchw instead)",
        (
            _always(ONNX_TO_DLC, "--input_layout", "{name}", "NHWC", since=(1, 68)),
            _late(QAIRT_CONVERTER, "--source_model_input_layout", "{name}", "NHWC"),
        ),
    ),
    Option(
        "uint8",
        "a uint8 input",
        (
            _always(ONNX_TO_DLC, "--input_dtype", "{name}", "uint8"),
            _late(QAIRT_CONVERTER, "--source_model_input_datatype", "{name}", "uint8"),
        ),
    ),
    Option(
        "DLC NHWC",
        "a DLC input of layout NHWC (--dlc-layout nhwc)",
        (
            _always(ONNX_TO_DLC, note="what it always makes"),
            _late(QAIRT_CONVERTER, "--desired_input_layout", "{name}", "NHWC"),
        ),
    ),
    Option(
        "DLC as source",
        "the ONNX's layout in the DLC (--dlc-layout source)",
        (
            _late(ONNX_TO_DLC, "--preserve_io", "layout"),
            _late(QAIRT_CONVERTER, note="what it makes by default"),
        ),
    ),
    Option(
        "float16",
        "16-bit floats (--float-bits 16)",
        (
            _snpe2(ONNX_TO_DLC, "--float_bw", "16"),
            _late(ONNX_TO_DLC, "--float_bitwidth", "16"),
            _late(QAIRT_CONVERTER, "--float_bitwidth", "16"),
        ),
    ),
    Option(
        "no simplification",
        "no simplification of the ONNX (--no-simplify)",
        (
            _always(ONNX_TO_DLC, "--no_simplification", since=(1, 54)),
            _late(QAIRT_CONVERTER, "--onnx_skip_simplification"),
        ),
    ),
    Option(
        "no batch norm folding",
        "batch norm left apart (--no-fold-batch-norm)",
        (_always(ONNX_TO_DLC, "--disable_batchnorm_folding"),),
    ),
    Option(
        "overrides",
        "given encodings (--encodings)",
        (
            _always(ONNX_TO_DLC, "--quantization_overrides", "{value}", since=(1, 51)),
            _late(QAIRT_CONVERTER, "--quantization_overrides", "{value}"),
        ),
    ),
    Option(
        "output name",
        "each output by name",
        (
            _snpe1(ONNX_TO_DLC, note="no option is known"),
            _snpe1(ONNX_TO_DLC, "--out_node", "{value}", since=(1, 50)),
            _always(ONNX_TO_DLC, "--out_name", "{value}", since=(1, 56)),
            _late(QAIRT_CONVERTER, "--out_tensor_name", "{value}"),
        ),
    ),
)

QUANTIZER_OPTIONS = (
    Option("float DLC", "the float DLC", _quantizers("--input_dlc", "{value}")),
    Option("input list", "the list of calibration files", _quantizers("--input_list", "{value}")),
    Option("quantized DLC", "the quantized DLC", _quantizers("--output_dlc", "{value}")),
    Option("act 16", "16-bit activations (--act-bits 16)", _quantizers("--act_bitwidth", "16")),
    Option(
        "weights 16", "16-bit weights (--weight-bits 16)", _quantizers("--weights_bitwidth", "16")
    ),
    Option(
        "weights 16 steps",
        "the steps that the Hexagon has for 16-bit weights (--weight-bits 16)",
        (
            _snpe1(DLC_QUANTIZE, note="no option is known"),
            _snpe2(DLC_QUANT, note="no option is known"),
            _late(DLC_QUANT, RESTRICTED_STEPS),
            _late(QAIRT_QUANTIZER, RESTRICTED_STEPS),
        ),
    ),
    Option(
        "weights 4",
        "4-bit weights (--weight-bits 4)",
        (
            _late(DLC_QUANT, "--weights_bitwidth", "4"),
            _late(QAIRT_QUANTIZER, "--weights_bitwidth", "4"),
        ),
    ),
    Option("bias 8", "8-bit biases (--bias-bits 8)", _quantizers("--bias_bitwidth", "8")),
    Option("bias 32", "32-bit biases (--bias-bits 32)", _quantizers("--bias_bitwidth", "32")),
    Option(
        "per channel",
        "a scale per output channel (--per-channel)",
        (
            # Known to be in 1.56.2; its first version is not known.
            _snpe1(DLC_QUANTIZE, "--axis_quant", since=(1, 56)),
            _always(DLC_QUANT, "--use_per_channel_quantization", since=SNPE_2),
            _late(QAIRT_QUANTIZER, "--use_per_channel_quantization"),
        ),
    ),
    Option(
        "per row",
        "a scale per row of fully connected weights (--per-row)",
        (
            _late(DLC_QUANT, "--use_per_row_quantization"),
            _late(QAIRT_QUANTIZER, "--use_per_row_quantization"),
        ),
    ),
    Option(
        "weights symmetric",
        "symmetric weights (--weight-scheme symmetric)",
        (
            _snpe1(DLC_QUANTIZE, "--use_symmetric_quantize_weights"),
            _snpe2(DLC_QUANT, "--use_symmetric_quantize_weights"),
            _late(DLC_QUANT, "--param_quantizer", "symmetric"),
            _late(QAIRT_QUANTIZER, "--param_quantizer_schema", "symmetric"),
        ),
    ),
    Option(
        "weights unsignedsymmetric",
        "unsigned symmetric weights (--weight-scheme unsignedsymmetric)",
        (_late(QAIRT_QUANTIZER, "--param_quantizer_schema", "unsignedsymmetric"),),
    ),
    Option(
        "calibration sqnr",
        "ranges of least noise (--calibration sqnr)",
        (
            _snpe1(DLC_QUANTIZE, "--use_enhanced_quantizer"),
            _snpe2(DLC_QUANT, "--use_enhanced_quantizer"),
            _late(DLC_QUANT, "--act_quantizer", "enhanced"),
            _late(QAIRT_QUANTIZER, "--act_quantizer_calibration", "sqnr"),
        ),
    ),
    Option(
        "weights sqnr",
        "ranges of least noise for weights (--calibration sqnr)",
        (
            _snpe1(DLC_QUANTIZE, note=_WITH_ACTIVATIONS),
            _snpe2(DLC_QUANT, note=_WITH_ACTIVATIONS),
            _late(DLC_QUANT, "--param_quantizer", "enhanced"),
            _late(QAIRT_QUANTIZER, "--param_quantizer_calibration", "sqnr"),
        ),
    ),
    Option(
        "symmetric weights sqnr",
        "ranges of least noise for symmetric weights (--calibration sqnr)",
        (
            _snpe1(DLC_QUANTIZE, note=_WITH_ACTIVATIONS),
            _snpe2(DLC_QUANT, note=_WITH_ACTIVATIONS),
            Entry(DLC_QUANT, LATE, None, None, "has no words beside --param_quantizer symmetric"),
            _late(QAIRT_QUANTIZER, "--param_quantizer_calibration", "sqnr"),
        ),
    ),
    *(
        Option(
            f"calibration {method}",
            f"ranges by {method} (--calibration {method})",
            (_late(QAIRT_QUANTIZER, "--act_quantizer_calibration", method),),
        )
        for method in ("percentile", "entropy", "mse")
    ),
    Option(
        "cle",
        "cross-layer equalisation (--cle)",
        (
            _snpe1(DLC_QUANTIZE, "--optimizations", "cle"),
            _snpe2(DLC_QUANT, "--optimizations", "cle"),
            _late(DLC_QUANT, "--algorithms", "cle"),
            Entry(QAIRT_QUANTIZER, LATE, AFTER_2_25, ("--algorithms", "cle")),
            _late(QAIRT_QUANTIZER, "--apply_algorithms", "cle", since=AFTER_2_25),
        ),
    ),
    Option(
        "bias correction",
        "bias correction (--bias-correction)",
        (
            _snpe1(DLC_QUANTIZE, "--optimizations", "bc"),
            Entry(DLC_QUANT, SNPE_2, None, None, "has no effect in 2.x"),
            Entry(QAIRT_QUANTIZER, LATE, None, None, "has no effect in 2.x"),
        ),
    ),
    Option(
        "apply overrides",
        "the given encodings applied (--encodings)",
        (
            _snpe1(DLC_QUANTIZE, "--override_params"),
            _always(DLC_QUANT, "--override_params", since=SNPE_2),
            _late(QAIRT_QUANTIZER, note="what it does by default"),
        ),
    ),
    Option(
        "native files",
        "calibration files of the input's own type, uint8 (--native-inputs)",
        (
            _always(DLC_QUANT, "--use_native_input_files", since=(2, 5)),
            _late(QAIRT_QUANTIZER, "--use_native_input_files"),
        ),
    ),
    Option(
        "float fallback",
        "float where no encoding is given (--float-fallback)",
        (
            _late(DLC_QUANT, "--float_fallback"),
            _late(QAIRT_QUANTIZER, "--enable_float_fallback"),
        ),
    ),
    Option("hta", "the runtime AIP (--enable-hta)", (_snpe1(DLC_QUANTIZE, "--enable_hta"),)),
    Option(
        "quantize for SoCs",
        "a graph prepared for SoCs (--soc)",
        (
            _snpe1(DLC_QUANTIZE, "--enable_htp", "--htp_socs", "{value}"),
            _always(DLC_QUANT, since=SNPE_2, note=f"by {GRAPH_PREPARE}"),
            _late(QAIRT_QUANTIZER, note=f"by {GRAPH_PREPARE}"),
        ),
    ),
)

PREPARE_OPTIONS = (
    Option(
        "DLC to prepare",
        "the quantized DLC, or the one of 16-bit floats",
        (_always(GRAPH_PREPARE, "--input_dlc", "{value}", since=SNPE_2),),
    ),
    Option(
        "prepared DLC",
        "the DLC with a cache",
        (_always(GRAPH_PREPARE, "--output_dlc", "{value}", since=SNPE_2),),
    ),
    Option(
        "prepare for SoCs",
        "the SoCs, joined by commas (--soc)",
        (_always(GRAPH_PREPARE, "--htp_socs", "{value}", since=SNPE_2),),
    ),
    Option(
        "prepared outputs",
        "all outputs, joined by commas",
        (_always(GRAPH_PREPARE, "--set_output_tensors", "{value}", since=SNPE_2),),
    ),
    Option(
        "float inputs",
        "float inputs and outputs (of 16-bit floats)",
        (_always(GRAPH_PREPARE, "--use_float_io", since=SNPE_2),),
    ),
    Option(
        "optimization level",
        "how hard the graph is optimised (--optimization-level)",
        (_always(GRAPH_PREPARE, "--optimization_level", "{value}", since=SNPE_2),),
    ),
)

OPTIONS = {
    option.key: option for option in (*CONVERTER_OPTIONS, *QUANTIZER_OPTIONS, *PREPARE_OPTIONS)
}


def entry_of(key: str, tool: str, version: SdkVersion) -> Entry:
    """The entry of a wanted option. Raises InputError naming the versions that have it.

    The last entry that covers the version counts: a later one narrows an earlier one.
    """
    covering = [entry for entry in OPTIONS[key].entries if entry.covers(tool, version)]
    if not covering:
        raise InputError(
            f"{OPTIONS[key].title}: {tool} of SDK {version} has no option for that; versions that "
            f"have one: {', '.join(_versions(OPTIONS[key]))}{_other_tools(key, tool, version)}"
        )
    return covering[-1]


def _versions(option: Option) -> list[str]:
    """`1.56 to 1.68 (snpe-dlc-quantize)`, `2.25 on (qairt-quantizer)`: where it has an effect.

    A tool's entries follow each other, so that two of them are one range.
    """
    effective = [entry for entry in option.entries if entry.words is not None]
    return [
        f"{dotted(of_tool[0].since)} {_LAST[of_tool[-1].before]} ({tool})"
        for tool in dict.fromkeys(entry.tool for entry in effective)
        if (of_tool := [entry for entry in effective if entry.tool == tool])
    ]


def _other_tools(key: str, tool: str, version: SdkVersion) -> str:
    """A hint where the other tools of the same SDK have the option."""
    if version.numbers < LATE:
        return ""
    for tools in _OTHER_TOOLS:
        for other, name in tools.items():
            found = any(
                entry.words is not None and entry.covers(other, version)
                for entry in OPTIONS[key].entries
            )
            if found and tool not in tools:
                return f"; this SDK's other tools have it: --sdk-tools {name}"
    return ""


def dotted(numbers: Numbers) -> str:
    return ".".join(map(str, numbers))
