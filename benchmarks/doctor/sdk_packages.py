"""The SDK's interpreter and the packages in it, against what each family is documented for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.doctor.findings import Finding, note, ok, problem
from export.process import run_process
from export.sdk.sdk import PYTHON_VARIABLE, PYTHONS, Sdk
from export.sdk.versions import Family
from persondet.errors import PersondetError
from persondet.files import parse_json

_TOPIC = "SDK's Python"
_JOBS = ("convert", "quantize")
_TIMEOUT_S = 60.0
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")


@dataclass(frozen=True)
class Need:
    """oldest, newest: documented numbers, both included, as far as they go: (1, 8) holds 1.8.1.

    fails: what goes wrong outside of them; empty where that is only not what is documented.
    required: whether the converter cannot start without it.
    """

    package: str
    oldest: tuple[int, ...]
    newest: tuple[int, ...]
    required: bool = False
    fails: str = ""

    def allows(self, version: str) -> bool:
        match = _NUMBERS.match(version)
        numbers = tuple(map(int, match[0].split("."))) if match else ()
        return self.oldest <= numbers and numbers[: len(self.newest)] <= self.newest

    @property
    def wanted(self) -> str:
        low, high = (".".join(map(str, numbers)) for numbers in (self.oldest, self.newest))
        return low if low == high else f"{low} to {high}"

    @property
    def install(self) -> str:
        rest = "" if len(self.newest) > 2 else ".*"
        return f"'{self.package}=={'.'.join(map(str, self.newest))}{rest}'"


# No packages are documented for 2.0-2.10. protobuf is a package of onnx's.
_OLD_ONNX = Need(
    "onnx", (1, 6), (1, 8), required=True, fails="conversion ends with `No schema registered for`"
)
NEEDS: Mapping[Family, tuple[Need, ...]] = {
    Family.SNPE_1_4: (_OLD_ONNX,),
    Family.SNPE_1: (_OLD_ONNX,),
    Family.SNPE_2: (Need("onnx", (), (99,), required=True),),
    Family.QAIRT: (
        Need("onnx", (1, 16, 1), (1, 16, 1), required=True),
        Need("onnxruntime", (1, 18), (1, 18)),
        Need("numpy", (1, 26, 4), (1, 26, 4), required=True),
        Need("protobuf", (3, 19, 6), (3, 19, 6)),
    ),
}
# Runs in Python 3.5 as well, which has no importlib.metadata.
_PROBE = """
import json, sys
modules = {"onnx": "onnx", "onnxruntime": "onnxruntime", "numpy": "numpy"}
modules["protobuf"] = "google.protobuf"
found = {}
for package, module in modules.items():
    try:
        __import__(module)
        found[package] = sys.modules[module].__version__
    except Exception as error:
        found[package] = None
print("\\n" + json.dumps({"python": "%d.%d" % sys.version_info[:2], "packages": found}))
"""


def sdk_python_findings(sdk: Sdk, program: Path, env: Mapping[str, str]) -> list[Finding]:
    """program: the interpreter that runs the SDK's scripts; env: the one that it will have."""
    try:
        finished = run_process(
            [program, "-c", _PROBE], what="asking the SDK's Python", timeout_s=_TIMEOUT_S, env=env
        )
        said = parse_json((finished.stdout.strip().splitlines() or [""])[-1])
        python, packages = str(said["python"]), dict(said["packages"])
    except (PersondetError, ValueError, KeyError, TypeError):
        text = f"{program} does not run as a Python"
        return [problem(_TOPIC, text, f"name another by {PYTHON_VARIABLE}", _JOBS)]
    return [version_finding(sdk, program, python), *need_findings(sdk, packages)]


def version_finding(sdk: Sdk, program: Path, python: str) -> Finding:
    """A note where it differs: whether the tools start in it is tried."""
    documented = PYTHONS[sdk.family]
    text = f"Python {python} ({program})"
    if python in documented:
        return ok(_TOPIC, text)
    return note(
        _TOPIC,
        f"{text}; {sdk.name} is documented for {' or '.join(documented)}",
        f"should its tools fail, name a Python {documented[0]} by {PYTHON_VARIABLE}",
    )


def need_findings(sdk: Sdk, packages: Mapping[str, str | None]) -> list[Finding]:
    """packages: versions in the SDK's Python; None for those that are not importable there."""
    found = []
    for need in NEEDS[sdk.family]:
        version, advice = packages.get(need.package), _advice(need)
        if version is None:
            text = f"{need.package} is not in the SDK's Python"
            found.append(
                problem(_TOPIC, text, advice, _JOBS)
                if need.required
                else note(_TOPIC, text, advice)
            )
        elif not need.allows(version):
            text = f"{need.package} {version}; {sdk.name} is documented for {need.wanted}"
            found.append(
                problem(_TOPIC, f"{text}: {need.fails}", advice, _JOBS)
                if need.fails
                else note(_TOPIC, text, f"should its tools fail: {advice}")
            )
        else:
            found.append(ok(_TOPIC, f"{need.package} {version}"))
    return found


def _advice(need: Need) -> str:
    package = need.package if not need.oldest else need.install
    return f"in the SDK's own Python environment, pip install {package}"
