"""Tables on standard output: folded to a terminal's width where that cuts no number."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table

from persondet.terminal import printable, unguarded

_UNLIMITED = 10_000
_FOLDED = 12  # no column is folded to less


class _PrintableTable(Table):
    """A table whose cells are `printable` before rich measures them."""

    def add_column(self, header: RenderableType = "", *arguments: Any, **options: Any) -> None:
        super().add_column(_printable_cell(header), *arguments, **options)

    def add_row(self, *renderables: RenderableType | None, **options: Any) -> None:
        super().add_row(*map(_printable_cell, renderables), **options)


def _printable_cell(cell: Any) -> Any:
    """A cell as rich takes it; text made printable."""
    return printable(cell) if isinstance(cell, str) else cell


def new_table(first: str, *texts: str, numbers: Sequence[str]) -> Table:
    """An empty table. Only the first column folds where the terminal is narrow."""
    table = _PrintableTable(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column(first, overflow="fold")
    for name in texts:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def labelled_lines(lines: Iterable[tuple[str, str]]) -> Table:
    """`label: text` with the texts below one another; a label said twice is shown once."""
    table = _PrintableTable.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    previous = None
    for label, text in lines:
        table.add_row("" if label == previous else f"{label}:", text)
        previous = label
    return table


def print_to_stdout(*contents: Table | str) -> None:
    """Print tables and lines; what a name holds is text, never markup."""
    console = _console()
    for content in contents:
        if not console.is_terminal:
            print(_whole(content) if isinstance(content, Table) else content)
        elif isinstance(content, Table):
            # Wider than the terminal rather than with numbers cut: the terminal wraps the lines.
            _console(width=max(console.width, _narrowest(console, content))).print(content)
        else:
            console.print(printable(content))


def _narrowest(console: Console, table: Table) -> int:
    """The width in which every column that does not fold shows its longest cell whole."""
    options = console.options.update_width(_UNLIMITED)
    width = Measurement.get(console, options, table).maximum
    for column in table.columns:
        if not column.no_wrap:
            cells = (column.header, *column.cells)
            widest = max(Measurement.get(console, options, cell).maximum for cell in cells)
            width -= max(widest - _FOLDED, 0)
    return width


def _whole(table: Table) -> str:
    """The table as wide as its longest cells, without the blanks at the ends of lines."""
    console = _console(width=_UNLIMITED, color_system=None)
    console.width = max(Measurement.get(console, console.options, table).maximum, 1)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _console(**options: Any) -> Console:
    return Console(
        file=unguarded(sys.stdout), markup=False, emoji=False, highlight=False, **options
    )
