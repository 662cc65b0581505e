"""What snpe-dlc-info and qairt-dlc-info print, as boxed tables or as CSV, of 1.x and 2.x."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from persondet.errors import PersondetError

_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_LAYER_COLUMNS = ("Id", "Name", "Type", "Inputs", "Outputs")
_PORT_TABLES = ("Input Name", "Output Name", "Unconsumed Tensor Name")
_FACTS = {
    "path": re.compile(r"DLC info for:\s*(.*)"),
    "model_version": re.compile(r"Model Version:\s*(.*)"),
    "copyright": re.compile(r"Model Copyright:\s*(.*)"),
    "parameters": re.compile(r"Total parameters:\s*(\d{1,18})\b.*"),
    "macs": re.compile(r"Total MACs per inference:\s*(\d{1,18}[kMG]?)\b.*"),
    "converter_command": re.compile(r"Converter command:\s*(.*)"),
    "quantizer_command": re.compile(r"Quantizer command:\s*(.*)"),
    "converter_version": re.compile(r"DLC created with converter version:\s*(.*)"),
    "ops": re.compile(r"(?:Layers|Ops) used by (?:DLC|Graph):\s*(.*)"),
    "memory": re.compile(r"Est\. Steady-State Memory Needed to Run:\s*(\d[\d.]* [KMG]?i?B)\b.*"),
}
# A 2.x cell is `name (Float_32)` or, later, `name (data type: Float_32; ...) [NW Input]`.
_CELL = re.compile(r"(?P<name>.*?)(?: \((?P<about>[^()]*)\))?(?P<input> \[NW Input\])?")


@dataclass(frozen=True)
class ScaledCount:
    """A count as printed, scaled by 1000 and truncated: `353M` is 353,000,000 to 353,999,999."""

    text: str

    @property
    def unit(self) -> int:
        return _FACTORS[self.text.lstrip("0123456789")]

    @property
    def at_least(self) -> int:
        return int(self.text.rstrip("kMG")) * self.unit

    def fits(self, exact: int) -> bool:
        """Whether this is how an exact count is printed."""
        return self.at_least <= exact < self.at_least + self.unit


@dataclass(frozen=True)
class TableLayer:
    """A row of the table. inputs, outputs: tensor names, without types; shape: of the first
    output.

    runtimes: letters out of A D G C (AIP, DSP, GPU, CPU), as the SDK assumes for the processor that
    its note names. attributes: the Parameters column.
    """

    index: int
    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shape: tuple[int, ...]
    runtimes: str
    attributes: Mapping[str, str]

    @property
    def parameters(self) -> ScaledCount | None:
        return _scaled(self.attributes.get("param count", ""))

    @property
    def macs(self) -> ScaledCount | None:
        return _scaled(self.attributes.get("MACs per inference", ""))


@dataclass(frozen=True)
class TablePort:
    """A row of the tables of inputs and outputs, which 2.x prints."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    encoding: str = ""


@dataclass(frozen=True)
class DlcInfo:
    """parameters is exact, macs truncated, memory_bytes rounded to a tenth of its unit.

    Commands, versions and counts are None where the tool printed none.
    """

    layers: tuple[TableLayer, ...] = ()
    inputs: tuple[TablePort, ...] = ()
    outputs: tuple[TablePort, ...] = ()
    unconsumed: tuple[TablePort, ...] = ()
    path: str | None = None
    model_version: str | None = None
    copyright: str | None = None
    parameters: int | None = None
    macs: ScaledCount | None = None
    memory_text: str | None = None
    converter_command: str | None = None
    quantizer_command: str | None = None
    converter_version: str | None = None
    op_types: tuple[str, ...] = ()

    @property
    def memory_bytes(self) -> int | None:
        number, _, unit = (self.memory_text or "").partition(" ")
        return round(float(number) * _UNITS[unit]) if number else None

    def memory_fits(self, exact_bytes: int) -> bool:
        """Whether this is how an exact number of bytes is printed."""
        unit = (self.memory_text or "").partition(" ")[2]
        return bool(unit) and self.memory_text == f"{exact_bytes / _UNITS[unit]:.1f} {unit}"


def parse_dlc_info(text: str) -> DlcInfo:
    """The tool's standard output. Raises PersondetError where there is neither table nor total."""
    rows: list[Sequence[str]] = []
    columns: list[int] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            rows.append((line.strip(),))
            continue
        cells = line.rstrip().removeprefix("|").removesuffix("|").split("|")
        if cells[0].strip() in ("Id", *_PORT_TABLES):
            columns = [place for place, letter in enumerate(line) if letter == "|"]
        elif columns and all(line[place : place + 1] == "|" for place in columns):
            # by place, not by letter: a cell may hold a |
            cells = [line[start + 1 : end] for start, end in pairwise(columns)]
        rows.append([cell.strip() for cell in cells])
    return _info(rows, text)


