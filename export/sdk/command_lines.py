"""From an intent and a version to command lines. Pure: nothing is run, no file is looked at."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.sdk.htp_socs import check_half_floats, htp_socs, snpe1_socs
from export.sdk.intent import ConvertIntent, QuantizeIntent
from export.sdk.options import (
    DLC_QUANT,
    DLC_QUANTIZE,
    GRAPH_PREPARE,
    LATE,
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
# An option's key, and what is filled in for its {value}.
Wish = tuple[str, str]


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
    """Return the converter's call, and graph-prepare's where SoCs are named. spec: the ONNX's.

    Raises InputError for what the version's tools lack, and for SoCs without half precision.
    """
    prepared = bool(intent.socs)
    converted = uncached_path(dlc) if prepared else dlc
    is_nchw = spec.input_format == "float-nchw"
    wishes: list[Wish] = [("input", str(onnx)), ("output", str(converted))]
    wishes += _plain(
        ("source NCHW" if is_nchw else "source NHWC", True),
        ("uint8", spec.input_dtype == "uint8"),
        ("DLC NHWC" if intent.dlc_layout == "nhwc" else "DLC as source", is_nchw),
    )
    wishes += [("output name", name) for name in spec.output_shapes]
    wishes += _plain(
        ("float16", intent.float_bits == 16),
        ("no simplification", not intent.simplify),
        ("no batch norm folding", not intent.fold_batch_norm),
    )
    if intent.overrides is not None:
        wishes.append(("overrides", str(intent.overrides)))
    plan = _plan(tools.converter, version, wishes, name=spec.input_name, product=converted)
    if not prepared:
        return plan
    check_half_floats(intent.socs)
    prepare = _prepare_plan(
        intent,
        version,
        tools,
        source=converted,
        destination=dlc,
        outputs=tuple(spec.output_shapes),
        float_io=True,
    )
    return _joined(plan, prepare)


def quantize_plan(
    intent: QuantizeIntent,
    version: SdkVersion,
    tools: Toolset,
    *,
    dlc: Path,
    input_list: Path,
    output: Path,
    outputs: Sequence[str],
) -> Plan:
    """Return the quantizer's call. outputs: the model's, by name.

    With a SoC, 2.x takes two calls: the quantized DLC gets its cache from graph-prepare. With
    float_fallback there is no input list.
    Raises InputError for what the version's tools lack.
    """
    prepared = bool(intent.socs) and tools.prepare is not None
    quantized = uncached_path(output) if prepared else output
    wishes: list[Wish] = [("float DLC", str(dlc))]
    if not intent.float_fallback:
        wishes.append(("input list", str(input_list)))
    wishes += [("quantized DLC", str(quantized)), *_quantizer_wishes(intent)]
    if intent.socs:
        wishes.append(("quantize for SoCs", snpe1_socs(intent.socs)))
    plan = _plan(tools.quantizer, version, wishes, product=quantized)
    plan = Plan(plan.calls, (*plan.notes, *_advice(intent, version)))
    if not prepared:
        if intent.optimization_level is not None:  # refused, naming the versions that have it
            entry_of("optimization level", tools.quantizer, version)
        return plan
    prepare = _prepare_plan(
        intent,
        version,
        tools,
        source=quantized,
        destination=output,
        outputs=outputs,
        float_io=False,
    )
    return _joined(plan, prepare)


def uncached_path(dlc: Path) -> Path:
    """Return where a DLC lies before graph-prepare makes `dlc` of it."""
    return dlc.with_name(f"{dlc.stem}.uncached.dlc")


def _quantizer_wishes(intent: QuantizeIntent) -> list[Wish]:
    is_symmetric, scheme = intent.weight_scheme == "symmetric", intent.weight_scheme
    is_sqnr = intent.calibration == "sqnr"
    return _plain(
        ("act 16", intent.act_bits == 16),
        (f"weights {intent.weight_bits}", intent.weight_bits != 8),
        ("weights 16 steps", intent.weight_bits == 16),
        (f"bias {intent.bias_bits}", intent.bias_bits is not None),
        (f"weights {scheme}", scheme != "asymmetric"),
        ("symmetric weights sqnr" if is_symmetric else "weights sqnr", is_sqnr),
        (f"calibration {intent.calibration}", intent.calibration != "minmax"),
        ("per channel", intent.per_channel),
        ("per row", intent.per_row),
        ("cle", intent.cle),
        ("bias correction", intent.bias_correction),
        ("apply overrides", intent.apply_overrides),
        ("float fallback", intent.float_fallback),
        ("native files", intent.native_inputs),
        ("hta", intent.enable_hta),
    )


def _prepare_plan(
    intent: ConvertIntent | QuantizeIntent,
    version: SdkVersion,
    tools: Toolset,
    *,
    source: Path,
    destination: Path,
    outputs: Sequence[str],
    float_io: bool,
) -> Plan:
    """Return graph-prepare's call. It takes the last layer's outputs unless it is told all."""
    assert tools.prepare is not None
    wishes: list[Wish] = [
        ("DLC to prepare", str(source)),
        ("prepared DLC", str(destination)),
        ("prepare for SoCs", htp_socs(intent.socs)),
        ("prepared outputs", ",".join(outputs)),
        *_plain(("float inputs", float_io)),
    ]
    if intent.optimization_level is not None:
        wishes.append(("optimization level", str(intent.optimization_level)))
    return _plan(tools.prepare, version, wishes, product=destination)


def _plain(*wishes: tuple[str, bool]) -> list[Wish]:
    """Return the wished of these, which have no value."""
    return [(key, "") for key, is_wished in wishes if is_wished]


def _plan(
    tool: str,
    version: SdkVersion,
    wishes: Iterable[Wish],
    *,
    product: Path,
    name: str = "",
) -> Plan:
    """Return the call of one tool. wishes: in the order in which they are written."""
    arguments: list[str] = []
    notes = []
    for key, value in wishes:
        entry = entry_of(key, tool, version)
        if entry.words is None:
            notes.append(f"{OPTIONS[key].title} {entry.note} (SDK {version}) and is left out")
            continue
        filled = {"{name}": name, "{value}": value}
        arguments += [filled.get(word, word) for word in entry.words]
    return Plan((ToolCall(tool, tuple(arguments), product),), tuple(notes))


def _joined(first: Plan, second: Plan) -> Plan:
    return Plan((*first.calls, *second.calls), (*first.notes, *second.notes))


def _advice(intent: QuantizeIntent, version: SdkVersion) -> Iterator[str]:
    """What others met with these wishes."""
    if intent.cle:
        yield (
            "the SDK's cross-layer equalisation wants batch norm in the graph, which "
            "`persondet export` has folded: it may fail or change nothing; compare"
        )
    if intent.weight_bits == 16 and intent.per_channel:
        yield (
            "16-bit weights with a scale per channel are known to lose much on devices; compare "
            "there (8-bit weights with 16-bit activations do not)"
        )
    has_symmetric = intent.per_channel or intent.per_row or intent.weight_scheme == "symmetric"
    if intent.weight_bits == 16 and version.numbers >= LATE and not has_symmetric:
        yield (
            "the Hexagon's steps for 16-bit weights apply to symmetric ones alone, others are "
            "quantized as if nothing were said: --weight-scheme symmetric"
        )
