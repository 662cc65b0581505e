"""What snpe-net-run prints, and the error lines of the SNPE runtime in any text."""

import re
from dataclasses import dataclass

# Up to 2.2x the path follows on a line of its own; 2.46 has it on the same line. From 2.22 on
# `Processing graph : G` comes before, and `Successfully executed graph G` after.
_PROCESSING = re.compile(r"Processing DNN input\(s\):(.*)")
_NO_PATH = re.compile(r"Processing graph|Successfully executed|\[|.*error_code=")
_ERROR = re.compile(
    r"error_code=(-?\d{1,9});\s*error_message=(.*?)(?=;\s*error_\w+=|\s+error_code=|$)"
)
_REST = tuple(
    re.compile(rf"{name}=([^;\n]*)") for name in ("error_component", "line_no", "thread_id")
)
_LONGEST_LINE = 4000


@dataclass(frozen=True)
class RuntimeErrorLine:
    """code: SNPE's own number. component, line_no, thread_id: empty where the line has none."""

    code: int
    message: str
    component: str = ""
    line_no: str = ""
    thread_id: str = ""


def processed_inputs(text: str) -> int:
    """Return how many inferences were begun, by the list of their inputs (one each)."""
    count, listing = 0, False
    for line in map(str.strip, text.splitlines()):
        if found := _PROCESSING.match(line):
            listing = not found[1].strip()
            count += not listing
        elif listing and line:
            listing = not _NO_PATH.match(line)
            count += listing
    return count


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
