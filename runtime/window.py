"""A window that shows frames, where there is a display."""

import os
import subprocess
import sys

import cv2
import numpy as np

_TITLE = "persondet"
_ESCAPE = 27


def can_open_window() -> bool:
    """Whether a window would open.

    A child process tries: with a display that cannot be reached Qt aborts the process that asks.
    """
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return False
    argv = [sys.executable, "-c", f"import cv2; cv2.namedWindow({_TITLE!r})"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def show(frame_rgb: np.ndarray) -> bool:
    """Show the frame; False when the user asks to stop: q, Esc, or the window closed."""
    cv2.imshow(_TITLE, cv2.cvtColor(frame_rgb, cv2.COLOR_RGB2BGR))
    key = cv2.waitKey(1) & 0xFF
    visible = cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) > 0
    return visible and key not in (ord("q"), _ESCAPE)


def close_window() -> None:
    cv2.destroyAllWindows()
