"""A tool's command line, read as strictly as its flags are declared."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from imitation_sdk.flags import PYTHON_TOOLS, Flag, flags_of

Options = dict[str, list[list[str]]]  # key: the words of each time it was given


class ToolError(Exception):
    """What the tool prints on standard error before it ends with `code`."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def parse(tool: str, version: str, words: list[str]) -> Options:
    """The options given. Raises ToolError for what this version of the tool does not take."""
    flags = flags_of(tool, version)
    by_name = {name: flag for flag in flags for name in flag.names}
    options: Options = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in by_name:
            _refuse(tool, f"unrecognized arguments: {name}", f"unrecognised option '{name}'")
        flag = by_name[name]
        given = [value] if equals else _take(flag, rest, by_name)
        _check(tool, flag, given)
        if flag.warning:
            print(f"[WARNING] {flag.warning}", file=sys.stderr)
        options.setdefault(flag.key, []).append(given)
    if not {"help", "version"} & options.keys():
        missing = [flag for flag in flags if flag.required and flag.key not in options]
        if missing:
            names = ", ".join("/".join(flag.names) for flag in missing)
            text = f"the option '--{missing[0].key}' is required but missing"
            _refuse(tool, f"the following arguments are required: {names}", text)
    return options


def _take(flag: Flag, rest: list[str], by_name: Mapping[str, Flag]) -> list[str]:
    """The words that belong to the flag; what looks like another flag never does."""
    most = {"?": 1, "+": 99, "*": 99}.get(str(flag.words), flag.words)
    given: list[str] = []
    while rest and len(given) < int(most) and rest[0].partition("=")[0] not in by_name:
        given.append(rest.pop(0))
    return given


def _check(tool: str, flag: Flag, given: list[str]) -> None:
    name = "/".join(flag.names)
    expected = flag.words if isinstance(flag.words, int) else None
    too_few = flag.words == "+" and not given
    if too_few or (expected is not None and len(given) != expected):
        plural = "" if expected == 1 else "s"
        _refuse(
            tool,
            f"argument {name}: expected {expected or 'at least one'} argument{plural}",
            f"the required argument for option '{flag.names[-1]}' is missing",
        )
    for word in given if flag.choices else ():
        if word not in flag.choices:
            choices = ", ".join(map(repr, flag.choices))
            _refuse(
                tool,
                f"argument {name}: invalid choice: {word!r} (choose from {choices})",
                f"the argument ('{word}') for option '{flag.names[-1]}' is invalid",
            )


def _refuse(tool: str, python_text: str, native_text: str) -> NoReturn:
    if tool in PYTHON_TOOLS:
        raise ToolError(f"usage: {tool} [-h] ...\n{tool}: error: {python_text}", 2)
    raise ToolError(f"[ERROR] {native_text}", 1)


def help_text(tool: str, version: str) -> str:
    lines = [f"usage: {tool} [options]", ""]
    lines += [f"  {', '.join(flag.names)}" for flag in flags_of(tool, version)]
    return "\n".join(lines)


def word(options: Options, key: str, default: str = "") -> str:
    """The last word given to a flag that takes one."""
    return options[key][-1][0] if key in options else default


def path(options: Options, key: str) -> Path | None:
    return Path(word(options, key)) if key in options else None


def python_command(tool: str, version: str, options: Options) -> str:
    """How the metadata of a DLC records a converter's command: every option, resolved."""
    words = []
    for flag in sorted(flags_of(tool, version), key=lambda flag: flag.key):
        if flag.key in ("help", "version"):
            continue
        given = options.get(flag.key)
        value: object = None
        if flag.words == 0:
            value = given is not None
        elif given:
            value = given[-1][0] if flag.words == 1 else given
        words.append(f"{flag.key}={value}".replace(" ", ""))
    return " ".join([tool, *words])


def native_command(tool: str, version: str, options: Options) -> str:
    """The same of a native tool: `bitwidth=[] axis_quant=false input_dlc=[/a.dlc]`."""
    words = []
    for flag in flags_of(tool, version):
        given = options.get(flag.key)
        if flag.words == 0:
            words.append(f"{flag.key}={'true' if given else 'false'}")
        else:
            words.append(f"{flag.key}=[{','.join(','.join(each) for each in given or [])}]")
    return " ".join([tool, *words])
