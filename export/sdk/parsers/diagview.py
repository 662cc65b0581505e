"""What snpe-diagview prints of a diagnostic log: two families of text, two of CSV.

All values are the SDK's averages over the input list, first run included; it gives no minimum,
maximum or percentile. Layers on DSP and HTP are in cycles, the rest in microseconds, and the sum of
the layers is not the total.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from export.sdk.parsers.statistics import (
    CREATE_KEYS,
    EXECUTE_KEYS,
    Amount,
    amount_in,
    amount_of,
    is_finite,
    key_of,
)
from persondet.errors import PersondetError
from persondet.wording import counted

# The legacy CSV has no unit. Its statistics are microseconds; that the layers of these runtimes are
# in cycles, as in the text, is inferred.
_CYCLE_RUNTIMES = ("DSP", "AIP", "HTP")
_V2_COLUMNS = ("Layer Id", "Layer Name", "Time", "Unit of Measurement")
_HEADINGS = (  # a block's title begins so; both families
    (re.compile(r"(dnn runtime load|snpe create statistics)", re.I), "create"),
    (re.compile(r"(average snpe statistics|snpe execute statistics)", re.I), "execute"),
    (re.compile(r"per-subnet execution times", re.I), "subnets"),
    (re.compile(r"(per-layer execution times|layer times)", re.I), "layers"),
)
_LAYER = re.compile(
    r"(?P<index>\d{1,9}):\s*(?:(?P<name>\S.*?)\s+:\s+)?"
    r"(?P<value>\d[\d.eE+-]*)\s*(?P<unit>[A-Za-z]*)\s*(?::\s*(?P<runtime>\w+))?",
    re.ASCII,
)
_SUBNET = re.compile(r"Subnet (\d{1,9}) \((\w+)\)\s*:\s*(.*)", re.ASCII)
_NAME = re.compile(r"(?P<name>.*?)(?:[: ]OpId_(?P<op>\d{1,9}))?(?P<unit> \((?:cycles|us)\))?")


@dataclass(frozen=True)
class LayerTime:
    """A layer's average. name: None in the older text, which numbers layers only; op_id: HTP's."""

    index: int
    name: str | None
    runtime: str | None
    time: Amount
    op_id: int | None = None


@dataclass(frozen=True)
class SubnetTime:
    index: int
    runtime: str
    time: Amount


@dataclass(frozen=True)
class DiagReport:
    """create, execute: amounts by the names of `statistics`. notes: what was not understood."""

    library_version: str | None
    create: Mapping[str, Amount]
    execute: Mapping[str, Amount]
    subnets: tuple[SubnetTime, ...] = ()
    layers: tuple[LayerTime, ...] = ()
    yields: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def total_inference_us(self) -> float | None:
        """The whole call as the CPU sees it; None where the log has none, or not in us."""
        return self.execute.get("total_inference", Amount()).us

    @property
    def init_us(self) -> float | None:
        return self.create.get("init", Amount()).us

    @property
    def layers_us(self) -> float | None:
        """Sum of the layers; None unless every layer is in microseconds."""
        times = [layer.time.us for layer in self.layers]
        known = [us for us in times if us is not None]
        return sum(known) if known and len(known) == len(times) else None

    @property
    def layers_cycles(self) -> int | None:
        """Sum of those layers that are in cycles; None where none is."""
        cycles = [layer.time.cycles for layer in self.layers if layer.time.cycles is not None]
        return sum(cycles) if cycles else None

    @property
    def unaccounted_us(self) -> float | None:
        """Total less the layers; None where the layers are in cycles, which are no time."""
        if self.total_inference_us is None or self.layers_us is None:
            return None
        return self.total_inference_us - self.layers_us

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Runtimes that layers ran on, first seen first: more than one is a fallback."""
        return tuple(dict.fromkeys(layer.runtime for layer in self.layers if layer.runtime))


