"""From an intent and a version to command lines. Pure: nothing is run, no file is looked at."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from export.sdk.intent import ConvertIntent, QuantizeIntent
from export.sdk.options import (
    DLC_QUANT,
    DLC_QUANTIZE,
    GRAPH_PREPARE,
    OLDEST,
    ONNX_TO_DLC,
    OPTIONS,
    QAIRT_CONVERTER,
    QAIRT_QUANTIZER,
    dotted,
    entry_of,
)
from export.sdk.versions import Family, SdkVersion
from persondet.errors import InputError
from persondet.spec import DetectorSpec


@dataclass(frozen=True)
class ToolCall:
    """One tool to run. product: the file that it must write."""

    tool: str
    arguments: tuple[str, ...]
    product: Path

    @property
    def words(self) -> tuple[str, ...]:
        return (self.tool, *self.arguments)


@dataclass(frozen=True)
class Toolset:
    """The tools of a job, by name; an SDK of 2.25 or later has two sets of them."""

    name: str
    converter: str
    quantizer: str
    prepare: str | None


_SNPE_1 = Toolset("snpe", ONNX_TO_DLC, DLC_QUANTIZE, None)
# not snpe-dlc-quantize: in 2.x that is a shell script around the same two tools
_SNPE_2 = Toolset("snpe", ONNX_TO_DLC, DLC_QUANT, GRAPH_PREPARE)
_QAIRT = Toolset("qairt", QAIRT_CONVERTER, QAIRT_QUANTIZER, GRAPH_PREPARE)
TOOLSETS = ("snpe", "qairt")
# What else the intent asks for, as the option's key; in the order in which it is written.
_QUANTIZE_KEYS = {
    "per channel": lambda intent: intent.per_channel,
    "per row": lambda intent: intent.per_row,
    "cle": lambda intent: intent.cle,
    "bias correction": lambda intent: intent.bias_correction,
    "apply overrides": lambda intent: intent.apply_overrides,
    "native files": lambda intent: intent.native_inputs,
}


@dataclass(frozen=True)
class Plan:
    """The calls, in order, and what a user should know of them."""

    calls: tuple[ToolCall, ...]
    notes: tuple[str, ...] = ()


def toolset_of(version: SdkVersion, name: str | None = None) -> Toolset:
    """The tools of a version; name: "snpe" for the older ones where there are two sets.

    Raises InputError for a version older than any documented one, and for qairt tools before 2.25.
    """
    if version.numbers < OLDEST:
        raise InputError(
            f"SDK {version} is older than {dotted(OLDEST)}, the first whose tools are known"
        )
    if version.family is Family.QAIRT:
        return _SNPE_2 if name == "snpe" else _QAIRT
    if name == "qairt":
        raise InputError(
            f"SDK {version}: the qairt tools are used from 2.25 on; leave --sdk-tools out"
        )
    return _SNPE_2 if version.family is Family.SNPE_2 else _SNPE_1


def convert_plan(
    intent: ConvertIntent,
    spec: DetectorSpec,
    version: SdkVersion,
    tools: Toolset,
    *,
    onnx: Path,
    dlc: Path,
) -> Plan:
    """spec: the ONNX's. Raises InputError for what the version's converter lacks."""
    is_nchw = spec.input_format == "float-nchw"
    keys = ["input", "output", "source NCHW" if is_nchw else "source NHWC"]
    keys += ["uint8"] * (spec.input_dtype == "uint8")
    if is_nchw:
        keys.append("DLC NHWC" if intent.dlc_layout == "nhwc" else "DLC as source")
    keys += ["float16"] * (intent.float_bits == 16)
    keys += ["no simplification"] * (not intent.simplify)
    keys += ["no batch norm folding"] * (not intent.fold_batch_norm)
    keys += ["overrides"] * (intent.overrides is not None)
    keys += ["convert for a SoC"] * (intent.soc is not None)
    values = {"input": str(onnx), "output": str(dlc), "overrides": str(intent.overrides)}
    values["convert for a SoC"] = _soc_model(intent.soc)
    return _plan(tools.converter, version, keys, values, name=spec.input_name, product=dlc)


def quantize_plan(
    intent: QuantizeIntent,
    version: SdkVersion,
    tools: Toolset,
    *,
    dlc: Path,
    input_list: Path,
    output: Path,
) -> Plan:
    """Raises InputError for what the version's quantizer lacks.

    With a SoC, 2.x takes two calls: the quantized DLC gets its cache from graph-prepare.
    """
    prepared = intent.soc is not None and tools.prepare is not None
    quantized = output.with_name(f"{output.stem}.uncached.dlc") if prepared else output
    keys = ["float DLC", "input list", "quantized DLC"]
    keys += ["act 16"] * (intent.act_bits == 16)
    keys += [f"weights {intent.weight_bits}"] * (intent.weight_bits != 8)
    keys += [f"bias {intent.bias_bits}"] * (intent.bias_bits is not None)
    keys += [f"weights {intent.weight_scheme}"] * (intent.weight_scheme != "asymmetric")
    keys += [f"calibration {intent.calibration}"] * (intent.calibration != "minmax")
    keys += [key for key, is_wanted in _QUANTIZE_KEYS.items() if is_wanted(intent)]
    keys += ["quantize for a SoC"] * (intent.soc is not None)
    values = {"float DLC": str(dlc), "input list": str(input_list), "quantized DLC": str(quantized)}
    is_qairt = tools.quantizer == QAIRT_QUANTIZER
    values["quantize for a SoC"] = _soc_model(intent.soc) if is_qairt else str(intent.soc)
    plan = _plan(tools.quantizer, version, keys, values, product=quantized)
    plan = Plan(plan.calls, (*plan.notes, *_advice(intent)))
    if not prepared:
        return plan
    assert tools.prepare is not None
    keys = ["DLC to prepare", "prepared DLC", "prepare for a SoC"]
    values = dict(zip(keys, (str(quantized), str(output), str(intent.soc)), strict=True))
    prepare = _plan(tools.prepare, version, keys, values, product=output)
    return Plan((*plan.calls, *prepare.calls), (*plan.notes, *prepare.notes))


def _plan(
    tool: str,
    version: SdkVersion,
    keys: Iterable[str],
    values: dict[str, str],
    *,
    product: Path,
    name: str = "",
) -> Plan:
    arguments: list[str] = []
    notes = []
    for key in keys:
        entry = entry_of(key, tool, version)
        if entry.words is None:
            notes.append(f"{OPTIONS[key].title} {entry.note} (SDK {version}) and is left out")
            continue
        filled = {"{name}": name, "{value}": values.get(key, "")}
        arguments += [filled.get(word, word) for word in entry.words]
    return Plan((ToolCall(tool, tuple(arguments), product),), tuple(notes))


def _advice(intent: QuantizeIntent) -> Iterator[str]:
    """What others met with these wishes."""
    if intent.cle:
        yield (
            "the SDK's cross-layer equalisation wants batch norm in the graph, which "
            "`persondet export` has folded: it may fail or change nothing; compare"
        )
    if intent.per_channel and 16 in (intent.act_bits, intent.weight_bits):
        yield "a scale per channel with 16 bits is known to lose much on devices; compare there"


def _soc_model(soc: str | None) -> str:
    """How --target_soc_model spells a SoC: in capitals (inferred); --htp_socs takes small ones."""
    return str(soc).upper()
