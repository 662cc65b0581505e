"""How long a detector takes, stage by stage."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from persondet.errors import InputError
from runtime.detector import Detector

STAGES = ("preprocess", "infer", "decode", "nms", "total")
NOISY_VARIATION = 0.10  # standard deviation / mean above which a mean should not be trusted


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds a frame. Percentiles: numpy's linear interpolation between the two nearest
    runs. std: of the runs themselves (divided by their number)."""

    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    min_ms: float
    max_ms: float
    std_ms: float

    @property
    def variation(self) -> float:
        """Coefficient of variation: std / mean."""
        return self.std_ms / self.mean_ms if self.mean_ms else 0.0


@dataclass(frozen=True)
class Machine:
    """cores: those that this process may use."""

    cpu: str
    cores: int
    system: str


@dataclass(frozen=True)
class Latency:
    """init_ms: from the file to a model ready to run, its libraries already loaded.

    device: what the model ran on, in the backend's words; emulated: whether that is a chip imitated
    in software. detections: in the picture that was measured on.
    """

    init_ms: float
    runs: int
    warmup: int
    stages: dict[str, StageTimes]
    device: str
    emulated: bool
    machine: Machine
    detections: int

    @property
    def frames_per_second(self) -> float:
        return 1000.0 / self.stages["total"].mean_ms

    @property
    def is_noisy(self) -> bool:
        return self.stages["total"].variation > NOISY_VARIATION


def measure(
    open_detector: Callable[[], Detector],
    image_rgb: np.ndarray,
    runs: int,
    warmup: int,
    on_run: Callable[[], object] = lambda: None,
) -> Latency:
    """Open the detector, then run it warmup + runs times on one picture in memory.

    on_run: called after each run, outside of what is measured. The detector's backend is closed
    again. Raises InputError for runs below 1 or warmup below 0.
    """
    if runs < 1 or warmup < 0:
        raise InputError(f"expected at least 1 run and 0 warm-up runs, got {runs} and {warmup}")
    start = perf_counter_ns()
    detector = open_detector()
    init_ns = perf_counter_ns() - start
    try:
        durations_ns = np.empty((runs, len(STAGES)), np.int64)
        for index in range(-warmup, runs):
            marks, detections = _run(detector, image_rgb)
            if index >= 0:
                durations_ns[index] = (*np.diff(marks), marks[-1] - marks[0])
            on_run()
        return Latency(
            init_ns / 1e6,
            runs,
            warmup,
            {
                stage: stage_times(column)
                for stage, column in zip(STAGES, durations_ns.T, strict=True)
            },
            detector.backend.device,
            getattr(detector.backend, "emulated", False),
            this_machine(),
            detections,
        )
    finally:
        detector.backend.close()


def _run(detector: Detector, image_rgb: np.ndarray) -> tuple[tuple[int, ...], int]:
    """Nanosecond marks before, between and after the stages; and the number of detections."""
    mark0 = perf_counter_ns()
    tensor = detector.preprocess(image_rgb)
    mark1 = perf_counter_ns()
    outputs = detector.infer(tensor)
    mark2 = perf_counter_ns()
    candidates = detector.decode(outputs)
    mark3 = perf_counter_ns()
    detections = detector.nms(candidates, image_rgb.shape[:2])
    mark4 = perf_counter_ns()
    return (mark0, mark1, mark2, mark3, mark4), len(detections)


def stage_times(durations_ns: np.ndarray) -> StageTimes:
    """(runs,) durations in nanoseconds, at least one, to their statistics."""
    milliseconds = np.asarray(durations_ns, np.float64) / 1e6
    p50, p90, p95, p99 = np.percentile(milliseconds, (50, 90, 95, 99), method="linear").tolist()
    return StageTimes(
        mean_ms=float(milliseconds.mean()),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        min_ms=float(milliseconds.min()),
        max_ms=float(milliseconds.max()),
        std_ms=float(milliseconds.std()),
    )


def this_machine() -> Machine:
    return Machine(_cpu_name(), _usable_cores(), f"{platform.system()} {platform.machine()}")


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    """From /proc on a PC, from the device tree on a board, else what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Hardware") and value.strip():
                return value.strip()
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")
    except (OSError, UnicodeDecodeError):
        return platform.processor() or platform.machine() or "unknown"
