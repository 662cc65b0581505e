"""What snpe-diagview prints of a diagnostic log, in two families of text.

All values are the SDK's averages over the input list, first run included; it gives no minimum,
maximum or percentile. Layers on DSP and HTP are in cycles, the rest in microseconds, and the sum of
the layers is not the total.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from export.sdk.parsers.statistics import (
    CREATE_KEYS,
    EXECUTE_KEYS,
    Amount,
    amount_in,
    key_of,
)
from persondet.errors import PersondetError
from persondet.wording import counted

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
_LAYER_NAME = re.compile(r"(?P<name>.*?)(?:[: ]OpId_(?P<op>\d{1,9}))?(?P<unit> \((?:cycles|us)\))?")


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
        name = _LAYER_NAME.fullmatch(found["name"] or "") if found else None
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
