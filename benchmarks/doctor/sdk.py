"""The SDK: whether its tools are there and start."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.doctor.findings import Finding, note, ok, problem
from benchmarks.doctor.sdk_packages import sdk_python_findings
from benchmarks.doctor.shared_libraries import missing_libraries, remedy_for
from export.process import run_process
from export.sdk import messages
from export.sdk.command_lines import toolset_of
from export.sdk.sdk import ROOT_VARIABLES, Sdk, find_sdk, script_interpreter, sdk_environment
from export.sdk.versions import SdkVersion
from persondet.errors import InputError, PersondetError

_TOPIC = "toolchain snpe"
_JOBS = ("convert", "quantize")
_TIMEOUT_S = 60.0


def sdk_findings(
    environ: Mapping[str, str],
    folder: Path | None = None,
    version: SdkVersion | None = None,
    python: Path | None = None,
) -> tuple[list[Finding], Sdk | None]:
    """The SDK in the folder, or else the one that the environment names; none is no problem.

    version, python: as for `find_sdk`.
    """
    try:
        sdk = find_sdk(environ, folder=folder, version=version, python=python)
    except InputError as error:
        what, _, remedy = str(error).partition("; ")
        return [problem(_TOPIC, what, remedy or "correct the variable", _JOBS)], None
    if sdk is None:
        remedy = (
            f"not needed; to use one, set {' or '.join(reversed(ROOT_VARIABLES))} to its folder"
        )
        return [note(_TOPIC, "no SNPE or QAIRT SDK is named by the environment", remedy)], None
    found = [ok(_TOPIC, f"{sdk.name} ({sdk.family.value}) in {sdk.root}")]
    env = sdk_environment(sdk.root, environ)
    try:
        names = toolset_of(sdk.version)
    except InputError as error:
        return [*found, problem(_TOPIC, str(error), "install a newer SDK", _JOBS)], sdk
    jobs = {names.converter: ("convert", "quantize"), names.quantizer: ("quantize",)}
    if names.prepare:
        jobs[names.prepare] = ()
    found += _library_findings(sdk, jobs, env)
    if program := _interpreter(sdk, names.converter, env):
        found += sdk_python_findings(sdk, program, env)
    for tool, stops in jobs.items():
        found.append(tool_finding(sdk, tool, stops, env))
    return found, sdk


def tool_finding(sdk: Sdk, tool: str, stops: Iterable[str], env: Mapping[str, str]) -> Finding:
    """Whether the tool starts: `-h` imports all that a script needs, and loads a program's
    libraries."""
    try:
        argv = sdk.argv(tool, env["PATH"])
        finished = run_process([*argv, "-h"], what=f"{tool} -h", timeout_s=_TIMEOUT_S, env=env)
    except PersondetError as error:
        what, _, remedy = str(error).partition("; ")
        return _tool_problem(what, remedy or "unpack the SDK again", stops)
    if finished.code == 0:
        return ok(_TOPIC, f"{tool} starts")
    printed = (finished.stderr.strip() or finished.stdout.strip()).splitlines()
    said = printed[-1] if printed else f"exit code {finished.code} and no word"
    explained = messages.explain(finished.stderr + finished.stdout)
    remedy = explained[0].fix if explained else f"run `{' '.join(argv)} -h` to see all it says"
    return _tool_problem(f"{tool} does not start: {said}", remedy, stops)


def _tool_problem(text: str, remedy: str, stops: Iterable[str]) -> Finding:
    return problem(_TOPIC, text, remedy, stops) if stops else note(_TOPIC, text, remedy)


def _library_findings(
    sdk: Sdk, tools: Mapping[str, tuple[str, ...]], env: Mapping[str, str]
) -> list[Finding]:
    """Programs and the libraries that the converter's modules load."""
    programs = [sdk.host_bin / tool for tool in tools if (sdk.host_bin / tool).is_file()]
    programs = [path for path in programs if script_interpreter(path) is None]
    modules = sorted(sdk.host_lib.glob("*.so")) + sorted(sdk.host_python_lib.rglob("libPy*.so"))
    missing = missing_libraries([*programs, *modules], env)
    # its libraries find one another, and Python's own is in the interpreter
    own = {path.name for path in sdk.root.glob("lib/**/*.so*")}
    lacking = [name for name in missing if name not in own]
    if not lacking:
        return []
    text = f"the system lacks {', '.join(lacking)}, which the SDK's programs need"
    return [problem(_TOPIC, text, remedy_for(lacking), _JOBS)]


def _interpreter(sdk: Sdk, tool: str, env: Mapping[str, str]) -> Path | None:
    """What runs the converter; None where it is no script, or its interpreter is not there."""
    path = sdk.host_bin / tool
    named = script_interpreter(path) if path.is_file() else None
    if named is None:
        return None
    if sdk.python is not None:
        return sdk.python
    found = shutil.which(named, path=env.get("PATH", os.defpath))
    return Path(found) if found else None
