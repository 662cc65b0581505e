"""What `persondet benchmark --device` shows: tables, JSON and CSV."""

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.baseline import FORMAT, Verdict
from benchmarks.device_latency import (
    LayerStatistics,
    SettingLatency,
    Unaccounted,
    warnings,
)
from benchmarks.device_runs import CYCLES, MICROSECONDS, PARTS, Setting
from benchmarks.latency import StageTimes
from benchmarks.latency_report import EMULATED_WARNING
from benchmarks.median_ratio import MedianRatio
from persondet.errors import PersondetError
from persondet.wording import counted

if TYPE_CHECKING:
    from rich.table import Table

_AVERAGES_WARNING = (
    "The SDK's tools give one average a run, its first frame included: p50 to p99, min, max and "
    "std are of these averages, and a single slow frame does not show in them."
)
_STATISTICS = ("mean", "p50", "p90", "p95", "p99", "min", "max", "std")
_CSV_COLUMNS = (
    *("model", "device", "runtime", "perf_profile", "kind", "index", "name", "ran_on", "unit"),
    *_STATISTICS,
)


@dataclass(frozen=True)
class DeviceBenchmark:
    """All settings of one model on one device.

    device: in words, the chip among them. emulated: whether that chip is imitated in software.
    toolchain: what ran the model there, with its version. notes: what more there is to know.
    failures: settings that could not be measured, and why. stopped: what ended the benchmark before
    all were tried.
    """

    model: str
    model_sha256: str
    device: str
    emulated: bool
    toolchain: str
    warmup: int
    latencies: tuple[SettingLatency, ...]
    notes: tuple[str, ...] = ()
    failures: tuple[tuple[Setting, str], ...] = ()
    stopped: PersondetError | KeyboardInterrupt | None = None

    @property
    def stopped_text(self) -> str | None:
        if isinstance(self.stopped, KeyboardInterrupt):
            return "interrupted"
        return None if self.stopped is None else str(self.stopped)

    @property
    def warnings(self) -> list[str]:
        found = [EMULATED_WARNING] if self.emulated else []
        if any(latency.frames_a_run > 1 for latency in self.latencies):
            found.append(_AVERAGES_WARNING)
        found += _percentile_warnings(self.latencies)
        found += self.notes
        for latency in self.latencies:
            found += [f"{latency.setting.label}: {text}" for text in warnings(latency)]
        return found


def _percentile_warnings(latencies: Sequence[SettingLatency]) -> list[str]:
    """Which percentiles lie above all but the slowest run, interpolated as they are."""
    fewest = min(len(latency.runs) for latency in latencies)
    names = [f"p{percent}" for percent in (90, 95, 99) if fewest * (100 - percent) < 100]
    if not names:
        return []
    return [
        f"{counted(fewest, 'run')} a setting: there {', '.join(names)} say little more than max. "
        "p90 takes 10 runs, p95 20 and p99 100: give --runs."
    ]


def benchmark_json(
    benchmark: DeviceBenchmark, verdicts: Sequence[Verdict] = (), notes: Sequence[str] = ()
) -> dict[str, Any]:
    """JSON-ready, and a baseline for later. Keys end in their unit, or have it beside them.

    notes: what makes the verdicts' baseline hard to compare; they stand among the warnings.
    """
    record: dict[str, Any] = {
        "format": FORMAT,
        "model": benchmark.model,
        "model_sha256": benchmark.model_sha256,
        "device": benchmark.device,
        "emulated": benchmark.emulated,
        "toolchain": benchmark.toolchain,
        "warmup": benchmark.warmup,
        "settings": [_setting_json(latency) for latency in benchmark.latencies],
        "failures": [
            {"runtime": setting.runtime, "perf_profile": setting.perf_profile, "text": text}
            for setting, text in benchmark.failures
        ],
        "stopped": benchmark.stopped_text,
        "warnings": [*benchmark.warnings, *notes],
    }
    if verdicts:
        record["baseline"] = [_verdict_json(verdict) for verdict in verdicts]
    return record


def _setting_json(latency: SettingLatency) -> dict[str, Any]:
    return {
        "runtime": latency.setting.runtime,
        "perf_profile": latency.setting.perf_profile,
        "runs": len(latency.runs),
        "frames_a_run": latency.frames_a_run,
        "total": dataclasses.asdict(latency.total),
        "init": None if latency.init is None else dataclasses.asdict(latency.init),
        "frames_per_second": latency.frames_per_second,
        "variation": latency.total.variation,
        "drift": _ratio_json(latency.drift),
        "start_difference": _ratio_json(latency.start_difference),
        "totals_us": [run.total_us for run in latency.runs],
        "starts": [run.start for run in latency.runs],
        "parts_p50_us": latency.parts_p50_us,
        "layer_timing": _ratio_json(latency.layer_timing),
        "layers": [dataclasses.asdict(layer) for layer in latency.layers],
        "fallback_layers": [layer.index for layer in latency.fallback_layers],
        "unaccounted": None
        if latency.unaccounted is None
        else dataclasses.asdict(latency.unaccounted),
    }


