"""What `persondet info` shows: tables, JSON, CSV."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.figures import MIB, mib_text, snpe_scaled
from benchmarks.model_info import ModelInfo, Port
from persondet.terminal import shell_line
from runtime.qairt.generation import Loader, Origin
from runtime.qairt.graph import Encoding

if TYPE_CHECKING:
    from rich.table import Table

_KINDS = {
    "onnx": "ONNX",
    "dlc": "DLC",
    "pth": "checkpoint, exported in memory",
    "network": "network of the zoo, untrained",
}


def info_json(info: ModelInfo) -> dict[str, Any]:
    """JSON-ready; all numbers exact."""
    figures = info.figures
    return {
        "model": info.name,
        "kind": info.kind,
        "network": info.network,
        "parameters": figures.parameters,
        "macs": figures.macs,
        "macs_text": snpe_scaled(figures.macs),
        "snpe_memory_bytes": figures.snpe_memory_bytes,
        "peak_activation_bytes": figures.peak_activation_bytes,
        "file_bytes": info.file_bytes,
        "inputs": [_port_json(port) for port in info.inputs],
        "outputs": [_port_json(port) for port in info.outputs],
        "ops": dict(info.op_counts),
        "layers": [
            {
                "name": layer.name,
                "type": layer.type,
                "output_shape": list(layer.output_shape),
                "dtype": layer.dtype,
                "parameters": layer.parameters,
                "macs": layer.macs,
                "memory_bytes": layer.memory_bytes,
            }
            for layer in figures.layers
        ],
        "metadata": info.metadata,
        "origin": origin_json(info.origin) if info.origin else None,
        "sidecar": info.sidecar,
        "notes": list(info.notes),
    }


def _port_json(port: Port) -> dict[str, Any]:
    encoding = encoding_json(port.encoding)
    shape = list(port.shape)
    return {"name": port.name, "shape": shape, "dtype": port.dtype, "encoding": encoding}


def encoding_json(encoding: Encoding | None) -> dict[str, Any] | None:
    if encoding is None:
        return None
    return {
        "scales": list(encoding.scales),
        "offsets": list(encoding.offsets),
        "axis": encoding.axis,
    }


def origin_json(origin: Origin) -> dict[str, Any]:
    """Where a DLC comes from and what loads it."""
    return {
        "generation": origin.generation,
        "version": origin.version,
        "model_format": origin.model_format,
        "is_quantized": origin.is_quantized,
        "steps": [dataclasses.asdict(step) for step in origin.steps],
        "runtimes": [dataclasses.asdict(loader) for loader in origin.runtimes],
        "processors": [dataclasses.asdict(loader) for loader in origin.processors],
        "notes": list(origin.notes),
    }


def layers_csv(info: ModelInfo) -> str:
    """One line a layer, no totals; shapes as 1x150x150x32, memory in bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ("name", "type", "output_shape", "dtype", "parameters", "macs", "memory_bytes")
    writer.writerow(header)
    for layer in info.figures.layers:
        shape = _shape(layer.output_shape)
        numbers = (layer.parameters, layer.macs, layer.memory_bytes)
        writer.writerow((layer.name, layer.type, shape, layer.dtype, *numbers))
    return text.getvalue()


def layers_table(info: ModelInfo) -> "Table":
    from benchmarks.tables import new_table

    table = new_table("layer", "type", "output", numbers=("params", "MACs", "MiB"))
    for layer in info.figures.layers:
        table.add_row(
            layer.name,
            layer.type,
            _shape(layer.output_shape),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
            f"{layer.memory_bytes / MIB:.2f}",
        )
    return table


def title_text(info: ModelInfo) -> str:
    network = f", {info.network}" if info.network not in (None, info.name) else ""
    return f"{info.name} ({_KINDS[info.kind]}{network})"


def totals_table(info: ModelInfo) -> "Table":
    """The figures that everyone asks for, in the words of snpe-dlc-info where it has them."""
    from benchmarks.tables import labelled_lines

    figures = info.figures
    lines = [
        ("Total parameters", f"{figures.parameters:,}"),
        ("Total MACs per inference", f"{snpe_scaled(figures.macs)} ({figures.macs:,})"),
        ("Memory needed to run (SNPE)", mib_text(figures.snpe_memory_bytes)),
        ("Peak activation memory", mib_text(figures.peak_activation_bytes)),
    ]
    if info.file_bytes is not None:
        lines.append(("File size", f"{mib_text(info.file_bytes)} ({info.file_bytes:,} bytes)"))
    lines.append(("Ops", ", ".join(f"{count} {op}" for op, count in info.op_counts.items())))
    lines += [("Input", _port_text(port)) for port in info.inputs]
    lines += [("Output", _port_text(port)) for port in info.outputs]
    lines += _made_lines(info)
    lines += [("Note", note) for note in info.notes]
    return labelled_lines(lines)


def _shape(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _port_text(port: Port) -> str:
    return f"{port.name} {port.dtype} {_shape(port.shape)}{encoding_text(port.encoding)}"


def encoding_text(encoding: Encoding | None) -> str:
    """To go after a port's name and shape; nothing for a float one."""
    if encoding is None:
        return ""
    if encoding.axis is not None or not encoding.scales:
        return f", {len(encoding.scales)} encodings along axis {encoding.axis}"
    return f", real = (stored {encoding.offsets[0]:+d}) * {encoding.scales[0]:.8g}"


def origin_lines(origin: Origin) -> list[tuple[str, str]]:
    """Labels and texts: the container's generation, how it was made, what loads it."""
    lines = [("Container", origin.title)]
    lines += [("Written by", str(step)) for step in origin.steps]
    lines += [("Command", step.short_command) for step in origin.steps]
    lines += [("Loads in", _loader_text(loader)) for loader in origin.runtimes]
    lines += [("Then runs on", _loader_text(loader)) for loader in origin.processors]
    return lines + [("Note", note) for note in origin.notes]


def _loader_text(loader: Loader) -> str:
    return f"{loader.name}: {'yes' if loader.loads else 'no'}, {loader.why}"


def _made_lines(info: ModelInfo) -> list[tuple[str, str]]:
    """Who wrote the file: the DLC's own metadata, then the sidecar."""
    return (origin_lines(info.origin) if info.origin else []) + sidecar_lines(info.sidecar)


def sidecar_lines(sidecar: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The command that made the file, of which files and with which packages."""
    if not sidecar:
        return []
    sources = ", ".join(
        f"{source['name']} (sha256 {source['sha256'][:12]})" for source in sidecar["inputs"]
    )
    versions = ", ".join(f"{name} {text}" for name, text in sidecar["versions"].items())
    lines = [("Made by", shell_line(sidecar["command"]))]
    lines += [("Made from", sources)] if sources else []
    return [*lines, ("Made with", versions)]


def dump_json(value: Any) -> str:
    """JSON on one line; a number that is not finite is a bug, not output."""
    return json.dumps(value, allow_nan=False)
