"""Temporary folders, and what is said where none can be made."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from persondet.errors import InputError

_REMEDY = "let the variable TMPDIR name a folder that can be written"


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder that goes with the block, in the one that TMPDIR names, or in the system's.

    Raises InputError where it cannot be made. Python alone would go elsewhere without a word where
    TMPDIR's folder is missing or read-only; the user named it for a reason, such as room.
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
        yield Path(name)
