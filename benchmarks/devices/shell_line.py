"""One command as a line for a device's shell, and what comes back of it.

A device is reached through its shell (`adb shell LINE`, `ssh HOST LINE`). Each word is quoted here
and nowhere else. The line says the command's process id first and its exit code last: a device that
goes away in between is told from a command that fails, where ssh and old versions of adb do not.
"""

import contextlib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from export.process import Finished, run_process
from persondet.errors import InputError, PersondetError

_PID = "persondet-pid="
_EXIT = "persondet-exit="
_BEGINNING = f'echo {_PID}$$; exec "$@"'
_ENDING = f"; code=$?; echo; echo {_EXIT}$code"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KILL_TIMEOUT_S = 15.0


class DeviceLostError(PersondetError):
    """The device went away, or the way to it did."""


def shell_line(
    argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None
) -> str:
    """A line that runs argv on the device, with variables set, in the folder cwd.

    Raises InputError for a word with a zero byte, which no shell takes, and for a variable whose
    name is none.
    """
    words = list(argv)
    if env:
        words = ["env", *(f"{_variable(name)}={value}" for name, value in env.items()), *words]
    place = f"cd {_quoted(cwd)} && " if cwd else ""
    command = " ".join(map(_quoted, ["sh", "-c", _BEGINNING, "sh", *words]))
    return f"{place}{command} < /dev/null{_ENDING}"


def receiving_line(remote: str) -> str:
    """A line that writes its standard input to a file, which appears when it is whole."""
    part = _quoted(f"{remote}.part")
    return f"cat > {part} && mv -f {part} {_quoted(remote)}{_ENDING}"


def run_line(
    prefix: Sequence[str],
    line: str,
    *,
    what: str,
    timeout_s: float,
    explain: Callable[[Finished], Exception],
    stdin: Path | None = None,
) -> Finished:
    """Run a line of this module.

    prefix: the program, with its words, that takes the line to the device. explain: the error for
    a line that did not reach its end. Where this side gives up (time-out, Ctrl-C) the command is
    killed on the device. Raises what `explain` gives, and as `run_process`.
    """
    pids: list[str] = []

    def notice(text: str) -> None:
        if not pids and text.startswith(_PID):
            pids.append(text.removeprefix(_PID).strip())

    ended = False
    try:
        process = run_process(
            [*prefix, line], what=what, timeout_s=timeout_s, on_line=notice, stdin=stdin
        )
        ended = True
    finally:
        if not ended and pids and pids[0].isdigit():
            with contextlib.suppress(PersondetError):
                kill = [*prefix, f"kill -9 {pids[0]}"]
                run_process(kill, what="ending a command", timeout_s=_KILL_TIMEOUT_S)
    finished = parse_finished(process)
    if finished is None:
        raise explain(replace(process, stdout=_without_pid(process.stdout)))
    return finished


def parse_finished(process: Finished) -> Finished | None:
    """The command's own exit code and output; None where the line did not reach its end."""
    text = process.stdout.replace("\r\n", "\n")
    head, separator, tail = text.rpartition(f"\n{_EXIT}")
    if not separator:
        head, separator, tail = text.rpartition(_EXIT)
    if not separator or not tail.strip().isdigit():
        return None
    output = _without_pid(head)
    return Finished(process.argv, int(tail), output, process.stderr.replace("\r\n", "\n"))


def _without_pid(text: str) -> str:
    before, pid, after = text.partition(_PID)
    return after.partition("\n")[2] if pid else before


def _quoted(word: str) -> str:
    if "\0" in word:
        raise InputError(f"{word!r} holds a zero byte, which no command takes; rename it")
    return shlex.quote(word)


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise InputError(f"{name!r} is no name of an environment variable")
    return name
