"""`persondet convert`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.onnx_input import beside, given_spec, onnx_of, onnx_spec_option
from persondet.cli.sdk_options import (
    SdkChoice,
    chosen_sdk,
    dry_run_input,
    echo_dry_run,
    echo_sdk_dlc,
    sdk_options,
    soc_names,
    soc_options,
)

if TYPE_CHECKING:
    from export.sdk.intent import ConvertIntent

_OF_SDKS = ("dlc_layout", "float_bits", "simplify", "fold_batch_norm", "optimization_level")


@click.command()
@click.argument("model")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="default: MODEL.dlc")
@click.option("--context-binary", is_flag=True, help="also compile ahead of time for --soc")
@soc_options
@click.option(
    "--dlc-layout",
    type=click.Choice(["nhwc", "source"]),
    default="nhwc",
    show_default=True,
    help="SDK: layout of the DLC's input; source: as the ONNX has it",
)
@click.option(
    "--float-bits",
    type=click.Choice(["32", "16"]),
    default="32",
    show_default=True,
    help="SDK: bits of the floats",
)
@click.option(
    "--simplify/--no-simplify",
    default=True,
    show_default=True,
    help="SDK: let the converter simplify the ONNX",
)
@click.option(
    "--fold-batch-norm/--no-fold-batch-norm",
    default=True,
    show_default=True,
    help="SDK: join batch norm with its convolution",
)
@onnx_spec_option
@sdk_options
def command(
    model: str,
    output: Path | None,
    context_binary: bool,
    soc: tuple[str, ...],
    spec_path: Path | None,
    **options: Any,
) -> None:
    """Write MODEL as a float DLC, and prove that it holds the graph.

    MODEL is an .onnx file; a .pth or a model's name is exported in passing. Options that begin with
    "SDK:" mean nothing to the toolchain embedded.
    """
    choice = chosen_sdk(options, _OF_SDKS)
    if choice is not None:
        if context_binary:
            raise click.UsageError(
                "--context-binary is of the toolchain embedded; an SDK puts the compiled graph "
                "into the DLC: persondet quantize --soc, or convert --float-bits 16 --soc"
            )
        _through_sdk(model, output, choice, _intent(soc_names(soc), options), spec_path)
        return

    from export.convert import convert
    from persondet.cli.dlc_output import context_soc, echo_dlc
    from persondet.models import resolve_model
    from persondet.sidecar import check_destination
    from runtime.backend import model_kind

    compiled_for = context_soc(context_binary, soc_names(soc))
    spec = given_spec(spec_path)
    source = resolve_model(model)
    model_kind(source)
    destination = output or beside(model, ".dlc")
    check_destination(destination, ".dlc", inputs=[source])
    with onnx_of(model, spec=spec) as onnx_path:
        echo_dlc(convert(onnx_path, destination, soc=compiled_for, spec=spec))


def _intent(socs: tuple[str, ...], options: dict[str, Any]) -> "ConvertIntent":
    from export.sdk.intent import ConvertIntent

    return ConvertIntent(
        dlc_layout=options["dlc_layout"],
        float_bits=int(options["float_bits"]),
        simplify=options["simplify"],
        fold_batch_norm=options["fold_batch_norm"],
        socs=socs,
        optimization_level=options["optimization_level"],
    )


def _through_sdk(
    model: str,
    output: Path | None,
    choice: SdkChoice,
    intent: "ConvertIntent",
    spec_path: Path | None,
) -> None:
    from export.sdk.command_lines import convert_plan
    from export.sdk.toolchain import convert

    destination = output or beside(model, ".dlc")
    if choice.dry_run:
        source = dry_run_input(model, choice, spec_path)
        plan = convert_plan(
            *(intent, source.spec, choice.version, choice.tools),
            onnx=source.onnx_path,
            dlc=destination,
        )
        echo_dry_run(choice, source, [plan])
        return
    spec = given_spec(spec_path)
    with onnx_of(model, choice.opset, spec) as onnx_path:
        result = convert(
            onnx_path, destination, toolchain=choice.toolchain(), intent=intent, spec=spec
        )
    echo_sdk_dlc(result)
