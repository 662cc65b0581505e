"""Tables, as narrow terminals and pipes get them."""

import re

import pytest

from benchmarks.tables import labelled_lines, new_table, print_to_stdout
from persondet.cli import models


@pytest.fixture
def table():
    table = new_table("layer", "output", numbers=["parameters", "MACs"])
    table.add_row("backbone/stage/4/depthwise/convolution", "1x512x19x19", "1,234,567", "987,654")
    return table


@pytest.fixture(params=[20, 40, 60, 80])
def terminal(request, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_narrow_terminal_cuts_nothing(table, terminal, capsys):
    print_to_stdout(table)
    text = plain(capsys.readouterr().out)
    for words in ("1x512x19x19", "1,234,567", "987,654", "parameters", "MACs"):
        assert words in text
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    folded = "".join(line.split(" ")[0] for line in text.splitlines()[2:])
    assert folded == "backbone/stage/4/depthwise/convolution"
    widest = max(len(line.rstrip()) for line in text.splitlines())
    assert widest <= max(terminal, 12 + len(" 1x512x19x19 parameters 987,654") + 3)


def test_labels_stay_whole(terminal, capsys):
    print_to_stdout(labelled_lines([("Total parameters", "x" * 100)]))
    text = plain(capsys.readouterr().out)
    assert text.startswith("Total parameters:  x")
    assert text.count("x") == 100


def test_names_in_the_lists_of_models_are_never_folded(terminal, capsys):
    assert models.command.callback is not None
    models.command.callback(as_json=False)
    lines = [line.split(" ")[0] for line in plain(capsys.readouterr().out).splitlines()]
    assert {"mb2-ssd-lite-f38-person", "ssdlite-mb2-person"} <= set(lines)


def test_a_pipe_gets_lines_as_long_as_they_are(table, capsys):
    print_to_stdout(table)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("backbone/stage/4/depthwise/convolution")
