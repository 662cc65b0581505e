"""What is made of many short runs on a device."""

import csv
import io
import json

import numpy as np
import pytest
from device_run_data import (
    CPU,
    DSP,
    benchmark_of,
    dsp_benchmark,
    dsp_layers,
    dsp_runs,
    runs_of,
    runs_of_starts,
    steady_us,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import device_report
from benchmarks.device_latency import drift, is_fallback, summarise, warnings
from benchmarks.device_runs import LayerTime, Setting
from benchmarks.median_ratio import median_ratio
from persondet.errors import PersondetError


def test_the_statistics_are_those_of_the_runs_in_milliseconds():
    latency = summarise(CPU, runs_of([1000, 2000, 3000], init_us=7000))
    assert latency.total.p50_ms == 2.0
    assert (latency.total.min_ms, latency.total.max_ms) == (1.0, 3.0)
    assert latency.frames_per_second == pytest.approx(500.0)
    assert latency.init is not None
    assert latency.init.p50_ms == 7.0


def test_no_init_and_no_layers_is_said_as_none_and_never_as_zero():
    latency = summarise(CPU, runs_of([1000, 1001]))
    assert latency.init is None
    assert latency.unaccounted is None
    assert latency.drift is None


@pytest.mark.parametrize("totals", [[], [1000, 0], [-1], [float("nan")], [float("inf")]])
def test_a_time_that_is_none_is_an_error(totals):
    with pytest.raises(PersondetError, match=r"dsp burst: expected runs with a positive time"):
        summarise(DSP, runs_of(totals))


def test_cycles_and_microseconds_are_never_added():
    latency = summarise(DSP, dsp_runs(steady_us()))
    assert [(layer.unit, layer.share) for layer in latency.layers] == [
        ("cycles", 1.0),
        ("cycles", 0.0),
        ("us", 1.0),
    ]
    assert any("must not be added" in text for text in warnings(latency))


def test_a_layer_that_changes_its_unit_between_runs_stands_there_twice():
    one = runs_of([1000], layers=(LayerTime(0, "conv", 10, "us", "CPU"),))
    other = runs_of([1000], layers=(LayerTime(0, "conv", 9999, "cycles", "DSP"),))
    latency = summarise(DSP, one + other)
    assert [(layer.unit, layer.p50) for layer in latency.layers] == [("us", 10), ("cycles", 9999)]


def test_an_unknown_unit_is_an_error():
    runs = runs_of([1000], layers=(LayerTime(3, "conv", 10, "ms", "CPU"),))
    with pytest.raises(PersondetError, match=r"layer 3 conv is timed in 'ms', expected us"):
        summarise(CPU, runs)


def test_layers_in_cycles_count_as_the_time_on_the_accelerator():
    latency = summarise(DSP, dsp_runs([1000] * 5))
    found = latency.unaccounted
    assert found is not None
    assert found.us == 1000 - 400 - 50
    assert found.share == pytest.approx(0.55)
    assert [(gap.us, gap.where) for gap in found.gaps] == [
        (100, "the whole call less the runtime"),
        (200, "the runtime less the remote call"),
        (300, "the remote call less the accelerator"),
    ]


def test_layers_in_microseconds_are_subtracted_as_they_are():
    layers = (LayerTime(0, "a", 300, "us", "CPU"), LayerTime(1, "b", 600, "us", "CPU"))
    found = summarise(CPU, runs_of([1000] * 3, layers=layers)).unaccounted
    assert found is not None
    assert found.us == 100
    slower = tuple(LayerTime(layer.index, "", 600, "us", "CPU") for layer in layers)
    over = summarise(CPU, runs_of([1000] * 3, layers=slower)).unaccounted
    assert over is not None
    assert over.us == -200
    assert "overlap" in over.why


def test_cycles_without_the_accelerators_time_leave_the_rest_unknown():
    found = summarise(DSP, runs_of([1000] * 3, layers=dsp_layers())).unaccounted
    assert found is not None
    assert found.us is None
    assert "cycles of a clock that the log does not name" in found.why
    (head,) = device_report.unaccounted_lines("dsp", found)
    assert "is not known" in head


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        ("dsp", "DSP", False),
        ("dsp", "CPU", True),
        ("dsp", "", False),
        ("gpu", "cpu", True),
        ("gpu_fp16", "GPU", False),
        ("onnx", "CPU", False),
    ],
)
def test_fallback_is_another_runtime_than_asked(asked, found, expected):
    assert is_fallback(asked, found) is expected


