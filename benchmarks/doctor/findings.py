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
# A kind of model that `run` may run: a job of its own, `run` being any of them.
RUN_JOBS = {"run:onnx": "ONNX models", "run:dlc": "DLC models", "run:pth": "checkpoints (.pth)"}
DEVICE_JOB = "device:"


@dataclass(frozen=True)
class Finding:
    """level: `problem` is wrong and has a remedy; `note` is not, such as a package that nobody has
    to install.

    topic: what was looked at. text: what was found. stops: the jobs that cannot run so.
    """

    topic: str
    level: Literal["ok", "note", "problem"]
    text: str
    remedy: str = ""
    stops: tuple[str, ...] = ()


def ok(topic: str, text: str) -> Finding:
    return Finding(topic, "ok", text)


def note(topic: str, text: str, remedy: str = "", stops: Iterable[str] = ()) -> Finding:
    return Finding(topic, "note", text, remedy, tuple(stops))


def problem(topic: str, text: str, remedy: str, stops: Iterable[str] = ()) -> Finding:
    return Finding(topic, "problem", text, remedy, tuple(stops))
