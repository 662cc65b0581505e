"""`persondet convert`."""

from pathlib import Path

import click


@click.command()
@click.argument("model")
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
    model: str, output: Path | None, toolchain: str, context_binary: bool, soc_name: str | None
) -> None:
    """Write MODEL as a float DLC, and prove by Qualcomm's loader that it holds the graph.

    MODEL is an .onnx file; a .pth or a model's name is exported in passing.
    """
    from export.convert import convert
    from persondet.cli.dlc_output import context_soc, echo_dlc
    from persondet.cli.onnx_input import beside, onnx_of

    soc = context_soc(context_binary, soc_name)
    with onnx_of(model) as onnx_path:
        echo_dlc(convert(onnx_path, output or beside(model, ".dlc"), soc=soc))
