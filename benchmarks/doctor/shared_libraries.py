"""Shared libraries that a program or a library asks for and the system does not have."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from export.process import run_process
from persondet.errors import PersondetError

_MISSING = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
# Debian's and Ubuntu's names.
_PACKAGES = {
    "libc++.so.1": "libc++1",
    "libc++abi.so.1": "libc++abi1",
    "libunwind.so.1": "libunwind-14",
    "libatomic.so.1": "libatomic1",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libpython3.6m.so.1.0": "libpython3.6",
    "libpython3.8.so.1.0": "libpython3.8",
    "libpython3.10.so.1.0": "libpython3.10",
}


def missing_libraries(files: Sequence[Path], env: Mapping[str, str] | None = None) -> list[str]:
    """Names that `ldd` does not find for these files, each once; none for scripts, and none where
    there is no ldd. env: with the LD_LIBRARY_PATH that the files will have."""
    if shutil.which("ldd") is None:
        return []
    found: dict[str, None] = {}
    for file in files:
        try:
            finished = run_process(["ldd", file], what=f"ldd {file}", timeout_s=30.0, env=env)
        except PersondetError:
            continue  # what this file lacks will show when it runs
        found.update(dict.fromkeys(_MISSING.findall(finished.stdout)))
    return list(found)


def remedy_for(libraries: Sequence[str]) -> str:
    """How to install them, where the package is known."""
    packages = [_PACKAGES[name] for name in libraries if name in _PACKAGES]
    unknown = [name for name in libraries if name not in _PACKAGES]
    words = [f"apt install {' '.join(packages)}"] if packages else []
    if unknown:
        words.append(f"find the packages that hold {', '.join(unknown)}")
    return " and ".join(words)
