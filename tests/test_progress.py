"""The progress bar: nothing without a terminal, nothing on standard output with one."""

import os
import pty
import subprocess
import sys

from persondet.cli.progress import progress_bar

CODE = """
import json, sys
from persondet.cli.progress import progress_bar
with progress_bar("working", 3) as advance:
    for index in range(3):
        print(json.dumps(index), flush=True)
        advance()
"""


def test_silent_without_a_terminal(capfd):
    with progress_bar("working", 3) as advance:
        advance()
    assert capfd.readouterr() == ("", "")


def test_standard_output_stays_clean_beside_a_bar():
    terminal, side = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=side, env=env, check=True
        )
        shown = os.read(terminal, 100_000)
    finally:
        os.close(side)
        os.close(terminal)
    assert done.stdout == b"0\n1\n2\n"
    assert b"working" in shown
    assert b"3/3" in shown
