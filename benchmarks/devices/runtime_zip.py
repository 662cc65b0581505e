"""Our own modules for a device, as one file that Python imports from."""

import zipfile
from pathlib import Path

import persondet
import runtime

_DATE = (1980, 1, 1, 0, 0, 0)  # the same zip for the same files, so that it is pushed once


def pack_runtime(destination: Path) -> Path:
    """The modules that a device needs, as a zip that Python imports from; always the same bytes.

    persondet/ without what learns or is a command, and all of runtime/.
    """
    patterns = [(Path(folder), "*.py") for folder in persondet.__path__]
    patterns += [(Path(folder), "**/*.py") for folder in runtime.__path__]
    with zipfile.ZipFile(destination, "w") as archive:
        for room, pattern in patterns:
            for path in sorted(room.glob(pattern)):
                entry = zipfile.ZipInfo(path.relative_to(room.parent).as_posix(), _DATE)
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return destination
