"""The one place that starts other programs: argument lists in, exit code and output out."""

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from export.group_guard import guarded
from persondet.errors import InputError, PersondetError

_POLL_S = 0.2


@dataclass(frozen=True)
class Finished:
    """code: the exit code, negative where a signal ended it. stdout, stderr: text, complete."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


def run_process(
    argv: Sequence[str | Path],
    *,
    what: str,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    stdin: Path | None = None,
) -> Finished:
    """Run a program to its end; whatever its exit code is, that is the caller's to judge.

    what: the action in words, for messages. env: of the program, instead of ours. log: a file that
    gets the command and both streams as they come. on_line: called here with each line of either
    stream, without its end. stdin: a file; nothing by default.
    The program has its own process group, and no shell is involved; Ctrl-C and the time-out kill
    the whole group. Raises InputError where the program cannot be started, PersondetError where it
    did not finish in time.
    """
    words = tuple(map(str, argv))
    lines: queue.Queue[tuple[int, str] | None] = queue.Queue()
    collected: tuple[list[str], list[str]] = ([], [])
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
        record = stack.enter_context(_log_file(log)) if log else None
        if record:
            record.write(f"$ {' '.join(words)}\n")
        process = stack.enter_context(_started(words, given, env, cwd, what))
        assert process.stdout is not None and process.stderr is not None
        for number, stream in enumerate((process.stdout, process.stderr)):
            threading.Thread(target=_read, args=(number, stream, lines), daemon=True).start()
        for number, line in _until(lines, process, what, timeout_s):
            collected[number].append(line)
            if record:
                record.write(line)
                record.flush()
            on_line(line.rstrip("\r\n"))
        code = process.wait()
        if record:
            record.write(f"exit code {code}\n")
    return Finished(words, code, "".join(collected[0]), "".join(collected[1]))


def _log_file(log: Path) -> IO[str]:
    """UTF-8 whatever the names in a command are."""
    return log.open("a", encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def _started(
    words: tuple[str, ...],
    stdin: IO[bytes] | int,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    what: str,
) -> Iterator[subprocess.Popen]:
    """The running program; its group is killed where the block is left before it has ended."""
    process = None
    try:
        with interrupts_later():
            process = subprocess.Popen(
                words,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                start_new_session=True,
            )
        with guarded(process):
            yield process
    except OSError as error:
        if process is not None:
            raise
        raise InputError(f"{what}: cannot start {words[0]}: {error.strerror}") from error
    finally:
        if process is not None:
            end_group(process)


def _read(number: int, stream: IO[bytes], lines: queue.Queue) -> None:
    """Each line into the queue, None at the end. Only this thread may close the stream: closing
    waits for a read that is under way."""
    with stream:
        for line in stream:
            lines.put((number, line.decode("utf-8", errors="replace")))
    lines.put(None)


def _until(
    lines: queue.Queue, process: subprocess.Popen, what: str, timeout_s: float
) -> Iterator[tuple[int, str]]:
    """Lines until both streams have ended, or soon after the program has: one that it leaves
    running behind it (a server of adb's or ssh's) may hold them open for ever."""
    deadline, open_streams, ended = time.monotonic() + timeout_s, 2, False
    while open_streams:
        try:
            item = lines.get(timeout=_POLL_S)
        except queue.Empty:
            if ended:
                return
            ended = process.poll() is not None
            if time.monotonic() > deadline:
                raise _too_long(what, timeout_s) from None
            continue
        if item is None:
            open_streams -= 1
            continue
        yield item
        if time.monotonic() > deadline:
            raise _too_long(what, timeout_s)
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise _too_long(what, timeout_s) from None


def _too_long(what: str, timeout_s: float) -> PersondetError:
    return PersondetError(f"{what} did not finish in {timeout_s:g} s and was stopped")


def end_group(process: subprocess.Popen) -> None:
    """Kill the process and what it started, if it runs still, and wait for it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def interrupts_later() -> Iterator[None]:
    """Keep Ctrl-C until the block's end: amid Popen it would lose a child that runs already.

    Blocking the signal is not enough: another thread, of onnx's for one, would get it.
    """
    if threading.current_thread() is not threading.main_thread():  # gets no KeyboardInterrupt
        yield
        return
    kept: list[tuple[int, FrameType | None]] = []
    handler = signal.signal(signal.SIGINT, lambda *arguments: kept.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if kept and callable(handler):
            handler(*kept[0])
