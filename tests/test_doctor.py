"""What `persondet doctor` finds; the devices and the SDK are made up."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import adb_stand_in
import imitation_sdk
import pytest
from click.testing import CliRunner

from benchmarks.devices.soc_report import soc_report
from benchmarks.doctor import embedded, examination, packages, sdk, shared_libraries, space
from benchmarks.doctor.devices import adb_findings
from benchmarks.doctor.findings import JOBS, note, ok, problem
from benchmarks.doctor.sdk_packages import need_findings, version_finding
from export.sdk.sdk import Sdk
from export.sdk.versions import parse_version
from persondet.cli.doctor import command
from persondet.errors import InputError, PersondetError


def problems(findings):
    return [found for found in findings if found.level == "problem"]


def sdk_of(version):
    return Sdk(Path("/sdk"), parse_version(version))


# Python and packages


@pytest.mark.parametrize(
    ("version", "system", "machine", "stopped"),
    [
        ((3, 11, 0), "Linux", "x86_64", set()),
        ((3, 13, 1), "Linux", "aarch64", set()),
        ((3, 10, 9), "Linux", "x86_64", set(JOBS)),
        ((3, 12, 0), "Darwin", "arm64", {"convert", "quantize"}),
    ],
)
def test_python_and_machine(version, system, machine, stopped):
    (found,) = packages.python_findings(version, system, machine)
    assert set(found.stops) == stopped
    assert bool(found.remedy) == bool(stopped)


LINES = [
    "numpy>=2.0",
    'onnxruntime>=1.24.2; extra == "onnxruntime"',
    'onnxruntime-qnn==2.7.0; extra == "qairt"',
    'persondet[cli,onnxruntime,qairt]; extra == "full"',
    'pytest>=8; extra == "dev"',
]
FITTING = {"numpy": "2.4.6", "onnxruntime": "1.32.0", "onnxruntime-qnn": "2.7.0"}


def test_requirements_are_read_from_the_metadata():
    names = [requirement.text for requirement in packages.requirements(LINES)]
    assert names == ["numpy>=2.0", "onnxruntime>=1.24.2", "onnxruntime-qnn==2.7.0"]


@pytest.mark.parametrize(
    ("changed", "text", "stops"),
    [
        ({"numpy": "1.26.4"}, "numpy 1.26.4 is installed, expected numpy>=2.0", tuple(JOBS)),
        (
            {"onnxruntime-qnn": "2.7.1"},
            "onnxruntime-qnn 2.7.1 is installed, expected onnxruntime-qnn==2.7.0",
            ("convert", "quantize"),
        ),
    ],
)
def test_a_package_that_does_not_fit(changed, text, stops):
    installed = {name: found for name, found in {**FITTING, **changed}.items() if found}
    wanted = packages.requirements(LINES)
    (found,) = problems(packages.requirement_findings(wanted, installed, "embedded"))
    assert found.text == text
    assert set(stops) <= set(found.stops)
    assert found.remedy.startswith("pip install '")


def test_with_the_sdk_the_wheel_stops_nothing():
    installed = {"numpy": "2.4.6", "onnxruntime": "1.32.0"}
    wanted = packages.requirements(LINES)
    assert problems(packages.requirement_findings(wanted, installed, "snpe")) == []
    assert problems(packages.requirement_findings(wanted, FITTING, "embedded")) == []


def test_builds_for_this_machine_fit():
    wanted = packages.requirements(["torch>=2.6", "onnxruntime>=1.24.2"])
    installed = {"torch": "2.6.0+cpu", "onnxruntime-gpu": "1.32.0"}
    (found,) = packages.requirement_findings(wanted, installed, "embedded")
    assert (found.level, found.text) == ("ok", "torch 2.6.0+cpu, onnxruntime-gpu 1.32.0")


def test_an_extra_that_is_left_out_is_no_problem():
    """Without numpy nothing works; the others are for those who want what they serve."""
    wanted = packages.requirements([*LINES, 'torch>=2.6; extra == "full"'])
    numpy, onnxruntime, torch = packages.requirement_findings(wanted, {}, "embedded")
    assert (numpy.level, numpy.stops) == ("problem", tuple(JOBS))
    assert (onnxruntime.level, torch.level) == ("note", "note")
    assert torch.text == "torch is not installed"
    assert torch.remedy == "for checkpoints (.pth), export and train: pip install 'torch>=2.6'"
    assert torch.stops == ("export", "run:pth")
    assert "run:onnx" in onnxruntime.stops


def test_two_distributions_of_one_library_clash():
    clashing = {"onnxruntime": "1.32", "onnxruntime-gpu": "1.32", "numpy": "2.4"}
    (found,) = packages.clash_findings(clashing)
    assert "overwrite each other" in found.text
    assert found.remedy.startswith("pip uninstall onnxruntime onnxruntime-gpu")


# Libraries and space


def test_missing_libraries_and_their_packages(monkeypatch, tmp_path):
    ldd = tmp_path / "ldd"
    ldd.write_text(
        "#!/bin/sh\necho '\tlibc++.so.1 => not found'\necho '\tlibodd.so => not found'\n"
        "echo '\tlibm.so.6 => /lib/libm.so.6 (0x1)'\n"
    )
    ldd.chmod(ldd.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    missing = shared_libraries.missing_libraries([Path("/a"), Path("/b")])
    assert missing == ["libc++.so.1", "libodd.so"]
    assert shared_libraries.remedy_for(missing) == (
        "apt install libc++1 and find the packages that hold libodd.so"
    )


def test_a_script_lacks_no_libraries(tmp_path):
    script = tmp_path / "tool"
    script.write_text("#!/bin/sh\n")
    assert shared_libraries.missing_libraries([script, Path(sys.executable)]) == []


@pytest.mark.parametrize(("free", "level"), [(10**6, "problem"), (10**9, "note"), (10**11, "ok")])
def test_free_space(monkeypatch, free, level):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    assert {found.level for found in space.space_findings()} == {level}


def test_the_wheels_libraries_are_opened(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime_qnn")
    (found,) = embedded.embedded_findings()
    assert found.level == "ok"
    assert "onnxruntime-qnn==2.7.0, QAIRT v2." in found.text
    monkeypatch.setattr(embedded, "library_folder", lambda: tmp_path)
    lacking = embedded.embedded_findings()
    assert len(lacking) == 3
    assert "has no libQnnSystem.so" in lacking[0].text


def test_what_a_library_says_when_it_does_not_open_is_told():
    def fails():
        raise PersondetError("API 9.9, expected 2.40")

    assert embedded.probe(fails) == {"problem": "API 9.9, expected 2.40"}
    assert embedded.probe(lambda: "v2.51") == {"build_id": "v2.51"}


# SDK


def test_no_sdk_is_no_problem():
    (found,), toolchain = sdk.sdk_findings({})
    assert (found.level, toolchain) == ("note", None)


def test_a_wrong_folder_is_one(tmp_path):
    (found,), _ = sdk.sdk_findings({"SNPE_ROOT": str(tmp_path / "none")})
    assert "there is no SDK folder" in found.text
    assert set(found.stops) == {"convert", "quantize"}
    (found,), _ = sdk.sdk_findings({"SNPE_ROOT": str(tmp_path)})
    assert "is incomplete" in found.text


def make_sdk(root, tools, version="2.26.0.240828"):
    """A folder shaped like an SDK; tools: name to the text of a script."""
    for part in ("bin/x86_64-linux-clang", "lib/x86_64-linux-clang", "lib/python"):
        (root / part).mkdir(parents=True)
    tools = {"snpe-net-run": f"#!/bin/sh\necho SNPE v{version}\n", **tools}
    for name, text in tools.items():
        path = root / "bin/x86_64-linux-clang" / name
        path.write_text(text)
        path.chmod(0o755)
    return {**os.environ, "SNPE_ROOT": str(root)}


STARTS = "#!/bin/sh\necho usage\n"


def test_an_sdk_whose_tools_start(tmp_path):
    names = ("qairt-converter", "qairt-quantizer", "snpe-dlc-graph-prepare")
    findings, found = sdk.sdk_findings(make_sdk(tmp_path, dict.fromkeys(names, STARTS)))
    assert found is not None
    assert problems(findings) == []
    texts = [finding.text for finding in findings]
    assert texts[0] == f"QAIRT 2.26.0.240828 (2.25+) in {tmp_path}"
    assert "qairt-converter starts" in texts


def test_a_tool_that_does_not_start_is_explained_from_its_own_words(tmp_path):
    fails = "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'qti'\" >&2\nexit 1\n"
    findings, _ = sdk.sdk_findings(
        make_sdk(tmp_path, {"qairt-converter": fails, "qairt-quantizer": STARTS})
    )
    (found,) = problems(findings)
    assert "qairt-converter does not start: ModuleNotFoundError" in found.text
    assert "PYTHONPATH" in found.remedy
    (missing,) = [f for f in findings if "graph-prepare" in f.text]
    assert missing.level == "note"


def test_the_sdks_python_and_its_packages(tmp_path):
    script = f"#!{sys.executable}\nprint('usage')\n"
    findings, _ = sdk.sdk_findings(
        make_sdk(tmp_path, {"qairt-converter": script, "qairt-quantizer": script})
    )
    here = ".".join(map(str, sys.version_info[:2]))
    texts = [found.text for found in findings if found.topic == "SDK's Python"]
    assert texts[0].startswith(f"Python {here} (")
    assert any(text.startswith("onnx 1.") for text in texts)


@pytest.mark.parametrize(
    ("version", "python", "level"),
    [
        ("1.68", "3.6", "ok"),
        ("1.68", "3.8", "note"),
        ("2.10", "3.8", "ok"),
        ("2.31", "3.10", "ok"),
        ("2.31", "3.12", "note"),
    ],
)
def test_the_documented_python(version, python, level):
    assert version_finding(sdk_of(version), Path("/py"), python).level == level


def test_an_onnx_too_new_for_1x_stops_conversion():
    (found,) = need_findings(sdk_of("1.68"), {"onnx": "1.16.1"})
    assert (found.level, found.stops) == ("problem", ("convert", "quantize"))
    assert "No schema registered for" in found.text
    assert "onnx==1.8.*" in found.remedy
    (found,) = need_findings(sdk_of("1.68"), {"onnx": "1.8.1"})
    assert found.level == "ok"


def test_packages_of_a_qairt():
    exact = {"onnx": "1.16.1", "onnxruntime": "1.18.0", "numpy": "1.26.4", "protobuf": "3.19.6"}
    assert {found.level for found in need_findings(sdk_of("2.31"), exact)} == {"ok"}
    other = need_findings(sdk_of("2.31"), {**exact, "numpy": "2.0.1", "onnxruntime": None})
    assert [found.level for found in other] == ["ok", "note", "note", "ok"]
    (lacking, *_) = need_findings(sdk_of("2.31"), {**exact, "onnx": None})
    assert lacking.level == "problem"


def test_an_sdk_of_1x_in_a_python_of_its_time(tmp_path):
    """The interpreter says that it is old; what it runs, runs in ours."""
    program = tmp_path / "python3.6"
    said = json.dumps({"python": "3.6", "packages": {"onnx": "1.8.1"}})
    lines = f"*packages*) echo '{said}' ;;\n*) exec {sys.executable} \"$@\" ;;"
    program.write_text(f'#!/bin/sh\ncase "$2" in\n{lines}\nesac\n')
    program.chmod(0o755)
    version, root = parse_version("1.68"), imitation_sdk.make_sdk(tmp_path, "1.68.0.3932")
    findings, _ = sdk.sdk_findings(os.environ, root, version=version, python=program)
    assert problems(findings) == []
    texts = [finding.text for finding in findings]
    assert texts[1:3] == [f"Python 3.6 ({program})", "onnx 1.8.1"]
    assert {"snpe-onnx-to-dlc starts", "snpe-dlc-quantize starts"} <= set(texts)


def test_a_version_that_the_sdk_does_not_say(quick, tmp_path):
    environ = make_sdk(tmp_path / "sdk", {"snpe-onnx-to-dlc": STARTS, "snpe-dlc-quantize": STARTS})
    (tmp_path / "sdk/bin/x86_64-linux-clang/snpe-net-run").unlink()
    unknown = examination.examine(["convert"], environ)
    assert "--sdk-version" in unknown.stopped_by("convert")[0].remedy
    words = ["--for", "convert", "--sdk", environ["SNPE_ROOT"], "--sdk-version", "1.68"]
    assert CliRunner().invoke(command, words).exit_code == 0


def test_an_interpreter_that_is_none(tmp_path):
    script = f"#!{sys.executable}\nprint('usage')\n"
    environ = make_sdk(tmp_path, {"qairt-converter": script, "qairt-quantizer": script})
    findings, _ = sdk.sdk_findings({**environ, "PERSONDET_SDK_PYTHON": "/bin/true"})
    assert "/bin/true does not run as a Python" in problems(findings)[0].text


# SoC


@pytest.mark.parametrize(
    ("text", "arch", "name"),
    [
        ("android=14\nsoc_model=SM8550\n", 73, "sm8550"),
        ("system=Linux\nmachine_file=QCS6490\n", 68, "qcm6490"),
        ("compatible_file=qcom,qcs6490-rb3gen2 qcom,qcm6490 \n", 68, "qcm6490"),
        ("soc_model=SA8295P\n", 68, "sa8295"),
    ],
)
def test_the_soc_by_what_the_device_says(text, arch, name):
    soc = soc_report(text).soc
    assert soc is not None
    assert (soc.arch, soc.name) == (arch, name)


def test_an_unknown_soc_is_named_and_gibberish_is_ignored():
    report = soc_report("soc_model=SM7125\nsystem=Linux\nmachine=aarch64\n\0\xff\nx")
    assert report.soc is None
    assert "SoC sm7125, whose Hexagon architecture is not in our table" in report.text
    empty = soc_report("")
    assert (empty.soc, empty.named, empty.is_android) == (None, "", False)


def test_the_dsps_device_file():
    assert soc_report("dsp=/dev/adsprpc-smd\n").dsp_readable
    closed = soc_report("dsp_closed=/dev/adsprpc-smd\n")
    assert (closed.dsp_node, closed.dsp_readable) == ("/dev/adsprpc-smd", False)


# The whole


def test_unknown_jobs_and_a_missing_sdk_are_the_users_errors():
    with pytest.raises(InputError, match=r"unknown job 'device:'; known: .*device:WHERE"):
        examination.examine(["device:"], {})
    with pytest.raises(InputError, match=r"unknown job 'fly'; known: export, convert"):
        examination.examine(["fly"], {})
    with pytest.raises(InputError, match="no SDK to examine"):
        examination.examine([], {}, "snpe")


@pytest.fixture
def quick(monkeypatch):
    """Nothing is looked at but the SDK's variables and what a test puts here."""
    found: dict[str, list[Any]] = {
        "package_findings": [],
        "embedded_findings": [],
        "opencv_findings": [],
        "space_findings": [],
    }
    monkeypatch.setattr(examination, "package_findings", lambda _: found["package_findings"])
    for name in ("embedded_findings", "opencv_findings", "space_findings"):
        monkeypatch.setattr(examination, name, lambda name=name: found[name])
    monkeypatch.setattr(examination, "adb_findings", lambda: [note("adb", "none")])
    monkeypatch.delenv("SNPE_ROOT", raising=False)
    return found


