"""Devices: those that adb sees, and whether one can run models."""

import os
import shutil

from benchmarks.devices.adb import AdbLink, SeenDevice, seen_devices
from benchmarks.devices.device_system import device_system
from benchmarks.devices.python_board import check_python, device_python
from benchmarks.devices.snpe_files import TARGET_VARIABLE, device_files, sdk_target
from benchmarks.devices.soc_report import SocReport, ask_soc
from benchmarks.devices.transport import Transport, open_transport
from benchmarks.doctor.findings import DEVICE_JOB, Finding, note, ok, problem
from export.sdk.sdk import Sdk
from persondet.errors import InputError, PersondetError

LEAST_DEVICE_BYTES = 300 * 10**6  # the SDK's libraries and skels, and a model
_ADB_REMEDIES = {
    "unauthorized": "unlock it and allow debugging from this computer",
    "offline": "plug it in again, or `adb reconnect`",
    "no permissions": "udev rules for its USB device are missing on this machine",
}
_MODULES = {"numpy": "numpy", "cv2": "opencv-python-headless"}
_RUNS = {"onnxruntime": ("ONNX", "onnxruntime"), "onnxruntime_qnn": ("DLC", "onnxruntime-qnn")}
_PROBE = f"""
import importlib.util as u
for name in {(*_MODULES, *_RUNS)!r}:
    print(("has=" if u.find_spec(name) else "lacks=") + name)
"""


def adb_findings() -> list[Finding]:
    """What adb sees. No problems: no job was asked of a device."""
    topic = "adb"
    if shutil.which("adb") is None:
        return [note(topic, "not installed", "for Android devices: apt install adb")]
    try:
        devices = seen_devices()
    except PersondetError as error:
        return [note(topic, str(error), "`adb kill-server`, then again")]
    if not devices:
        return [note(topic, "sees no device", "plug one in and enable USB debugging")]
    return [_seen_finding(device) for device in devices]


def _seen_finding(device: SeenDevice) -> Finding:
    topic = "adb"
    if device.state != "device":
        remedy = _ADB_REMEDIES.get(device.state, "`adb devices` must list it as `device`")
        return note(topic, f"{device.serial} is {device.state}", remedy)
    try:
        report = ask_soc(Transport(AdbLink(device.serial), ""))  # makes no folder there
    except PersondetError as error:
        return note(topic, f"{device.serial}: {error}")
    more = f"more of it: persondet doctor --for device:adb:{device.serial}"
    return Finding(topic, "ok", f"{device.serial}: {report.text}", more)


def device_findings(device: str, sdk: Sdk | None) -> list[Finding]:
    """Whether the device, as `--device` names it, can run models. Whatever fails is a finding.

    sdk: this machine's, whose runtime can be pushed.
    """
    job = DEVICE_JOB + device
    try:
        with open_transport(device) as transport:
            report = ask_soc(transport)
            return [
                *_soc_findings(transport.name, report),
                *_way_findings(transport, report, job, sdk),
                _space_finding(transport, job),
            ]
    except PersondetError as error:
        what, _, remedy = str(error).partition("; ")
        return [problem(f"device {device}", what, remedy or "name it as --device does", [job])]


def _soc_findings(device: str, report: SocReport) -> list[Finding]:
    topic = f"device {device}"
    found = [ok(topic, report.text)]
    if not report.dsp_node:
        remedy = "without one, DLCs run emulated (x86-64) or on the CPU and GPU (SDK)"
        found.append(note(topic, "no Hexagon DSP is visible", remedy))
    elif not report.dsp_readable:
        remedy = "add the user to its group, or log in as another user"
        found.append(note(topic, f"this user may not open {report.dsp_node}", remedy))
    return found


def _way_findings(
    transport: Transport, report: SocReport, job: str, sdk: Sdk | None
) -> list[Finding]:
    """Models get there by Python or by the SDK; one is enough."""
    topic = f"device {transport.name}"
    by_python = None if report.is_android else _python_finding(transport, topic, job)
    by_sdk = None if sdk is None else _sdk_finding(transport, topic, job, sdk, report)
    if by_python is None and by_sdk is None:
        remedy = "Android runs models by the SDK's runtime: install the SDK here, and set SNPE_ROOT"
        return [problem(topic, "Android, and no SDK here", remedy, [job])]
    ways = [way for way in (by_python, by_sdk) if way is not None]
    if any(way.level == "ok" for way in ways):  # the other is no problem then
        return [way if way.level == "ok" else note(topic, way.text, way.remedy) for way in ways]
    return ways


def _sdk_finding(
    transport: Transport, topic: str, job: str, sdk: Sdk, report: SocReport
) -> Finding:
    """Whether the SDK has programs, libraries, and a skel for the DSP of this device."""
    try:
        target = sdk_target(sdk, device_system(transport), os.environ.get(TARGET_VARIABLE))
        files = device_files(sdk, target, "dsp")
    except InputError as error:
        what, _, remedy = str(error).partition("; ")
        return problem(topic, what, remedy or "use another SDK", [job])
    skels = [name for name in files if name.startswith("dsp/")]
    if report.soc and not any(f"v{report.soc.arch}" in name.lower() for name in skels):
        text = f"{sdk.name} has no skel for Hexagon v{report.soc.arch}: no dsp, but cpu and gpu"
        return note(topic, text, "use a newer SDK for the DSP")
    return ok(topic, f"{sdk.name} has its runtime for it ({target})")


def _python_finding(transport: Transport, topic: str, job: str) -> Finding:
    python = device_python(transport)
    try:
        version = check_python(transport, python)
    except InputError as error:
        return problem(topic, "no usable Python", str(error), [job])
    finished = transport.run([python, "-c", _PROBE], timeout_s=60.0, what="asking for packages")
    answers = [line.partition("=") for line in finished.stdout.split("\n") if "=" in line]
    has = {name for answer, _, name in answers if answer == "has"}
    text = f"Python {'.'.join(map(str, version))}"
    lacks = [name for name in _MODULES if name not in has]
    wheels = [_MODULES[name] for name in lacks]
    if not has & set(_RUNS):
        lacks.append(" or ".join(_RUNS))
        wheels.append("onnxruntime (for .onnx) or onnxruntime-qnn (for .dlc)")
    if finished.code != 0 or lacks:
        missing = f"{text}, without {', '.join(lacks) if answers else 'working packages'}"
        return problem(topic, missing, f"on the device, pip install {' and '.join(wheels)}", [job])
    kinds = ", ".join(
        f"{kind} models can run" if module in has else f"{kind} models cannot: no {wheel}"
        for module, (kind, wheel) in _RUNS.items()
    )
    return ok(topic, f"{text} with what our runtime needs, no SDK is needed: {kinds}")


def _space_finding(transport: Transport, job: str) -> Finding:
    topic, free = f"device {transport.name}", transport.free_bytes()
    if free is None:
        return note(topic, f"does not tell how much space {transport.folder} has")
    text = f"{free / 1e6:.0f} MB free in {transport.folder}"
    if free < LEAST_DEVICE_BYTES:
        remedy = "remove files there, or name another folder by PERSONDET_DEVICE_FOLDER"
        return problem(topic, text, remedy, [job])
    return ok(topic, text)
