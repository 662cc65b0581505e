"""Names of files for libraries in C++, which take UTF-8 alone: OpenCV crashes on other names."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from persondet.errors import InputError
from persondet.temporary import temporary_folder


@contextlib.contextmanager
def native_name(path: Path) -> Iterator[str]:
    """A UTF-8 name of the path while the block runs: its own, or that of a temporary link to it.

    The file need not exist. Raises InputError if no such name can be made.
    """
    if _is_native(path):
        yield str(path)
        return
    with temporary_folder("persondet-name-") as folder:
        suffix = path.suffix if _is_native(Path(path.suffix)) else ""
        link = folder / f"link{suffix}"
        if not _is_native(link):
            raise InputError(
                f"cannot open {path}: neither its name nor that of the folder for temporary files "
                "is UTF-8; rename it, or let the variable TMPDIR name another folder"
            )
        link.symlink_to(path.absolute())
        yield str(link)


def _is_native(path: Path) -> bool:
    """Return True if the bytes of the name are what a C++ library makes of the text."""
    try:
        return os.fsencode(path) == str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
