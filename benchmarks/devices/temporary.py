"""Temporary folders on this side."""

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

from persondet.errors import InputError


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that goes with the block. Raises InputError where what is written finds no room."""
    try:
        with tempfile.TemporaryDirectory(prefix="persondet-device-") as name:
            yield Path(name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"the temporary folder {tempfile.gettempdir()} of this machine is full; remove files "
            "there, or name another by the variable TMPDIR"
        ) from None