def test_a_problem_stops_its_own_jobs_only(quick):
    quick["package_findings"] = [problem("packages", "no torch", "install it", ["export"])]
    assert examination.examine(["convert"], {}).can_run
    assert not examination.examine(["convert", "export"], {}).can_run
    assert not examination.examine([], {}).can_run


def test_the_wheel_does_not_matter_where_an_sdk_is_named(quick, tmp_path):
    quick["embedded_findings"] = [problem("embedded", "no wheel", "install", ["convert", "run"])]
    assert not examination.examine(["convert"], {}).can_run
    broken = {"SNPE_ROOT": str(tmp_path)}
    named = examination.examine(["convert"], broken)
    assert named.toolchain == "snpe"
    (stopped,) = named.stopped_by("convert")
    assert "is incomplete" in stopped.text
    assert not examination.examine(["run"], broken).can_run


@pytest.fixture
def board(quick, monkeypatch):
    """What doctor finds where onnxruntime is the only backend and torch is missing."""
    lines = [*LINES, 'torch>=2.6; extra == "full"', 'onnx>=1.17; extra == "full"']
    installed = {"numpy": "2.4.6", "onnxruntime": "1.32.0"}
    wanted = packages.requirements(lines)
    quick["package_findings"] = packages.requirement_findings(wanted, installed, "embedded")
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    monkeypatch.delenv(embedded.LIBRARY_FOLDER_VARIABLE, raising=False)
    quick["embedded_findings"] = embedded.embedded_findings()
    return quick


