"""Artefacts: written beside their place, renamed when proved whole, explained by a sidecar.

`model.dlc` gets `model.dlc.json`. The sidecar is written last, so its presence means success, and
it holds the artefact's sha256, so a sidecar that outlived its artefact is noticed.
"""

import contextlib
import errno
import hashlib
import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import persondet
from persondet.errors import InputError
from persondet.files import read_json
from persondet.spec import DetectorSpec, spec_from_dict, spec_to_dict
from persondet.temporary import locked_file
from persondet.terminal import without_passwords

FORMAT = "persondet-sidecar-1"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of a write, which names no file


def sidecar_path(artefact: Path) -> Path:
    return artefact.with_name(artefact.name + ".json")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Publication:
    """Files that are written beside their places and then appear together, sidecars last."""

    def __init__(self) -> None:
        self._files: dict[Path, Path] = {}  # destination: temporary path
        self._sidecars: dict[Path, Path] = {}
        self._locks: list[int] = []

    def file(self, destination: Path) -> Path:
        """A temporary path in the destination's folder, to write to.

        Raises InputError where the destination is no regular file or its folder cannot be written.
        """
        destination = Path(destination)
        try:
            mode = destination.stat().st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
        except OSError as error:
            raise _cannot_write(destination, error) from error
        if stat.S_ISDIR(mode):
            raise InputError(f"cannot write {destination}: it is a folder; name a file")
        if not stat.S_ISREG(mode):  # /dev/null must not be replaced
            raise InputError(f"cannot write {destination}: it is not a regular file; name a file")
        return self._reserve(destination, self._files)

    def describe(
        self,
        destination: Path,
        *,
        step: str,
        inputs: Sequence[Path],
        spec: DetectorSpec | None,
        packages: Sequence[str] = (),
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the sidecar of a file of this publication, once that is complete.

        step: export, convert, quantize ...; packages: distributions whose versions are recorded.
        details: what only this step knows; JSON-ready.
        """
        destination = Path(destination)
        record = {
            "format": FORMAT,
            "step": step,
            "artefact": _file_record(self._files[destination], destination.name),
            "inputs": [_file_record(path, path.name) for path in inputs],
            "command": [Path(sys.argv[0]).name, *map(without_passwords, sys.argv[1:])],
            "versions": {"persondet": persondet.__version__, **_versions(packages)},
            "spec": None if spec is None else spec_to_dict(spec),
            "details": dict(details or {}),
        }
        temporary = self._reserve(sidecar_path(destination), self._sidecars)
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def owns(self, path: Path) -> bool:
        """Whether the path is one of the temporary files, of the destinations, or a folder."""
        pairs = [*self._files.items(), *self._sidecars.items()]
        return any(path in (place, temporary, place.parent) for place, temporary in pairs)

    def appear(self) -> None:
        """Rename all; Ctrl-C waits until the last one is in its place."""
        pairs = [*self._files.items(), *self._sidecars.items()]
        for _, temporary in pairs:
            _fsync(temporary)
        with _interruption_held():
            for destination, temporary in pairs:
                temporary.replace(destination)

    def remove_temporaries(self) -> None:
        for temporary in (*self._files.values(), *self._sidecars.values()):
            temporary.unlink(missing_ok=True)
        while self._locks:
            os.close(self._locks.pop())

    def _reserve(self, destination: Path, places: dict[Path, Path]) -> Path:
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                destination.lstat()  # a name that is too long is refused now, not at the end
            temporary, lock = locked_file(destination)
        except OSError as error:
            raise _cannot_write(destination, error) from error
        places[destination] = temporary  # from here on there is something to remove
        self._locks.append(lock)
        return temporary


@contextlib.contextmanager
def publishing() -> Iterator[Publication]:
    """A publication whose files appear when the block succeeds.

    On any failure, Ctrl-C included, the temporary files are removed and what stood at the
    destinations is untouched. Raises InputError where a folder cannot be written or is full.
    """
    publication = Publication()
    try:
        yield publication
        publication.appear()
    except OSError as error:
        named = Path(os.fsdecode(error.filename)) if error.filename else None
        if named is None and error.errno not in _DISK_FULL:
            raise
        if named is not None and not publication.owns(named):
            raise
        destination = next(iter(publication._files), Path("the result"))
        raise _cannot_write(destination, error) from error
    finally:
        publication.remove_temporaries()


@contextlib.contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """`publishing` of one file without a sidecar: yields the temporary path to write to."""
    with publishing() as publication:
        yield publication.file(destination)


def _cannot_write(destination: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {destination}: {error.strerror or error}; "
        "check the folder's permissions and the free space"
    )


@contextlib.contextmanager
def _interruption_held() -> Iterator[None]:
    """Signals that end a program wait until the block is done.

    By handlers rather than by a mask, which is a thread's own: others would take the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for arrival in arrived:
            signal.raise_signal(arrival)


def check_destination(destination: Path, suffix: str, *, inputs: Sequence[Path]) -> None:
    """Before long work: raises InputError for a folder, for another suffix, by which the commands
    tell files apart, for a place that cannot be written, and where the destination is one of the
    inputs."""
    try:
        if destination.is_dir():
            raise InputError(f"cannot write {destination}: it is a folder; name a file")
        if destination.suffix.lower() != suffix:
            raise InputError(f"cannot write {destination}: the result's name must end in {suffix}")
        for path in inputs:
            if destination.exists() and path.exists() and destination.samefile(path):
                raise InputError(
                    f"{path} would be overwritten by its own result; name another file"
                )
    except OSError as error:
        raise InputError(f"cannot write {destination}: {error.strerror}; name another") from None
    check_folder(destination.parent)


def check_folder(folder: Path) -> None:
    """Raises InputError where a file cannot be made in the folder, nor the folder itself."""
    standing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not standing.is_dir():
        raise InputError(f"cannot write into {folder}: {standing} is not a folder; name another")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise InputError(
            f"cannot write into {folder}: no permission to write {standing}; name another folder"
        )


def _fsync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _file_record(path: Path, name: str) -> dict[str, Any]:
    return {"name": name, "sha256": sha256_of(path), "bytes": path.stat().st_size}


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def read_sidecar(artefact: Path) -> dict[str, Any] | None:
    """The artefact's sidecar; None where there is none.

    Raises InputError where the sidecar is unreadable or describes another file.
    """
    path = sidecar_path(artefact)
    if not os.path.lexists(path):
        return None
    record = read_json(path, "the sidecar")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputError(f"{path} is not a sidecar of persondet: expected format {FORMAT}")
    try:
        expected, found = str(record["artefact"]["sha256"]), sha256_of(artefact)
    except (KeyError, TypeError):
        raise InputError(f"{path} does not say which file it describes; remove it") from None
    except OSError as error:
        raise InputError(f"cannot read {artefact}: {error.strerror or error}") from None
    if expected != found:
        raise InputError(
            f"{path} describes another file: it was written for sha256 {expected[:12]}..., "
            f"{artefact} has {found[:12]}...; make the artefact again, or remove the sidecar"
        )
    return record


def spec_beside(artefact: Path) -> DetectorSpec | None:
    """The spec in the artefact's sidecar; None where there is no sidecar or no spec in it."""
    record = read_sidecar(artefact)
    if record is None or record.get("spec") is None:
        return None
    return spec_from_dict(record["spec"])
