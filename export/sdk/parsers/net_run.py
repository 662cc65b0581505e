"""What snpe-net-run prints, and the error lines of the SNPE runtime in any text."""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"SNPE v(\d[\w.-]*)")
_ERROR = re.compile(
    r"error_code=(-?\d{1,9});\s*error_message=(.*?)(?=;\s*error_\w+=|\s+error_code=|$)"
)
_REST = tuple(
    re.compile(rf"{name}=([^;\n]*)") for name in ("error_component", "line_no", "thread_id")
)
_LONGEST_LINE = 4000
_SUCCESS = "Successfully executed!"


@dataclass(frozen=True)
class RuntimeErrorLine:
    """code: SNPE's own number. component, line_no, thread_id: empty where the line has none."""

    code: int
    message: str
    component: str = ""
    line_no: str = ""
    thread_id: str = ""


@dataclass(frozen=True)
class NetRun:
    """says_success: whether the closing line of newer builds is there; older ones print none.

    processed: how many inferences were begun, by the list of their inputs.
    """

    version: str | None
    processed: int
    says_success: bool
    errors: tuple[RuntimeErrorLine, ...]


def parse_net_run(text: str) -> NetRun:
    """The text of both streams. An absent success line proves nothing: see the exit code and the
    outputs as well."""
    version = _VERSION.search(text)
    _, found, after = text.partition("Processing DNN input(s):")
    lines = [line for line in after.splitlines() if line.strip()] if found else []
    inputs = [line for line in lines if not line.startswith(_SUCCESS) and "error_code=" not in line]
    return NetRun(
        version[1] if version else None,
        len([line for line in inputs if "Processing DNN input(s):" not in line]),
        _SUCCESS in text,
        runtime_errors(text),
    )


def runtime_errors(text: str) -> tuple[RuntimeErrorLine, ...]:
    """Every `error_code=..; error_message=..; ...` line of a text, each once."""
    errors = []
    for line in text.splitlines():
        line = line[:_LONGEST_LINE]
        for found in _ERROR.finditer(line):
            rest = [pattern.search(line, found.end()) for pattern in _REST]
            texts = (value[1].strip() if value else "" for value in rest)
            errors.append(RuntimeErrorLine(int(found[1]), found[2].strip(), *texts))
    return tuple(dict.fromkeys(errors))
