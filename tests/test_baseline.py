"""Regressions against an earlier benchmark."""

import json

import pytest
from device_run_data import CPU, DSP, benchmark_of, dsp_benchmark, runs_of, steady_us

from benchmarks.baseline import (
    baseline_notes,
    check_settings_in,
    compare_with_baseline,
    read_baseline,
)
from benchmarks.device_latency import summarise
from benchmarks.device_report import benchmark_json
from persondet.errors import InputError


def saved(tmp_path, benchmark):
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(benchmark_json(benchmark)))
    return read_baseline(path)


def verdict(tmp_path, before_us, after_us, max_regression=0.1):
    baseline = saved(tmp_path, benchmark_of(summarise(CPU, runs_of(before_us))))
    (found,) = compare_with_baseline(baseline, [summarise(CPU, runs_of(after_us))], max_regression)
    return found


def test_slower_than_allowed_and_than_noise_fails(tmp_path):
    found = verdict(tmp_path, steady_us(30), steady_us(30, 1200, seed=1))
    assert found.failed
    assert "cpu burst: median +2" in found.text
    assert "95 % interval" in found.text
    assert "a regression: more than the 10% allowed" in found.text


def test_slower_within_what_is_allowed_passes(tmp_path):
    found = verdict(tmp_path, steady_us(30), steady_us(30, 1050, seed=1))
    assert not found.failed
    assert "within the 10% allowed" in found.text
    assert verdict(tmp_path, steady_us(30), steady_us(30, 1050, seed=1), 0.01).failed


def test_faster_passes(tmp_path):
    assert not verdict(tmp_path, steady_us(30), steady_us(30, 500)).failed


def test_growth_that_may_be_noise_passes_and_says_so(tmp_path):
    before, after = steady_us(8, noise=0.8, seed=2) ** 2, steady_us(8, noise=0.8, seed=3) ** 2
    if after.mean() < before.mean():
        before, after = after, before
    found = verdict(tmp_path, before, after, max_regression=0.0)
    assert found.ratio is not None
    assert found.ratio.is_noise
    assert not found.failed
    assert "may be noise" in found.text


def test_with_too_few_runs_the_limit_alone_decides(tmp_path):
    found = verdict(tmp_path, [1000.0], [1200.0])
    assert found.failed
    assert "too few runs" in found.text


def test_a_setting_that_the_baseline_lacks_does_not_fail(tmp_path):
    baseline = saved(tmp_path, dsp_benchmark())
    latencies = [summarise(setting, runs_of(steady_us())) for setting in (CPU, DSP)]
    cpu, dsp = compare_with_baseline(baseline, latencies, 0.1)
    assert (cpu.failed, cpu.text) == (False, "cpu burst: not in the baseline")
    assert dsp.ratio is not None
    assert "averages of 1 frames, the baseline's of 10" in dsp.text


def test_nothing_in_common_is_the_users_error(tmp_path):
    baseline = saved(tmp_path, dsp_benchmark())
    check_settings_in(baseline, [CPU, DSP])
    with pytest.raises(InputError, match=r"has none of cpu burst, but dsp burst"):
        check_settings_in(baseline, [CPU])


def test_another_model_device_and_toolchain_are_said(tmp_path):
    baseline = saved(tmp_path, dsp_benchmark())
    assert baseline_notes(baseline, "ab" * 32, baseline.device, "SNPE 2.22.6", [DSP]) == []
    model, other, tool, left = baseline_notes(
        baseline, "cd" * 32, "adb:2 (sm8650)", "SNPE 2.25", [CPU]
    )
    assert model == "the baseline is of another model file, m.dlc at that time"
    assert "of another device" in other
    assert tool == "the baseline was measured with 'SNPE 2.22.6', this with 'SNPE 2.25'"
    assert left == "only in the baseline, and not compared: dsp burst"


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"stages": {}}', "\0"])
def test_another_file_is_no_baseline(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.json is no baseline: expected what"):
        read_baseline(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("settings"),
        lambda record: record["settings"][0].update(totals_us=[]),
        lambda record: record["settings"][0].update(totals_us=["fast"]),
        lambda record: record["settings"][0].update(totals_us=[-1]),
        lambda record: record["settings"][0].update(frames_a_run=None),
        lambda record: record["settings"][0].update(starts=[0]),
        lambda record: record["settings"][0].pop("starts"),
        lambda record: record.pop("model_sha256"),
        lambda record: record.update(settings=3),
        lambda record: record.update(settings=[3]),
        lambda record: record["settings"][0].update(perf_profile=[1]),
    ],
)
def test_a_damaged_baseline_is_said(tmp_path, damage):
    record = benchmark_json(dsp_benchmark())
    damage(record)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="damaged baseline"):
        read_baseline(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read the baseline"):
        read_baseline(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot read the baseline"):
        read_baseline(tmp_path)
