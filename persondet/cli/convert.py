"""`persondet convert`."""

from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL.onnx")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="default: MODEL.dlc")
@click.option(
    "--toolchain",
    type=click.Choice(["embedded"]),
    default="embedded",
    show_default=True,
    help="embedded: Qualcomm's libraries from the wheel onnxruntime-qnn, no SDK",
)
@click.option("--context-binary", is_flag=True, help="also compile ahead of time for --soc")
@click.option("--soc", "soc_name", help="SoC to compile for, such as sm8550")
def command(
    model: Path, output: Path | None, toolchain: str, context_binary: bool, soc_name: str | None
) -> None:
    """Write MODEL.onnx as a float DLC, and prove by Qualcomm's loader that it holds the graph."""
    from export.convert import convert
    from persondet.cli.dlc_output import context_soc, echo_dlc

    result = convert(model, output, soc=context_soc(context_binary, soc_name))
    echo_dlc(result)