def test_a_fallback_is_warned_of_by_name():
    (text,) = [w for w in warnings(summarise(DSP, dsp_runs([1000] * 5))) if "instead of" in w]
    assert text == "1 of 3 layers ran on CPU instead of dsp: resize"


def test_getting_warm_is_a_drift_and_noise_is_none():
    warming = steady_us(60) * np.linspace(1.0, 1.3, 60)
    found = drift([warming])
    assert found is not None
    assert 0.15 < found.change < 0.25
    assert any("warmer" in text for text in warnings(summarise(CPU, runs_of(warming))))
    assert warnings(summarise(CPU, runs_of(steady_us(60)))) == []
    wild = summarise(CPU, runs_of(steady_us(60, noise=0.3)))
    assert not any("drift" in text for text in warnings(wild))
    assert any("vary by" in text for text in warnings(wild))


def test_slow_first_runs_ask_for_more_warm_up():
    (text,) = [
        text
        for text in warnings(summarise(CPU, runs_of(steady_us(60) * np.linspace(1.3, 1.0, 60))))
        if "drift" in text
    ]
    assert "--warmup" in text


def test_too_few_runs_show_no_drift():
    assert drift([range(1, 15)]) is None
    assert drift([[value] for value in range(1, 15)]) is None
    assert drift([[1, 2], [3, 4], [5]]) is None


STARTS_US = [steady_us(20, mean, seed=mean) for mean in (1000, 1200, 1100, 1250, 1400)]


def test_starts_that_differ_are_no_drift():
    latency = summarise(CPU, runs_of_starts(STARTS_US))
    assert latency.drift is not None
    assert abs(latency.drift.change) < 0.02
    (text,) = [text for text in warnings(latency) if "drift" in text or "starts" in text]
    assert "starts of the runtime differ: medians of 0.997, 1.201, 1.100, 1.249, 1.401 ms" in text


def test_getting_warm_in_every_start_is_a_drift_and_the_starts_are_alike():
    starts_us = [steady_us(20, seed=seed) * np.linspace(1.0, 1.3, 20) for seed in range(5)]
    found = drift(starts_us)
    assert found is not None
    assert 0.12 < found.change < 0.25
    (text,) = [
        text for text in warnings(summarise(CPU, runs_of_starts(starts_us))) if "dri" in text
    ]
    assert "to the last third of each start's runs" in text


def test_runs_that_are_a_start_each_drift_from_start_to_start():
    warming = [[float(value)] for value in steady_us(30) * np.linspace(1.0, 1.3, 30)]
    latency = summarise(CPU, runs_of_starts(warming))
    assert latency.start_difference is None
    assert any("to the last third of the runs: " in text for text in warnings(latency))


def test_the_interval_knows_that_runs_of_one_start_are_alike():
    """Of five starts whose medians lie 40 % apart, a shuffled half says little about the other."""
    other = [start * 1.1 for start in STARTS_US]
    of_starts = median_ratio(STARTS_US, other)
    of_runs = median_ratio([np.concatenate(STARTS_US).tolist()], [np.concatenate(other).tolist()])
    assert of_starts.change == of_runs.change
    assert of_starts.is_noise
    assert not of_runs.is_noise
    assert of_starts.low is not None
    assert of_runs.low is not None
    assert of_starts.low < of_runs.low - 0.05


def test_starts_of_unequal_length():
    ratio = median_ratio([[100.0] * 7, [100.0]], [[110.0], [110.0] * 3, [110.0]])
    assert ratio.low == ratio.high == pytest.approx(0.1)


