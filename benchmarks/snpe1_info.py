"""What `persondet info` says about a DLC of SNPE 1.x: its graph is read, never run.

Parameters are the numbers stored with each layer. MACs and memory are not counted: what the layers'
attributes mean is not published.
"""

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import mib_text
from benchmarks.figures_report import (
    encoding_json,
    encoding_text,
    origin_json,
    origin_lines,
    sidecar_lines,
)
from benchmarks.model_info import network_in, sidecar_and_notes
from persondet.errors import InputError
from runtime.backend import model_kind
from runtime.qairt.container import check_container
from runtime.qairt.generation import Origin, origin_of
from runtime.qairt.graph import Encoding
from runtime.qairt.snpe1 import INPUT_TYPE, Snpe1Graph, Snpe1Layer, read_snpe1

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Snpe1Info:
    """sidecar: the one beside the file. notes: what was noticed on the way."""

    name: str
    file_bytes: int
    graph: Snpe1Graph
    origin: Origin
    sidecar: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def is_snpe1(path: Path) -> bool:
    """Whether a model file is a DLC of SNPE 1.x. Raises InputError for a damaged DLC."""
    return model_kind(path) == "dlc" and check_container(path).generation == "SNPE 1.x"


def snpe1_info(path: Path, network: str | None = None) -> Snpe1Info:
    """Raises InputError where the file is damaged, and where a network is given."""
    if network is not None:
        raise InputError(f"{path} says itself what it is; a network is given for a .pth file only")
    graph = read_snpe1(path)
    origin = origin_of(graph.container, is_quantized=graph.is_quantized)
    sidecar, notes = sidecar_and_notes(path)
    return Snpe1Info(path.name, path.stat().st_size, graph, origin, sidecar, notes)


def info_json(info: Snpe1Info) -> dict[str, Any]:
    """The keys of other models' records where they apply; None for what is not counted."""
    graph = info.graph
    ports = _ports(graph)
    return {
        "model": info.name,
        "kind": "dlc",
        "network": network_in(info.sidecar),
        "parameters": graph.parameters,
        "macs": None,
        "snpe_memory_bytes": None,
        "peak_activation_bytes": None,
        "file_bytes": info.file_bytes,
        "inputs": [_port_json(name, *ports[name]) for name in graph.inputs],
        "outputs": [_port_json(name, *ports[name]) for name in graph.outputs],
        "ops": _op_counts(graph),
        "layers": [
            {
                "name": layer.name,
                "type": layer.type,
                "inputs": list(layer.inputs),
                "outputs": list(layer.outputs),
                "output_shapes": list(map(list, layer.shapes)),
                "encodings": list(map(encoding_json, layer.encodings)),
                "parameters": layer.parameters,
            }
            for layer in graph.layers
        ],
        "metadata": graph.container.metadata,
        "origin": origin_json(info.origin),
        "sidecar": info.sidecar,
        "notes": list(info.notes),
    }


def layers_csv(info: Snpe1Info) -> str:
    """One line a layer; shapes as 1x150x150x32, of several outputs with blanks between them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "type", "output_shape", "parameters"))
    for layer in info.graph.layers:
        writer.writerow((layer.name, layer.type, _shapes(layer), layer.parameters))
    return text.getvalue()


def layers_table(info: Snpe1Info) -> "Table":
    from benchmarks.tables import new_table

    table = new_table("layer", "type", "output", numbers=("params",))
    for layer in info.graph.layers:
        count = f"{layer.parameters:,}" if layer.parameters else ""
        table.add_row(layer.name, layer.type, _shapes(layer), count)
    return table


def title_text(info: Snpe1Info) -> str:
    network = network_in(info.sidecar)
    return f"{info.name} (DLC of SNPE 1.x{f', {network}' if network else ''})"


def totals_table(info: Snpe1Info) -> "Table":
    from benchmarks.tables import labelled_lines

    graph = info.graph
    ports = _ports(graph)
    lines = [
        ("Total parameters", f"{graph.parameters:,}"),
        ("Total MACs per inference", "not counted for SNPE 1.x; snpe-dlc-info of its SDK does"),
        ("File size", f"{mib_text(info.file_bytes)} ({info.file_bytes:,} bytes)"),
        ("Ops", ", ".join(f"{count} {op}" for op, count in _op_counts(graph).items())),
        *(("Input", _port_text(name, *ports[name])) for name in graph.inputs),
        *(("Output", _port_text(name, *ports[name])) for name in graph.outputs),
        *origin_lines(info.origin),
        *sidecar_lines(info.sidecar),
        *(("Note", note) for note in info.notes),
    ]
    return labelled_lines(lines)


def _ports(graph: Snpe1Graph) -> dict[str, tuple[tuple[int, ...], Encoding | None]]:
    """Shape and encoding of every tensor by name."""
    return {
        name: (shape, encoding)
        for layer in graph.layers
        for name, shape, encoding in zip(layer.outputs, layer.shapes, layer.encodings, strict=True)
    }


def _op_counts(graph: Snpe1Graph) -> dict[str, int]:
    types = (layer.type for layer in graph.layers if layer.type != INPUT_TYPE)
    return dict(Counter(types).most_common())


def _shapes(layer: Snpe1Layer) -> str:
    return " ".join("x".join(map(str, shape)) for shape in layer.shapes)


def _port_json(name: str, shape: tuple[int, ...], encoding: Encoding | None) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "encoding": encoding_json(encoding)}


def _port_text(name: str, shape: tuple[int, ...], encoding: Encoding | None) -> str:
    return f"{name} {'x'.join(map(str, shape))}{encoding_text(encoding)}"
