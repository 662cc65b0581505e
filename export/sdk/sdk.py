"""Finding an SNPE or QAIRT SDK: its folder, version, tools and interpreter."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from export.process import run_process
from export.sdk.versions import Family, SdkVersion, is_version, parse_version
from persondet.errors import InputError, PersondetError

ROOT_VARIABLES = ("QAIRT_SDK_ROOT", "QNN_SDK_ROOT", "SNPE_ROOT")
PYTHON_VARIABLE = "PERSONDET_SDK_PYTHON"
HOST = "x86_64-linux-clang"
_FOLDERS = (f"bin/{HOST}", f"lib/{HOST}", "lib/python")
# What the tools that are Python scripts are documented for, the usual one first.
PYTHONS = {
    Family.SNPE_1_4: ("3.6", "3.5"),
    Family.SNPE_1: ("3.6", "3.5"),
    Family.SNPE_2: ("3.8", "3.6"),
    Family.QAIRT: ("3.10",),
}
_PROBE_TIMEOUT_S = 30.0
_PRINTED_VERSION = re.compile(r"SNPE v(\d+(?:\.\d+)+[\w-]*)", re.ASCII)
_VERSION_IN_NAME = re.compile(r"\d+(?:\.\d+)+[\w-]*", re.ASCII)
_SHEBANG = re.compile(r"#!\s*(?:/usr/bin/env\s+(?:-S\s+)?)?(\S*python[\d.]*)")
_ANY_PYTHON = re.compile(r"#!\s*/usr/bin/env\s+python3?\s*$")
_OTHERWISE = "; without an SDK: --toolchain embedded"


@dataclass(frozen=True)
class Sdk:
    """variables: those of the environment that name its folder; none where an option did.

    python: what runs the tools that are Python scripts; None to leave it to their first line.
    """

    root: Path
    version: SdkVersion
    variables: tuple[str, ...] = ()
    python: Path | None = None

    @property
    def family(self) -> Family:
        return self.version.family

    @property
    def host_bin(self) -> Path:
        return self.root / "bin" / HOST

    @property
    def host_lib(self) -> Path:
        return self.root / "lib" / HOST

    @property
    def host_python_lib(self) -> Path:
        return self.root / "lib" / "python"

    @property
    def name(self) -> str:
        """`SNPE 1.68.0.3932`, `QAIRT 2.26.0.240828`."""
        return self.version.name

    def tool(self, name: str) -> Path:
        """Raises InputError where the SDK lacks the tool."""
        path = self.host_bin / name
        if not path.is_file():
            raise InputError(
                f"the SDK folder {self.root} is incomplete: {self.name} should have "
                f"{path.relative_to(self.root)}; unpack the SDK again, all of it" + _OTHERWISE
            )
        return path

    def argv(self, name: str, path_variable: str) -> tuple[str, ...]:
        """What starts a tool: with its interpreter where that is decided.

        path_variable: PATH, as the tool will see it. Raises InputError for a missing tool, and for
        one whose first line names an interpreter that is not there.
        """
        path = self.tool(name)
        interpreter = script_interpreter(path)
        if interpreter is None:
            return (str(path),)
        if self.python is not None:
            return (str(self.python), str(path))
        if shutil.which(interpreter, path=path_variable) is None:
            raise InputError(
                f"{path} wants the interpreter {interpreter}, which is not here; {self.name} is "
                f"documented for Python {' or '.join(PYTHONS[self.family])}: name that interpreter "
                f"with --sdk-python or the variable {PYTHON_VARIABLE}"
            )
        return (str(path),)


def find_sdk(
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    version: SdkVersion | None = None,
    python: Path | None = None,
) -> Sdk | None:
    """The SDK that folder, or else the environment, names; None where neither does.

    version: instead of asking its snpe-net-run. python: instead of the environment's
    PERSONDET_SDK_PYTHON, or else of the one that the version is documented for.
    Raises InputError for variables that disagree, an incomplete folder, a version that cannot be
    found out, an interpreter that does not exist.
    """
    variables = tuple(name for name in ROOT_VARIABLES if environ.get(name)) if not folder else ()
    root = folder or _named_root(environ, variables)
    if root is None:
        return None
    root = root.absolute()
    named = f" (from {variables[0]})" if variables else ""
    if not root.is_dir():
        raise InputError(f"there is no SDK folder {root}{named}; correct it{_OTHERWISE}")
    if missing := [part for part in _FOLDERS if not (root / part).is_dir()]:
        raise InputError(
            f"the SDK folder {root}{named} is incomplete: it has no {', '.join(missing)}; name the "
            f"folder that holds bin and lib, or unpack the SDK again, all of it{_OTHERWISE}"
        )
    found = Sdk(root, version or _version_of(root, environ), variables)
    return Sdk(root, found.version, variables, _python_of(found, environ, python))


def sdk_environment(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for an SDK's tools: what its bin/envsetup.sh would set."""
    sets = {
        "PATH": root / "bin" / HOST,
        "LD_LIBRARY_PATH": root / "lib" / HOST,
        "PYTHONPATH": root / "lib" / "python",
    }
    joined = {
        name: f"{first}:{environ[name]}" if environ.get(name) else str(first)
        for name, first in sets.items()
    }
    return {**environ, **joined, **{name: str(root) for name in ROOT_VARIABLES}}


