"""The option --device of compare and evaluate, and the models that it opens there."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from benchmarks.devices.device_backend import DeviceBackend

RUNTIMES = ("cpu", "gpu", "gpu_fp16", "dsp", "aip")


@dataclass(frozen=True)
class DeviceChoice:
    """name: as --device has it. runtime: of the SDK's tools; None for our own, on Python."""

    name: str
    runtime: str | None

    def __str__(self) -> str:
        return self.name if self.runtime is None else f"{self.name} ({self.runtime})"

    def open(
        self, stack: contextlib.ExitStack, models: Sequence[str], spec_path: Path | None
    ) -> list["DeviceBackend"]:
        """The models, open on the device until the stack closes. Raises InputError where the device
        or a model cannot be used, saying why."""
        from benchmarks.devices.boards import open_board
        from benchmarks.devices.device_backend import DeviceBackend
        from benchmarks.devices.transport import open_transport
        from persondet.cli.opening import spec_of_model
        from persondet.models import resolve_model

        specs = [spec_of_model(model, spec_path) for model in models]
        transport = stack.enter_context(open_transport(self.name))
        backends = []
        for model, spec in zip(models, specs, strict=True):
            path = resolve_model(model)
            board = stack.enter_context(open_board(transport, path, spec, runtime=self.runtime))
            backends.append(DeviceBackend(path, board))
        return backends


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --device and --runtime, which arrive as `device`: a DeviceChoice or None."""

    @click.option(
        "--device",
        "device_name",
        metavar="DEVICE",
        help="Run there: adb, adb:SERIAL, ssh:USER@HOST[:PORT], or local.",
    )
    @click.option(
        "--runtime",
        type=click.Choice(RUNTIMES),
        help="Run by the SDK's snpe-net-run on this, instead of by our runtime under the device's "
        "Python. Default with adb: dsp.",
    )
    @functools.wraps(command)
    def wrapped(*, device_name: str | None, runtime: str | None, **options: Any) -> Any:
        if device_name is None and runtime is not None:
            raise click.UsageError("--runtime is of a device: name it by --device")
        device = None if device_name is None else DeviceChoice(device_name, runtime)
        return command(device=device, **options)

    return wrapped
