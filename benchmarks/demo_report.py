"""The demo's table of figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.figures import mib_text, snpe_scaled
from benchmarks.model_info import ModelInfo

if TYPE_CHECKING:
    from rich.table import Table


def figures_table(infos: Sequence[ModelInfo]) -> "Table":
    """The three figures that everyone asks for, and the file, one row a file."""
    from benchmarks.tables import new_table

    table = new_table("file", numbers=("params", "MACs", "", "SNPE memory", "file"))
    for info in infos:
        table.add_row(
            info.name,
            f"{info.figures.parameters:,}",
            f"{info.figures.macs:,}",
            snpe_scaled(info.figures.macs),
            mib_text(info.figures.snpe_memory_bytes),
            mib_text(info.file_bytes or 0),
        )
    return table
