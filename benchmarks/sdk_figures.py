"""The SDK's figures of a DLC beside ours, and why they differ where they do."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.figures import mib_text, snpe_scaled
from benchmarks.model_info import ModelInfo
from benchmarks.snpe1_info import Snpe1Info
from export.sdk.parsers.dlc_info import DlcInfo, TableGraph, TableLayer
from export.sdk.versions import Family

if TYPE_CHECKING:
    from rich.table import Table

_CONVOLUTION = re.compile(r"conv|deconv", re.I)
_NOT_PRINTED = "-"


@dataclass(frozen=True)
class ComparedFigure:
    """agrees: None where one side has no figure. why: of a difference, or of what is missing."""

    name: str
    ours: str
    sdk: str
    agrees: bool | None
    why: str


def compared_figures(
    info: ModelInfo | Snpe1Info, sdk: DlcInfo, family: Family
) -> tuple[ComparedFigure, ...]:
    """Parameters, MACs, memory, layers, inputs and outputs. family: the SDK's."""
    graph = sdk.graphs[0]  # our readers refuse a file of several
    return (
        _parameters(info, graph),
        _macs(info, graph),
        _memory(info, graph, family),
        _layers(info, graph),
        *_ports(info, graph),
        *_caches(sdk),
    )


def compared_json(figures: Iterable[ComparedFigure], sdk_name: str, sdk: DlcInfo) -> dict[str, Any]:
    return {
        "name": sdk_name,
        "figures": [asdict(figure) for figure in figures],
        "converter_version": sdk.converter_version,
        "converter_command": sdk.converter_command,
        "quantizer_command": sdk.quantizer_command,
        "caches": [asdict(cache) for cache in sdk.caches],
    }


def compared_tables(figures: Iterable[ComparedFigure], sdk_name: str) -> tuple["Table", ...]:
    """The figures side by side, then the reasons."""
    from benchmarks.tables import labelled_lines, new_table

    table = new_table("figure", "ours", sdk_name, "", numbers=())
    words = {True: "same", False: "differs", None: ""}
    figures = tuple(figures)
    for figure in figures:
        table.add_row(figure.name, figure.ours, figure.sdk, words[figure.agrees])
    return table, labelled_lines((figure.name, figure.why) for figure in figures if figure.why)


def _parameters(info: ModelInfo | Snpe1Info, sdk: TableGraph) -> ComparedFigure:
    ours = info.graph.parameters if isinstance(info, Snpe1Info) else info.figures.parameters
    if sdk.parameters is None:
        return _missing("Total parameters", f"{ours:,}")
    why = ""
    if sdk.parameters != ours:
        others = _layers_with("parameters", sdk.layers)
        why = (
            f"ours are convolutions' weights and biases; the SDK counts other layers too: {others}"
            if sdk.parameters > ours and others
            else f"{abs(sdk.parameters - ours):,} {'more' if sdk.parameters > ours else 'less'} in "
            "the SDK's count: its converter folds, merges or drops weights on its own"
        )
    return ComparedFigure(
        "Total parameters", f"{ours:,}", f"{sdk.parameters:,}", sdk.parameters == ours, why
    )


def _macs(info: ModelInfo | Snpe1Info, sdk: TableGraph) -> ComparedFigure:
    """The SDK truncates to thousands or millions: what fits is the same."""
    name = "Total MACs per inference"
    if isinstance(info, Snpe1Info):
        printed = sdk.macs.text if sdk.macs else _NOT_PRINTED
        return ComparedFigure(
            name, _NOT_PRINTED, printed, None, "ours are not counted for SNPE 1.x"
        )
    ours = info.figures.macs
    text = f"{snpe_scaled(ours)} ({ours:,})"
    if sdk.macs is None:
        return _missing(name, text)
    agrees = sdk.macs.fits(ours)
    why = "the SDK truncates its figure" if agrees and sdk.macs.unit > 1 else ""
    if not agrees:
        others = _layers_with("macs", sdk.layers)
        why = (
            f"ours are convolutions'; the SDK counts other layers too: {others}"
            if others
            else "the SDK lists other convolutions than the file's own graph has"
        )
    return ComparedFigure(name, text, sdk.macs.text, agrees, why)


