"""The folder of a training run: the names of its files, and what a new run may do to an old one."""

from pathlib import Path

from persondet.errors import InputError

STATE_FILE = "state.pt"
LAST_FILE = "last.pth"
BEST_FILE = "best.pth"
LOG_FILE = "log.jsonl"
CONFIG_FILE = "config.json"
CURVES_FILE = "curves.png"
SCALARS_FOLDER = "tensorboard"

_WEIGHTS_AND_LOG = (STATE_FILE, LAST_FILE, BEST_FILE, LOG_FILE)  # each says that a run was here
_ALL = (*_WEIGHTS_AND_LOG, CONFIG_FILE, CURVES_FILE, SCALARS_FOLDER)


def check_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise InputError if a new run would mix with the one in the folder, or if there is nothing
    to resume. Writes nothing."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file; expected a folder, which may be new")
    if resume and not (folder / STATE_FILE).exists():
        raise InputError(f"nothing to resume: {folder / STATE_FILE} does not exist")
    found = [name for name in _WEIGHTS_AND_LOG if (folder / name).exists()]
    if found and not (resume or overwrite):
        raise InputError(
            f"{folder} holds a run already ({', '.join(found)}); --resume goes on with it, "
            "--overwrite sets its files aside, or give another folder"
        )


def set_aside(folder: Path) -> Path | None:
    """Move the files of an earlier run, and their sidecars, into a new folder `previous-N` of this
    folder.

    Returns that folder, or None if there was no run.
    """
    entries = [folder / name for name in _ALL] + [folder / f"{name}.json" for name in _ALL]
    there = [entry for entry in entries if entry.exists()]
    if not there:
        return None
    number = 1
    while (folder / f"previous-{number}").exists():
        number += 1
    aside = folder / f"previous-{number}"
    aside.mkdir()
    for entry in there:
        entry.rename(aside / entry.name)
    return aside
