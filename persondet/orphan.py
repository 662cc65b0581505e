"""A child process that ends when its parent does, however that comes about."""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends; ends it now if that is too late.

    parent: the process id of who started this one. Call it first of all. On systems other than
    Linux only a parent that has ended already is noticed.
    """
    with contextlib.suppress(AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(1)
