"""What `convert` and `quantize` share about SDKs: options, the choice of a toolchain, dry runs."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from persondet.errors import InputError
from persondet.files import is_folder
from persondet.terminal import shell_line

if TYPE_CHECKING:
    from export.sdk.command_lines import Plan, Toolset
    from export.sdk.sdk import Sdk
    from export.sdk.toolchain import SdkResult, Toolchain
    from export.sdk.versions import SdkVersion
    from persondet.spec import DetectorSpec

_SDK_OPTIONS = (
    click.option(
        "--toolchain",
        type=click.Choice(["embedded", "snpe"]),
        help="embedded: Qualcomm's libraries from the wheel onnxruntime-qnn, no SDK. snpe: the "
        "tools of an SNPE or QAIRT SDK. Default: snpe where QAIRT_SDK_ROOT, QNN_SDK_ROOT or "
        "SNPE_ROOT is set.",
    ),
    click.option(
        "--dry-run",
        is_flag=True,
        help="print the SDK's commands as shell lines and run none; needs no SDK",
    ),
    click.option("--sdk", type=click.Path(path_type=Path), metavar="DIR", help="the SDK's folder"),
    click.option(
        "--sdk-version", metavar="V", help="such as 1.68; instead of asking the SDK for it"
    ),
    click.option(
        "--sdk-tools",
        type=click.Choice(["snpe", "qairt"]),
        help="which tools of an SDK of 2.25 or later. Default: qairt.",
    ),
    click.option(
        "--sdk-python",
        type=click.Path(path_type=Path),
        metavar="PYTHON",
        help="interpreter of the SDK's scripts; also the variable PERSONDET_SDK_PYTHON",
    ),
    click.option(
        "--tool-timeout",
        type=click.FloatRange(min=1),
        default=1800.0,
        show_default=True,
        metavar="S",
        help="seconds after which a tool of the SDK is stopped",
    ),
    click.option("--verbose", is_flag=True, help="show what the SDK's tools print"),
)
_SOC_OPTIONS = (
    click.option(
        "--soc",
        multiple=True,
        metavar="NAME[,NAME]",
        help="SoC to compile for, by its name or a product's: sm8550, qcs6490. SDK: several.",
    ),
    click.option(
        "--optimization-level",
        type=click.IntRange(1, 3),
        help="SDK 2.x, with --soc: how hard graph-prepare optimises. Default: its own, 2.",
    ),
)
# each means nothing to the toolchain embedded
_NAMES = ("dry_run", "sdk", "sdk_version", "sdk_tools", "sdk_python", "tool_timeout", "verbose")


@dataclass(frozen=True)
class SdkChoice:
    """sdk: None in a dry run without one."""

    version: "SdkVersion"
    tools: "Toolset"
    sdk: "Sdk | None"
    dry_run: bool
    timeout_s: float
    verbose: bool

    @property
    def opset(self) -> int:
        """For an ONNX that is made in passing."""
        from export.onnx_export import DEFAULT_OPSET
        from export.sdk.toolchain import OPSETS

        return min(DEFAULT_OPSET, OPSETS[self.version.family][-1])

    def toolchain(self) -> "Toolchain":
        from export.sdk.toolchain import Toolchain

        assert self.sdk is not None
        show = _echo_line if self.verbose else _ignore_line
        return Toolchain(self.sdk, self.tools, self.timeout_s, show, _echo_tool)


def sdk_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command passes what it gets of them to `chosen_sdk`."""
    for option in reversed(_SDK_OPTIONS):
        command = option(command)
    return command