def test_averages_are_said_to_be_averages_once():
    latency = summarise(DSP, dsp_runs([1]))
    found = benchmark_of(latency, latency).warnings
    assert len([text for text in found if "one average a run" in text]) == 1
    single = benchmark_of(summarise(CPU, runs_of([1]))).warnings
    assert not any("average" in text for text in single)


@pytest.mark.parametrize(
    ("count", "names"),
    [(100, ""), (99, "p99"), (20, "p99"), (19, "p95, p99"), (5, "p90, p95, p99")],
)
def test_percentiles_that_say_no_more_than_the_slowest_run_are_named(count, names):
    found = benchmark_of(summarise(CPU, runs_of(steady_us(count)))).warnings
    few = [text for text in found if "say little more than max" in text]
    assert bool(few) == bool(names)
    assert all(f"{count} runs a setting: there {names} say" in text for text in few)


def test_layers_come_of_the_runs_that_timed_them():
    plain = runs_of([1000] * 5)
    latency = summarise(DSP, plain, dsp_runs([1500] * 5))
    assert latency.total.p50_ms == 1.0
    assert latency.unaccounted is not None
    assert latency.unaccounted.us == 1500 - 400 - 50
    assert latency.layer_timing is not None
    assert latency.layer_timing.change == 0.5
    assert any("slower by 50%" in text for text in warnings(latency))


@given(
    st.lists(st.floats(1, 1e6), min_size=5, max_size=40),
    st.floats(0.5, 2),
)
@settings(max_examples=50, deadline=None)
def test_the_interval_holds_the_change_of_values_that_are_scaled(values, scale):
    ratio = median_ratio([values], [[value * scale for value in values]])
    assert ratio.change == pytest.approx(scale - 1)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low <= ratio.change + 1e-9
    assert ratio.high >= ratio.change - 1e-9


def test_fewer_than_five_values_have_unknown_noise():
    ratio = median_ratio([[100] * 4], [[200] * 50])
    assert (ratio.change, ratio.low, ratio.is_noise) == (1.0, None, False)
    assert "too few runs" in ratio.text


def test_csv_has_a_unit_in_every_row():
    rows = list(csv.DictReader(io.StringIO(device_report.benchmark_csv(dsp_benchmark()))))
    kinds = [(row["kind"], row["unit"]) for row in rows]
    assert kinds == [
        ("total", "ms"),
        ("init", "ms"),
        *[("part", "us")] * 3,
        *[("layer", "cycles")] * 2,
        ("layer", "us"),
    ]
    assert float(rows[0]["p50"]) == pytest.approx(1.0, rel=0.02)
    assert rows[-1]["ran_on"] == "CPU"
    assert rows[5]["mean"] == ""
    assert {row["perf_profile"] for row in rows} == {"burst"}


def test_json_is_json_and_holds_every_run():
    record = json.loads(json.dumps(device_report.benchmark_json(dsp_benchmark()), allow_nan=False))
    (setting,) = record["settings"]
    assert len(setting["totals_us"]) == setting["runs"] == 30
    assert setting["fallback_layers"] == [2]
    assert {layer["unit"] for layer in setting["layers"]} == {"us", "cycles"}
    assert setting["unaccounted"]["gaps"]


def test_tables_keep_the_units_apart_and_say_what_fell_back(capsys):
    from benchmarks.tables import print_to_stdout

    benchmark = dsp_benchmark()
    (latency,) = benchmark.latencies
    print_to_stdout(device_report.title_text(benchmark), device_report.settings_table(benchmark))
    cycles, microseconds = device_report.layer_tables(latency, slowest=1)
    print_to_stdout(cycles, microseconds)
    shown = capsys.readouterr().out
    assert "dsp burst: 1 slowest of 2 layers" in shown
    assert "p50 cycles" in shown
    assert "p50 us" in shown
    assert "CPU (fallback)" in shown
    assert "30 x 10" in shown


def test_a_profile_that_is_not_there_is_left_out_of_the_label():
    benchmark = benchmark_of(summarise(Setting("onnx"), runs_of([1000, 1001])), emulated=True)
    assert device_report.benchmark_json(benchmark)["settings"][0]["perf_profile"] is None
    assert "emulated" in benchmark.warnings[0]
