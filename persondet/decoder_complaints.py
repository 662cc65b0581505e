"""What libjpeg says of damage: on the process's standard error, naming no file."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

# File descriptor 2 is the whole process's: one redirection at a time, or the last one to end
# restores another's file instead of standard error.
_REDIRECTING = threading.Lock()
_DAMAGE = (b"Corrupt JPEG data", b"Premature end of JPEG")


@contextlib.contextmanager
def complaints_of_jpeg() -> Iterator[list[str]]:
    """Yield a list that holds libjpeg's complaints once the block has ended.

    What else came on standard error meanwhile, from another thread, is passed on.
    """
    complaints: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(_REDIRECTING)
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
            kept = os.dup(2)
        except OSError:  # no temporary folder, or standard error is closed
            yield complaints
            return
        os.dup2(file.fileno(), 2)
        try:
            yield complaints
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file.read().splitlines(keepends=True):
                if line.startswith(_DAMAGE):
                    complaints.append(line.decode("ascii", "replace").strip())
                else:
                    os.write(2, line)