def test_a_board_with_onnxruntime_alone(board):
    examined = examination.examine([], {})
    assert problems(examined.findings) == []
    assert examined.can_run
    said = dict(examination.examination_lines(examined))
    assert said["run ONNX models"] == "can run"
    assert said["run DLC models"] == "cannot run: onnxruntime-qnn is not installed"
    assert said["run checkpoints (.pth)"] == said["export"] == "cannot run: torch is not installed"
    run = examination.examination_json(examined)["jobs"]["run"]
    assert run["can_run"] and run["stopped_by"] == []
    assert {kind: said["can_run"] for kind, said in run["kinds"].items()} == {
        "onnx": True,
        "dlc": False,
        "pth": False,
    }


@pytest.mark.parametrize(
    ("jobs", "stopped"),
    [
        (["run"], []),
        (["run:onnx"], []),
        (["run:dlc"], ["run:dlc"]),
        (["run:pth", "run:onnx"], ["run:pth"]),
        (["export"], ["export"]),
    ],
)
def test_what_a_board_lacks_is_an_error_for_those_who_ask(board, jobs, stopped):
    assert examination.examine(jobs, {}).stopped_jobs == stopped


def test_where_no_kind_of_model_runs_run_cannot(board):
    board["package_findings"] = [note("packages", "no onnxruntime", "", ["run:onnx", "run:pth"])]
    assert examination.examine(["run"], {}).stopped_jobs == ["run"]
    board["package_findings"] = [problem("OpenCV", "no cv2", "install it", JOBS)]
    assert examination.examine(["run:onnx"], {}).stopped_jobs == ["run:onnx"]
    assert examination.examine([], {}).stopped_jobs == list(JOBS)


