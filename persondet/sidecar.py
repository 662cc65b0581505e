"""Artefacts: written beside their place, renamed when proved whole, explained by a sidecar.

`model.dlc` gets `model.dlc.json`. The sidecar is written last, so its presence means success, and
it holds the artefact's sha256, so a sidecar that outlived its artefact is noticed.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import persondet
from persondet.errors import InputError
from persondet.spec import DetectorSpec, spec_from_dict, spec_to_dict

FORMAT = "persondet-sidecar-1"


def sidecar_path(artefact: Path) -> Path:
    return artefact.with_name(artefact.name + ".json")


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """A temporary path in the destination's folder, renamed to it when the block succeeds.

    On any failure, Ctrl-C included, the temporary file is removed and what stood at the
    destination is untouched. Raises InputError where the folder cannot be written or is full.
    """
    destination = Path(destination)
    temporary: Path | None = None
    try:
        if destination.is_dir():
            raise InputError(f"cannot write {destination}: it is a folder; name a file")
        if destination.exists() and not destination.is_file():  # /dev/null must not be replaced
            raise InputError(f"cannot write {destination}: it is not a regular file; name a file")
        destination.parent.mkdir(parents=True, exist_ok=True)
        name = f".{destination.stem}-{os.getpid()}{destination.suffix}"
        destination.with_name(name).touch()
        temporary = destination.with_name(name)  # from here on there is something to remove
        yield temporary
        _fsync(temporary)
        temporary.replace(destination)
    except OSError as error:
        raise InputError(
            f"cannot write {destination}: {error.strerror or error}; "
            "check the folder's permissions and the free space"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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


def write_sidecar(
    artefact: Path,
    *,
    step: str,
    inputs: Sequence[Path],
    spec: DetectorSpec | None,
    packages: Sequence[str] = (),
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Write `artefact`'s sidecar, after the artefact itself is in place.

    step: export, convert, quantize ...; packages: distributions whose versions are recorded.
    details: what only this step knows; JSON-ready.
    """
    record = {
        "format": FORMAT,
        "step": step,
        "artefact": _file_record(artefact),
        "inputs": [_file_record(path) for path in inputs],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {"persondet": persondet.__version__, **_versions(packages)},
        "spec": None if spec is None else spec_to_dict(spec),
        "details": dict(details or {}),
    }
    path = sidecar_path(artefact)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def _file_record(path: Path) -> dict[str, Any]:
    return {"name": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}


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
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the sidecar {path}: {error}") from None
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