def parse_diagview(text: str) -> DiagReport:
    """What snpe-diagview printed on standard output, of either family.

    Raises PersondetError where there is no block of statistics in it.
    """
    version, block = None, ""
    blocks: dict[str, list[str]] = {}
    for line in map(str.strip, text.splitlines()):
        heading = next((name for found, name in _HEADINGS if found.match(line)), None)
        if heading:
            block = heading
            blocks.setdefault(block, [])
        elif line.startswith("Software library version:"):
            version = line.partition(":")[2].strip() or None
        elif block and line and set(line) != {"-"}:
            blocks[block].append(line)
    if not blocks.keys() & {"create", "execute", "layers"}:
        raise _not_a_report(text)
    notes: list[str] = []
    create, _ = _statistics(blocks.get("create", ()), CREATE_KEYS, notes)
    execute, yields = _statistics(blocks.get("execute", ()), EXECUTE_KEYS, notes)
    return _checked(
        DiagReport(
            version,
            create,
            execute,
            tuple(_subnets(blocks.get("subnets", ()), notes)),
            _with_units(_layers(blocks.get("layers", ()), notes)),
            yields,
            tuple(notes),
        )
    )


def _statistics(
    lines: Iterable[str], known: Sequence[str], notes: list[str]
) -> tuple[dict[str, Amount], int | None]:
    found: dict[str, Amount] = {}
    yields = None
    for line in lines:
        name, _, value = line.rpartition(":")
        amount = amount_in(value)
        key = key_of(name)
        if key == "num_times_yield_occurred" and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
            yields = int(value)
        elif key in known and amount not in (None, Amount()):
            found[key] = amount or Amount()
        else:
            notes.append(f"not understood: {line[:80]!r}")
    return found, yields


def _subnets(lines: Iterable[str], notes: list[str]) -> Iterable[SubnetTime]:
    for line in lines:
        found = _SUBNET.fullmatch(line)
        amount = amount_in(found[3]) if found else None
        if found and amount not in (None, Amount()):
            yield SubnetTime(int(found[1]), found[2], amount or Amount())
        else:
            notes.append(f"not understood: {line[:80]!r}")


def _layers(lines: Iterable[str], notes: list[str]) -> list[tuple[LayerTime, bool]]:
    """Layers, and whether each has its unit from its own line."""
    layers = []
    for line in lines:
        found = _LAYER.fullmatch(line)
        name = _NAME.fullmatch(found["name"] or "") if found else None
        unit = found["unit"] if found else ""
        amount = amount_in(f"{found['value']} {unit}") if found else None
        if name and name["unit"] == " (cycles)" and not unit and amount == Amount(us=0.0):
            unit, amount = "cycles", Amount(cycles=0)
        if not found or not name or not amount or amount == Amount():
            notes.append(f"not understood: {line[:80]!r}")
            continue
        op_id = int(name["op"]) if name["op"] else None
        layer = LayerTime(
            int(found["index"]), name["name"].strip() or None, found["runtime"], amount, op_id
        )
        layers.append((layer, unit.upper() not in ("", "NONE")))
    return layers


def _with_units(layers: Iterable[tuple[LayerTime, bool]]) -> tuple[LayerTime, ...]:
    """A zero without unit is in the unit of the other layers of its runtime."""
    layers = list(layers)
    in_cycles = {
        layer.runtime for layer, has_unit in layers if has_unit and layer.time.cycles is not None
    }
    return tuple(
        layer
        if has_unit or layer.runtime not in in_cycles
        else replace(layer, time=Amount(cycles=0))
        for layer, has_unit in layers
    )


def parse_diagview_csv(text: str) -> DiagReport:
    """A CSV of `snpe-diagview --output`, legacy (five fields) or version 2 (named columns).

    Raises PersondetError where it is neither.
    """
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    except csv.Error as error:
        raise PersondetError(f"the CSV of snpe-diagview cannot be read: {error}") from None
    header = next((row for row in rows if set(_V2_COLUMNS) <= set(row)), None)
    report = _version_2(rows, header) if header else _legacy(rows)
    if not report.create and not report.execute and not report.layers:
        raise _not_a_report(text)
    return _checked(report)