def test_the_command_says_remedies_and_exits_by_the_asked_job(quick):
    quick["embedded_findings"] = [ok("embedded", "all well")]
    quick["package_findings"] = [problem("packages", "no torch", "pip install torch", ["export"])]
    shown = CliRunner().invoke(command, ["--for", "convert"])
    assert shown.exit_code == 0
    assert "PROBLEM: no torch" in shown.output
    assert "remedy: pip install torch" in shown.output
    assert "can run (toolchain embedded)" in shown.output
    stopped = CliRunner().invoke(command, ["--json"])
    record = json.loads(stopped.stdout)
    assert record["jobs"]["export"] == {"can_run": False, "stopped_by": ["no torch"]}
    assert record["jobs"]["convert"]["can_run"]
    assert isinstance(stopped.exception, PersondetError)
    assert "cannot run: export" in str(stopped.exception)


def test_this_machine_as_a_device_and_one_that_is_not_there(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", str(tmp_path / "device"))
    local = examination.examine(["device:local"], {})
    assert local.can_run
    assert any("no SDK is needed" in found.text for found in local.findings)
    assert any("MB free in" in found.text for found in local.findings)
    gone = examination.examine(["device:ssh:nobody@127.0.0.1:1"], {})
    (found,) = gone.stopped_by("device:ssh:nobody@127.0.0.1:1")
    assert found.remedy
    wrong = examination.examine(["device:carrier-pigeon"], {})
    assert "expected adb" in wrong.stopped_by("device:carrier-pigeon")[0].text


@pytest.mark.parametrize(
    ("modules", "level", "text"),
    [
        (
            "numpy cv2 onnxruntime",
            "ok",
            "ONNX models can run, DLC models cannot: no onnxruntime-qnn",
        ),
        (
            "numpy cv2 onnxruntime_qnn",
            "ok",
            "ONNX models cannot: no onnxruntime, DLC models can run",
        ),
        ("numpy cv2", "problem", "without onnxruntime or onnxruntime_qnn"),
        ("onnxruntime", "problem", "without numpy, cv2"),
    ],
)
def test_the_packages_of_a_device(quick, tmp_path, monkeypatch, modules, level, text):
    """Its Python sees the modules of one folder and nothing else."""
    for module in modules.split():
        (tmp_path / "modules" / module).mkdir(parents=True)
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={tmp_path / "modules"} exec {sys.executable} -S "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PERSONDET_DEVICE_PYTHON", str(program))
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", str(tmp_path / "device"))
    found = [f for f in examination.examine(["device:local"], {}).findings if text in f.text]
    assert [f.level for f in found] == [level]


