"""Asks a device which system it runs.

Imports no OpenCV: doctor asks too, and has to start where OpenCV is missing or broken.
"""

from benchmarks.devices.snpe_files import DeviceSystem
from benchmarks.devices.transport import Transport


def device_system(transport: Transport) -> DeviceSystem:
    """Ask the device."""
    script = (
        "if command -v getprop >/dev/null; then echo android; getprop ro.product.cpu.abi; "
        'else echo linux; uname -m; . /etc/os-release 2>/dev/null; echo "$ID"; fi'
    )
    finished = transport.check(["sh", "-c", script], what=f"asking {transport.name} what it is")
    lines = [line.strip() for line in finished.stdout.split("\n")]
    return DeviceSystem(lines[0], lines[1], lines[2] if len(lines) > 2 else "")
