"""What one run on a device told: the input of benchmarks.device_latency, whoever measured it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CYCLES = "cycles"
MICROSECONDS = "us"

# Durations of one call, each inside the one before it (the first is the whole call). The words are
# for reports; the keys are those of DeviceRun.parts_us.
PARTS = {
    "forward_us": "the runtime",
    "rpc_us": "the remote call",
    "snpe_accelerator_us": "SNPE on the accelerator",
    "accelerator_us": "the accelerator",
}


@dataclass(frozen=True)
class LayerTime:
    """unit: MICROSECONDS or CYCLES: an accelerator counts cycles of a clock that it does not name.

    name: empty where the log gives none. runtime: in the log's words, such as CPU or DSP.
    """

    index: int
    name: str
    value: float
    unit: str
    runtime: str


@dataclass(frozen=True)
class DeviceRun:
    """One measured value of a setting.

    total_us: of one frame; the average where frames, the number measured together, is above 1.
    start: which start of the runtime it is of, counted from 0.
    init_us: from the file to a model ready to run; None where this run measured none.
    parts_us: by the keys of PARTS; without what the log lacks or gives as 0.
    """

    total_us: float
    frames: int = 1
    init_us: float | None = None
    parts_us: Mapping[str, float] = field(default_factory=dict)
    layers: tuple[LayerTime, ...] = ()
    start: int = 0


def by_start(values: Sequence[float], starts: Sequence[int]) -> list[list[float]]:
    """Values of runs, those of each start by themselves, in the order that they came in."""
    found: dict[int, list[float]] = {}
    for value, start in zip(values, starts, strict=True):
        found.setdefault(start, []).append(value)
    return list(found.values())


@dataclass(frozen=True)
class Setting:
    """One column of a benchmark: where the graph is asked to run, and how fast the chip may clock.

    runtime: cpu, gpu, gpu_fp16, dsp or aip with the SDK's tools; onnx or dlc by our own runtime.
    perf_profile: None where none was chosen.
    """

    runtime: str
    perf_profile: str | None = None

    @property
    def label(self) -> str:
        return self.runtime if self.perf_profile is None else f"{self.runtime} {self.perf_profile}"
