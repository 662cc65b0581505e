"""A device with the SDK's runtime: its binaries are pushed once, and snpe-net-run runs there."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.devices.archives import pull_folder, push_folder
from benchmarks.devices.device_system import device_system
from benchmarks.devices.python_board import BoardRuns
from benchmarks.devices.snpe_commands import (
    RunSettings,
    check_settings,
    net_run_words,
    takes_output_tensors,
    throughput_words,
)
from benchmarks.devices.snpe_files import (
    TARGET_VARIABLE,
    device_files,
    device_variables,
    sdk_target,
)
from benchmarks.devices.transport import SNPE_NAME, Transport
from export.process import Finished, run_process
from export.sdk.messages import explain, explanation_lines
from export.sdk.output_layers import output_layers
from export.sdk.parsers.diagview import DiagReport, parse_diagview
from export.sdk.parsers.net_run import processed_inputs
from export.sdk.parsers.throughput import Throughput, parse_throughput
from export.sdk.raw_files import input_list, raw_input, raw_name, write_raw
from export.sdk.sdk import Sdk, find_sdk, sdk_environment
from persondet.errors import InputError, PersondetError
from persondet.spec import DetectorSpec
from persondet.temporary import temporary_folder
from runtime.backend import model_kind
from runtime.qairt.container import check_container
from runtime.raw_results import read_result

_TIMEOUT_S = 1800.0
_DIAG_NAMES = ("SNPEDiag_0.log", "SNPEDiag.log")
_SHOWN_LINES = 12


@dataclass(frozen=True, eq=False)
class NetRun:
    """outputs: by name, (N, ...); empty where they were not fetched. diagnostics: the SDK's
    averages over the list; None where the tool wrote no log of them."""

    outputs: dict[str, np.ndarray]
    diagnostics: DiagReport | None


class SnpeBoard:
    """A DLC on a device with the SDK's tools. Made by `open_snpe_board`.

    remote: the run's folder on the device, which holds the model. folder: of the SDK's files there.
    output_layers: for a tool that takes its outputs from the input list.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        sdk: Sdk,
        folder: str,
        variables: Mapping[str, str],
        remote: str,
        spec: DetectorSpec,
        settings: RunSettings,
        output_layers: Sequence[str] = (),
    ) -> None:
        self.name = transport.name
        self.spec = spec
        self.settings = settings
        self._transport, self._sdk = transport, sdk
        self._folder, self._variables, self._remote = folder, variables, remote
        self._output_layers = output_layers
        self._count = 0

    def run(self, tensors: Sequence[np.ndarray]) -> BoardRuns:
        """Run each tensor (spec.input_shape, spec.input_dtype) once; no times.

        Raises PersondetError, with the tool's own words and what is known of them, where running
        fails or outputs of another size come back; DeviceLostError.
        """
        self.load(tensors)
        outputs = self.net_run(replace(self.settings, profiling_level="off"), fetch=True).outputs
        device = f"{self._sdk.name}, {self.settings.runtime}"
        return BoardRuns(outputs, np.empty((0, len(tensors)), np.int64), 0, device, False, {})

    def load(self, tensors: Sequence[np.ndarray]) -> None:
        """Put the tensors on the device, as the frames that later runs take."""
        raw = raw_input(self.spec)
        with temporary_folder("persondet-device-") as folder:
            files = [raw_name(index, "frame") for index in range(len(tensors))]
            for file, tensor in zip(files, tensors, strict=True):
                write_raw(folder / file, tensor, raw)
            rows = [Path("inputs", file) for file in files]
            text = input_list(rows, output_layers=self._output_layers)
            (folder / "list.txt").write_text(text, encoding="utf-8")
            self._transport.remove_folder(f"{self._remote}/inputs")
            push_folder(self._transport, folder, f"{self._remote}/inputs")
        self._count = len(tensors)

    def net_run(self, settings: RunSettings, *, fetch: bool = False) -> NetRun:
        """snpe-net-run over what was loaded, once. fetch: the outputs, too.

        settings: instead of the board's own; the runtime must be one for which files were pushed.
        """
        check_settings(settings, self._sdk.version)
        words = net_run_words(
            *(settings, self._sdk.version),
            container="model.dlc",
            input_list="inputs/list.txt",
            output_dir="output",
            outputs=tuple(self.spec.output_shapes),
        )
        output = f"{self._remote}/output"
        self._transport.remove_folder(output)  # an earlier run's results prove nothing
        finished = self._tool("snpe-net-run", words)
        try:
            self._check(finished, "snpe-net-run")
            self._check_results(finished, output)
            with temporary_folder("persondet-device-") as local:
                try:
                    outputs = self._outputs(output, local) if fetch else {}
                except PersondetError as error:
                    raise PersondetError(f"{self.name}: {error}{_said(finished)}") from None
                diagnostics = None
                if settings.profiling_level != "off":
                    diagnostics = self._diagnostics(output, local)
                return NetRun(outputs, diagnostics)
        finally:
            self._transport.remove_folder(output)

    def throughput(self, settings: RunSettings, duration_s: int) -> Throughput:
        """snpe-throughput-net-run on the first loaded frame, for so many seconds."""
        check_settings(settings, self._sdk.version)
        frame = f"inputs/{raw_name(0, 'frame')}"
        words = throughput_words(
            *(settings, self._sdk.version),
            container="model.dlc",
            duration_s=duration_s,
            input_raw=frame,
            outputs=tuple(self.spec.output_shapes),
        )
        finished = self._tool("snpe-throughput-net-run", words, timeout_s=duration_s + _TIMEOUT_S)
        self._check(finished, "snpe-throughput-net-run")
        return parse_throughput(finished.stdout)

    def _tool(self, name: str, words: Sequence[str], timeout_s: float = _TIMEOUT_S) -> Finished:
        return self._transport.run(
            [f"{self._folder}/bin/{name}", *words],
            what=f"{name} on {self.name}",
            timeout_s=timeout_s,
            env=self._variables,
            cwd=self._remote,
        )

    def _check(self, finished: Finished, tool: str) -> None:
        if finished.code == 0:
            return
        self._transport.raise_if_full(finished.stderr + finished.stdout)
        raise PersondetError(
            f"{tool} of {self._sdk.name} failed on {self.name} ({self.settings.runtime}) with exit "
            f"code {finished.code}{_said(finished)}"
        )

    def _check_results(self, finished: Finished, output: str) -> None:
        """A tool that ends with 0 and writes nothing has failed as well."""
        last = f"{output}/Result_{self._count - 1}"
        looked = self._transport.run(["test", "-d", last], timeout_s=_TIMEOUT_S)
        if looked.code != 0:
            begun = processed_inputs(finished.stdout)
            raise PersondetError(
                f"snpe-net-run of {self._sdk.name} ended well on {self.name} but left no {last}: "
                f"expected results of {self._count} inputs, of which it began {begun}"
                f"{_said(finished)}"
            )

    def _outputs(self, output: str, local: Path) -> dict[str, np.ndarray]:
        pull_folder(self._transport, output, local)
        results = [read_result(local / f"Result_{n}", self.spec) for n in range(self._count)]
        return {
            name: np.concatenate([result[name] for result in results])
            for name in self.spec.output_shapes
        }

    def _diagnostics(self, output: str, local: Path) -> DiagReport | None:
        """What the host's snpe-diagview makes of the device's log."""
        there = self._transport.checksums([f"{output}/{name}" for name in _DIAG_NAMES])
        if not there:
            return None
        log = local / "diag.log"
        self._transport.pull(next(iter(there)), log)
        finished = run_process(
            [self._sdk.tool("snpe-diagview"), "--input_log", log],
            what="snpe-diagview",
            timeout_s=_TIMEOUT_S,
            env=sdk_environment(self._sdk.root, os.environ),
        )
        if finished.code != 0:
            raise PersondetError(
                f"snpe-diagview of {self._sdk.name} cannot read the device's log{_said(finished)}"
            )
        return parse_diagview(finished.stdout)


