"""OpenCV: the cv2 that runs here, the package that it is of, and what an old one gets wrong.

pip does not see the cv2 of a system's package manager, and takes opencv-python-headless for another
library than opencv-python, so cv2 itself is asked, in a child process: a broken one may crash.
"""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.doctor.findings import JOBS, Finding, ok, problem
from export.child import run_module
from persondet.errors import PersondetError

TRIED_SINCE = "4.13"  # as setup.cfg asks
_TOPIC = "OpenCV"
_TIMEOUT_S = 60.0
# All of them write the folder cv2.
_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
# Seen in the wheels 4.6.0.66, 4.10.0.84, 4.11.0.86, 4.12.0.88 and 4.13.0.92, on files made for it.
_WRONG_BEFORE = {
    "4.11": "damaged JPEG files come out partly grey (persondet refuses those that end early)",
    "4.12": "GIF and AVIF files are not read",
    "4.13": "the EXIF orientation of WebP files is ignored, so they and their boxes are not turned",
}


@dataclass(frozen=True)
class RunningCv2:
    """version: what cv2 says. library: its compiled file. package: the distribution that this very
    file is of, or None."""

    version: str
    library: Path
    package: str | None


def opencv_findings() -> list[Finding]:
    """Import cv2 in a child process and judge it."""
    installed = {dist.metadata["Name"]: dist.version for dist in _distributions()}
    try:
        answer = run_module(
            "benchmarks.doctor.opencv", [], what="importing cv2", timeout_s=_TIMEOUT_S
        )
    except PersondetError as error:
        answer = {"problem": str(error)}
    if "problem" in answer:
        return [broken_finding(answer["problem"], installed)]
    library = Path(answer["library"])
    running = RunningCv2(answer["version"], library, _package_of(library))
    return judged(running, installed)


def judged(running: RunningCv2, installed: Mapping[str, str]) -> list[Finding]:
    """installed: version of each installed package of OpenCV by name."""
    whose = running.package or "no package that pip knows"
    findings = [ok(_TOPIC, f"cv2 {running.version} of {whose}: {running.library.parent}")]
    if len(installed) > 1:
        names = " and ".join(f"{name} {version}" for name, version in installed.items())
        text = f"{names} lie over each other; cv2 {running.version} of {whose} runs"
        findings.append(problem(_TOPIC, text, _keep_one(installed)))
    wrong = [words for before, words in _WRONG_BEFORE.items() if _older(running.version, before)]
    if wrong:
        text = f"OpenCV {running.version} is older than {TRIED_SINCE}: {'; '.join(wrong)}"
        remedy = f"pip install '{running.package or _PACKAGES[0]}>={TRIED_SINCE}'"
        findings.append(problem(_TOPIC, text, remedy))
    return findings


def broken_finding(said: str, installed: Mapping[str, str]) -> Finding:
    """said: why cv2 cannot be imported."""
    if not installed and "No module named 'cv2'" in said:
        remedy = f"pip install 'opencv-python>={TRIED_SINCE}', or opencv-python-headless without "
        return problem(_TOPIC, "cv2 is not installed", f"{remedy}a display", JOBS)
    if len(installed) > 1:
        remedy = _keep_one(installed)
    elif "libGL" in said or "libgthread" in said:
        remedy = "apt install libgl1 libglib2.0-0; or, without a display, "
        remedy += "pip uninstall opencv-python && pip install opencv-python-headless"
    elif "numpy" in said:
        remedy = f"pip install 'opencv-python-headless>={TRIED_SINCE}': it was built for another "
        remedy += "numpy"
    else:
        name = next(iter(installed), "opencv-python")
        remedy = f"pip install --force-reinstall --no-deps '{name}>={TRIED_SINCE}'"
    return problem(_TOPIC, f"cv2 cannot be imported: {said}", remedy, JOBS)


def _keep_one(installed: Mapping[str, str]) -> str:
    """Return the remedy. Removing one of them removes the files of the others, so all go."""
    return f"pip uninstall {' '.join(installed)}, then install the one that you want"


def _older(version: str, than: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", text)[:2]]

    return numbers(version) < numbers(than)


def _distributions() -> list[metadata.Distribution]:
    """Each package of OpenCV once, the one that Python finds first."""
    found: dict[str, metadata.Distribution] = {}
    for dist in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", dist.metadata["Name"] or "").lower()
        if name in _PACKAGES:
            found.setdefault(name, dist)
    return list(found.values())


def _package_of(library: Path) -> str | None:
    """The distribution whose record has this file with this content: of two that lie over each
    other, the one that was installed last."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(library.read_bytes()).digest())
    recorded = digest.decode().rstrip("=")
    for dist in _distributions():
        for file in dist.files or ():
            if file.name == library.name and file.hash and file.hash.value == recorded:
                return dist.metadata["Name"]
    return None


def probe() -> dict[str, Any]:
    """What importing cv2 gives, as JSON-ready values: version and library, or the problem."""
    try:
        import cv2
    except Exception as error:  # two releases that lie over each other fail in many ways
        return {"problem": str(error)}
    if not hasattr(cv2, "__version__"):
        return {"problem": f"only rests of it are in {', '.join(map(str, cv2.__path__))}"}
    file = Path(cv2.__file__)
    libraries = [file] if file.suffix != ".py" else sorted(file.parent.rglob("cv2*.so"))
    return {"version": cv2.__version__, "library": str((libraries or [file])[0])}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(probe()), encoding="utf-8")
