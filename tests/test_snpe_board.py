"""snpe-net-run on a device: a stand-in for what goes wrong, and the imitation SDK."""

import sys
import tempfile
from pathlib import Path

import adb_stand_in
import numpy as np
import pytest
from imitation_sdk import ANDROID_TARGETS
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401
from tiny_detector import outputs_with, save_onnx, with_format

from benchmarks.devices.boards import open_board
from benchmarks.devices.device_system import device_system
from benchmarks.devices.shell_line import DeviceLostError
from benchmarks.devices.snpe_board import open_snpe_board
from benchmarks.devices.snpe_commands import RunSettings
from benchmarks.devices.snpe_files import DeviceSystem
from benchmarks.devices.transport import open_transport
from export.sdk.sdk import Sdk
from export.sdk.versions import parse_version
from persondet.errors import InputError, PersondetError

NHWC = with_format("float-nhwc")
HOST = "x86_64-linux-clang"
# Outputs are the mean of the input; `fault` is a file beside the tool.
_NET_RUN = """#!{python} -S
import array, os, sys
from pathlib import Path
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
libraries, skels = Path(os.environ["LD_LIBRARY_PATH"]), os.environ["ADSP_LIBRARY_PATH"].split(";")
assert (libraries / "libSNPE.so").exists() and len(skels) == 3, os.environ
assert Path(words["--container"]).exists()
fault = Path(__file__).with_name("fault")
fault = fault.read_text() if fault.exists() else ""
if fault.startswith("error_code"):
    sys.exit(fault)
if fault == "nothing":
    sys.exit()
for number, line in enumerate(Path(words["--input_list"]).read_text().splitlines()):
    values = array.array("f", Path(line).read_bytes())
    folder = Path(words["--output_dir"], f"Result_{{number}}")
    folder.mkdir(parents=True)
    mean = sum(values) / len(values)
    for name, size in (("scores", 38 * 3), ("boxes", 38 * 4)):
        data = array.array("f", [mean] * size).tobytes()
        if fault != "missing":
            (folder / f"{{name}}.raw").write_bytes(data[: len(data) // (2 if fault else 1)])
print("Successfully executed!")
"""


def stand_in(folder: Path, fault: str = "") -> Sdk:
    """An SDK for this machine."""
    for name in ("snpe-net-run", "snpe-throughput-net-run"):
        path = folder / "bin" / HOST / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_NET_RUN.format(python=sys.executable))
    library = folder / "lib" / HOST / "libSNPE.so"
    library.parent.mkdir(parents=True)
    library.write_text("library")
    return Sdk(folder, parse_version("2.10.0"))


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", str(tmp_path / "de vice"))
    (tmp_path / "t").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with open_transport("local") as transport:
        yield transport
    assert [path.name for path in (tmp_path / "de vice").iterdir()] in (
        [],
        ["persondet-snpe-2.10.0"],
    )
    assert list((tmp_path / "t").iterdir()) == []


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "a b;touch x$(id)'.dlc"
    path.write_bytes(b"what the stand-in never reads")
    return path


def frames(count: int) -> list[np.ndarray]:
    return [np.full(NHWC.input_shape, number, np.float32) for number in range(count)]


def test_outputs_come_back_in_order(device, model, tmp_path) -> None:
    sdk = stand_in(tmp_path / "sdk")
    with open_snpe_board(device, sdk, model, NHWC, RunSettings("cpu")) as board:
        runs = board.run(frames(12))
        assert board.run(frames(2)).outputs["scores"].shape == (2, 38, 3)
    np.testing.assert_array_equal(runs.outputs["boxes"][:, 5, 1], range(12))
    assert (runs.device, runs.durations_ns.shape) == ("SNPE 2.10.0, cpu", (0, 12))
    tool = tmp_path / "de vice" / "persondet-snpe-2.10.0" / HOST / "bin" / "snpe-net-run"
    before = tool.stat().st_ino
    with open_snpe_board(device, sdk, model, NHWC, RunSettings("cpu")):
        assert tool.stat().st_ino == before