@contextlib.contextmanager
def open_snpe_board(
    transport: Transport, sdk: Sdk, model: Path, spec: DetectorSpec, settings: RunSettings
) -> Iterator[SnpeBoard]:
    """Push the SDK's files for the device (once, by checksum) and the model, which is removed at
    the end.

    Raises InputError for what is no DLC, for settings that the SDK lacks, and where it has nothing
    for this device.
    """
    if model_kind(model) != "dlc":
        raise InputError(f"{model}: the SDK runs DLC files: convert it (`persondet convert`)")
    check_settings(settings, sdk.version)
    if settings.runtime == "aip" and (problem := aip_problem(model)):
        raise InputError(f"{model}: {problem}")
    system = device_system(transport)
    target = sdk_target(sdk, system, os.environ.get(TARGET_VARIABLE))
    of_version = f"{transport.folder}/{SNPE_NAME}{sdk.version}"
    folder = f"{of_version}/{target}"
    variables = device_variables(folder, system.system)
    files = device_files(sdk, target, settings.runtime)
    transport.push_all({f"{folder}/{name}": path for name, path in files.items()})
    tools = [f"{folder}/{name}" for name in files if name.startswith("bin/")]
    transport.check(["chmod", "755", *tools], what="making the SDK's tools executable")
    with transport.run_folder(uses=of_version) as remote:
        transport.push(model, f"{remote}/model.dlc")
        yield SnpeBoard(
            transport=transport,
            sdk=sdk,
            folder=folder,
            variables=variables,
            remote=remote,
            spec=spec,
            settings=settings,
            output_layers=_listed_layers(model, sdk, spec),
        )


def aip_problem(model: Path) -> str | None:
    """Return why a DLC cannot run on the AIP; None if its quantizer recorded --enable_hta."""
    command = str(check_container(model).metadata.get("quantizer-command", ""))
    if "enable_hta=true" in command.split():
        return None
    return (
        "the runtime aip needs a DLC quantized with --enable_hta, which this file's record does "
        "not have: `persondet quantize --enable-hta` with SNPE 1.x (2.x cannot prepare for it)"
    )


def _listed_layers(model: Path, sdk: Sdk, spec: DetectorSpec) -> tuple[str, ...]:
    if takes_output_tensors(sdk.version):
        return ()
    return output_layers(model, spec.output_shapes)


def required_sdk(environ: Mapping[str, str], device: str) -> Sdk:
    """The SDK that the environment names. Raises InputError where it names none."""
    sdk = find_sdk(environ)
    if sdk is None:
        text = (
            f"running on {device} by SNPE needs the SDK here: set SNPE_ROOT or QAIRT_SDK_ROOT to "
        )
        text += "its folder"
        if not device.startswith("adb"):
            text += " (boards that run Python need none: leave the runtime out)"
        raise InputError(text)
    return sdk


def _said(finished: Finished) -> str:
    """The tool's last words, with cause and remedy where they are known."""
    text = (finished.stderr.strip() + "\n" + finished.stdout.strip()).strip()
    lines = text.splitlines()[-_SHOWN_LINES:] or ["it said nothing"]
    known = explanation_lines(explain(text, code=finished.code))
    return "".join(f"\n  {line}" for line in (*lines, *known))
