"""Saving matplotlib's figures, in which names stay names."""

from pathlib import Path
from typing import TYPE_CHECKING

from persondet.sidecar import replacing
from persondet.terminal import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: "Figure", path: Path, *, dpi: int, file_format: str | None = None) -> None:
    """Write the figure. Its titles, labels and legends are plain text: `$` begins no formula.

    file_format: such as "png"; None means the suffix of the path.
    Raises InputError if the folder cannot be written.
    """
    _take_texts_plainly(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format=file_format)


def _take_texts_plainly(figure: "Figure") -> None:
    """Not the ticks: matplotlib writes powers of ten as formulas."""
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    of_axes = {
        text
        for axis in figure.findobj(Axis)
        if isinstance(axis, Axis)
        for text in axis.findobj(Text)
        if text is not axis.label
    }
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in of_axes:
            text.set_parse_math(False)
            text.set_text(printable(text.get_text()))
