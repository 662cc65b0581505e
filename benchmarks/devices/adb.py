"""An Android device behind adb."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.devices.shell_line import DeviceLostError, run_line, shell_line
from export.process import Finished, run_process
from persondet.errors import InputError, PersondetError

_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_HOME = "/data/local/tmp"  # the one folder of Android where a shell may write and run programs
_SHORT_S = 30.0

# What adb says -> what to do; before a device answered for the first time.
_REMEDIES = (
    (
        "unauthorized",
        "unlock it and accept the question whether to allow debugging; if none comes, revoke the "
        "authorisations in its developer options and plug it in again",
    ),
    ("more than one", "name one: --device adb:SERIAL"),
    ("no devices", "plug it in and enable USB debugging; `adb devices` must list it"),
    ("not found", "`adb devices` lists the serial numbers of those that are there"),
    ("offline", "plug it in again, or `adb reconnect`"),
    ("authorizing", "it has not answered yet: try again in a few seconds"),
    ("no permissions", "adb may not open the USB device: udev rules are missing on this machine"),
    ("cannot connect to daemon", "`adb kill-server`, then again"),
)


@dataclass(frozen=True)
class SeenDevice:
    """state: `device` where it can be used; `unauthorized`, `offline` ... otherwise."""

    serial: str
    state: str


def seen_devices() -> tuple[SeenDevice, ...]:
    """What `adb devices` lists. Raises InputError where adb is not installed."""
    finished = _adb(["devices"], "listing the devices of adb")
    rows = [line.split("\t") for line in finished.stdout.splitlines() if "\t" in line]
    return tuple(SeenDevice(row[0].strip(), row[1].strip()) for row in rows)


class AdbLink:
    """See benchmarks.devices.transport.Link. serial: empty where one device is connected.

    Raises InputError where adb is not installed, and where no, or more than one, device answers.
    """

    def __init__(self, serial: str = "") -> None:
        if serial and not _SERIAL.fullmatch(serial):
            raise InputError(f"--device adb:{serial}: expected a serial as `adb devices` lists it")
        self.serial = serial or _only_serial()
        self.name = f"adb:{self.serial}"
        self._connected = False
        self.run(["true"], what=f"reaching {self.name}", timeout_s=_SHORT_S)
        self._connected = True

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Finished:
        line = shell_line(argv, env, cwd)
        prefix = ["adb", "-s", self.serial, "shell"]
        return run_line(prefix, line, what=what, timeout_s=timeout_s, explain=self._explanation)

    def send(self, local: Path, remote: str, timeout_s: float) -> None:
        self._copy(["push", str(local.absolute()), remote], timeout_s)

    def fetch(self, remote: str, local: Path, timeout_s: float) -> None:
        self._copy(["pull", remote, str(local.absolute())], timeout_s)

    def home(self) -> str:
        return _HOME

    def close(self) -> None:
        pass

    def _copy(self, words: list[str], timeout_s: float) -> None:
        argv = ["-s", self.serial, *words]
        finished = _adb(argv, f"adb {words[0]} of {words[1]}", timeout_s)
        if finished.code == 0:
            return
        text = finished.stderr + finished.stdout
        if any(sign in text for sign in ("not found", "offline", "no devices", "closed", "EOF")):
            raise self._explanation(finished)
        raise PersondetError(f"adb {words[0]} of {words[1]} failed: {_complaint(finished)}")

    def _explanation(self, process: Finished) -> Exception:
        if self._connected:
            return DeviceLostError(
                f"{self.name} went away in the middle ({_complaint(process)}); check its cable and "
                "its battery, and run again"
            )
        return _unreachable(self.name, process)


def _only_serial() -> str:
    """The one device that is connected; those that do not answer do not count beside one."""
    devices = seen_devices()
    usable = [device.serial for device in devices if device.state == "device"]
    if len(usable) == 1:
        return usable[0]
    if len(usable) > 1:
        names = ", ".join(f"adb:{serial}" for serial in usable)
        raise InputError(f"more than one device is connected; name one as --device: {names}")
    if devices:
        text = f"{devices[0].serial} is {devices[0].state}"
        raise _unreachable(f"adb:{devices[0].serial}", Finished((), 1, "", text))
    raise _unreachable("a device over adb", Finished((), 1, "", "no devices are connected"))


def _unreachable(name: str, process: Finished) -> InputError:
    text = process.stderr + process.stdout
    remedies = (remedy for words, remedy in _REMEDIES if words in text)
    remedy = next(remedies, "does `adb shell true` work?")
    return InputError(f"cannot reach {name}: {_complaint(process)}; {remedy}")


def _complaint(process: Finished) -> str:
    """The line of adb's own; for some failures it goes on for several."""
    lines = (process.stderr.strip() or process.stdout.strip()).splitlines()
    own = [line for line in lines if line.startswith(("adb:", "error:"))]
    return (own or lines[-1:] or [f"adb ended with {process.code} and said nothing"])[0]


def _adb(words: list[str], what: str, timeout_s: float = _SHORT_S) -> Finished:
    if shutil.which("adb") is None:
        raise InputError(
            "the program adb is not installed: Android's platform tools, or apt install adb"
        )
    return run_process(["adb", *words], what=what, timeout_s=timeout_s)
