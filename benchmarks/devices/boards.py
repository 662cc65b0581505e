"""A model on a device, by our own runtime or by the SDK's."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.devices.device_backend import Board
from benchmarks.devices.python_board import open_python_board
from benchmarks.devices.transport import Transport
from persondet.spec import DetectorSpec

_ADB_RUNTIME = "dsp"  # Android has no Python, and a DLC is made for the DSP


@contextlib.contextmanager
def open_board(
    transport: Transport, model: Path, spec: DetectorSpec, *, runtime: str | None = None
) -> Iterator[Board]:
    """Put a model on a device, for as long as the block lasts.

    runtime: cpu, gpu, gpu_fp16, dsp or aip, run by the SDK that the environment names; None: our
    runtime under the device's Python, or over adb, where there is none, the SDK's dsp.
    Raises InputError where the model, the SDK or the device does not allow that.
    """
    if runtime is None and transport.name.startswith("adb:"):
        runtime = _ADB_RUNTIME
    if runtime is None:
        with open_python_board(transport, model, spec) as board:
            yield board
        return
    from benchmarks.devices.snpe_board import open_snpe_board, required_sdk
    from benchmarks.devices.snpe_commands import RunSettings

    sdk = required_sdk(os.environ, transport.name)
    with open_snpe_board(transport, sdk, model, spec, RunSettings(runtime)) as snpe_board:
        yield snpe_board
