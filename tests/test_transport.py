"""Files there and back: whole, torn, missing, full; folders of ours and of others."""

import os
import time
from pathlib import Path

import pytest

from benchmarks.devices import transport as module
from benchmarks.devices.archives import pull_folder, push_folder
from benchmarks.devices.local import LocalLink
from benchmarks.devices.shell_line import DeviceLostError
from benchmarks.devices.transport import Transport, open_transport
from export.process import Finished
from persondet.errors import InputError, PersondetError

NASTY = "a b;touch x$(id)'.dlc"


class FaultyLink(LocalLink):
    """This machine; `faults` are raised, or done to the copy, one a copy."""

    def __init__(self, *faults) -> None:
        self.faults, self.copies = list(faults), 0

    def send(self, local: Path, remote: str, timeout_s: float) -> None:
        super().send(local, remote, timeout_s)
        self._spoil(Path(remote))

    def fetch(self, remote: str, local: Path, timeout_s: float) -> None:
        super().fetch(remote, local, timeout_s)
        self._spoil(local)

    def _spoil(self, path: Path) -> None:
        self.copies += 1
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        if fault == "torn":
            path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / NASTY
    path.write_bytes(bytes(range(256)) * 20)
    return path


def at(tmp_path: Path, *faults) -> Transport:
    folder = tmp_path / f"device {NASTY}"
    folder.mkdir()
    return Transport(FaultyLink(*faults), str(folder))


def test_there_and_back(tmp_path: Path, given: Path) -> None:
    device = at(tmp_path)
    remote = f"{device.folder}/new folder/{NASTY}"
    assert device.push(given, remote) is True
    assert device.push(given, remote) is False
    device.pull(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == given.read_bytes()
    given.write_bytes(b"changed")
    assert device.push(given, remote) is True
    assert Path(remote).read_bytes() == b"changed"


def test_checksums_of_many_files_are_theirs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 4)
    device = at(tmp_path)
    files = {}
    for number in range(13):
        path = tmp_path / f"{number}"
        path.write_text(str(number))
        files[f"{device.folder}/f {number}"] = path
    assert device.push_all(files) == 13
    sums = device.checksums([*files, f"{device.folder}/none"])
    assert list(sums) == list(files) and len(set(sums.values())) == 13
    assert device.push_all(files) == 0


