"""Temporary folders, and what is said where none can be made or it is full."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from persondet.errors import InputError

_REMEDY = "let the variable TMPDIR name a folder that can be written"
_NO_ROOM = 16 * 2**20  # bytes: a disk with more is not the one that was full


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder that goes with the block, in the one that TMPDIR names, or in the system's.

    Raises InputError where it cannot be made, and where it is full. Python alone would go elsewhere
    without a word where TMPDIR's folder is missing or read-only; the user named it for a reason,
    such as room.
    """
    named = os.environ.get("TMPDIR")
    if named and not Path(named).is_dir():
        raise InputError(f"TMPDIR names {named}, which is no folder; {_REMEDY}")
    if named and not os.access(named, os.W_OK | os.X_OK):
        raise InputError(f"TMPDIR names {named}, which cannot be written; {_REMEDY}")
    try:
        holder = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise InputError(f"cannot make a temporary folder: {error.strerror}; {_REMEDY}") from error
    with holder as name:
        try:
            yield Path(name)
        except OSError as error:
            if not _is_full(Path(name), error):
                raise
            raise InputError(
                f"the temporary folder {Path(name).parent} is full; make room there, or let the "
                "variable TMPDIR name another"
            ) from error


def _is_full(folder: Path, error: OSError) -> bool:
    """Whether the error is that of this folder's disk: what is written elsewhere can fail, too."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return False
    return error.errno == errno.EDQUOT or shutil.disk_usage(folder).free < _NO_ROOM
