"""The configuration and the results of snpe_bench.py.

Its maximum and minimum are over the runs, each of which is an average already.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from export.sdk.parsers.statistics import Amount, amount_of, is_finite
from persondet.errors import InputError, PersondetError
from persondet.files import parse_json

RUNTIMES = ("GPU", "GPU_FP16", "DSP", "CPU", "AIP")
_BUFFER_TYPES = ("", "ub_float", "ub_tf8")
_TITLE = re.compile(r"(\w+?)_(timing|mem\w*)\s*\((\d{1,9}) runs?\)", re.ASCII)
_COLUMN = re.compile(r"(avg|max|min)(?: \((\w+)\))?|runtime")
_LAYER = re.compile(r"layer_(\d{1,9}) \(Name:(.*?)(?: Type:(.*?))?\)")


@dataclass(frozen=True)
class BenchConfig:
    """A configuration file; names in the file are in `_FIELDS`. inputs: `Model:Data`.

    buffer_types: "" is the default one. options: what else the file has, as it is.
    """

    name: str
    results_dir: str
    devices: tuple[str, ...]
    runs: int
    dlc: str
    input_list: str
    inputs: tuple[str, ...]
    runtimes: tuple[str, ...]
    measurements: tuple[str, ...]
    buffer_types: tuple[str, ...] = _BUFFER_TYPES
    cpu_fallback: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


_FIELDS: dict[str, type] = {
    "Name": str,
    "Devices": list,
    "Runs": int,
    "Model": dict,
    "Runtimes": list,
    "Measurements": list,
}
_MODEL_FIELDS: dict[str, type] = {"Dlc": str, "InputList": str, "Data": list}
_NAMED = {*_FIELDS, "HostResultsDir", "HostResultDir", "BufferTypes", "CpuFallback"}


@dataclass(frozen=True)
class BenchFigure:
    """One row of one group of columns. Memory is neither us nor cycles: its amounts are empty.

    texts: avg, max and min as the file has them. runtime: where the row ran, as CPU for a layer
    that fell back.
    """

    average: Amount
    maximum: Amount
    minimum: Amount
    runtime: str | None
    texts: tuple[str, str, str]


@dataclass(frozen=True)
class BenchGroup:
    """The columns of one runtime and measurement: `GPU_timing(2 runs)`."""

    runtime: str
    measurement: str
    runs: int
    figures: Mapping[str, BenchFigure]  # by the row's name


@dataclass(frozen=True)
class BenchResults:
    """configuration, device: as printed. layers: name and type by the number of the layer."""

    sdk_version: str | None
    configuration: Mapping[str, str]
    device: Mapping[str, str]
    groups: tuple[BenchGroup, ...]
    layers: Mapping[int, tuple[str, str]]


def parse_bench_config(text: str) -> BenchConfig:
    """A configuration as JSON. Raises InputError where a field is missing or of a wrong kind."""
    try:
        values = parse_json(text)
    except ValueError as error:
        raise InputError(f"the snpe_bench configuration is not JSON: {error}") from None
    _check(values, _FIELDS, "")
    _check(values["Model"], _MODEL_FIELDS, "Model:")
    results = values.get("HostResultsDir", values.get("HostResultDir"))
    if not isinstance(results, str):
        raise _wrong("HostResultsDir", "a text", results)
    config = BenchConfig(
        values["Name"],
        results,
        _texts(values, "Devices"),
        values["Runs"],
        values["Model"]["Dlc"],
        values["Model"]["InputList"],
        _texts(values["Model"], "Data"),
        _texts(values, "Runtimes", RUNTIMES),
        _texts(values, "Measurements", ("timing", "mem")),
        _texts({"BufferTypes": list(_BUFFER_TYPES), **values}, "BufferTypes", _BUFFER_TYPES),
        values.get("CpuFallback", False) is True,
        {name: value for name, value in values.items() if name not in _NAMED},
    )
    if len(config.devices) != 1:
        raise _wrong("Devices", "one device", values["Devices"])
    if config.runs < 1:
        raise _wrong("Runs", "1 or more", config.runs)
    return config


def _check(values: Any, fields: Mapping[str, type], where: str) -> None:
    if not isinstance(values, dict):
        raise _wrong(where.rstrip(":") or "the file", "an object", values)
    kinds = {str: "a text", list: "a list", int: "a whole number", dict: "an object"}
    for name, kind in fields.items():
        value = values.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _wrong(where + name, kinds[kind], value)


def _texts(values: Mapping[str, Any], name: str, known: Sequence[str] = ()) -> tuple[str, ...]:
    expected = f"texts out of {', '.join(map(repr, known))}" if known else "a list of texts"
    if not isinstance(values[name], list):
        raise _wrong(name, expected, values[name])
    for value in values[name]:
        if not isinstance(value, str) or (known and value not in known):
            raise _wrong(name, expected, value)
    return tuple(values[name])


def _wrong(name: str, expected: str, value: Any) -> InputError:
    return InputError(
        f"the snpe_bench configuration is wrong in {name}: expected {expected}, got {value!r:.80}"
    )


def parse_bench_csv(text: str) -> BenchResults:
    """A `benchmark_stats_<Name>.csv`. Raises PersondetError where it holds no measurement."""
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    except csv.Error as error:
        raise PersondetError(f"the results of snpe_bench.py cannot be read: {error}") from None
    at = next((n for n, row in enumerate(rows) if any(map(_TITLE.fullmatch, row))), None)
    if at is None or at + 1 >= len(rows):
        start = " ".join(text.split())[:60]
        raise PersondetError(
            "the results of snpe_bench.py hold no measurement: expected a column title such as "
            f"`GPU_timing(2 runs)` and its columns below, got {start!r}"
        )
    titles = [found for found in map(_TITLE.fullmatch, rows[at]) if found]
    starts = [n for n, cell in enumerate(rows[at + 1]) if cell.startswith("avg")]
    shift = 1 if starts[:1] == [0] else 0  # the column of the rows' names may be left out above
    table = [row for row in rows[at + 2 :] if row and row[0]]
    version, configuration, device = _facts(rows[:at])
    return BenchResults(
        version,
        configuration,
        device,
        tuple(
            _group(title, start, shift, rows[at + 1], table)
            for title, start in zip(titles, starts, strict=False)
        ),
        dict(_layers(row[0] for row in table)),
    )


def _facts(rows: Iterable[Sequence[str]]) -> tuple[str | None, dict[str, str], dict[str, str]]:
    version = None
    blocks: dict[str, dict[str, str]] = {"configuration": {}, "device": {}}
    block = "configuration"
    for row in rows:
        key, value = (row[0].rstrip(":"), ",".join(row[1:])) if row else ("", "")
        if key == "SNPE SDK version":
            version = value or None
        elif key in ("Configuration used", "Device Info"):
            block = "device" if key == "Device Info" else "configuration"
        elif key:
            blocks[block][key] = value
    return version, blocks["configuration"], blocks["device"]


def _group(
    title: re.Match[str], start: int, shift: int, columns: Sequence[str], table: list[list[str]]
) -> BenchGroup:
    names = [_COLUMN.fullmatch(cell) for cell in columns[start : start + 4]]
    unit = next((found[2] for found in names if found and found[2]), "")
    figures = {}
    for row in table:
        cells = row[start + shift : start + shift + 4]
        if len(cells) == 4 and any(cells):
            average, maximum, minimum = (_amount(cell, unit) for cell in cells[:3])
            texts = (cells[0], cells[1], cells[2])
            figures[row[0]] = BenchFigure(average, maximum, minimum, cells[3] or None, texts)
    return BenchGroup(title[1], title[2], int(title[3]), figures)


def _amount(cell: str, unit: str) -> Amount:
    number = re.fullmatch(r"\d+(\.\d+)?", cell, re.ASCII)
    return amount_of(float(cell), unit) if number and is_finite(cell) else Amount()


def _layers(names: Iterable[str]) -> Iterable[tuple[int, tuple[str, str]]]:
    for found in map(_LAYER.fullmatch, names):
        if found:
            yield int(found[1]), (found[2].strip(), (found[3] or "").strip())
