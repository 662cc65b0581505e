"""Many short runs of a model on a device, by our own runtime or by the SDK's tools."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from benchmarks.device_runs import CYCLES, MICROSECONDS, DeviceRun, LayerTime
from benchmarks.devices.python_board import BoardRuns
from benchmarks.devices.shell_line import DeviceLostError
from benchmarks.devices.snpe_board import NetRun
from benchmarks.devices.snpe_commands import RunSettings
from export.sdk.parsers.diagview import DiagReport
from export.sdk.parsers.statistics import Amount
from export.sdk.parsers.throughput import Throughput
from persondet.errors import PersondetError

PYTHON_RUNS, PYTHON_WARMUP, PYTHON_STARTS = 100, 10, 5
EMULATED_RUNS, EMULATED_WARMUP = 5, 1  # a frame takes seconds
SDK_RUNS, SDK_WARMUP, SDK_FRAMES = 20, 2, 10
LAYER_RUNS = 5
_THROUGHPUT_S = 2

# snpe-diagview's names of the parts of a call: ours
_PARTS = {
    "forward_propagate": "forward_us",
    "rpc_execute": "rpc_us",
    "snpe_accelerator": "snpe_accelerator_us",
    "accelerator": "accelerator_us",
}


class TimingBoard(Protocol):
    """A benchmarks.devices.python_board.PythonBoard."""

    @property
    def name(self) -> str: ...

    def run(
        self, tensors: Sequence[np.ndarray], *, warmup: int, rounds: int, keep_outputs: bool
    ) -> BoardRuns: ...


class ToolBoard(Protocol):
    """A benchmarks.devices.snpe_board.SnpeBoard with its frames loaded."""

    def net_run(self, settings: RunSettings) -> NetRun: ...

    def throughput(self, settings: RunSettings, duration_s: int) -> Throughput: ...


@dataclass(frozen=True)
class SdkAmounts:
    """How much to measure with the SDK's tools. frames: in each run's list. layer_runs: runs more,
    that time the layers."""

    runs: int = SDK_RUNS
    warmup: int = SDK_WARMUP
    frames: int = SDK_FRAMES
    layer_runs: int = LAYER_RUNS


@dataclass(frozen=True)
class Measured:
    """runs, layer_runs: for benchmarks.device_latency.summarise. without_time: runs whose log the
    tool did not write. stopped: what ended all in the middle, after at least one run."""

    runs: tuple[DeviceRun, ...]
    layer_runs: tuple[DeviceRun, ...] = ()
    without_time: int = 0
    stopped: DeviceLostError | KeyboardInterrupt | None = None


def measure_by_python(
    board: TimingBoard,
    tensor: np.ndarray,
    runs: int | None,
    warmup: int | None,
    on_run: Callable[[], object] = lambda: None,
) -> tuple[Measured, BoardRuns, int]:
    """Each frame's own time, of `infer` alone, in several starts of the runtime.

    runs: in all; warmup: frames of each start before those. None: less where the chip is emulated,
    which one frame before tells. Returns the runs, what the board said first, and warmup.
    """
    first = board.run([tensor], warmup=0, rounds=1, keep_outputs=False)
    if runs is None:
        runs = EMULATED_RUNS if first.emulated else PYTHON_RUNS
    if warmup is None:
        warmup = EMULATED_WARMUP if first.emulated else PYTHON_WARMUP
    starts = 1 if first.emulated else min(PYTHON_STARTS, runs)
    found: list[DeviceRun] = []
    stopped = None
    try:
        for start in range(starts):
            rounds = runs // starts + (start < runs % starts)
            job = board.run([tensor], warmup=warmup, rounds=rounds, keep_outputs=False)
            durations_us = (job.durations_ns.ravel() / 1e3).tolist()
            found.append(DeviceRun(durations_us[0], init_us=job.init_ns / 1e3, start=start))
            found += [DeviceRun(duration, start=start) for duration in durations_us[1:]]
            on_run()
    except (DeviceLostError, KeyboardInterrupt) as error:
        if not found:
            raise
        stopped = error
    return Measured(tuple(found), stopped=stopped), first, warmup


def measure_by_net_run(
    board: ToolBoard,
    settings: RunSettings,
    amounts: SdkAmounts,
    on_run: Callable[[], object] = lambda: None,
) -> Measured:
    """Many starts of snpe-net-run, each of which gives one average.

    Most have the least profiling that gives a total; the last few time the layers too, which slows
    a frame down. Raises PersondetError where no run gave a time, and what the board raises.
    """
    basic = replace(settings, profiling_level="basic")
    detailed = replace(settings, profiling_level="detailed")
    found: list[DeviceRun | None] = []
    layered: list[DeviceRun | None] = []
    stopped = None
    try:
        for index in range(-amounts.warmup, amounts.runs):
            run = _run_of(board.net_run(basic), amounts.frames)
            if index >= 0:
                found.append(run)
            on_run()
        for _ in range(amounts.layer_runs):
            layered.append(_run_of(board.net_run(detailed), amounts.frames))
            on_run()
    except (DeviceLostError, KeyboardInterrupt) as error:
        if not any(found):
            raise
        stopped = error
    runs = _each_its_start(found)
    if not runs:
        raise PersondetError(
            f"none of {amounts.runs} runs of snpe-net-run gave a time: the device writes no "
            "diagnostic log; measure with --tool throughput"
        )
    return Measured(runs, _each_its_start(layered), len(found) - len(runs), stopped)


def measure_by_throughput(
    board: ToolBoard,
    settings: RunSettings,
    amounts: SdkAmounts,
    on_run: Callable[[], object] = lambda: None,
) -> Measured:
    """Many starts of snpe-throughput-net-run of some seconds each: no layers, and no log is needed.

    Raises PersondetError where it ran no frame.
    """
    found: list[DeviceRun | None] = []
    stopped = None
    try:
        for index in range(-amounts.warmup, amounts.runs):
            answer = board.throughput(settings, _THROUGHPUT_S)
            if index >= 0:
                found.append(_run_of_throughput(answer))
            on_run()
    except (DeviceLostError, KeyboardInterrupt) as error:
        if not found:
            raise
        stopped = error
    return Measured(_each_its_start(found), stopped=stopped)


def _each_its_start(runs: Sequence[DeviceRun | None]) -> tuple[DeviceRun, ...]:
    """Those that gave a time."""
    return tuple(replace(run, start=start) for start, run in enumerate(runs) if run is not None)


def run_of_report(report: DiagReport, frames: int) -> DeviceRun:
    """A diagnostic log's averages as one run. Raises PersondetError where it has no total."""
    total_us = report.total_inference_us
    if not total_us:
        detail = f" ({report.notes[-1]})" if report.notes else ""
        raise PersondetError(f"the device's diagnostic log gives no total inference time{detail}")
    parts = {ours: report.execute.get(theirs, Amount()).us for theirs, ours in _PARTS.items()}
    layers = (
        _layer_time(layer.index, layer.name or "", layer.time, layer.runtime or "")
        for layer in report.layers
    )
    return DeviceRun(
        total_us,
        frames,
        report.init_us or None,
        {name: us for name, us in parts.items() if us},
        tuple(layer for layer in layers if layer is not None),
    )


def _run_of(found: NetRun, frames: int) -> DeviceRun | None:
    return None if found.diagnostics is None else run_of_report(found.diagnostics, frames)


def _layer_time(index: int, name: str, time: Amount, runtime: str) -> LayerTime | None:
    """None for an amount of no known unit."""
    if time.cycles is not None:
        return LayerTime(index, name, float(time.cycles), CYCLES, runtime)
    return None if time.us is None else LayerTime(index, name, time.us, MICROSECONDS, runtime)


def _run_of_throughput(answer: Throughput) -> DeviceRun:
    """One thread's rate as the time of a frame."""
    if not answer.total_per_second > 0:
        raise PersondetError(
            "snpe-throughput-net-run ran no frame"
            + "".join(f"; {error.message}" for error in answer.errors)
        )
    thread = answer.threads[0] if answer.threads else None
    images = thread.images if thread and thread.images else 1
    init_us = float(thread.build_us) if thread and thread.build_us else None
    return DeviceRun(1e6 / answer.total_per_second, images, init_us)