def parse_dlc_info_csv(text: str) -> DlcInfo:
    """The file of `-s`. Raises PersondetError where there is neither table nor total."""
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(True))]
    except csv.Error as error:
        raise PersondetError(f"the CSV of snpe-dlc-info cannot be read: {error}") from None
    return _info(rows, text)


def _info(rows: Iterable[Sequence[str]], text: str) -> DlcInfo:
    """Rows of cells, where what is no table is one cell, or is lines of text in cells."""
    facts: dict[str, str] = {}
    layers: list[TableLayer] = []
    ports: dict[str, list[TablePort]] = {title: [] for title in _PORT_TABLES}
    table, width = "", 0
    for row in rows:
        if tuple(row[:5]) == _LAYER_COLUMNS or (row and row[0] in _PORT_TABLES):
            table, width = row[0], len(row)
        elif table == "Id" and len(row) == width == 8:
            _add_row(layers, row)
        elif table in _PORT_TABLES and len(row) == width >= 3:
            ports[table].append(TablePort(row[0], _shape(row[1], ","), row[2], *row[3:4]))
        elif any(row):
            found = [_facts_in(line) for line in ",".join(row).splitlines()]
            table = "" if any(found) else table
            for fact in found:
                facts |= fact
    if not layers and not facts.keys() & {"parameters", "macs", "converter_version"}:
        start = " ".join(text.split())[:60]
        raise PersondetError(
            "the SDK's dlc-info printed no table: expected a header of `Id | Name | Type | Inputs "
            f"| Outputs`, got {start!r}"
        )
    return _with_facts(layers, ports, facts)


def _facts_in(line: str) -> dict[str, str]:
    for name, pattern in _FACTS.items():
        found = pattern.fullmatch(line.strip().strip("|").strip())
        if found:
            return {name: found[1].strip()}
    return {}


def _with_facts(
    layers: Iterable[TableLayer], ports: Mapping[str, Sequence[TablePort]], facts: dict[str, str]
) -> DlcInfo:
    inputs, outputs, unconsumed = (tuple(ports[title]) for title in _PORT_TABLES)
    return DlcInfo(
        tuple(layers),
        inputs,
        outputs,
        unconsumed,
        path=facts.get("path"),
        model_version=facts.get("model_version"),
        copyright=facts.get("copyright"),
        parameters=int(facts["parameters"]) if "parameters" in facts else None,
        macs=_scaled(facts.get("macs", "")),
        memory_text=_memory(facts.get("memory", "")),
        converter_command=facts.get("converter_command"),
        quantizer_command=facts.get("quantizer_command"),
        converter_version=facts.get("converter_version"),
        op_types=tuple(filter(None, re.split(r",\s*", facts.get("ops", "")))),
    )


def _add_row(layers: list[TableLayer], row: Sequence[str]) -> None:
    """A new layer, or one more line of the last: its Id is empty."""
    index, name, kind, source, target, shape, runtimes, attribute = row
    if index.isdecimal() and len(index) < 10:
        layer = TableLayer(
            int(index),
            name,
            kind,
            (),
            (),
            _shape(shape.partition(",")[0], "x"),
            runtimes.replace(" ", ""),
            {},
        )
    elif not index and layers:
        layer = layers.pop()
    else:
        return
    key, colon, value = attribute.partition(":")
    added = {key.strip(): value.strip()} if colon else {}
    layers.append(
        replace(
            layer,
            inputs=(*layer.inputs, *_tensors(source)),
            outputs=(*layer.outputs, *_tensors(target)),
            attributes={**layer.attributes, **added},
        )
    )


def _tensors(cell: str) -> tuple[str, ...]:
    """Names of a cell, one or several; commas within brackets belong to a type."""
    found = (_CELL.fullmatch(part.strip()) for part in re.split(r", (?![^()]*\))", cell))
    return tuple(cell["name"] for cell in found if cell and cell["name"])


def _shape(text: str, separator: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(separator)]
    if not all(re.fullmatch(r"\d{1,9}", part, re.ASCII) for part in parts):
        return ()
    return tuple(map(int, parts))


def _scaled(text: str) -> ScaledCount | None:
    """Of `353M (4.31%)`; None for what is none."""
    found = re.match(r"\d{1,18}[kMG]?(?= |$)", text, re.ASCII)
    return ScaledCount(found[0]) if found else None


def _memory(text: str) -> str | None:
    known = re.fullmatch(r"\d{1,15}(\.\d{1,9})? (B|KiB|MiB|GiB)", text, re.ASCII)
    return text if known else None
