"""`persondet benchmark --device`: this machine, a real ssh server, and the imitation of an SDK."""

import csv
import json
import subprocess
import sys

import adb_stand_in
import pytest
from data_files import write_picture
from device_run_data import benchmark_of, runs_of
from imitation_sdk import linux_target, make_sdk
from ssh_server import ssh_server
from tiny_detector import outputs_with, save_onnx

from benchmarks.device_latency import summarise
from benchmarks.device_report import benchmark_json
from benchmarks.device_runs import Setting
from benchmarks.devices.python_board import PythonBoard
from benchmarks.devices.snpe_board import SnpeBoard
from persondet.cli import main

VERSION = "2.25.0.240728"


@pytest.fixture
def persondet(monkeypatch, capfd):
    """Run the command line in this process; returns (exit code, standard output, error)."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["persondet", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working folder, with a model and a picture; `device` is what lies on the device."""
    save_onnx(tmp_path / "m.onnx", outputs_with({3: (0, 5, 0)}))
    write_picture(tmp_path / "p.png", (60, 90))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", str(tmp_path / "device"))
    for name in ("SNPE_ROOT", "QNN_SDK_ROOT", "QAIRT_SDK_ROOT", "PERSONDET_DEVICE_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def left_on(device):
    return [path.name for path in device.iterdir() if path.name.startswith("persondet-run-")]


ONNX = ("benchmark", "m.onnx", "--image", "p.png")
HERE = (*ONNX, "--device", "local", "--runs", "2", "--warmup", "1")


def test_json_csv_and_a_regression_here(persondet, place):
    code, out, err = persondet(*HERE, "--json", "--csv", "t.csv")
    assert (code, err) == (0, "")
    record = json.loads(out)
    (setting,) = record["settings"]
    assert (setting["runtime"], len(setting["totals_us"])) == ("onnx", 2)
    assert record["warmup"] == 1
    assert setting["init"]["min_ms"] > 0
    with (place / "t.csv").open(newline="") as file:
        assert [row["kind"] for row in csv.DictReader(file)] == ["total", "init"]
    assert left_on(place / "device") == []

    setting["totals_us"] = [value * 1000 for value in setting["totals_us"]]
    (place / "slow.json").write_text(json.dumps(record))
    code, out, _ = persondet(*HERE, "--baseline", "slow.json")
    assert code == 0
    assert "baseline: onnx: median -" in out
    setting["totals_us"] = [value / 1e6 for value in setting["totals_us"]]
    record["device"] = "another"
    (place / "fast.json").write_text(json.dumps(record))
    code, out, err = persondet(*HERE, "--baseline", "fast.json", "--json")
    assert code == 1
    assert "a regression: more than the 10% allowed" in err
    answer = json.loads(out)
    assert answer["baseline"][0]["failed"]
    assert any("of another device: 'another'" in text for text in answer["warnings"])
    setting["runtime"] = "gpu"
    (place / "gpu.json").write_text(json.dumps(record))
    code, _, err = persondet(*HERE, "--baseline", "gpu.json")
    assert code == 2
    assert "the baseline has none of onnx, but gpu" in err


def test_threads_of_a_dlc(persondet, place, tiny_dlc):
    words = ("benchmark", tiny_dlc, "--image", "p.png", "--device", "local", "--threads", "2")
    code, _, err = persondet(*words)
    assert code == 2
    assert "--threads is of onnxruntime; a DLC has none" in err


def test_what_our_runtime_measured_before_ctrl_c_is_not_lost(persondet, place, monkeypatch):
    run, calls = PythonBoard.run, []

    def pressed_in_the_second_start(board, tensors, **options):
        calls.append(options["rounds"])
        if len(calls) == 3:  # the first frame, a start, and this one
            raise KeyboardInterrupt
        return run(board, tensors, **options)

    monkeypatch.setattr(PythonBoard, "run", pressed_in_the_second_start)
    code, out, err = persondet(*HERE, "--json")
    assert code == 130
    record = json.loads(out)
    assert len(record["settings"][0]["totals_us"]) == 1
    assert record["stopped"] == "interrupted"
    assert any("stopped in the middle" in text for text in record["warnings"])
    assert "interrupted" in err
    assert left_on(place / "device") == []


def test_through_a_real_ssh_server(persondet, place, monkeypatch):
    with ssh_server(place / "server") as server:
        monkeypatch.setenv("PERSONDET_SSH_OPTIONS", server.options)
        monkeypatch.setenv("PERSONDET_DEVICE_PYTHON", sys.executable)
        code, out, err = persondet(*ONNX, "--device", server.device, "--runs", "1")
        assert code == 0, err
        assert f"m.onnx on {server.device} (Linux" in out
        assert "our runtime, Python 3." in out
        code, out, _ = persondet("doctor", "--for", f"device:{server.device}", "--json")
        assert json.loads(out)["jobs"][f"device:{server.device}"]["can_run"]
    assert left_on(place / "device") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--csv", "x.csv"), "--csv: of a device: name it by --device"),
        (("--runtimes", "dsp"), "--runtimes: of a device"),
        (("--device", "pigeon"), "--device pigeon: expected adb"),
        (("--device", "local", "--runtimes", "dsp"), "needs the SDK here"),
        (("--device", "local", "--runtimes", " ,"), "--runtimes ' ,': expected at least one"),
        (("--device", "local", "--frames", "2"), "--frames: of the SDK's tools: name --runtimes"),
        (("--device", "local", "--csv", "x.txt"), "must end in .csv"),
        (("--device", "local", "--baseline", "none.json"), "cannot read the baseline"),
        (("--device", "local", "--baseline", "p.png"), "is no baseline"),
    ],
)
def test_what_the_user_can_mend(persondet, place, arguments, message):
    code, out, err = persondet(*ONNX, *arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.fixture(scope="module")
def sdk_dlc(tmp_path_factory):
    """(root of an SDK, a float DLC that it made); its device is this machine."""
    pytest.importorskip("onnxruntime_qnn")
    folder = tmp_path_factory.mktemp("sdk")
    root = make_sdk(folder, VERSION)
    save_onnx(folder / "m.onnx", outputs_with({3: (0, 5, 0)}))
    words = ["convert", str(folder / "m.onnx"), "--sdk", str(root)]
    subprocess.run([sys.executable, "-m", "persondet.cli", *words], check=True, capture_output=True)
    return root, folder / "m.dlc"


@pytest.fixture
def by_sdk(persondet, place, sdk_dlc, monkeypatch):
    """Run benchmark on the SDK's DLC; returns (exit code, standard output, error)."""
    root, dlc = sdk_dlc
    monkeypatch.setenv("SNPE_ROOT", str(root))
    monkeypatch.setenv("PERSONDET_SNPE_TARGET", linux_target(VERSION))
    words = ("benchmark", dlc, "--image", "p.png", "--device", "local", "--warmup", "0")
    return lambda *arguments: persondet(*words, *arguments)


def test_runtimes_and_profiles_by_the_sdk_and_one_that_fails(by_sdk, place):
    words = ("--runtimes", "dsp,cpu", "--perf-profiles", "burst", "--runs", "2", "--frames", "2")
    code, out, err = by_sdk(*words, "--json")
    assert code == 1
    record = json.loads(out)
    (setting,) = record["settings"]
    assert (setting["runtime"], setting["perf_profile"]) == ("cpu", "burst")
    assert (setting["runs"], setting["frames_a_run"]) == (2, 2)
    assert {layer["unit"] for layer in setting["layers"]} == {"us"}
    assert setting["unaccounted"]["us"] > 0
    assert setting["init"]["p50_ms"] > 0
    assert record["toolchain"].startswith(f"QAIRT {VERSION}, snpe-net-run")
    (failure,) = record["failures"]
    assert failure["runtime"] == "dsp"
    assert "not every setting could be measured:\n  dsp burst: " in err
    assert "the model is not quantized" in err
    assert left_on(place / "device") == []


def test_a_phone_and_one_that_goes_away(by_sdk, phone):
    words = ("--device", "adb", "--runtimes", "cpu", "--runs", "1", "--frames", "1")
    code, out, err = by_sdk(*words, "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["device"].startswith("adb:R58M12")
    assert record["settings"][0]["totals_us"]
    assert left_on(phone.home / "persondet") == []
    phone.set("lost_at", "snpe-net-run")
    code, out, err = by_sdk(*words)
    assert (code, out) == (1, "")
    assert "adb:R58M12 went away in the middle" in err


@pytest.fixture
def phone(place, monkeypatch):
    """Behind the stand-in of adb; the SDK's stubs run on this machine."""
    monkeypatch.setenv("ADB_STAND_IN", str(place / "phones"))
    monkeypatch.delenv("PERSONDET_DEVICE_FOLDER")
    programs = adb_stand_in.install(place / "programs")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return adb_stand_in.add_device(place / "phones", "R58M12")


def test_what_was_measured_before_the_device_went_away_is_not_lost(by_sdk, phone, place):
    latencies = [summarise(Setting(name, "balanced"), runs_of([1.0])) for name in ("cpu", "gpu")]
    (place / "base.json").write_text(json.dumps(benchmark_json(benchmark_of(*latencies))))
    phone.set("lost_at", "--use_gpu")
    words = ("--device", "adb", "--runtimes", "cpu,gpu", "--runs", "1", "--frames", "1")
    code, out, err = by_sdk(*words, "--baseline", "base.json", "--csv", "t.csv", "--json")
    assert code == 1
    record = json.loads(out)
    assert [setting["runtime"] for setting in record["settings"]] == ["cpu"]
    assert "adb:R58M12 went away in the middle" in record["stopped"]
    (failure,) = record["failures"]
    assert (failure["runtime"], failure["text"]) == ("gpu", "not measured: stopped before")
    with (place / "t.csv").open(newline="") as file:
        assert {row["runtime"] for row in csv.DictReader(file)} == {"cpu"}
    assert "adb:R58M12 went away in the middle" in err
    assert "cpu balanced: median +" in err
    assert "a regression" in err
    assert "  gpu balanced: not measured: stopped before" in err


def test_what_was_measured_before_ctrl_c_is_not_lost(by_sdk, monkeypatch, place):
    net_run = SnpeBoard.net_run

    def pressed_at_the_gpu(board, settings, **options):
        if settings.runtime == "gpu":
            raise KeyboardInterrupt
        return net_run(board, settings, **options)

    monkeypatch.setattr(SnpeBoard, "net_run", pressed_at_the_gpu)
    words = ("--device", "local", "--runtimes", "cpu,gpu", "--runs", "1", "--frames", "1")
    code, out, err = by_sdk(*words, "--json")
    assert code == 130
    record = json.loads(out)
    assert [setting["runtime"] for setting in record["settings"]] == ["cpu"]
    assert record["stopped"] == "interrupted"
    assert "interrupted" in err
    assert left_on(place / "device") == []


def test_what_was_measured_before_the_device_was_full_is_not_lost(by_sdk, phone):
    """For the CPU there is room, for the DSP's skels there is none."""
    phone.set("full_at", "/dsp/")
    words = ("--device", "adb", "--runtimes", "cpu,dsp", "--runs", "1", "--frames", "1")
    code, out, err = by_sdk(*words)
    assert code == 2
    assert "cpu balanced" in out
    assert "the storage of adb:R58M12 is full" in err
    assert "  dsp balanced: not measured: stopped before" in err
    assert left_on(phone.home / "persondet") == []


def test_all_failing_is_an_error_without_a_table(by_sdk):
    code, out, err = by_sdk("--runtimes", "dsp", "--runs", "1")
    assert (code, out) == (1, "")
    assert "no setting could be measured" in err


def test_a_device_that_writes_no_log_is_measured_by_the_other_tool(by_sdk, monkeypatch):
    monkeypatch.setenv("IMITATION_FAULT", "snpe-net-run:no_diag")
    code, _, err = by_sdk("--runtimes", "cpu", "--runs", "1")
    assert code == 1
    assert "measure with --tool throughput" in err
    monkeypatch.setattr("benchmarks.device_measure._THROUGHPUT_S", 1)
    code, out, _ = by_sdk("--runtimes", "cpu", "--runs", "1", "--tool", "throughput")
    assert code == 0
    assert "snpe-throughput-net-run" in out


def test_gibberish_in_the_log(by_sdk, monkeypatch):
    monkeypatch.setenv("IMITATION_FAULT", "gibberish_log")
    code, out, err = by_sdk("--runtimes", "cpu", "--runs", "1")
    assert (code, out) == (1, "")
    assert "snpe-diagview" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runtimes", "npu"), "runtime 'npu': expected one of cpu, gpu"),
        (("--runtimes", "cpu", "--perf-profiles", "ludicrous"), "perf profile 'ludicrous'"),
        (("--runtimes", "cpu", "--threads", "2"), "--threads is of our own runtime"),
    ],
)
def test_what_the_sdk_lacks(by_sdk, arguments, message):
    code, _, err = by_sdk(*arguments)
    assert code == 2
    assert message in err