def script_interpreter(tool: Path) -> str | None:
    """What a Python script's first line names, `python3` or a path; None for any other file."""
    found = _SHEBANG.match(_first_line(tool))
    return found[1] if found else None


def _first_line(tool: Path) -> str:
    with tool.open("rb") as file:
        return file.readline(300).decode("utf-8", "replace").rstrip("\n")


def _named_root(environ: Mapping[str, str], variables: tuple[str, ...]) -> Path | None:
    roots = {Path(environ[name]).resolve() for name in variables}
    if len(roots) > 1:
        named = ", ".join(f"{name}={environ[name]}" for name in variables)
        raise InputError(f"the environment names several SDKs: {named}; choose one with --sdk DIR")
    return Path(environ[variables[0]]) if variables else None


def _version_of(root: Path, environ: Mapping[str, str]) -> SdkVersion:
    """What its snpe-net-run prints, or else what its folder is called."""
    program = root / "bin" / HOST / "snpe-net-run"
    try:
        finished = run_process(
            [program, "--version"],
            what="asking the SDK for its version",
            timeout_s=_PROBE_TIMEOUT_S,
            env=sdk_environment(root, environ),
        )
        text = finished.stdout + finished.stderr
        said = " ".join(text.split())[-200:] or f"nothing, and ended with exit code {finished.code}"
    except PersondetError as error:  # missing, of another machine, or hanging: the name may say it
        text, said = "", str(error)
    printed, in_name = _PRINTED_VERSION.search(text), _VERSION_IN_NAME.search(root.name)
    for found in (printed and printed[1], in_name and in_name[0]):
        if found and is_version(found):
            return parse_version(found)
    raise InputError(
        f"the version of the SDK in {root} is unknown: its folder's name does not say it, nor does "
        f"`snpe-net-run --version`, which said: {said}; unpack the SDK again, all of it, or give "
        "the version with --sdk-version"
    )


def _python_of(sdk: Sdk, environ: Mapping[str, str], given: Path | None) -> Path | None:
    named = str(given) if given else environ.get(PYTHON_VARIABLE)
    if named:
        found = shutil.which(named, path=environ.get("PATH"))
        if found is None:
            raise InputError(
                f"the SDK's interpreter {named} cannot be run; correct --sdk-python or "
                f"{PYTHON_VARIABLE}"
            )
        return Path(found).absolute()
    scripts = [path for path in sorted(sdk.host_bin.glob("*-converter")) if path.is_file()]
    scripts += [path for path in sorted(sdk.host_bin.glob("*-to-dlc")) if path.is_file()]
    if not any(_ANY_PYTHON.match(_first_line(path)) for path in scripts):
        return None  # its scripts say themselves which
    for version in PYTHONS[sdk.family]:
        found = shutil.which(f"python{version}", path=environ.get("PATH"))
        if found and python_version(Path(found)):
            return Path(found)
    return None


def python_version(program: Path) -> str | None:
    """`3.8`; None where it does not run, as the stand-ins of version managers do not, or is no
    Python."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        probe = run_process([program, "-c", code], what="asking", timeout_s=_PROBE_TIMEOUT_S)
    except PersondetError:
        return None
    found = re.fullmatch(r"\d+\.\d+", probe.stdout.strip(), re.ASCII)
    return found[0] if found and probe.code == 0 else None
