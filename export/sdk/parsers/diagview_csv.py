"""The CSV files of `snpe-diagview --output`: the legacy one of five fields, and version 2."""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from export.sdk.parsers.diagview import (
    LAYER_NAME,
    DiagReport,
    LayerTime,
    checked_report,
    not_a_report,
)
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

# The legacy CSV has no unit. Its statistics are microseconds; that the layers of these runtimes are
# in cycles, as in the text, is inferred.
_CYCLE_RUNTIMES = ("DSP", "AIP", "HTP")
_V2_COLUMNS = ("Layer Id", "Layer Name", "Time", "Unit of Measurement")


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
        raise not_a_report(text)
    return checked_report(report)


def _version_2(rows: list[list[str]], header: list[str]) -> DiagReport:
    """Rows without a layer's number are statistics, by the name in whatever column (inferred)."""
    statistics: dict[str, Amount] = {}
    layers, notes = [], []
    for row in rows[rows.index(header) + 1 :]:
        cells = dict(zip(header, row, strict=False))
        amount = amount_in(f"{cells.get('Time', '')} {cells.get('Unit of Measurement', '')}")
        name = LAYER_NAME.fullmatch(cells.get("Layer Name", ""))
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
