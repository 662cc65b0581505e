"""Ctrl-C, SIGTERM and SIGHUP as one exception, which never comes in the middle of an import."""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_TRY_AGAIN_S = 0.02
_ACKNOWLEDGED = (
    b"\npersondet: stopping after this step, or this validation; once more ends it at once\n"
)
_held: list[int] = []  # the signal that came during an import
# Python gives SIGALRM back its default, which is to kill, before the process has ended.
atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)


class Interruption(KeyboardInterrupt):
    """A signal that asks the program to end; what cleans up after Ctrl-C cleans up after it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def interrupt_by(*numbers: int) -> None:
    """Have these signals raise Interruption, once an import that is under way has ended.

    Loading an extension module (onnx's for one) can crash the process when an exception comes up.
    A process that was started with a signal ignored (nohup) goes on ignoring it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in numbers:
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _interrupt)
            signal.signal(signal.SIGALRM, _interrupt)


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Within the block a first signal only makes what is yielded true, so that a step of work can
    end, and says so at once; a second one interrupts. The first is raised as Interruption at the
    block's end."""
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if came:
            raise Interruption(number)
        came.append(number)
        with contextlib.suppress(OSError):  # not print(): it may be what the signal interrupted
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _ACKNOWLEDGED)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {
        number: signal.signal(number, remember)
        for number in numbers
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise Interruption(came[0])


def _interrupt(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGALRM:
        number = _held[0]
    if _is_importing(frame):
        _held[:] = [number]
        signal.setitimer(signal.ITIMER_REAL, _TRY_AGAIN_S)
        return
    raise Interruption(number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
