"""Figures: a name in a title, a label or a legend is drawn as it is."""

import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from matplotlib.text import Text

from persondet.figure import save_figure

NAMES = ("cost $5 and $6", "$\\frac$ and $", "caf\udce9 \x1b[31m$x$", "a_b^c")


def test_names_are_no_formulas(tmp_path):
    figure = Figure(layout="constrained")
    figure.suptitle(NAMES[0])
    axes = figure.add_subplot()
    axes.plot([1, 10, 1000], [1, 2, 30], label=NAMES[1])
    axes.set_title(NAMES[2])
    axes.set_xlabel(NAMES[3])
    axes.set_xscale("log")
    axes.legend()
    save_figure(figure, tmp_path / "figure.svg", dpi=80)
    texts = {text.get_text(): text.get_parse_math() for text in figure.findobj(Text)}
    shown = (*NAMES[:2], "caf\\xe9 \\x1b[31m$x$", NAMES[3])
    assert [texts[name] for name in shown] == [False] * 4
    assert texts["$\\mathdefault{10^{1}}$"]  # a tick's power of ten stays a formula
    assert (tmp_path / "figure.svg").stat().st_size
