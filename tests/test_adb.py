"""adb, through a program that behaves and fails as adb does."""

from pathlib import Path

import adb_stand_in
import pytest

from benchmarks.devices import transport as module
from benchmarks.devices.adb import SeenDevice, seen_devices
from benchmarks.devices.shell_line import DeviceLostError
from benchmarks.devices.transport import open_transport
from persondet.errors import InputError, PersondetError

NASTY = "a b;touch x$(id)'.dlc"


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    monkeypatch.delenv("PERSONDET_DEVICE_FOLDER", raising=False)
    folder = tmp_path / "devices"
    folder.mkdir()
    monkeypatch.setenv("ADB_STAND_IN", str(folder))
    programs = adb_stand_in.install(tmp_path / "programs")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return folder


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / NASTY
    path.write_bytes(bytes(range(256)) * 20)
    return path


def refused(device: str, match: str) -> None:
    with pytest.raises(InputError, match=match), open_transport(device):
        pass


@pytest.mark.parametrize("behaviour", [{}, {"old": 1}])
def test_files_and_commands_reach_the_one_device(devices, given, tmp_path, behaviour) -> None:
    here = adb_stand_in.add_device(devices, "R58M12", **behaviour)
    adb_stand_in.add_device(devices, "asleep", state="offline")
    with open_transport("adb") as device:
        assert (device.name, device.folder) == ("adb:R58M12", "/data/local/tmp/persondet")
        remote = f"{device.folder}/{NASTY}"
        assert device.push(given, remote) is True
        assert device.push(given, remote) is False
        assert (here.home / "persondet" / NASTY).read_bytes() == given.read_bytes()
        device.pull(remote, tmp_path / "back")
        finished = device.run(
            ["sh", "-c", 'echo "$V $1"; pwd; exit 7', "sh", NASTY],
            timeout_s=30,
            env={"V": "$HOME;"},
            cwd=device.folder,
        )
    assert (tmp_path / "back").read_bytes() == given.read_bytes()
    assert finished.code == 7
    assert finished.stdout == f"$HOME; {NASTY}\n/data/local/tmp/persondet\n"


def test_no_device(devices) -> None:
    refused("adb", r"cannot reach a device over adb: no devices.*; plug it in and enable USB debug")
    refused("adb:R58", r"cannot reach adb:R58: adb: device 'R58' not found; `adb devices` lists")


def test_no_adb(devices, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    refused("adb", r"the program adb is not installed: Android's platform tools, or apt install")


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ("unauthorized", r"unauthorized.*; unlock it and accept the question"),
        ("offline", r"offline; plug it in again, or `adb reconnect`"),
        ("authorizing", r"authorizing; it has not answered yet"),
    ],
)
def test_a_device_that_does_not_answer(devices, state, match) -> None:
    adb_stand_in.add_device(devices, "R58", state=state)
    refused("adb", rf"cannot reach adb:R58: .*{match}")
    refused("adb:R58", rf"cannot reach adb:R58: .*{match}")
    assert seen_devices() == (SeenDevice("R58", state),)


def test_two_devices(devices) -> None:
    for serial in ("R58", "emulator-5554"):
        adb_stand_in.add_device(devices, serial)
    refused("adb", r"more than one device is connected; name one.*: adb:R58, adb:emulator-5554")
    with open_transport("adb:emulator-5554") as device:
        assert device.name == "adb:emulator-5554"


@pytest.mark.parametrize("serial", ["-s", "a;id", "a b", "$(id)"])
def test_a_serial_is_no_option_and_no_command(devices, serial) -> None:
    refused(f"adb:{serial}", r"expected a serial as `adb devices` lists it")


def test_offline_in_the_middle_of_a_command(devices) -> None:
    adb_stand_in.add_device(devices, "R58", lost_at="long-work")
    match = (
        r"adb:R58 went away in the middle \(adb ended with 255 and said nothing\); check its cable"
    )
    match += r".*; its folder /data/local/tmp/.*run-"
    with (
        pytest.raises(DeviceLostError, match=match),
        open_transport("adb") as device,
        device.run_folder(),
    ):
        device.run(["long-work"], timeout_s=30)


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_offline_in_the_middle_of_a_copy(devices, given, tmp_path, direction) -> None:
    here = adb_stand_in.add_device(devices, "R58")
    with (
        pytest.raises(DeviceLostError, match=r"adb:R58 went away in the middle"),
        open_transport("adb") as device,
    ):
        if direction == "pull":
            device.push(given, f"{device.folder}/x")
        here.set("lost_at", NASTY if direction == "push" else "/x")
        if direction == "push":
            device.push(given, f"{device.folder}/x")
        else:
            device._link.fetch(f"{device.folder}/x", tmp_path / "back", 30)
    assert not (tmp_path / "back").exists()


def test_full_storage(devices, given) -> None:
    adb_stand_in.add_device(devices, "R58", full_after=1000)
    match = r"the storage of adb:R58 is full: /data/local/tmp/persondet"
    with open_transport("adb") as device:
        with pytest.raises(InputError, match=match), device.run_folder() as remote:
            device.push(given, f"{remote}/x")
        with pytest.raises(InputError, match=match):
            device.push(given, f"{device.folder}/kept for good")
    assert list((devices / "R58" / "tmp" / "persondet").iterdir()) == []


def test_copies_that_arrive_torn(devices, given) -> None:
    here = adb_stand_in.add_device(devices, "R58", torn=2)
    with open_transport("adb") as device:
        device.push(given, f"{device.folder}/x")
        assert (here.home / "persondet" / "x").read_bytes() == given.read_bytes()
        here.set("torn", 9)
        with pytest.raises(PersondetError, match=r"to adb:R58:.*/y: another sha256 arrived, 3"):
            device.push(given, f"{device.folder}/y")