def soc_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --soc, whose values `soc_names` takes apart, and what belongs to it."""
    for option in reversed(_SOC_OPTIONS):
        command = option(command)
    return command


def soc_names(values: Sequence[str]) -> tuple[str, ...]:
    """The names in `--soc a,b --soc c`. Raises click.UsageError for an empty one."""
    names = tuple(name.strip() for value in values for name in value.split(","))
    if not all(names):
        raise click.UsageError(f"--soc {' '.join(values)!r}: expected NAME or NAME,NAME")
    return names


def chosen_sdk(values: dict[str, Any], of_sdks: Sequence[str]) -> SdkChoice | None:
    """What to go through; None for the toolchain embedded.

    of_sdks: the command's own options, by parameter name, that mean nothing to embedded.
    Raises click.UsageError for options of an SDK with embedded, InputError where an SDK is wanted
    and none is found.
    """
    for_sdks = typed_options((*_NAMES, *of_sdks))
    if values["toolchain"] == "embedded":
        if for_sdks:
            raise click.UsageError(f"{', '.join(for_sdks)}: of the toolchain snpe, not embedded")
        return None
    wanted = values["toolchain"] == "snpe" or bool(for_sdks)
    if not wanted and not _names_an_sdk():
        return None
    choice = _choice(values)
    if choice is None:
        raise _no_sdk(", ".join(for_sdks) or "--toolchain snpe", values)
    if choice.sdk is not None:
        named = choice.sdk.variables[0] if choice.sdk.variables else "--sdk"
        remedy = "" if wanted else "; without it: --toolchain embedded"
        click.echo(
            f"toolchain snpe: {choice.sdk.name} in {choice.sdk.root} ({named}){remedy}", err=True
        )
    return choice


def _no_sdk(asked: str, values: dict[str, Any]) -> InputError:
    if values["dry_run"]:
        more = ", or the version alone: --sdk-version 1.68"
    elif values["sdk_version"]:
        more = ", or --dry-run to see that version's commands without an SDK"
    else:
        more = "; what needs none is --toolchain embedded"
    return InputError(
        f"{asked}: no SDK is known; set SNPE_ROOT or QAIRT_SDK_ROOT to its folder, or give "
        f"--sdk DIR{more}"
    )


def _names_an_sdk() -> bool:
    from export.sdk.sdk import ROOT_VARIABLES

    return any(os.environ.get(name) for name in ROOT_VARIABLES)


def _choice(values: dict[str, Any]) -> SdkChoice | None:
    from export.sdk.command_lines import toolset_of
    from export.sdk.sdk import find_sdk
    from export.sdk.versions import parse_version

    version = parse_version(values["sdk_version"]) if values["sdk_version"] else None
    folder, dry_run = values["sdk"], values["dry_run"]
    sdk = None
    if not (dry_run and version and folder is None):  # then the version alone decides
        sdk = find_sdk(os.environ, folder=folder, version=version, python=values["sdk_python"])
        if sdk is None:
            return None
        version = sdk.version
    assert version is not None
    tools = toolset_of(version, values["sdk_tools"])
    return SdkChoice(version, tools, sdk, dry_run, values["tool_timeout"], values["verbose"])


def typed_options(names: Sequence[str]) -> list[str]:
    """The options among these, by parameter name, that the user typed; as they are typed."""
    context = click.get_current_context()
    typed = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    spellings = {param.name: param for param in context.command.params}
    return [
        max(_spellings(spellings[name], context), key=len)
        for name in names
        if context.get_parameter_source(name) in typed
    ]


def _spellings(param: click.Parameter, context: click.Context) -> Sequence[str]:
    value = context.params.get(param.name or "")
    return param.secondary_opts if value is False and param.secondary_opts else param.opts


@dataclass(frozen=True)
class DryRunInput:
    """export_line: the command that makes the ONNX; None where MODEL is one. spec: the ONNX's.
    notes: on the ONNX, sentences."""

    export_line: str | None
    onnx_path: Path
    spec: "DetectorSpec"
    notes: tuple[str, ...] = ()


def dry_run_input(model: str, choice: SdkChoice, spec_path: Path | None = None) -> DryRunInput:
    """Raises InputError for a MODEL that is none, as a real run would. spec_path: of --spec."""
    from persondet.cli.onnx_input import beside, given_spec
    from persondet.models import resolve_model
    from runtime.backend import model_kind

    path, spec = resolve_model(model), given_spec(spec_path)
    if is_folder(path) or model_kind(path) != "pth":
        from export.sdk.toolchain import load_float_onnx, opset_notes, simplified_notes

        model_proto, spec = load_float_onnx(path, spec)
        notes = (*opset_notes(model_proto, choice.version), *simplified_notes(path))
        return DryRunInput(None, path, spec, notes)
    from persondet.checkpoint import load_checkpoint

    onnx_path = beside(model, ".onnx")
    words = ["persondet", "export", model, "-o", str(onnx_path), "--opset", str(choice.opset)]
    words += ["--spec", str(spec_path)] if spec_path else []
    return DryRunInput(shell_line(words), onnx_path, load_checkpoint(path, spec=spec).spec)


def echo_dry_run(
    choice: SdkChoice, source: DryRunInput, plans: Sequence["Plan"], comments: Sequence[str] = ()
) -> None:
    """The shell lines on standard output; notes on standard error."""
    from export.sdk.dry_run import activation_lines, call_lines

    lines = activation_lines(choice.version, choice.sdk)
    if source.export_line:  # before the SDK's environment, which can break our own
        lines.insert(0, source.export_line)
    lines += [f"# {comment}" for comment in comments]
    for plan in plans:
        lines += call_lines(plan, choice.sdk)
    for note in (*source.notes, *(note for plan in plans for note in plan.notes)):
        click.echo(f"note: {note}", err=True)
    for line in lines:
        click.echo(line)


def echo_sdk_dlc(result: "SdkResult") -> None:
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    counted, size = result.proof.counted, result.path.stat().st_size / 1e6
    if counted is None:
        click.echo(
            f"{result.path}: {size:.2f} MB, a whole container of {result.proof.generation}, whose "
            "graph this release cannot read"
        )
        return
    reader = "this release" if result.proof.generation == "SNPE 1.x" else "Qualcomm's loader"
    census = ", ".join(f"{count} {op_type}" for op_type, count in counted.ops.items())
    click.echo(
        f"{result.path}: {size:.2f} MB, {sum(counted.ops.values())} ops ({census}), "
        f"{counted.parameters:,} parameters as {reader} reads them"
    )


def _echo_line(line: str) -> None:
    click.echo(line, err=True)


def _echo_tool(tool: str) -> None:
    click.echo(f"running {tool}", err=True)


def _ignore_line(line: str) -> None:
    pass