def _version_2(rows: list[list[str]], header: list[str]) -> DiagReport:
    """Rows without a layer's number are statistics, by the name in whatever column (inferred)."""
    statistics: dict[str, Amount] = {}
    layers, notes = [], []
    for row in rows[rows.index(header) + 1 :]:
        cells = dict(zip(header, row, strict=False))
        amount = amount_in(f"{cells.get('Time', '')} {cells.get('Unit of Measurement', '')}")
        name = _NAME.fullmatch(cells.get("Layer Name", ""))
        if len(row) != len(header) or amount in (None, Amount()) or amount is None or not name:
            notes.append(f"not understood: {','.join(row)[:80]!r}")
        elif cells["Layer Id"].isdecimal() and len(cells["Layer Id"]) < 10:
            runtime = cells.get("Runtime") or None
            op_id = int(name["op"]) if name["op"] else None
            index = int(cells["Layer Id"])
            layers.append(LayerTime(index, name["name"].strip() or None, runtime, amount, op_id))
        else:
            keys = [key_of(cell) for cell in row]
            known = (key for key in keys if key in CREATE_KEYS or key in EXECUTE_KEYS)
            statistics[next(known, key_of(name["name"]))] = amount
    return _report(statistics, layers, notes)


def _legacy(rows: list[list[str]]) -> DiagReport:
    """timestamp, message, idx, value, runtime; idx below 0 is no layer."""
    statistics: dict[str, Amount] = {}
    layers, notes = [], []
    for number, row in enumerate(rows):
        if len(row) != 5 or not _is_number(row[3]) or not re.fullmatch(r"-?\d{1,9}", row[2]):
            if number:  # the first may be a header
                notes.append(f"not understood: {','.join(row)[:80]!r}")
            continue
        _, message, index, value, runtime = row
        if int(index) < 0:
            statistics[key_of(message)] = Amount(us=float(value))
            continue
        unit = "cycles" if runtime.upper().startswith(_CYCLE_RUNTIMES) else "us"
        amount = amount_of(float(value), unit)
        layers.append(LayerTime(int(index), message or None, runtime or None, amount))
    if (
        len({layer.name for layer in layers}) == 1 < len(layers)
    ):  # then the message is no layer's name
        layers = [replace(layer, name=None) for layer in layers]
    return _report(statistics, layers, notes)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) is not None and is_finite(text)


def _report(
    statistics: Mapping[str, Amount], layers: Iterable[LayerTime], notes: list[str]
) -> DiagReport:
    for key in statistics.keys() - {*CREATE_KEYS, *EXECUTE_KEYS}:
        notes.append(f"a statistic of an unknown name: {key[:80]!r}")
    return DiagReport(
        None,
        {key: statistics[key] for key in CREATE_KEYS if key in statistics},
        {key: statistics[key] for key in EXECUTE_KEYS if key in statistics},
        layers=tuple(layers),
        notes=tuple(sorted(notes)),
    )


def _checked(report: DiagReport) -> DiagReport:
    """With a note where the statistic that everyone wants is missing, and many notes as one."""
    notes = list(report.notes)
    if len(notes) > 5:
        notes[4:] = [f"{counted(len(notes) - 4, 'more line')} not understood"]
    if "total_inference" not in report.execute:
        notes.append("no total inference time: the log is cut off, or the profiling level was off")
    return replace(report, notes=tuple(notes))


def _not_a_report(text: str) -> PersondetError:
    start = " ".join(text.split())[:60]
    return PersondetError(
        "snpe-diagview's output holds no statistics: expected a block such as `Average SNPE "
        f"Statistics:` or `SNPE Execute Statistics (Averaged):`, got {start!r}; the diagnostic log "
        "is damaged, or was written with the profiling level off"
    )
