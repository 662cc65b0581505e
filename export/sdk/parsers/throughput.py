"""What snpe-throughput-net-run prints: one line a thread, and their total."""

import re
from dataclasses import dataclass

from export.sdk.parsers.net_run import RuntimeErrorLine, runtime_errors
from persondet.errors import PersondetError

_NUMBER = r"\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?"
_THREAD = re.compile(
    rf"\[(?:Thread|Instance) (\d{{1,9}}) - (\w+)\]\s+({_NUMBER}) infs/sec(.*)", re.ASCII
)
_TOTAL = re.compile(rf"Total throughput:\s*({_NUMBER})\s*infs/sec", re.ASCII)
_PART = re.compile(r" - ([A-Z][A-Za-z ]*?)\s*:\s*(\d{1,18})( microseconds)?(?= - |\s*$)", re.ASCII)


@dataclass(frozen=True)
class ThreadResult:
    """runtime: as the SDK calls it, `dsp_fixed8_tf`. Times are None where the line has none."""

    index: int
    runtime: str
    per_second: float
    images: int | None = None
    build_us: int | None = None
    elapsed_us: int | None = None
    real_us: int | None = None
    teardown_us: int | None = None
    batch: int | None = None


@dataclass(frozen=True)
class Throughput:
    """total_per_second: inferences a second of all threads together."""

    threads: tuple[ThreadResult, ...]
    total_per_second: float
    errors: tuple[RuntimeErrorLine, ...] = ()


def parse_throughput(text: str) -> Throughput:
    """The tool's standard output, with either prefix, `Thread` or `Instance`.

    Without the line of the total, as in a text that was cut, the total is the threads' sum. Raises
    PersondetError where there is no result line at all.
    """
    threads = tuple(_thread(found) for found in map(_THREAD.search, text.splitlines()) if found)
    total = _TOTAL.search(text)
    if not threads and not total:
        start = " ".join(text.split())[:60]
        raise PersondetError(
            "snpe-throughput-net-run printed no result: expected a line such as `[Thread 0 - "
            f"cpu_float32] 43.6 infs/sec ...`, got {start!r}"
        )
    measured = float(total[1]) if total else sum(thread.per_second for thread in threads)
    return Throughput(threads, measured, runtime_errors(text))


def _thread(found: re.Match[str]) -> ThreadResult:
    parts = {name: int(value) for name, value, _ in _PART.findall(found[4])}
    return ThreadResult(
        int(found[1]),
        found[2],
        float(found[3]),
        parts.get("Number of images processed"),
        parts.get("Build time"),
        parts.get("Elapsed time"),
        parts.get("Real time"),
        parts.get("Teardown time"),
        parts.get("Batch"),
    )
