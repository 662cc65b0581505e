"""One model on one device, in every setting that was asked for."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.device_latency import SettingLatency, summarise
from benchmarks.device_measure import (
    LAYER_RUNS,
    SDK_FRAMES,
    SDK_RUNS,
    SDK_WARMUP,
    Measured,
    SdkAmounts,
    measure_by_net_run,
    measure_by_python,
    measure_by_throughput,
)
from benchmarks.device_report import DeviceBenchmark
from benchmarks.device_runs import Setting
from benchmarks.devices.python_board import open_python_board
from benchmarks.devices.shell_line import DeviceLostError
from benchmarks.devices.snpe_board import SnpeBoard, aip_problem, open_snpe_board, required_sdk
from benchmarks.devices.snpe_commands import RunSettings, check_settings
from benchmarks.devices.soc_report import ask_soc
from benchmarks.devices.transport import Transport
from export.sdk.sdk import Sdk
from persondet.errors import InputError, PersondetError
from persondet.sidecar import sha256_of
from persondet.spec import DetectorSpec
from persondet.wording import counted
from runtime.backend import model_kind

DEFAULT_PROFILE = "balanced"  # what snpe-net-run takes when it is told nothing
TOOLS = ("net-run", "throughput")


@dataclass(frozen=True)
class Request:
    """What to measure.

    tensor: the model's input. runtimes, perf_profiles: empty for our own runtime under the device's
    Python; by the SDK, every runtime is measured with every profile. tool: of TOOLS. runs, warmup:
    None for the defaults of benchmarks.device_measure. threads: of our own runtime.
    """

    model: Path
    spec: DetectorSpec
    tensor: np.ndarray
    runtimes: tuple[str, ...] = ()
    perf_profiles: tuple[str, ...] = ()
    tool: str = TOOLS[0]
    runs: int | None = None
    warmup: int | None = None
    frames: int = SDK_FRAMES
    threads: int | None = None
    cpu_fallback: bool = False

    def is_by_sdk(self, device: str) -> bool:
        """Android has no Python; elsewhere asking for a setting of the SDK asks for the SDK."""
        return bool(self.runtimes or self.perf_profiles) or device.startswith("adb")

    def settings(self, device: str) -> tuple[Setting, ...]:
        """What will be measured there."""
        if not self.is_by_sdk(device):
            return (Setting(model_kind(self.model)),)
        profiles = self.perf_profiles or (DEFAULT_PROFILE,)
        return tuple(
            Setting(runtime, profile)
            for runtime in self.runtimes or ("dsp",)
            for profile in profiles
        )


def benchmark_device(
    transport: Transport, request: Request, on_run: Callable[[], object] = lambda: None
) -> DeviceBenchmark:
    """Measure; on_run is called after each start of a tool.

    A setting that the device does not manage is one of the result's failures, as long as another
    succeeds; what ends all after one has succeeded, Ctrl-C too, is the result's `stopped`. Raises
    InputError for what cannot be asked for, DeviceLostError, PersondetError.
    """
    if not request.is_by_sdk(transport.name):
        if request.threads is not None and model_kind(request.model) == "dlc":
            raise InputError(f"{request.model}: --threads is of onnxruntime; a DLC has none")
        return _by_python(transport, request, on_run)
    if request.threads is not None:
        raise InputError("--threads is of our own runtime; the SDK's tools have no such option")
    sdk = required_sdk(os.environ, transport.name)
    for setting in request.settings(transport.name):  # all, before minutes go into the first
        check_settings(_run_settings(setting, request), sdk.version)
    return _by_sdk(transport, sdk, request, on_run)


def _by_python(
    transport: Transport, request: Request, on_run: Callable[[], object]
) -> DeviceBenchmark:
    options = {} if request.threads is None else {"threads": request.threads}
    (setting,) = request.settings(transport.name)
    device = _device_words(transport)
    stopped = None
    found = None
    try:
        with open_python_board(transport, request.model, request.spec, **options) as board:
            found = measure_by_python(board, request.tensor, request.runs, request.warmup, on_run)
            if found[0].stopped is not None:
                raise found[0].stopped
    except (PersondetError, KeyboardInterrupt) as error:
        if found is None:
            raise
        stopped = error
    assert found is not None
    measured, first, warmup = found
    return DeviceBenchmark(
        str(request.model),
        sha256_of(request.model),
        f"{device}: {first.device}",
        first.emulated,
        f"our runtime, Python {first.machine.get('python', '')}: times of inference alone",
        warmup,
        (summarise(setting, measured.runs),),
        tuple(_stopped_notes(setting, measured)),
        stopped=stopped,
    )


@dataclass
class _Found:
    """What was measured until now."""

    latencies: list[SettingLatency] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[tuple[Setting, str]] = field(default_factory=list)
    stopped: PersondetError | KeyboardInterrupt | None = None

    def lacks(self, settings: Sequence[Setting]) -> list[Setting]:
        tried = [latency.setting for latency in self.latencies]
        tried += [setting for setting, _ in self.failures]
        return [setting for setting in settings if setting not in tried]


def _by_sdk(
    transport: Transport, sdk: Sdk, request: Request, on_run: Callable[[], object]
) -> DeviceBenchmark:
    found, settings = _Found(), request.settings(transport.name)
    device = _device_words(transport)
    try:
        for runtime in dict.fromkeys(setting.runtime for setting in settings):
            own = [setting for setting in settings if setting.runtime == runtime]
            if runtime == "aip" and own != list(settings) and (why := aip_problem(request.model)):
                found.failures += [(setting, why) for setting in own]
                continue
            _measure_runtime(found, transport, sdk, request, own, on_run)
    except (PersondetError, KeyboardInterrupt) as error:
        if not found.latencies:
            raise
        found.stopped = error  # what took minutes to measure is not lost by it
        found.failures += [(left, "not measured: stopped before") for left in found.lacks(settings)]
    if not found.latencies:
        raise PersondetError("no setting could be measured:\n" + failure_text(found.failures))
    tool = "snpe-net-run" if request.tool == "net-run" else "snpe-throughput-net-run"
    return DeviceBenchmark(
        str(request.model),
        sha256_of(request.model),
        device,
        False,
        f"{sdk.name}, {tool}: times of the whole call",
        _amounts(request).warmup,
        tuple(found.latencies),
        tuple(found.notes),
        tuple(found.failures),
        found.stopped,
    )


def _measure_runtime(
    found: _Found,
    transport: Transport,
    sdk: Sdk,
    request: Request,
    settings: Sequence[Setting],
    on_run: Callable[[], object],
) -> None:
    """settings: of one runtime, whose files are pushed."""
    first = _run_settings(settings[0], request)
    with open_snpe_board(transport, sdk, request.model, request.spec, first) as board:
        board.load([request.tensor] * request.frames)
        for setting in settings:
            try:
                measured, notes = _measured(board, setting, request, on_run)
                latency = summarise(setting, measured.runs, measured.layer_runs)
            except (InputError, DeviceLostError):
                raise
            except PersondetError as error:
                found.failures.append((setting, str(error)))
                continue
            found.latencies.append(latency)
            found.notes += notes
            if measured.stopped is not None:
                raise measured.stopped


def _measured(
    board: SnpeBoard, setting: Setting, request: Request, on_run: Callable[[], object]
) -> tuple[Measured, list[str]]:
    settings, amounts = _run_settings(setting, request), _amounts(request)
    measure = measure_by_net_run if request.tool == "net-run" else measure_by_throughput
    measured: Measured = measure(board, settings, amounts, on_run)
    notes = _stopped_notes(setting, measured)
    if measured.without_time:
        runs = counted(measured.without_time, "run")
        notes.append(f"{setting.label}: {runs} of {amounts.runs} left no diagnostic log")
    return measured, notes


def _stopped_notes(setting: Setting, measured: Measured) -> list[str]:
    if measured.stopped is None:
        return []
    runs = counted(len(measured.runs), "run")
    return [f"{setting.label}: stopped in the middle, these are its first {runs}"]


def failure_text(failures: Sequence[tuple[Setting, str]]) -> str:
    return "\n".join(f"  {setting.label}: {text}" for setting, text in failures)


def _amounts(request: Request) -> SdkAmounts:
    runs = SDK_RUNS if request.runs is None else request.runs
    warmup = SDK_WARMUP if request.warmup is None else request.warmup
    return SdkAmounts(runs, warmup, request.frames, min(LAYER_RUNS, runs))


def _run_settings(setting: Setting, request: Request) -> RunSettings:
    return RunSettings(setting.runtime, setting.perf_profile, cpu_fallback=request.cpu_fallback)


def _device_words(transport: Transport) -> str:
    try:
        text = ask_soc(transport).text
    except DeviceLostError:
        raise
    except PersondetError:  # its name will do
        text = ""
    return f"{transport.name} ({text})" if text else transport.name
