"""Programs of others end with us, also if we are killed and can do nothing about it.

A small process of ours holds the end of a pipe whose other end only we have. When that closes, as
it does however we end, it kills the process groups that we have named and not taken back. The
kernel's own way (PR_SET_PDEATHSIG) is for children that ask for it themselves: persondet.orphan.
"""

import atexit
import contextlib
import functools
import subprocess
import sys
import threading
from collections.abc import Iterator

_GUARD = """
import os, signal, sys
groups = set()
for line in sys.stdin.buffer:
    (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""
_starting = threading.Lock()


@contextlib.contextmanager
def guarded(process: subprocess.Popen) -> Iterator[None]:
    """Have the process's group killed if we end within the block; it leads a group of its own."""
    with _starting:
        guard = _guard()
    _tell(guard, f"+{process.pid}\n")
    try:
        yield
    finally:
        _tell(guard, f"-{process.pid}\n")


@functools.cache
def _guard() -> subprocess.Popen:
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,  # Ctrl-C and a closed terminal are not for it
    )
    atexit.register(_end, guard)
    return guard


def _tell(guard: subprocess.Popen, line: str) -> None:
    assert guard.stdin is not None
    with contextlib.suppress(OSError):  # somebody has killed it: nothing worse than without it
        guard.stdin.write(line.encode())


def _end(guard: subprocess.Popen) -> None:
    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait()
