"""Loading a DLC in a child process first, so that a crash of Qualcomm's loader is only the child's.

python -m runtime.qairt.probe PARENT FILE is that child. It ends with its parent, and may not take
more memory than a model file can need.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

from persondet.errors import InputError
from persondet.orphan import end_with_parent

_TIMEOUT_S = 120.0
# Address space: the libraries map about 1 GB, the loader holds a file a few times over.
_BASE_BYTES = 4 << 30
_FACTOR = 8


def walk_in_child(path: Path, remedy: str) -> None:
    """Let a child process load the file.

    What the child finds wrong without crashing is found, and said, again in this process.
    Raises InputError if the loader crashes, or does not end.
    """
    # -P: a module of the user's, such as runtime.py in the working folder, is not ours.
    argv = [sys.executable, "-P", "-m", "runtime.qairt.probe", str(os.getpid())]
    try:
        child = subprocess.run(
            [*argv, str(path.absolute())], capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        what = "keeps Qualcomm's loader busy without an end"
    else:
        if child.returncode >= 0:
            return
        what = f"crashes Qualcomm's loader (signal {-child.returncode})"
    raise InputError(
        f"{path} {what}: the file is damaged, or of a kind that this release does not know; "
        f"{remedy}"
    )


def main(parent: int, path: Path) -> None:
    end_with_parent(parent)
    from runtime.qairt.loader import walk_dlc

    limit = _BASE_BYTES + _FACTOR * path.stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    walk_dlc(path, on_graph=_ignore, on_tensor=_ignore, on_op=_ignore)


def _ignore(_found: object) -> None:
    """Do nothing: that the loader gets this far is all that is asked."""


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
