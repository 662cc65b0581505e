"""Temporary files and folders: names that cannot be foreseen, and none left behind for good.

Each is made under a random name that nobody has, without following a link, and is locked (flock)
as long as its owner lives; the system drops the lock however the owner ends. So what bears such a
name and is not locked is a killed run's, and the next run in that place removes it.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from persondet.errors import InputError

_REMEDY = "let the variable TMPDIR name a folder that can be written"
_NO_ROOM = 16 * 2**20  # bytes: a disk with more is not the one that was full
_FOLDER_NAME = re.compile(r"persondet-(?:.*-)?[0-9a-f]{16}", re.DOTALL)
_FILE_NAME = re.compile(r"\..*-[0-9a-f]{16}\.part(?:\.[^.]*)?", re.DOTALL)
_LONGEST_STEM = 100  # bytes, out of the 255 that a name may have
_swept: set[Path] = set()


@contextlib.contextmanager
def temporary_folder(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """Make a folder that goes with the block.

    prefix: how its name begins, "persondet-...-". place: the folder to make it in; by default the
    one that TMPDIR names, or the system's.
    Raises InputError if it cannot be made, and if it is full. Python alone would go elsewhere
    without a word if TMPDIR's folder is missing or read-only; the user named it for a reason, such
    as room.
    """
    place = place or _temporary_place()
    _sweep_once(place, _FOLDER_NAME)
    try:
        folder, lock = _locked_folder(place, prefix)
    except OSError as error:
        raise InputError(f"cannot make a temporary folder: {error.strerror}; {_REMEDY}") from error
    try:
        yield folder
    except OSError as error:
        if not _is_full(folder, error):
            raise
        raise InputError(
            f"the temporary folder {place} is full; make room there, or let the variable TMPDIR "
            "name another"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _temporary_place() -> Path:
    named = os.environ.get("TMPDIR")
    if named and not Path(named).is_dir():
        raise InputError(f"TMPDIR names {named}, which is no folder; {_REMEDY}")
    if named and not os.access(named, os.W_OK | os.X_OK):
        raise InputError(f"TMPDIR names {named}, which cannot be written; {_REMEDY}")
    return Path(tempfile.gettempdir())


def _locked_folder(place: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder for this user alone, and lock it; returns the lock's file descriptor."""
    while True:
        folder = place / f"{prefix}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if _lock(lock) and _is_at(folder, lock):
            return folder, lock
        os.close(lock)  # another run took it for a dead one's, in the moment before the lock


def locked_file(destination: Path) -> tuple[Path, int]:
    """Make an empty file beside the destination, with its suffix, and lock it.

    Returns its path and the file descriptor that holds the lock. Raises OSError.
    """
    _sweep_once(destination.parent, _FILE_NAME)
    stem = os.fsdecode(os.fsencode(destination.stem)[:_LONGEST_STEM])
    while True:
        name = f".{stem}-{secrets.token_hex(8)}.part{destination.suffix}"
        path = destination.with_name(name)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        if _lock(lock) and _is_at(path, lock):
            return path, lock
        os.close(lock)


def _lock(descriptor: int) -> bool:
    """Lock what the descriptor is of; returns False if another process has locked it.

    A file system that knows no locks is no failure: nobody else will find one there either.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sweep_once(place: Path, names: re.Pattern[str]) -> None:
    """Remove what killed runs have left in the place; once per process, as it reads a folder."""
    key = place.absolute() / names.pattern
    if key not in _swept:
        _swept.add(key)
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for name in [entry.name for entry in entries if names.fullmatch(entry.name)]:
                _remove_if_dead(place / name)


def _remove_if_dead(path: Path) -> None:
    """Remove it if it is this user's own, a file or a folder, and no process holds its lock."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid():
                return
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(path, ignore_errors=True)
            elif stat.S_ISREG(status.st_mode):
                path.unlink()
        finally:
            os.close(descriptor)


def _is_full(folder: Path, error: OSError) -> bool:
    """Whether the error is that of this folder's disk: what is written elsewhere can fail, too."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return False
    return error.errno == errno.EDQUOT or shutil.disk_usage(folder).free < _NO_ROOM
