"""Ctrl-C as Python has it, except in the middle of an import."""

import signal
from types import FrameType

_TRY_AGAIN_S = 0.02


def finish_imports_first() -> None:
    """Have Ctrl-C wait for the end of an import that is under way.

    Loading an extension module (onnx's for one) can crash the process when an exception comes up.
    A process that was started with Ctrl-C ignored (nohup) goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGALRM, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    if _is_importing(frame):
        signal.setitimer(signal.ITIMER_REAL, _TRY_AGAIN_S)
        return
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
