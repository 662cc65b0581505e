"""Qualcomm's libraries print to the process's standard output, which scripts read."""

import contextlib
import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator

from persondet.errors import PersondetError


@contextlib.contextmanager
def chatter_held_back() -> Iterator[None]:
    """Send what C code prints on standard output to a file while the block runs.

    It is thrown away on success and added to a PersondetError. File descriptor 1 is the whole
    process's: nothing else may print meanwhile.
    """
    _flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield
        except PersondetError as error:
            _flush()
            file.seek(0)
            text = file.read().decode("utf-8", "replace").strip()
            if text:
                error.args = (f"{error}\nQualcomm's library printed:\n{text}",)
            raise
        finally:
            _flush()
            os.dup2(kept, 1)
            os.close(kept)


def _flush() -> None:
    """Empty Python's and C's buffers of standard output."""
    sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)