def _memory(info: ModelInfo | Snpe1Info, sdk: TableGraph, family: Family) -> ComparedFigure:
    """Both are printed with one decimal; ours is the rule of 1.x."""
    name = "Memory needed to run"
    if isinstance(info, Snpe1Info):
        printed = sdk.memory_text or _NOT_PRINTED
        return ComparedFigure(name, _NOT_PRINTED, printed, None, "ours is not counted for SNPE 1.x")
    ours = mib_text(info.figures.snpe_memory_bytes)
    if sdk.memory_text is None:
        return _missing(name, ours)
    agrees = sdk.memory_fits(info.figures.snpe_memory_bytes)
    why = ""
    if not agrees:
        is_1x = family in (Family.SNPE_1_4, Family.SNPE_1)
        why = (
            "ours is the rule of SNPE 1.x on the file's own layers, each array in its stored width;"
            + (" the SDK lists other layers or widths" if is_1x else " later rules are not public")
        )
    return ComparedFigure(name, ours, sdk.memory_text, agrees, why)


def _layers(info: ModelInfo | Snpe1Info, sdk: TableGraph) -> ComparedFigure:
    if isinstance(info, Snpe1Info):
        ours, inputs = len(info.graph.layers), len(info.graph.inputs)
    else:
        ours, inputs = len(info.figures.layers), len(info.inputs)
    theirs = len(sdk.layers)
    if not theirs:
        return _missing("Layers", str(ours))
    why = ""
    if theirs == ours - inputs:
        why = "ours has the inputs as layers, as SNPE 1.x does; the SDK here does not list them"
    elif theirs != ours:
        why = (
            "the SDK lists every op of the file; ours leaves out changes of layout, Quantize and "
            "Dequantize, and activations that a quantized runtime fuses"
        )
    return ComparedFigure("Layers", str(ours), str(theirs), theirs == ours, why)


def _ports(info: ModelInfo | Snpe1Info, sdk: TableGraph) -> Iterator[ComparedFigure]:
    """Where the SDK prints its tables of inputs and outputs, as 2.x does."""
    if isinstance(info, Snpe1Info):
        return
    for name, ours, theirs in (
        ("Inputs", info.inputs, sdk.inputs),
        ("Outputs", info.outputs, sdk.outputs),
    ):
        if theirs:
            left = sorted((port.name, port.shape) for port in ours)
            right = sorted((port.name, port.shape) for port in theirs)
            agrees = left == right
            why = "" if agrees else "the SDK's converter renamed a tensor or changed its layout"
            yield ComparedFigure(name, _port_texts(left), _port_texts(right), agrees, why)


def _caches(sdk: DlcInfo) -> Iterator[ComparedFigure]:
    """Where the SDK prints which SoCs the graph is prepared for; we do not read them."""
    if sdk.caches:
        theirs = ", ".join(cache.identifier or cache.name for cache in sdk.caches)
        yield ComparedFigure(
            "Prepared for", _NOT_PRINTED, theirs, None, "ours does not read caches"
        )


def _port_texts(ports: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in ports)


def _layers_with(attribute: str, layers: Iterable[TableLayer]) -> str:
    """Types of layers other than convolutions that the SDK counts something for."""
    counted = (layer for layer in layers if getattr(layer, attribute) is not None)
    types = (layer.type for layer in counted if not _CONVOLUTION.search(layer.type))
    return ", ".join(dict.fromkeys(types))


def _missing(name: str, ours: str) -> ComparedFigure:
    return ComparedFigure(name, ours, _NOT_PRINTED, None, "the SDK printed none")