GETPROP = """#!/bin/sh
case "$1" in
  ro.build.version.release) echo 14;;
  ro.soc.model) echo SM8550;;
  ro.product.cpu.abi) echo arm64-v8a;;
esac
"""


@pytest.fixture
def phones(tmp_path, monkeypatch):
    """The folder of the phones behind the stand-in of adb."""
    folder = tmp_path / "devices"
    folder.mkdir()
    monkeypatch.setenv("ADB_STAND_IN", str(folder))
    monkeypatch.delenv("PERSONDET_DEVICE_FOLDER", raising=False)
    programs = adb_stand_in.install(tmp_path / "programs")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return folder


def add_phone(phones, serial, **behaviour):
    """An SM8550 with Android 14."""
    program = adb_stand_in.add_device(phones, serial, **behaviour).folder / "bin" / "getprop"
    program.parent.mkdir()
    program.write_text(GETPROP)
    program.chmod(0o755)


def test_phones_that_adb_sees(quick, phones):
    assert [found.text for found in adb_findings()] == ["sees no device"]
    add_phone(phones, "R58M12")
    add_phone(phones, "S1", state="unauthorized")
    add_phone(phones, "S2", lost_at="uname")
    good, locked, lost = adb_findings()
    assert "Android 14" in good.text
    assert "Snapdragon 8 Gen 2 (sm8550), Hexagon v73" in good.text
    assert (locked.text, locked.level) == ("S1 is unauthorized", "note")
    assert "went away in the middle" in lost.text
    assert not list((phones / "R58M12" / "tmp").iterdir())


def test_a_phone_needs_the_sdk(quick, phones, tmp_path):
    add_phone(phones, "R58M12")
    (stopped,) = examination.examine(["device:adb"], {}).stopped_by("device:adb")
    assert "no SDK here" in stopped.text
    for version, level, text in (
        ("2.25.0.240728", "ok", "has its runtime for it (aarch64-android)"),
        ("1.51.0.2663", "note", "has no skel for Hexagon v73"),
    ):
        root = imitation_sdk.make_sdk(tmp_path, version)
        examined = examination.examine(["device:adb"], dict(os.environ), sdk_folder=root)
        assert examined.can_run
        (found,) = [f for f in examined.findings if f.topic.startswith("device") and text in f.text]
        assert found.level == level


def test_from_the_shell():
    finished = subprocess.run(
        [sys.executable, "-m", "persondet.cli", "doctor", "--for", "run", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode in (0, 1)
    assert json.loads(finished.stdout)["jobs"].keys() == {"run"}
