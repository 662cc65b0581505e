"""The one place that starts processes: argument lists in, a checked result out.

Qualcomm's libraries run in a child process here, so that a native crash, their chatter on standard
output and their process-wide state stay out of the user's process.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from persondet.errors import PersondetError


def run_module(
    module: str, arguments: Sequence[str | Path], *, what: str, timeout_s: float
) -> dict[str, Any]:
    """Run `python -m module RESULT arguments...`; returns the JSON object it writes to RESULT.

    what: the action in words, for messages. Ctrl-C and the time-out end the child's whole group.
    Raises PersondetError where the child crashes, hangs, fails or writes no result.
    """
    with tempfile.TemporaryDirectory(prefix="persondet-") as folder:
        result, log = Path(folder, "result.json"), Path(folder, "log.txt")
        argv = [sys.executable, "-m", module, str(result), *map(str, arguments)]
        with log.open("wb") as output:
            code = _run(argv, output, what, timeout_s)
        tail = _tail(log)
        if code < 0:
            name = signal.Signals(-code).name
            raise PersondetError(f"{what} crashed inside Qualcomm's libraries ({name}){tail}")
        if code != 0 or not result.exists():
            raise PersondetError(f"{what} failed (exit code {code}){tail}")
        return json.loads(result.read_text(encoding="utf-8"))


def _run(argv: list[str], output: Any, what: str, timeout_s: float) -> int:
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise PersondetError(f"{what} did not finish in {timeout_s:g} s and was stopped") from None
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _tail(log: Path, lines: int = 12) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "; its last lines:\n  " + "\n  ".join(text[-lines:]) if text else ", and said nothing"
