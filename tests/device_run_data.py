"""Runs on a device that never was, for tests of what is made of them."""

import numpy as np

from benchmarks.device_latency import summarise
from benchmarks.device_report import DeviceBenchmark
from benchmarks.device_runs import DeviceRun, LayerTime, Setting

DSP = Setting("dsp", "burst")
CPU = Setting("cpu", "burst")


def steady_us(count=30, mean_us=1000.0, noise=0.01, seed=0):
    """Positive durations, normal around the mean; noise: their standard deviation / mean."""
    return mean_us * (1 + noise * np.random.default_rng(seed).standard_normal(count))


def runs_of(totals_us, **fields):
    """Of one start of the runtime."""
    return [DeviceRun(float(total), **fields) for total in totals_us]


def runs_of_starts(starts_us):
    return [run for n, start in enumerate(starts_us) for run in runs_of(start, start=n)]


def dsp_layers(first_cycles=600):
    """One layer in cycles, one of 0 cycles that was fused, and one that fell back to the CPU."""
    return (
        LayerTime(0, "conv", first_cycles, "cycles", "DSP"),
        LayerTime(1, "relu", 0, "cycles", "DSP"),
        LayerTime(2, "resize", 50, "us", "CPU"),
    )


def dsp_runs(totals_us):
    parts = {"forward_us": 900.0, "rpc_us": 700.0, "accelerator_us": 400.0}
    return runs_of(totals_us, frames=10, init_us=5e4, parts_us=parts, layers=dsp_layers())


def benchmark_of(*latencies, emulated=False):
    return DeviceBenchmark(
        "m.dlc", "ab" * 32, "adb:1 (sm8550, Hexagon v73)", emulated, "SNPE 2.22.6", 2, latencies
    )


def dsp_benchmark(totals_us=None):
    totals_us = steady_us() if totals_us is None else totals_us
    return benchmark_of(summarise(DSP, dsp_runs(totals_us)))