def _ratio_json(ratio: MedianRatio | None) -> dict[str, Any] | None:
    return None if ratio is None else dataclasses.asdict(ratio)


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "runtime": verdict.setting.runtime,
        "perf_profile": verdict.setting.perf_profile,
        "failed": verdict.failed,
        "ratio": _ratio_json(verdict.ratio),
        "text": verdict.text,
    }


def benchmark_csv(benchmark: DeviceBenchmark) -> str:
    """One row a measured thing, its unit in a column: total and init in ms, parts in us, layers in
    us or cycles. What was not measured is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for latency in benchmark.latencies:
        common = {
            "model": benchmark.model,
            "device": benchmark.device,
            "runtime": latency.setting.runtime,
            "perf_profile": latency.setting.perf_profile or "",
        }
        for row in _csv_rows(latency):
            writer.writerow({**common, **row})
    return text.getvalue()


def _csv_rows(latency: SettingLatency) -> Iterator[dict[str, Any]]:
    yield {"kind": "total", "unit": "ms", **_named(latency.total)}
    if latency.init is not None:
        yield {"kind": "init", "unit": "ms", **_named(latency.init)}
    for part, value in latency.parts_p50_us.items():
        yield {"kind": "part", "name": PARTS[part], "unit": MICROSECONDS, "p50": value}
    for layer in latency.layers:
        yield {
            "kind": "layer",
            "index": layer.index,
            "name": layer.name,
            "ran_on": layer.runtime,
            "unit": layer.unit,
            "p50": layer.p50,
            "min": layer.min,
            "max": layer.max,
        }


def _named(times: StageTimes) -> dict[str, float]:
    return dict(zip(_STATISTICS, dataclasses.astuple(times), strict=True))


def title_text(benchmark: DeviceBenchmark) -> str:
    return f"{benchmark.model} on {benchmark.device}\n{benchmark.toolchain}"


def settings_table(benchmark: DeviceBenchmark) -> "Table":
    from benchmarks.tables import new_table

    table = new_table("ms", numbers=(*_STATISTICS, "frames/s", "init", "runs"))
    for latency in benchmark.latencies:
        init = "-" if latency.init is None else f"{latency.init.p50_ms:.0f}"
        frames = f" x {latency.frames_a_run}" if latency.frames_a_run > 1 else ""
        table.add_row(
            latency.setting.label,
            *(f"{value:.3f}" for value in dataclasses.astuple(latency.total)),
            f"{latency.frames_per_second:.1f}",
            init,
            f"{len(latency.runs)}{frames}",
        )
    return table


def layers_table(latency: SettingLatency, unit: str, slowest: int) -> "Table | None":
    """The slowest layers in one unit, slowest first; None where no layer has that unit."""
    from benchmarks.tables import new_table

    layers = [layer for layer in latency.layers if layer.unit == unit]
    if not layers:
        return None
    table = new_table(
        f"{latency.setting.label}: {min(slowest, len(layers))} slowest of {len(layers)} layers",
        "ran on",
        numbers=(f"p50 {unit}", f"min {unit}", f"max {unit}", "share"),
    )
    for layer in sorted(layers, key=lambda layer: -layer.p50)[:slowest]:
        table.add_row(*_layer_cells(layer))
    return table


def _layer_cells(layer: LayerStatistics) -> tuple[str, ...]:
    ran_on = f"{layer.runtime} (fallback)" if layer.is_fallback else layer.runtime
    values = (f"{value:.0f}" for value in (layer.p50, layer.min, layer.max))
    return (f"{layer.index} {layer.name}".strip(), ran_on, *values, f"{layer.share:.1%}")


def layer_tables(latency: SettingLatency, slowest: int) -> "list[Table]":
    tables = (layers_table(latency, unit, slowest) for unit in (MICROSECONDS, CYCLES))
    return [table for table in tables if table is not None]


def unaccounted_lines(label: str, found: Unaccounted) -> list[str]:
    """How much of the total no layer accounts for, and where it goes."""
    if found.us is None or found.share is None:
        head = f"{label}: the part outside the layers is not known: {found.why}"
    else:
        head = f"{label}: {found.us:.0f} us ({found.share:.0%}) outside the layers: {found.why}"
    gaps = (gap for gap in found.gaps if round(gap.us))
    return [head, *(f"  {gap.us:.0f} us: {gap.where}" for gap in gaps)]
