"""adb, for tests: run as a program it acts as adb does, on a folder per serial.

The variable ADB_STAND_IN names the folder of the devices. A device's folder holds its files, of
which /data/local/tmp is `tmp`, and how it behaves:
  state       what `adb devices` says: device, unauthorized, offline
  full_after  pushes of more bytes in all find no space
  full_at     nor do pushes to a path with this text in it
  lost_at     a command or a copy with this text in it: the device goes offline in the middle
  torn        so many pushes to come arrive damaged
  old         its shell merges the streams, ends lines with \\r\\n and says no exit code
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HOME = "/data/local/tmp"


class Device:
    def __init__(self, folder: Path) -> None:
        self.folder, self.serial = folder, folder.name

    def get(self, name: str, default: str = "") -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else default

    def set(self, name: str, value: object) -> None:
        (self.folder / name).write_text(str(value))

    @property
    def home(self) -> Path:
        return self.folder / "tmp"

    def here(self, text: str) -> str:
        return text.replace(HOME, str(self.home))

    def loses(self, text: str) -> bool:
        where = self.get("lost_at")
        if where and where in text:
            self.set("state", "offline")
            return True
        return False


def add_device(devices: Path, serial: str, **behaviour: object) -> Device:
    device = Device(devices / serial)
    device.home.mkdir(parents=True)
    for name, value in {"state": "device", **behaviour}.items():
        device.set(name, value)
    return device


def install(folder: Path) -> Path:
    """A folder for PATH with a program adb in it."""
    folder.mkdir()
    program = folder / "adb"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" "$@"\n')
    program.chmod(0o755)
    return folder


def _fail(text: str) -> None:
    print(text, file=sys.stderr)
    sys.exit(1)


def _chosen(devices: list[Device], serial: str | None) -> Device:
    if serial is None:
        if not devices:
            _fail("adb: no devices/emulators found")
        if len(devices) > 1:
            _fail("adb: more than one device/emulator")
        device = devices[0]
    else:
        found = [device for device in devices if device.serial == serial]
        if not found:
            _fail(f"adb: device '{serial}' not found")
        device = found[0]
    if device.get("state") == "unauthorized":
        _fail(
            "adb: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n"
            "Try 'adb kill-server' if that seems wrong.\n"
            "Otherwise check for a confirmation dialog on your device."
        )
    if device.get("state") != "device":
        _fail(f"adb: device {device.get('state')}")
    return device


def _shell(device: Device, line: str) -> int:
    if device.loses(line):
        print("persondet-pid=1")
        return 255
    old = bool(device.get("old"))
    finished = subprocess.run(
        ["sh", "-c", device.here(line)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if old else None,
        cwd=device.home,
        env={**os.environ, "PATH": f"{_android_programs(device)}:{os.environ['PATH']}"},
    )
    output = finished.stdout.replace(str(device.home).encode(), HOME.encode())
    sys.stdout.buffer.write(output.replace(b"\n", b"\r\n") if old else output)
    return 0 if old else finished.returncode


def _android_programs(device: Device) -> Path:
    """A folder with getprop, as every Android has."""
    program = device.folder / "bin" / "getprop"
    if not program.exists():
        program.parent.mkdir()
        program.write_text('#!/bin/sh\n[ "$1" = ro.product.cpu.abi ] && echo arm64-v8a\n')
        program.chmod(0o755)
    return program.parent


def _push(device: Device, local: str, remote: str) -> int:
    if device.loses(local):
        _fail(f"adb: error: failed to copy '{local}' to '{remote}': couldn't read from device: EOF")
    data, place = Path(local).read_bytes(), Path(device.here(remote))
    room = device.get("full_after")
    if (full_at := device.get("full_at")) and full_at in remote:
        room = "0"
    if room:
        used = sum(path.stat().st_size for path in device.home.rglob("*") if path.is_file())
        if used + len(data) > int(room):
            place.write_bytes(data[: max(0, int(room) - used)])
            _fail(
                f"adb: error: failed to copy '{local}' to '{remote}': remote couldn't write file: "
                "No space left on device"
            )
    torn = int(device.get("torn", "0"))
    if torn:
        device.set("torn", torn - 1)
        data = data[:-1] + b"?"
    place.write_bytes(data)
    shutil.copymode(local, place)
    print(f"{local}: 1 file pushed, 0 skipped.")
    return 0


def _pull(device: Device, remote: str, local: str) -> int:
    if device.loses(remote):
        _fail("adb: error: connection closed")
    source = Path(device.here(remote))
    if not source.is_file():
        _fail(f"adb: error: failed to stat remote object '{remote}': No such file or directory")
    shutil.copyfile(source, local)
    return 0


def main(words: list[str]) -> int:
    folders = sorted(path for path in Path(os.environ["ADB_STAND_IN"]).iterdir() if path.is_dir())
    devices = [Device(folder) for folder in folders]
    if words == ["devices"]:
        print("List of devices attached")
        for device in devices:
            print(f"{device.serial}\t{device.get('state')}")
        print()
        return 0
    serial = None
    if words[0] == "-s":
        serial, words = words[1], words[2:]
    device = _chosen(devices, serial)
    command, *arguments = words
    commands: dict[str, Callable[..., int]] = {"shell": _shell, "push": _push, "pull": _pull}
    return commands[command](device, *arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
