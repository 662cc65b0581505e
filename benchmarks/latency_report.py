"""What `persondet benchmark` shows: a table and JSON."""

import dataclasses
from typing import TYPE_CHECKING, Any

from benchmarks.latency import NOISY_VARIATION, Latency

if TYPE_CHECKING:
    from rich.table import Table

EMULATED_WARNING = (
    "The chip is emulated on this CPU: these times are not the chip's, and say nothing about how "
    "fast the model is on a board. The outputs are the chip's; `persondet compare` looks at those."
)


def latency_json(latency: Latency, model: str, image: str) -> dict[str, Any]:
    """JSON-ready; times in milliseconds."""
    return {
        "model": model,
        "image": image,
        "device": latency.device,
        "emulated": latency.emulated,
        "machine": dataclasses.asdict(latency.machine),
        "runs": latency.runs,
        "warmup": latency.warmup,
        "init_ms": latency.init_ms,
        "stages": {name: dataclasses.asdict(times) for name, times in latency.stages.items()},
        "frames_per_second": latency.frames_per_second,
        "detections": latency.detections,
        "variation": latency.stages["total"].variation,
        "warnings": warnings(latency),
    }


def warnings(latency: Latency) -> list[str]:
    """What a reader of the numbers must know."""
    found = [EMULATED_WARNING] if latency.emulated else []
    if latency.is_noisy:
        found.append(
            f"The runs vary by {latency.stages['total'].variation:.0%} (standard deviation / mean, "
            f"more than {NOISY_VARIATION:.0%}): something else used the machine, or there are too "
            "few runs. Trust the median and the minimum, or measure again."
        )
    return found


def title_text(latency: Latency, model: str) -> str:
    machine = latency.machine
    return (
        f"{model} on {latency.device}\n"
        f"{machine.cpu}, {machine.cores} cores, {machine.system}\n"
        f"{latency.runs} runs after {latency.warmup} to warm up, {latency.detections} detections"
    )


def stages_table(latency: Latency) -> "Table":
    from benchmarks.tables import new_table

    columns = ("mean", "p50", "p90", "p95", "p99", "min", "max", "std")
    table = new_table("ms", numbers=columns)
    for name, times in latency.stages.items():
        table.add_row(name, *(f"{value:.3f}" for value in dataclasses.astuple(times)))
    return table


def summary_text(latency: Latency) -> str:
    """Cold start and throughput, of the whole chain, in a line."""
    return f"init {latency.init_ms:.0f} ms; {latency.frames_per_second:.3g} frames per second"
