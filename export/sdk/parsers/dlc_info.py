"""What snpe-dlc-info and qairt-dlc-info print: boxed tables, of 1.x and 2.x.

Up to about 2.1x one graph comes first and how the file was made last. Later ones begin with how it
was made, then have a table and totals per graph, and the caches last. A table is read by the names
of its columns.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from persondet.errors import PersondetError

_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_LAYERS, _CACHES = "Id", "Cache Record Name"  # the first column tells one table from another
_LAYER_COLUMNS = (_LAYERS, "Name", "Type", "Inputs", "Outputs", "Out Dims")
_PORT_TABLES = ("Input Name", "Output Name", "Unconsumed Tensor Name")
_TITLES = (_LAYERS, *_PORT_TABLES, _CACHES)
_GRAPH = "graph"
_FACTS = {
    _GRAPH: re.compile(r"Info of graph:\s*(.*)"),
    "path": re.compile(r"DLC info (?:for|of):\s*(.*)"),
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


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class CacheRecord:
    """A graph prepared for a SoC. identifier: as net-run has it, `HTP_V68_SM7325_2MB`.

    about: lines of the column Information, such as `Record Size: 1.5 MB`.
    """

    name: str
    sdk_version: str
    identifier: str
    about: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableGraph:
    """A graph of the file. name: None where the tool does not say it, as in 1.x.

    parameters is exact, macs truncated, memory_text rounded to a tenth of its unit; None where the
    tool printed none.
    """

    name: str | None = None
    layers: tuple[TableLayer, ...] = ()
    inputs: tuple[TablePort, ...] = ()
    outputs: tuple[TablePort, ...] = ()
    unconsumed: tuple[TablePort, ...] = ()
    parameters: int | None = None
    macs: ScaledCount | None = None
    memory_text: str | None = None
    op_types: tuple[str, ...] = ()

    def memory_fits(self, exact_bytes: int) -> bool:
        """Whether this is how an exact number of bytes is printed."""
        unit = (self.memory_text or "").partition(" ")[2]
        return bool(unit) and self.memory_text == f"{exact_bytes / _UNITS[unit]:.1f} {unit}"


@dataclass(frozen=True, kw_only=True)
class DlcInfo:
    """graphs: at least one. Commands and versions are None where the tool printed none."""

    graphs: tuple[TableGraph, ...]
    caches: tuple[CacheRecord, ...] = ()
    path: str | None = None
    model_version: str | None = None
    copyright: str | None = None
    converter_command: str | None = None
    quantizer_command: str | None = None
    converter_version: str | None = None


@dataclass
class _Section:
    """What was read of one graph so far; caches are those printed after it."""

    facts: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[dict[str, str]]] = field(
        default_factory=lambda: {title: [] for title in _TITLES}
    )


def parse_dlc_info(text: str) -> DlcInfo:
    """The tool's standard output. Raises PersondetError where there is neither table nor total."""
    about: dict[str, str] = {}
    sections = [_Section()]
    header: Sequence[str] = ()
    for cells in _rows(text):
        section = sections[-1]
        if cells[0] in _TITLES:
            header = cells if cells[0] != _LAYERS or set(_LAYER_COLUMNS) <= set(cells) else ()
        elif len(cells) > 1 and len(cells) == len(header):
            section.tables[header[0]].append(dict(zip(header, cells, strict=True)))
        elif found := _fact_in("|".join(cells)):
            name, value = found
            header = ()
            if name == _GRAPH and (section.facts or section.tables[_LAYERS]):
                sections.append(_Section())
            target = about if name in DlcInfo.__dataclass_fields__ else sections[-1].facts
            target[name] = value
    known = [each for each in sections if each.tables[_LAYERS] or each.facts.keys() - {_GRAPH}]
    if not known and "converter_version" not in about:
        start = " ".join(text.split())[:60]
        raise PersondetError(
            "the SDK's dlc-info printed no table: expected a header of `Id | Name | Type | Inputs "
            f"| Outputs`, got {start!r}"
        )
    return DlcInfo(
        graphs=tuple(map(_graph, known or sections[:1])),
        caches=tuple(cache for each in sections for cache in _caches(each.tables[_CACHES])),
        **about,
    )


def _rows(text: str) -> Iterator[list[str]]:
    """Cells of each row of a table; a line that is none is one cell."""
    columns: list[int] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            yield [line.strip()]
            continue
        cells = line.rstrip().removeprefix("|").removesuffix("|").split("|")
        if cells[0].strip() in _TITLES:
            columns = [place for place, letter in enumerate(line) if letter == "|"]
        elif columns and all(line[place : place + 1] == "|" for place in columns):
            # by place, not by letter: a cell may hold a |
            cells = [line[start + 1 : end] for start, end in pairwise(columns)]
        yield [cell.strip() for cell in cells]


def _fact_in(line: str) -> tuple[str, str] | None:
    for name, pattern in _FACTS.items():
        if found := pattern.fullmatch(line.strip().strip("|").strip()):
            return name, found[1].strip()
    return None


def _graph(section: _Section) -> TableGraph:
    facts = section.facts
    inputs, outputs, unconsumed = (
        tuple(port for row in section.tables[title] if (port := _port(row)))
        for title in _PORT_TABLES
    )
    layers: list[TableLayer] = []
    for row in section.tables[_LAYERS]:
        _add_row(layers, row)
    return TableGraph(
        name=facts.get(_GRAPH),
        layers=tuple(layers),
        inputs=inputs,
        outputs=outputs,
        unconsumed=unconsumed,
        parameters=int(facts["parameters"]) if "parameters" in facts else None,
        macs=_scaled(facts.get("macs", "")),
        memory_text=_memory(facts.get("memory", "")),
        op_types=tuple(filter(None, re.split(r",\s*", facts.get("ops", "")))),
    )


def _port(row: Mapping[str, str]) -> TablePort | None:
    name, *_ = row.values()
    if not name:
        return None
    return TablePort(
        name,
        _shape(row.get("Dimensions", ""), ","),
        row.get("Type", ""),
        row.get("Encoding Info", ""),
    )


def _caches(rows: Sequence[Mapping[str, str]]) -> Iterator[CacheRecord]:
    """A record's further lines have no name."""
    starts = [index for index, row in enumerate(rows) if row[_CACHES]]
    for start, end in pairwise((*starts, len(rows))):
        first = rows[start]
        yield CacheRecord(
            name=first[_CACHES],
            sdk_version=first.get("SNPE Version", ""),
            identifier=first.get("Identifier", ""),
            about=tuple(
                row["Information"] for row in rows[start:end] if row.get("Information", "")
            ),
        )


def _add_row(layers: list[TableLayer], row: Mapping[str, str]) -> None:
    """A new layer, or one more line of the last: its Id is empty."""
    index = row[_LAYERS]
    if index.isdecimal() and len(index) < 10:
        layer = TableLayer(
            index=int(index),
            name=row["Name"],
            type=row["Type"],
            inputs=(),
            outputs=(),
            shape=_shape(row["Out Dims"].partition(",")[0], "x"),
            runtimes=row.get("Runtimes", "").replace(" ", ""),
            attributes={},
        )
    elif not index and layers:
        layer = layers.pop()
    else:
        return
    key, colon, value = row.get("Parameters", "").partition(":")
    added = {key.strip(): value.strip()} if colon else {}
    layers.append(
        replace(
            layer,
            inputs=(*layer.inputs, *_tensors(row["Inputs"])),
            outputs=(*layer.outputs, *_tensors(row["Outputs"])),
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
