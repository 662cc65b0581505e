"""Our own modules in a child process, with a result checked by its parent.

Qualcomm's libraries run in such a child, so that a native crash, their chatter on standard output
and their process-wide state stay out of the user's process.

python -m export.child PARENT MODULE RESULT ARGUMENTS... is that child.
"""

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.process import end_group, interrupts_later
from persondet.errors import PersondetError
from persondet.files import read_json
from persondet.orphan import end_with_parent
from persondet.temporary import temporary_folder


def run_module(
    module: str, arguments: Sequence[str | Path], *, what: str, timeout_s: float
) -> dict[str, Any]:
    """Run `python -m module RESULT arguments...`; returns the JSON object it writes to RESULT.

    what: the action in words, for messages. Ctrl-C and the time-out end the child's whole group,
    and the child does not outlive this process.
    Raises PersondetError where the child crashes, hangs, fails or writes no result.
    """
    with temporary_folder("persondet-") as folder:
        result, log = folder / "result.json", folder / "log.txt"
        # -P: a module of the user's, such as export.py in the working folder, is not ours.
        argv = [sys.executable, "-P", "-m", "export.child", str(os.getpid()), module, str(result)]
        with log.open("wb") as output:
            code = _run([*argv, *map(str, arguments)], output, what, timeout_s)
        if code < 0:
            raise PersondetError(f"{what} {_death(-code)}{_tail(log)}")
        if code != 0 or not result.exists():
            raise PersondetError(f"{what} failed (exit code {code}){_tail(log)}")
        return read_json(result, "the result")


def _run(argv: list[str], output: Any, what: str, timeout_s: float) -> int:
    process = None
    try:
        with interrupts_later():
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise PersondetError(f"{what} did not finish in {timeout_s:g} s and was stopped") from None
    finally:
        if process is not None:
            end_group(process)


def _death(number: int) -> str:
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        return f"was killed ({name}), which the system does when memory runs out"
    return f"crashed inside a native library ({name})"


def _tail(log: Path, lines: int = 12) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "; its last lines:\n  " + "\n  ".join(text[-lines:]) if text else ", and said nothing"


def main() -> None:
    end_with_parent(int(sys.argv.pop(1)))
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
