"""The Python that runs this, and its packages against what setup.cfg asks for."""

import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from benchmarks.doctor.findings import JOBS, Finding, note, ok, problem

OLDEST_PYTHON = (3, 11)
_TOPIC = "packages"
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:(?P<sign>==|>=)\s*(?P<version>[\w.+!]+))?\s*"
    r"(?:;\s*extra\s*==\s*[\"'](?P<extra>[\w-]+)[\"'])?"
)
# Jobs that cannot run when a package is missing or of another version. The others are of single
# commands, which say it themselves.
_NEEDED_BY = {
    "numpy": tuple(JOBS),
    "torch": ("export", "run:pth"),
    "onnx": ("export", "convert", "quantize"),
    "onnxsim": ("export",),
    "onnxruntime": ("export", "convert", "quantize", "run:onnx"),
}
# What a package is for that not everybody needs: without it, that is all that is missing.
_SERVES = {
    "torch": "checkpoints (.pth), export and train",
    "onnx": "export, convert, quantize, and info on ONNX models",
    "onnxsim": "export",
    "onnxruntime": "ONNX models, export, convert and quantize",
    "matplotlib": "the plots of evaluate, anchors and train",
    "pycocotools": "evaluate",
    "tensorboard": "the scalars of train",
    "click": "the commands",
    "rich": "the commands",
}
# Releases of one library under several names: they write the same files over one another.
_SAME_FILES = (("onnxruntime", "onnxruntime-gpu"),)
_STANDS_FOR = {"onnxruntime": "onnxruntime-gpu"}
EMBEDDED = "onnxruntime-qnn"
_SAID_ELSEWHERE = ("opencv-python",)  # benchmarks/doctor/opencv.py


@dataclass(frozen=True)
class Requirement:
    """sign: `==`, `>=`, or empty for any version. extra: empty where it is always needed."""

    name: str
    sign: str
    version: str
    extra: str

    @property
    def text(self) -> str:
        return f"{self.name}{self.sign}{self.version}"

    def allows(self, version: str) -> bool:
        """Compares the leading numbers: of releases, all that setup.cfg asks for."""
        found, wanted = _numbers(version), _numbers(self.version)
        return not self.sign or (found == wanted if self.sign == "==" else found >= wanted)


def python_findings(version: tuple[int, ...], system: str, machine: str) -> list[Finding]:
    """version: of Python; system, machine: as module platform names them."""
    text = f"Python {'.'.join(map(str, version[:3]))}, {system} {machine}"
    if version[:2] < OLDEST_PYTHON:
        return [problem("Python", text, "install Python 3.11 or newer", tuple(JOBS))]
    if system != "Linux" or machine not in ("x86_64", "aarch64"):
        remedy = "Qualcomm's libraries are for Linux on x86-64 and aarch64: use such a machine, "
        remedy += "or a container of one"
        return [problem("Python", text, remedy, ("convert", "quantize"))]
    return [ok("Python", text)]


def package_findings(toolchain: str) -> list[Finding]:
    """toolchain: `embedded` or `snpe`: with the SDK, Qualcomm's wheel stops nothing."""
    python = python_findings(sys.version_info[:3], platform.system(), platform.machine())
    installed = _installed()
    try:
        wanted = requirements(metadata.requires("persondet") or [])
    except metadata.PackageNotFoundError:
        remedy = "pip install -e . in the project's folder"
        return [*python, note(_TOPIC, "persondet is not installed as a package", remedy)]
    return [
        *python,
        *requirement_findings(wanted, installed, toolchain),
        *clash_findings(installed),
    ]


def requirements(lines: list[str]) -> list[Requirement]:
    """Of the lines that a distribution's metadata gives; those of extras that name extras, and of
    development, are left out."""
    found = []
    for line in lines:
        match = _REQUIREMENT.fullmatch(line.strip())
        if match and match["extra"] not in ("dev", "demo") and match["name"] not in _SAID_ELSEWHERE:
            parts = (match["name"], match["sign"], match["version"], match["extra"])
            found.append(Requirement(*(part or "" for part in parts)))
    return found


def requirement_findings(
    wanted: list[Requirement], installed: Mapping[str, str], toolchain: str
) -> list[Finding]:
    """installed: version by normalised name of a distribution."""
    needed_by = {**_NEEDED_BY, EMBEDDED: ("convert", "quantize") if toolchain == "embedded" else ()}
    problems, fitting = [], []
    for requirement in wanted:
        names = (requirement.name, _STANDS_FOR.get(requirement.name, requirement.name))
        name = next((name for name in names if name in installed), None)
        stops = needed_by.get(requirement.name, ())
        install = f"pip install '{requirement.text}'"
        if name is None:
            if requirement.name != EMBEDDED:  # benchmarks/doctor/embedded.py says it
                problems.append(_missing(requirement, install, stops))
        elif not requirement.allows(installed[name]):
            text = f"{name} {installed[name]} is installed, expected {requirement.text}"
            problems.append(problem(_TOPIC, text, install, stops))
        else:
            fitting.append(f"{name} {installed[name]}")
    return [*([ok(_TOPIC, ", ".join(fitting))] if fitting else []), *problems]


def _missing(requirement: Requirement, install: str, stops: tuple[str, ...]) -> Finding:
    """A problem only when persondet itself needs it: an extra is left out by choice."""
    text = f"{requirement.name} is not installed"
    if not requirement.extra:
        return problem(_TOPIC, text, install, stops)
    serves = _SERVES.get(requirement.name)
    return note(_TOPIC, text, f"for {serves}: {install}" if serves else install, stops)


def clash_findings(installed: Mapping[str, str]) -> Iterator[Finding]:
    for names in _SAME_FILES:
        present = [name for name in names if name in installed]
        if len(present) > 1:
            yield problem(
                _TOPIC,
                f"{' and '.join(present)} are both installed and overwrite each other's files",
                f"pip uninstall {' '.join(present)}, then install the one that you want",
            )


def _installed() -> dict[str, str]:
    found = {}
    for distribution in metadata.distributions():
        if name := distribution.metadata["Name"]:
            found[re.sub(r"[-_.]+", "-", name).lower()] = distribution.version
    return found


def _numbers(version: str) -> tuple[int, ...]:
    """(2, 6, 0) of `2.6.0+cpu`; zeros at the end do not count."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(number) for number in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
