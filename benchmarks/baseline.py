"""This benchmark against an earlier one: slower by more than is allowed, and than noise?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.device_latency import SettingLatency
from benchmarks.device_runs import Setting, by_start
from benchmarks.median_ratio import MedianRatio, median_ratio
from persondet.errors import InputError
from persondet.files import FormatError, read_json

FORMAT = "persondet-device-benchmark-1"


@dataclass(frozen=True)
class EarlierSetting:
    """starts_us: of all its runs, by the start of the runtime that they were of; each is the
    average of frames_a_run frames."""

    starts_us: tuple[tuple[float, ...], ...]
    frames_a_run: int


@dataclass(frozen=True)
class Baseline:
    """An earlier benchmark, read back from its JSON. model: the file's name at that time."""

    model: str
    model_sha256: str
    device: str
    toolchain: str
    settings: dict[Setting, EarlierSetting]


@dataclass(frozen=True)
class Verdict:
    """One setting against the baseline. ratio: None where the baseline lacks the setting."""

    setting: Setting
    ratio: MedianRatio | None
    failed: bool
    text: str


def read_baseline(path: Path) -> Baseline:
    """Read what `persondet benchmark --device ... --json` wrote.

    Raises InputError where the file is something else.
    """
    try:
        record = read_json(path, "the baseline")
    except FormatError:
        record = None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputError(
            f"{path} is no baseline: expected what `persondet benchmark MODEL --device ... --json` "
            "wrote; save that into a file and name it here"
        )
    try:
        settings = dict(_setting_from(entry) for entry in record["settings"])
        return Baseline(
            str(record["model"]),
            str(record["model_sha256"]),
            str(record["device"]),
            str(record["toolchain"]),
            settings,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is a damaged baseline ({error!r}); measure it again") from None


def _setting_from(entry: dict) -> tuple[Setting, EarlierSetting]:
    totals_us = tuple(float(value) for value in entry["totals_us"])
    if not totals_us or not all(0 < value < float("inf") for value in totals_us):
        raise ValueError("totals_us must be positive numbers")
    starts = by_start(totals_us, [int(start) for start in entry["starts"]])
    setting = Setting(str(entry["runtime"]), entry["perf_profile"])
    return setting, EarlierSetting(tuple(map(tuple, starts)), int(entry["frames_a_run"]))


def check_settings_in(baseline: Baseline, settings: Sequence[Setting]) -> None:
    """Before long work: raises InputError where the baseline has none of the settings."""
    if not any(setting in baseline.settings for setting in settings):
        there = ", ".join(setting.label for setting in baseline.settings) or "nothing"
        here = ", ".join(setting.label for setting in settings)
        raise InputError(f"the baseline has none of {here}, but {there}; measure one of these")


def compare_with_baseline(
    baseline: Baseline, latencies: Sequence[SettingLatency], max_regression: float
) -> tuple[Verdict, ...]:
    """A verdict a setting. max_regression: the growth of the median that is allowed, 0.1 = 10 %.

    A setting fails where its median grew by more and the growth is no noise.
    """
    return tuple(
        _verdict(latency, baseline.settings.get(latency.setting), max_regression)
        for latency in latencies
    )


def _verdict(
    latency: SettingLatency, earlier: EarlierSetting | None, max_regression: float
) -> Verdict:
    label = latency.setting.label
    if earlier is None:
        return Verdict(latency.setting, None, False, f"{label}: not in the baseline")
    ratio = median_ratio(earlier.starts_us, latency.starts_us)
    beyond = ratio.change > max_regression
    if not beyond:
        outcome = f"within the {max_regression:.0%} allowed"
    elif ratio.is_noise:
        outcome = "more than allowed, but it may be noise: not failed; measure with more --runs"
    else:
        outcome = f"a regression: more than the {max_regression:.0%} allowed"
    if earlier.frames_a_run != latency.frames_a_run:
        outcome += (
            f"; its values are averages of {latency.frames_a_run} frames, the baseline's of "
            f"{earlier.frames_a_run}"
        )
    failed = beyond and not ratio.is_noise
    return Verdict(latency.setting, ratio, failed, f"{label}: median {ratio.text}, {outcome}")


def baseline_notes(
    baseline: Baseline,
    model_sha256: str,
    device: str,
    toolchain: str,
    settings: Sequence[Setting],
) -> list[str]:
    """What makes the two hard to compare; another model may well be what is to be compared."""
    notes = []
    if baseline.model_sha256 != model_sha256:
        notes.append(f"the baseline is of another model file, {baseline.model} at that time")
    if baseline.device != device:
        notes.append(f"the baseline is of another device: {baseline.device!r}, here {device!r}")
    if baseline.toolchain != toolchain:
        notes.append(
            f"the baseline was measured with {baseline.toolchain!r}, this with {toolchain!r}"
        )
    if left := [s.label for s in baseline.settings if s not in settings]:
        notes.append(f"only in the baseline, and not compared: {', '.join(left)}")
    return notes
