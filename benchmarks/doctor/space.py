"""Free space where the commands write."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.doctor.findings import JOBS, Finding, note, ok, problem

# Many times what one conversion of the project's models writes; a calibration set of 200 pictures
# as raw float files of 640 x 640 takes 1 GB.
NEEDED_BYTES = 2 * 10**9
LEAST_BYTES = 10**8
_TOPIC = "free space"


def space_findings() -> list[Finding]:
    folders = {
        "temporary files (the variable TMPDIR names another folder)": Path(tempfile.gettempdir()),
        "results, in this folder": Path.cwd(),
    }
    return _judged({what: (path, shutil.disk_usage(path).free) for what, path in folders.items()})


def _judged(places: Mapping[str, tuple[Path, int]]) -> list[Finding]:
    found = []
    for what, (path, free) in places.items():
        text = f"{free / 1e9:.1f} GB for {what}: {path}"
        remedy = "remove files there, or use another folder"
        if free < LEAST_BYTES:
            found.append(problem(_TOPIC, text, remedy, JOBS))
        elif free < NEEDED_BYTES:
            found.append(note(_TOPIC, text, f"{remedy}, before calibration sets of many pictures"))
        else:
            found.append(ok(_TOPIC, text))
    return found
