"""A window that shows frames, where there is a display."""

import os
import sys

import cv2
import numpy as np

_TITLE = "persondet"
_ESCAPE = 27


def can_open_window() -> bool:
    """Whether a window would open. Call it before threads are started.

    On Linux a child process tries: with a display that cannot be reached, Qt ends the process that
    asks, and nothing but the exit status tells.
    """
    if not sys.platform.startswith("linux"):
        return _opens_here()
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    child = os.fork()
    if child == 0:
        _try_and_exit()
    return os.waitpid(child, 0)[1] == 0


def _try_and_exit() -> None:
    import resource

    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        status = 0 if _opens_here() else 1
    finally:
        os._exit(status)


def _opens_here() -> bool:
    try:
        cv2.namedWindow(_TITLE)
        cv2.destroyWindow(_TITLE)
    except cv2.error:  # OpenCV without windows: opencv-python-headless
        return False
    return True


def show(frame_rgb: np.ndarray) -> bool:
    """Show the frame; False when the user asks to stop: q, Esc, or the window closed."""
    cv2.imshow(_TITLE, cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2BGR))
    key = cv2.waitKey(1) & 0xFF
    return (
        key not in (ord("q"), _ESCAPE) and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) > 0
    )


def close_window() -> None:
    cv2.destroyAllWindows()
