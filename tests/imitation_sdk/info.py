"""An imitation of snpe-dlc-info and qairt-dlc-info: their tables, by outputs of 1.x, 2.5 and 2.2x.

It cannot show how a real tool counts: figures follow our reading of the DLC. A cache is named by
its SoC, as the record that the imitation makes holds no more. It writes no CSV, which nothing of
ours reads.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from imitation_sdk.command_line import Options, ToolError, path
from imitation_sdk.dlc import commands_of, entries_of, read_graph
from imitation_sdk.flags import numbers

if TYPE_CHECKING:
    from runtime.qairt.graph import DlcGraph, DlcOp

_HEADER = ("Id", "Name", "Type", "Inputs", "Outputs", "Out Dims", "Runtimes", "Parameters")
_CONVOLUTIONS = ("Conv2d", "DepthWiseConv2d")
_CACHE_HEADER = (
    *("Cache Record Name", "SNPE Version", "Cache Version", "Identifier", "Information", "Graphs"),
)
_CACHE_ENTRY = "imitation.cache"  # of the imitation's snpe-dlc-graph-prepare
_LETTERS = "A D G C"
_GRAPHS_SINCE = (2, 20)  # seen of 2.2x
_TYPES = {"float32": "Float_32", "ufixed8": "uFxp_8", "ufixed16": "uFxp_16", "uint8": "Uint_8"}


@dataclass(frozen=True)
class Row:
    """A layer. parameters: texts of the last column, one a printed row."""

    cells: tuple[str, ...]
    parameters: tuple[str, ...]


def info(version: str, options: Options) -> None:
    from persondet.errors import PersondetError

    source = path(options, "input_dlc")
    assert source is not None
    commands = commands_of(entries_of(source))
    try:
        graph = read_graph(source)
    except PersondetError as error:
        raise ToolError(f"[ERROR] Failed to read {source}: {error}") from None
    is_2x = numbers(version) >= (2, 0)
    if "save" in options:
        raise ToolError("[ERROR] the imitation writes no CSV")
    rows = list(_rows(graph, is_2x))
    text = _text if numbers(version) >= _GRAPHS_SINCE else _older_text
    print("\n".join(text(source, graph, rows, commands, version)))


def _scaled(number: int) -> str:
    """Scaled by 1000 and truncated: 353 894 400 is 353M, and G is never used."""
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if number >= size:
            return f"{number // size}{unit}"
    return str(number)


def _parameters(op: "DlcOp", graph: "DlcGraph") -> int:
    if op.type not in _CONVOLUTIONS:
        return 0
    return sum(prod(graph.tensors[name].shape) for name in op.inputs[1:])


def _macs(op: "DlcOp", graph: "DlcGraph") -> int:
    """Multiplications of a convolution: every weight once a position; bias additions are not."""
    if op.type not in _CONVOLUTIONS:
        return 0
    batch, height, width, _ = graph.tensors[op.outputs[0]].shape
    return batch * height * width * prod(graph.tensors[op.inputs[1]].shape)


def _rows(graph: "DlcGraph", is_2x: bool) -> Iterator[Row]:
    total_parameters = sum(_parameters(op, graph) for op in graph.ops) or 1
    total_macs = sum(_macs(op, graph) for op in graph.ops) or 1
    index = 0
    if not is_2x:  # SNPE 1 shows the input as a layer
        for name in graph.inputs:
            dims = "x".join(map(str, graph.tensors[name].shape))
            cells = (str(index), name, "data", name, name, dims, _LETTERS, "")
            yield Row(cells, ("input_preprocessing: passthrough", "input_type: default"))
            index += 1
    for op in graph.ops:
        parameters, macs = _parameters(op, graph), _macs(op, graph)
        lines = [f"{key}: {value}" for key, value in op.params.items() if _is_plain(value)]
        if parameters:
            share = 100 * parameters / total_parameters
            lines.append(f"param count: {_scaled(parameters)} ({share:.3g}%)")
        if macs:
            share = 100 * macs / total_macs
            lines.append(f"MACs per inference: {_scaled(macs)} ({share:.3g}%)")
        inputs = [_cell(name, graph, is_2x) for name in op.inputs if not _is_static(name, graph)]
        outputs = [_cell(name, graph, is_2x) for name in op.outputs]
        dims = ["x".join(map(str, graph.tensors[name].shape)) for name in op.outputs]
        cells = (str(index), op.name, op.type, *map(", ".join, (inputs, outputs, dims)))
        yield Row((*cells, _LETTERS, ""), tuple(lines))
        index += 1


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str)


def _is_static(name: str, graph: "DlcGraph") -> bool:
    return graph.tensors[name].kind == "static"


def _cell(name: str, graph: "DlcGraph", is_2x: bool) -> str:
    if not is_2x:
        return name
    text = f"{name} ({_type(name, graph)})"
    return f"{text} [NW Input]" if name in graph.inputs else text


def _type(name: str, graph: "DlcGraph") -> str:
    dtype = graph.tensors[name].dtype
    return _TYPES.get(dtype, dtype)


def _boxed(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = "-" * (sum(widths) + 3 * len(widths) + 1)

    def line(cells: tuple[str, ...]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    yield from (rule, line(header), rule, *map(line, rows), rule)


def _printed_rows(rows: list[Row]) -> list[tuple[str, ...]]:
    """The first parameter stands beside the layer, each other one in a row without an Id."""
    printed = []
    for row in rows:
        first, *rest = row.parameters or ("",)
        printed.append((*row.cells[:-1], first))
        printed += [(*[""] * (len(_HEADER) - 1), each) for each in rest]
    return printed


def _io_tables(graph: "DlcGraph", version: str) -> Iterator[tuple[tuple[str, ...], list]]:
    """2.5 prints the inputs with 3 columns; later ones inputs and outputs with 4."""
    at = numbers(version)
    if at < (2, 0):
        return
    long = at >= (2, 25)
    kinds = (("Input Name", graph.inputs), ("Output Name", graph.outputs))
    for title, names in kinds if long else kinds[:1]:
        header = (title, "Dimensions", "Type", *(("Encoding Info",) if long else ()))
        rows = []
        for name in names:
            tensor = graph.tensors[name]
            cells = [name, ",".join(map(str, tensor.shape)), _type(name, graph)]
            if long:
                cells.append(_encoding(tensor.encoding))
            rows.append(tuple(cells))
        yield header, rows


def _encoding(encoding) -> str:
    if encoding is None:
        return "No encoding info for this tensor"
    scale, offset = encoding.scales[0], encoding.offsets[0]
    return (
        f"bitwidth 8, min {offset * scale:.12f}, max {(offset + 255) * scale:.12f}, "
        f"scale {scale:.12f}, offset {offset:.12f}"
    )


def _made_by(commands: dict[str, str]) -> Iterator[str]:
    yield f"Converter command: {commands.get('converter-command', 'N/A')}"
    yield f"Quantizer command: {commands.get('quantizer-command', 'N/A')}"
    yield f"DLC created with converter version: {commands.get('converter-version', 'N/A')}"


def _totals(graph: "DlcGraph", sentence: str) -> Iterator[str]:
    parameters = sum(_parameters(op, graph) for op in graph.ops)
    macs = sum(_macs(op, graph) for op in graph.ops)
    megabytes = f"{4 * parameters / 2**20:.1f}"
    yield f"Total parameters: {parameters} ({megabytes} MB {sentence})"
    yield f"Total MACs per inference: {_scaled(macs)} (100%)"


def _ops(graph: "DlcGraph") -> str:
    return ", ".join(sorted({op.type for op in graph.ops}))


def _memory(graph: "DlcGraph") -> str:
    parameters = sum(_parameters(op, graph) for op in graph.ops)
    return f"Est. Steady-State Memory Needed to Run: {4 * parameters / 2**20 + 1:.1f} MiB"


def _note(version: str) -> list[str]:
    at = numbers(version)
    chip = "Snapdragon 835" if at < (2, 0) else "Snapdragon 855"
    return [
        f"Note: The supported runtimes column assumes a processor target of {chip}",
        "Key : A:AIP",
        "      D:DSP",
        "      G:GPU",
        "      C:CPU",
    ]


def _older_text(
    source: Path, graph: "DlcGraph", rows: list[Row], commands: dict[str, str], version: str
) -> Iterator[str]:
    """One graph, and how the file was made at the end."""
    yield f"DLC info for: {source.absolute()}"
    yield f"Model Version: {commands.get('model-version', 'N/A')}"
    yield f"Model Copyright:{commands.get('model-copyright', 'N/A')}"
    yield from _boxed(_HEADER, _printed_rows(rows))
    yield from _note(version)
    for header, cells in _io_tables(graph, version):
        yield from _boxed(header, cells)
    yield from _totals(graph, "assuming single precision float")
    yield from _made_by(commands)
    yield f"{'Layers' if numbers(version) < (2, 0) else 'Ops'} used by DLC: {_ops(graph)}"
    yield _memory(graph)


def _text(
    source: Path, graph: "DlcGraph", rows: list[Row], commands: dict[str, str], version: str
) -> Iterator[str]:
    """How the file was made first, then each of its graphs by name."""
    yield f"DLC info of: {source.absolute()}"
    yield " " * 100
    yield f"Model Version: {commands.get('model-version', 'N/A')}"
    yield f"Model Copyright:{commands.get('model-copyright', 'N/A')}"
    yield from _made_by(commands)
    table = list(_boxed(_HEADER, _printed_rows(rows)))
    yield "=" * len(table[0])
    yield f"Info of graph: {graph.name}"
    yield from table
    yield from _note(version)
    for header, cells in _io_tables(graph, version):
        yield from _boxed(header, cells)
    yield from _totals(
        graph,
        "assuming single precision float. This does not represent the actual memory requirement "
        "for the model. It provides a rough estimate of the contribution from the parameters 4xNo "
        "of Params in bytes",
    )
    yield f"Ops used by Graph: {_ops(graph)}"
    yield _memory(graph)
    yield from _cache_table(json.loads(entries_of(source).get(_CACHE_ENTRY, b"{}")), graph)


def _cache_table(record: dict, graph: "DlcGraph") -> Iterator[str]:
    if not record:
        return
    level = record.get("optimization_level", "2 (default)")
    rows = []
    for index, soc in enumerate(record["socs"]):
        name, about = f"backend.metadata{index}.htp", f"Graph Optimization Level: {level}"
        rows.append(
            (name, record["version"], "1", f"HTP_{soc}", about, f"Graph Name: {graph.name}")
        )
        rows.append((*[""] * (len(_CACHE_HEADER) - 1), "Total Subnets: 1"))
    yield from ("", "Cache Info:", *_boxed(_CACHE_HEADER, rows))
