"""A bound on the memory that somebody else's file may have a library take."""

import contextlib
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

_STATM = Path("/proc/self/statm")  # Linux only; its first field is the address space in pages


class _Bound:
    """The process has one limit: it is set by the first that enters and lifted by the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    def enter(self, more_bytes: int) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            self._before = soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            wanted = _address_space_bytes() + more_bytes
            limits = [wanted, *(n for n in (soft, hard) if n != resource.RLIM_INFINITY)]
            resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                resource.setrlimit(resource.RLIMIT_AS, self._before)


_bound = _Bound()


@contextlib.contextmanager
def at_most_more(more_bytes: int) -> Iterator[None]:
    """Let allocations fail that would have this process take more_bytes more than it has now.

    more_bytes: of address space, of which code that is loaded and threads that are started take
    much more than they use. The limit is the process's: other threads share it as long as the block
    runs, and of blocks that overlap the first one's counts. Does nothing if the system does not say
    how much the process has.
    """
    if not _STATM.exists():
        yield
        return
    _bound.enter(more_bytes)
    try:
        yield
    finally:
        _bound.leave()


def _address_space_bytes() -> int:
    return int(_STATM.read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