@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ("nothing", r"left no .*/Result_0: expected results of 1 inputs, of which it began 0"),
        ("missing", r"^local: the output scores is missing in .*Result_0: expected scores\.raw,"),
        ("short", r"^local: .*scores\.raw has 228 bytes; scores of shape \(1, 38, 3\), float32"),
        ("error_code=402; error_message=Network partition has failed",
         r"snpe-net-run of SNPE 2\.10\.0 failed on local \(cpu\) with exit code 1\n  error_code=402"
         r"(.|\n)*cause:"),
    ],
)  # fmt: skip
def test_tools_that_fail(device, model, tmp_path, fault, match) -> None:
    sdk = stand_in(tmp_path / "sdk")
    with open_snpe_board(device, sdk, model, NHWC, RunSettings("cpu")) as board:
        place = tmp_path / "de vice" / "persondet-snpe-2.10.0" / HOST / "bin" / "fault"
        place.write_text(fault)
        with pytest.raises(PersondetError, match=match):
            board.run(frames(1))
        place.unlink()
        assert len(board.run(frames(1)).outputs["scores"]) == 1


def test_what_cannot_run_there(device, model, tmp_path, monkeypatch) -> None:
    sdk = stand_in(tmp_path / "sdk")
    onnx = save_onnx(tmp_path / "m.onnx", outputs_with({}))
    with (
        pytest.raises(InputError, match=r"m\.onnx: the SDK runs DLC files: convert it"),
        open_snpe_board(device, sdk, onnx, NHWC, RunSettings("cpu")),
    ):
        pass
    for name in ("SNPE_ROOT", "QNN_SDK_ROOT", "QAIRT_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(
            InputError, match=r"running on local by SNPE needs the SDK here: set SNPE_RO"
        ),
        open_board(device, model, NHWC, runtime="cpu"),
    ):
        pass


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PERSONDET_DEVICE_FOLDER", raising=False)
    monkeypatch.setenv("ADB_STAND_IN", str(tmp_path / "devices"))
    monkeypatch.setenv("PATH", f"{adb_stand_in.install(tmp_path / 'programs')}:/usr/bin:/bin")
    return adb_stand_in.add_device(tmp_path / "devices", "R58")


def test_a_phone_with_the_imitation_sdk(phone, imitation_sdk, tiny_dlc) -> None:
    """A float DLC on the CPU; diagnostics read by the host's snpe-diagview."""
    from runtime.dlc_backend import spec_of_dlc

    version = "2.5.0.4052"
    sdk = Sdk(imitation_sdk(version), parse_version(version))
    spec = spec_of_dlc(tiny_dlc)
    tensor = np.zeros(spec.input_shape, spec.input_dtype)
    with open_transport("adb") as device:
        assert device_system(device) == DeviceSystem("android", "arm64-v8a")
        with open_snpe_board(device, sdk, tiny_dlc, spec, RunSettings("cpu", "burst")) as board:
            board.load([tensor])
            run = board.net_run(RunSettings("cpu", "burst", "detailed"), fetch=True)
        kept = phone.home / "persondet" / f"persondet-snpe-{version}" / ANDROID_TARGETS[1]
        assert {path.name for path in kept.iterdir()} == {"bin", "lib"}
        assert run.outputs["scores"].shape == (1, *spec.output_shapes["scores"][1:])
        assert run.diagnostics is not None and run.diagnostics.execute
        dsp = RunSettings("dsp")
        with open_snpe_board(device, sdk, tiny_dlc, spec, dsp) as board:
            assert (kept / "dsp" / "libSnpeHtpV73Skel.so").is_file()
            with pytest.raises(PersondetError, match=r"the model is not quantized(.|\n)*cause:"):
                board.run([tensor])
    assert {path.name for path in kept.parents[1].iterdir()} == {f"persondet-snpe-{version}"}


def test_a_phone_that_goes_away_or_is_full(phone, model, tmp_path) -> None:
    sdk = stand_in(tmp_path / "sdk")
    (tmp_path / "sdk" / "bin" / HOST).rename(tmp_path / "sdk" / "bin" / "aarch64-android")
    (tmp_path / "sdk" / "lib" / HOST).rename(tmp_path / "sdk" / "lib" / "aarch64-android")
    phone.set("full_after", 2000)
    with (
        pytest.raises(InputError, match=r"the storage of adb:R58 is full"),
        open_transport("adb") as device,
        open_snpe_board(device, sdk, model, NHWC, RunSettings("cpu")),
    ):
        pass
    phone.set("full_after", "")
    phone.set("lost_at", "--container")
    with (
        pytest.raises(DeviceLostError, match=r"adb:R58 went away in the middle"),
        open_transport("adb") as device,
        open_snpe_board(device, sdk, model, NHWC, RunSettings("cpu")) as board,
    ):
        board.run(frames(1))
