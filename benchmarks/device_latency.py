"""Latency on a device from many short runs: spread, drift, layers, and the rest of the total."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.device_runs import (
    CYCLES,
    MICROSECONDS,
    PARTS,
    DeviceRun,
    LayerTime,
    Setting,
    by_start,
)
from benchmarks.latency import NOISY_VARIATION, StageTimes, stage_times
from benchmarks.median_ratio import ENOUGH_RUNS, MedianRatio, median_ratio
from persondet.errors import PersondetError

DRIFT_WARNING = 0.05  # change of a median, in the course of the runs, that is worth a warning

# Layer runtimes that a log may name for what was asked for; another one is a fallback. What a log
# says for gpu_fp16 and aip is inferred from the names of the runtimes.
_OWN_RUNTIMES = {
    "cpu": {"CPU"},
    "gpu": {"GPU"},
    "gpu_fp16": {"GPU", "GPU_FP16", "GPU_FLOAT16"},
    "dsp": {"DSP", "HTP"},
    "aip": {"AIP", "HTA", "DSP"},
}


@dataclass(frozen=True)
class LayerStatistics:
    """A layer over all runs, in its own unit. share: of the sum of p50 of layers in that unit."""

    index: int
    name: str
    runtime: str
    unit: str
    p50: float
    min: float
    max: float
    share: float
    is_fallback: bool


@dataclass(frozen=True)
class Gap:
    """A part of the total, in microseconds, that no layer accounts for, and where it goes."""

    us: float
    where: str


@dataclass(frozen=True)
class Unaccounted:
    """us: total less what the layers account for; None where that cannot be told. why: in words.

    gaps: the pieces that the log lets tell apart, outermost first; they need not add up to us.
    """

    us: float | None
    share: float | None
    why: str
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class SettingLatency:
    """What the runs of one setting say; `runs` as they came, after those that warmed up.

    total, init: over the runs; init is None where none was measured. parts_p50_us, layers and
    unaccounted are of the runs that timed layers, which may be others and slower.
    layer_timing: how much slower; None where the runs themselves timed layers.
    drift, start_difference: see the functions; None with too few runs.
    unaccounted: None where the device gave no layers.
    """

    setting: Setting
    runs: tuple[DeviceRun, ...]
    total: StageTimes
    init: StageTimes | None
    parts_p50_us: dict[str, float]
    layers: tuple[LayerStatistics, ...]
    drift: MedianRatio | None
    start_difference: MedianRatio | None
    unaccounted: Unaccounted | None
    layer_timing: MedianRatio | None = None

    @property
    def frames_per_second(self) -> float:
        """One frame after the other."""
        return 1000.0 / self.total.mean_ms if self.total.mean_ms else 0.0

    @property
    def frames_a_run(self) -> int:
        return max(run.frames for run in self.runs)

    @property
    def starts_us(self) -> list[list[float]]:
        """Total of each run, those of each start of the runtime by themselves."""
        return _starts_us(self.runs)

    @property
    def fallback_layers(self) -> tuple[LayerStatistics, ...]:
        return tuple(layer for layer in self.layers if layer.is_fallback)


def summarise(
    setting: Setting, runs: Sequence[DeviceRun], layer_runs: Sequence[DeviceRun] = ()
) -> SettingLatency:
    """Statistics of one setting's runs.

    layer_runs: where timing layers slows a run down, others that did that; their totals count for
    what no layer accounts for, and for nothing else. Raises PersondetError for no run, or a total
    that is not a positive number.
    """
    totals_us, starts_us = _totals_us(setting, runs), _starts_us(runs)
    inits_us = [run.init_us for run in runs if run.init_us is not None]
    detailed = layer_runs or runs
    detailed_us = _totals_us(setting, detailed)
    layers = _layer_statistics(setting.runtime, detailed)
    parts = _parts_p50_us(detailed)
    return SettingLatency(
        setting,
        tuple(runs),
        _times(totals_us),
        _times(inits_us) if inits_us else None,
        parts,
        layers,
        drift(starts_us),
        start_difference(starts_us),
        unaccounted(float(np.median(detailed_us)), parts, layers) if layers else None,
        median_ratio(starts_us, _starts_us(detailed)) if layer_runs else None,
    )


def _totals_us(setting: Setting, runs: Sequence[DeviceRun]) -> list[float]:
    totals_us = [run.total_us for run in runs]
    if not totals_us or not all(0 < total < float("inf") for total in totals_us):
        raise PersondetError(
            f"{setting.label}: expected runs with a positive time each, got {totals_us}; the "
            "device's log holds no usable time"
        )
    return totals_us


def _times(durations_us: Sequence[float]) -> StageTimes:
    return stage_times(np.asarray(durations_us, np.float64) * 1e3)


def _starts_us(runs: Sequence[DeviceRun]) -> list[list[float]]:
    return by_start([run.total_us for run in runs], [run.start for run in runs])


def drift(starts_us: Sequence[Sequence[float]]) -> MedianRatio | None:
    """The last third against the first; None with fewer than ENOUGH_RUNS in a third.

    starts_us: in the order of the runs. Where starts have several runs, it is the thirds of each
    start, which are divided by its median before: what differs from start to start is no drift.
    """
    if max(map(len, starts_us)) == 1:
        third = len(starts_us) // 3
        first, last = starts_us[:third], starts_us[len(starts_us) - third :]
    else:
        levelled = [np.asarray(start) / np.median(start) for start in starts_us if len(start) >= 3]
        first = [start[: len(start) // 3].tolist() for start in levelled]
        last = [start[-(len(start) // 3) :].tolist() for start in levelled]
    return median_ratio(first, last) if sum(map(len, first)) >= ENOUGH_RUNS else None


def start_difference(starts_us: Sequence[Sequence[float]]) -> MedianRatio | None:
    """The slowest start against the fastest; None with fewer than two of ENOUGH_RUNS."""
    starts = [start for start in starts_us if len(start) >= ENOUGH_RUNS]
    if len(starts) < 2:
        return None
    by_median = sorted(starts, key=np.median)
    return median_ratio(by_median[:1], by_median[-1:])


def _parts_p50_us(runs: Sequence[DeviceRun]) -> dict[str, float]:
    found = {}
    for part in PARTS:
        if values := [run.parts_us[part] for run in runs if part in run.parts_us]:
            found[part] = float(np.median(values))
    return found


def _layer_statistics(runtime: str, runs: Sequence[DeviceRun]) -> tuple[LayerStatistics, ...]:
    """One entry a (layer, unit, runtime): a layer that changed its unit or its place between runs
    stands there twice rather than mixed."""
    values: dict[tuple[int, str, str, str], list[float]] = {}
    for run in runs:
        for layer in run.layers:
            _check_unit(layer)
            key = (layer.index, layer.name, layer.runtime, layer.unit)
            values.setdefault(key, []).append(layer.value)
    medians = {key: float(np.median(found)) for key, found in values.items()}
    sums = {
        unit: sum(value for key, value in medians.items() if key[3] == unit)
        for unit in (MICROSECONDS, CYCLES)
    }
    return tuple(
        LayerStatistics(
            *key,
            medians[key],
            min(found),
            max(found),
            medians[key] / sums[key[3]] if sums[key[3]] else 0.0,
            is_fallback(runtime, key[2]),
        )
        for key, found in sorted(values.items())
    )


def _check_unit(layer: LayerTime) -> None:
    if layer.unit not in (MICROSECONDS, CYCLES):
        raise PersondetError(
            f"layer {layer.index} {layer.name} is timed in {layer.unit!r}, expected us or cycles"
        )


def is_fallback(asked: str, layer_runtime: str) -> bool:
    """Whether a layer ran elsewhere than asked; never where the log or the table does not say."""
    own = _OWN_RUNTIMES.get(asked)
    return bool(own and layer_runtime) and layer_runtime.upper() not in (own or ())


def unaccounted(
    total_us: float, parts_us: dict[str, float], layers: Sequence[LayerStatistics]
) -> Unaccounted:
    """What of the total no layer accounts for.

    Layers in microseconds count as they are. Cycles cannot be subtracted from microseconds: layers
    in cycles count as the time on the accelerator, where the log gives that.
    """
    in_us = sum(layer.p50 for layer in layers if layer.unit == MICROSECONDS)
    counted_us = in_us
    why = "copies and conversions of inputs and outputs, changes of runtime, the call itself"
    if any(layer.unit == CYCLES for layer in layers):
        accelerator_us = parts_us.get("accelerator_us", parts_us.get("snpe_accelerator_us"))
        if accelerator_us is None:
            why = (
                "the layers are in cycles of a clock that the log does not name, and it gives no "
                "time on the accelerator: nothing can be subtracted"
            )
            return Unaccounted(None, None, why, _gaps(total_us, parts_us))
        counted_us += accelerator_us
        why += "; layers in cycles count as the time on the accelerator"
    rest_us = total_us - counted_us
    if rest_us < 0:
        why = "the layers take longer than the total: they overlap, or timing them slows them down"
    return Unaccounted(rest_us, rest_us / total_us, why, _gaps(total_us, parts_us))


def _gaps(total_us: float, parts_us: dict[str, float]) -> tuple[Gap, ...]:
    outer_us, outer_words, gaps = total_us, "the whole call", []
    for part, words in PARTS.items():
        if part not in parts_us:
            continue
        gaps.append(Gap(outer_us - parts_us[part], f"{outer_words} less {words}"))
        outer_us, outer_words = parts_us[part], words
    return tuple(gaps)


def warnings(latency: SettingLatency) -> list[str]:
    """What a reader of the numbers must know, each with what to do."""
    return [
        *_spread_warnings(latency),
        *_drift_warnings(latency),
        *_start_warnings(latency),
        *_layer_warnings(latency),
    ]


def _spread_warnings(latency: SettingLatency) -> list[str]:
    found = []
    if latency.total.variation > NOISY_VARIATION:
        found.append(
            f"the runs vary by {latency.total.variation:.0%} (standard deviation / mean, more than "
            f"{NOISY_VARIATION:.0%}): something else uses the device, or its clock changes; trust "
            "the median and the minimum, or measure again"
        )
    return found


def _drift_warnings(latency: SettingLatency) -> list[str]:
    found = latency.drift
    if not _is_worth_a_word(found):
        return []
    assert found is not None
    if found.change > 0:
        advice = "the device gets slower as it gets warmer: let it cool, or measure for longer and "
        advice += "take the last runs for steady use"
    else:
        advice = "the first runs were slower: give more --warmup"
    where = "the runs" if len(latency.starts_us) in (1, len(latency.runs)) else "each start's runs"
    return [f"drift {found.text} from the first to the last third of {where}: {advice}"]


def _start_warnings(latency: SettingLatency) -> list[str]:
    if not _is_worth_a_word(latency.start_difference):
        return []
    medians = ", ".join(f"{np.median(start) / 1e3:.3f}" for start in latency.starts_us)
    return [
        f"the starts of the runtime differ: medians of {medians} ms, in this order: where they "
        "grow, the device gets warmer: let it cool; else something else uses it: measure again"
    ]


def _is_worth_a_word(found: MedianRatio | None) -> bool:
    return found is not None and abs(found.change) > DRIFT_WARNING and not found.is_noise


def _layer_warnings(latency: SettingLatency) -> list[str]:
    found = []
    if fallen := latency.fallback_layers:
        names = ", ".join(layer.name or f"layer {layer.index}" for layer in fallen[:5])
        more = f" and {len(fallen) - 5} more" if len(fallen) > 5 else ""
        places = ", ".join(sorted({layer.runtime for layer in fallen}))
        found.append(
            f"{len(fallen)} of {len(latency.layers)} layers ran on {places} instead of "
            f"{latency.setting.runtime}: {names}{more}"
        )
    slower = latency.layer_timing
    if slower is not None and slower.change > NOISY_VARIATION:
        found.append(
            f"timing the layers makes a frame slower by {slower.change:.0%}: their times are of "
            "such frames, the latency is of frames without"
        )
    if len({layer.unit for layer in latency.layers}) > 1:
        found.append(
            "some layers are in microseconds, some in cycles: shares are within one unit, and the "
            "two must not be added"
        )
    return found
