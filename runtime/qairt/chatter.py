"""Qualcomm's libraries print to the process's standard output, which scripts read."""

import contextlib
import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Iterator

from persondet.errors import PersondetError

# File descriptor 1 is the whole process's: one redirection at a time, or the last one to end
# restores another's file instead of standard output.
_REDIRECTING = threading.RLock()
_MEANINGLESS = "# LIBNATIVE:"  # printed by the emulation whenever it is loaded


@contextlib.contextmanager
def chatter_held_back() -> Iterator[None]:
    """Send what C code prints on standard output to a file while the block runs.

    It is thrown away on success and added to a PersondetError. Nothing else may print meanwhile.
    """
    with _REDIRECTING, tempfile.TemporaryFile() as file:
        _flush()
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            yield
        except PersondetError as error:
            _flush()
            file.seek(0)
            if text := _meaningful(file.read().decode("utf-8", "replace")):
                error.args = (f"{error}\nQualcomm's library printed:\n{text}",)
            raise
        finally:
            _flush()
            os.dup2(kept, 1)
            os.close(kept)


def _meaningful(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.strip().startswith(_MEANINGLESS))
    return "\n".join(lines).strip()


def _flush() -> None:
    """Empty Python's and C's buffers of standard output."""
    sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)
