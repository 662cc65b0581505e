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
    rooms = [
        *(
            (Path(folder), path)
            for folder in persondet.__path__
            for path in Path(folder).glob("*.py")
        ),
        *(
            (Path(folder), path)
            for folder in runtime.__path__
            for path in Path(folder).rglob("*.py")
        ),
    ]
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_DEFLATED) as archive:
        for room, path in sorted(rooms):
            name = path.relative_to(room.parent).as_posix()
            archive.writestr(zipfile.ZipInfo(name, _DATE), path.read_bytes())
    return destination
