"""What an examination found, and which jobs that stops."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# A job of this machine: what the command does in words. Jobs of devices are named `device:WHERE`.
JOBS = {
    "export": "checkpoint to ONNX",
    "convert": "ONNX to DLC",
    "quantize": "ONNX and pictures to a quantized DLC",
    "run": "detect, compare and benchmark models on this machine",
}
DEVICE_JOB = "device:"


@dataclass(frozen=True)
class Finding:
    """level: `problem` has a remedy and stops the jobs in `stops`, if any; `note` stops nothing.

    topic: what was looked at. text: what was found.
    """

    topic: str
    level: Literal["ok", "note", "problem"]
    text: str
    remedy: str = ""
    stops: tuple[str, ...] = ()


def ok(topic: str, text: str) -> Finding:
    return Finding(topic, "ok", text)


def note(topic: str, text: str, remedy: str = "") -> Finding:
    return Finding(topic, "note", text, remedy)


def problem(topic: str, text: str, remedy: str, stops: Iterable[str] = ()) -> Finding:
    return Finding(topic, "problem", text, remedy, tuple(stops))