def test_a_torn_copy_is_made_again(tmp_path: Path, given: Path) -> None:
    device = at(tmp_path, "torn", DeviceLostError("hiccup"))
    assert device.push(given, f"{device.folder}/x") is True
    assert Path(device.folder, "x").read_bytes() == given.read_bytes()
    assert device._link.copies == 3
    device._link.faults = ["torn"]
    device.pull(f"{device.folder}/x", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == given.read_bytes()


def test_a_copy_that_stays_torn_is_an_error(tmp_path: Path, given: Path) -> None:
    device = at(tmp_path, "torn", "torn", "torn")
    with pytest.raises(PersondetError, match=r"another sha256 arrived, 3 times; check the cable"):
        device.push(given, f"{device.folder}/x")
    device = Transport(FaultyLink("torn", "torn", "torn"), device.folder)
    Path(device.folder, "y").write_bytes(b"12345")
    (tmp_path / "back").write_text("what was there")
    with pytest.raises(PersondetError, match=r"y to .*back: another sha256 arrived"):
        device.pull(f"{device.folder}/y", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "what was there"
    assert not (tmp_path / "back.part").exists()


def test_a_device_that_stays_away_is_said(tmp_path: Path, given: Path) -> None:
    device = at(tmp_path, *(DeviceLostError("local went away in the middle") for _ in range(3)))
    with pytest.raises(DeviceLostError, match=r"^local went away in the middle$"):
        device.push(given, f"{device.folder}/x")


def test_full_storage(tmp_path: Path, given: Path) -> None:
    device = at(tmp_path, PersondetError("cat: write error: No space left on device"))
    match = r"the storage of local is full: .*MiB free\); remove files there, or name a folder"
    with pytest.raises(InputError, match=match):
        device.push(given, f"{device.folder}/x")
    assert device._link.copies == 1


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    device = at(tmp_path)
    with pytest.raises(PersondetError, match=r"local has no file .*/none, which was expected"):
        device.pull(f"{device.folder}/none", tmp_path / "back")


def test_a_device_without_sha256sum(tmp_path: Path, given: Path, monkeypatch) -> None:
    device = at(tmp_path)
    answer = Finished((), 0, "", "sh: sha256sum: not found")
    monkeypatch.setattr(device._link, "run", lambda argv, **_: answer)
    with pytest.raises(PersondetError, match=r"no working sha256sum.*\n? *sh: sha256sum: not fou"):
        device.push(given, f"{device.folder}/x")


def test_folders_as_one_archive(tmp_path: Path) -> None:
    device = at(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / NASTY).write_text("1")
    (source / "two").write_text("2")
    push_folder(device, source, f"{device.folder}/in here")
    assert Path(device.folder, "in here", NASTY).read_text() == "1"
    Path(device.folder, "in here", "Result_0").mkdir()
    Path(device.folder, "in here", "Result_0", "a.raw").write_text("3")
    pull_folder(device, f"{device.folder}/in here", tmp_path / "back")
    assert (tmp_path / "back" / "Result_0" / "a.raw").read_text() == "3"
    assert (tmp_path / "back" / NASTY).read_text() == "1"
    assert sorted(path.name for path in Path(device.folder).iterdir()) == ["in here"]


def test_only_folders_of_ours_are_removed(tmp_path: Path) -> None:
    device = at(tmp_path)
    for remote in ("/", device.folder, f"{device.folder}/", f"{device.folder}/../x", f"{tmp_path}"):
        with pytest.raises(ValueError, match=r"is not below"):
            device.remove_folder(remote)


@pytest.mark.parametrize("error", [None, PersondetError("x"), KeyboardInterrupt()])
def test_a_run_leaves_nothing(tmp_path: Path, error) -> None:
    device = at(tmp_path)
    left = Path(device.folder, "persondet-run-1-dead")
    left.mkdir()
    os.utime(left, (0, 0))
    Path(device.folder, "persondet-run-2-busy").mkdir()
    try:
        with device.run_folder() as remote:
            Path(remote, "file").write_text("x")
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    assert [path.name for path in Path(device.folder).iterdir()] == ["persondet-run-2-busy"]


def test_what_was_pushed_for_good_goes_when_no_run_has_used_it_for_a_week(tmp_path: Path) -> None:
    device = at(tmp_path)
    day = 24 * 3600
    for name, days in {
        "persondet-snpe-2.10.0": 30,
        "persondet-snpe-2.5.0": 9,
        "persondet-snpe-2.25.0": 2,
        "persondet-runtime-abc.zip": 30,
        "snpe-mine": 30,
        "run-2024": 30,
        "runtime-mine.zip": 30,
    }.items():
        Path(device.folder, name).mkdir()
        os.utime(Path(device.folder, name), (time.time() - days * day,) * 2)
    with device.run_folder(uses=f"{device.folder}/persondet-snpe-2.10.0"):
        pass
    with device.run_folder():  # that one has been used now
        pass
    left = {path.name for path in Path(device.folder).iterdir()}
    others = {"snpe-mine", "run-2024", "runtime-mine.zip"}  # not ours
    assert left == {"persondet-snpe-2.10.0", "persondet-snpe-2.25.0", *others}


def test_a_run_on_a_lost_device_names_what_it_leaves(tmp_path: Path, monkeypatch) -> None:
    device = at(tmp_path)

    def lost(*_, **__):
        raise DeviceLostError("it went away")

    def run() -> None:
        with device.run_folder():
            monkeypatch.setattr(device._link, "run", lost)
            lost()

    with pytest.raises(
        DeviceLostError, match=r"^it went away; its folder .*/persondet-run-\S+ could"
    ):
        run()


def test_which_devices_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(InputError, match=r"--device usb: expected adb, adb:SERIAL, ssh:USER@HOST"),
        open_transport("usb"),
    ):
        pass
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", "relative")
    with (
        pytest.raises(InputError, match=r"PERSONDET_DEVICE_FOLDER=relative: expected an absolute"),
        open_transport("local"),
    ):
        pass
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", str(tmp_path / "made"))
    with open_transport("local") as device:
        assert Path(device.folder).is_dir()
        assert (device.free_bytes() or 0) > 0


def test_env_is_added_to_the_device_s(tmp_path: Path) -> None:
    finished = at(tmp_path).run(
        ["sh", "-c", 'echo "$A|$HOME"; pwd'], timeout_s=30, env={"A": NASTY}, cwd=str(tmp_path)
    )
    assert finished.stdout == f"{NASTY}|{os.environ['HOME']}\n{tmp_path}\n"
