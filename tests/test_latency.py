"""Statistics and bookkeeping of benchmarks.latency; no test looks at how long anything took."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.latency import STAGES, Latency, Machine, measure, stage_times, this_machine
from benchmarks.latency_report import latency_json, warnings
from persondet.errors import InputError, PersondetError


def slow_percentile(values, percent):
    """Linear interpolation at position percent / 100 * (n - 1) of the sorted values."""
    ordered = sorted(values)
    position = percent / 100 * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_statistics_are_the_formulas(durations_ns):
    found = stage_times(np.array(durations_ns))
    ms = [duration / 1e6 for duration in durations_ns]
    mean = math.fsum(ms) / len(ms)
    assert found.mean_ms == pytest.approx(mean)
    assert (found.min_ms, found.max_ms) == (min(ms), max(ms))
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in ms) / len(ms))
    assert found.std_ms == pytest.approx(spread, abs=1e-3)
    for percent in (50, 90, 95, 99):
        expected = slow_percentile(ms, percent)
        assert getattr(found, f"p{percent}_ms") == pytest.approx(expected)


def test_one_run_has_no_spread():
    found = stage_times(np.array([5_000_000]))
    assert (found.mean_ms, found.p50_ms, found.p99_ms, found.std_ms) == (5.0, 5.0, 5.0, 0.0)
    assert found.variation == 0.0


class FakeBackend:
    device = "a device"
    emulated = True
    closed = False

    def close(self):
        self.closed = True


class FakeDetector:
    """Counts the calls of each stage."""

    def __init__(self, fails=False):
        self.backend = FakeBackend()
        self.calls = []
        self.fails = fails

    def _note(self, stage, result):
        self.calls.append(stage)
        return result

    def preprocess(self, image_rgb):
        return self._note("preprocess", image_rgb)

    def infer(self, tensor):
        if self.fails:
            raise PersondetError("the chip is gone")
        return self._note("infer", {})

    def decode(self, outputs):
        return self._note("decode", ())

    def nms(self, candidates, size_hw):
        assert size_hw == (48, 80)
        return self._note("nms", [1, 2, 3])


IMAGE = np.zeros((48, 80, 3), np.uint8)


def test_every_stage_runs_warmup_and_measured_times_and_the_backend_is_closed():
    detector, ticks = FakeDetector(), []
    latency = measure(lambda: detector, IMAGE, 4, 2, lambda: ticks.append(1))
    assert detector.calls == ["preprocess", "infer", "decode", "nms"] * 6
    assert len(ticks) == 6
    assert tuple(latency.stages) == STAGES
    assert (latency.runs, latency.warmup, latency.detections) == (4, 2, 3)
    assert detector.backend.closed
    total = sum(latency.stages[stage].mean_ms for stage in STAGES[:-1])
    assert latency.stages["total"].mean_ms == pytest.approx(total)


def test_the_backend_is_closed_on_failure_too():
    detector = FakeDetector(fails=True)
    with pytest.raises(PersondetError, match="the chip is gone"):
        measure(lambda: detector, IMAGE, 1, 0)
    assert detector.backend.closed


@pytest.mark.parametrize(("runs", "warmup"), [(0, 1), (1, -1)])
def test_impossible_numbers_of_runs(runs, warmup):
    with pytest.raises(InputError, match="at least 1 run"):
        measure(FakeDetector, IMAGE, runs, warmup)


def latency_with(durations_ns, emulated):
    stages = {stage: stage_times(np.array(durations_ns)) for stage in STAGES}
    return Latency(1.0, 2, 0, stages, "dev", emulated, Machine("cpu", 2, "Linux"), 0)


def test_warnings_of_emulation_and_noise():
    assert warnings(latency_with([100, 101], emulated=False)) == []
    (emulated,) = warnings(latency_with([100, 101], emulated=True))
    assert "not the chip's" in emulated
    (noisy,) = warnings(latency_with([100, 200], emulated=False))
    assert "vary by 33%" in noisy


def test_json_has_the_promised_keys():
    record = latency_json(latency_with([100, 101], emulated=False), "m.onnx", "p.png")
    keys = {f"{name}_ms" for name in ("mean", "p50", "p90", "p95", "p99", "min", "max", "std")}
    assert set(record["stages"]) == set(STAGES)
    assert all(set(times) == keys for times in record["stages"].values())
    assert record["init_ms"] == 1.0
    assert record["frames_per_second"] == pytest.approx(1000 / record["stages"]["total"]["mean_ms"])


def test_this_machine_has_a_name_and_cores():
    machine = this_machine()
    assert machine.cpu
    assert machine.cores >= 1
