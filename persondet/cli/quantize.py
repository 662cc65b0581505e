"""`persondet quantize`."""

from pathlib import Path

import click
from click.core import ParameterSource

from persondet.wording import counted

_OF_CALIBRATION = ("per_channel", "act_bits", "calibration", "max_pictures")


@click.command()
@click.argument("model")
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    metavar="DIR|LIST|VIDEO",
    help="the calibration set: a folder of pictures, a text file with one a line, or a video",
)
@click.option(
    "--encodings",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="encodings of an earlier run (.encodings.json) instead of pictures",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.dlc",
    help="default: MODEL.quantized.dlc",
)
@click.option("--per-channel", is_flag=True, help="weights: one symmetric scale an output channel")
@click.option(
    "--act-bits",
    type=click.Choice(["8", "16"]),
    default="8",
    show_default=True,
    help="bits of activations; weights have 8",
)
@click.option(
    "--calibration",
    type=click.Choice(["minmax", "percentile", "entropy", "mse"]),
    default="minmax",
    show_default=True,
    help="how the range of an activation follows from its values",
)
@click.option(
    "--max-pictures",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="taken evenly from the set",
)
@click.option("--context-binary", is_flag=True, help="also compile ahead of time for --soc")
@click.option("--soc", "soc_name", metavar="NAME", help="SoC to compile for, such as sm8550")
def command(
    model: str,
    calib: Path | None,
    encodings: Path | None,
    output: Path | None,
    per_channel: bool,
    act_bits: str,
    calibration: str,
    max_pictures: int,
    context_binary: bool,
    soc_name: str | None,
) -> None:
    """Quantize MODEL on real pictures and write it as a DLC.

    MODEL is a float .onnx file; a .pth or a model's name is exported in passing.

    Also writes the same graph as QDQ ONNX for onnxruntime (MODEL.quantized.onnx), and the encodings
    as JSON in the form that the vendor's --quantization_overrides reads
    (MODEL.quantized.encodings.json).
    """
    if (calib is None) == (encodings is None):
        raise click.UsageError(
            "give --calib DIR|LIST|VIDEO, or --encodings FILE of an earlier run; one of them"
        )
    if encodings and (given := _given(_OF_CALIBRATION)):
        raise click.UsageError(f"{', '.join(given)}: the encodings file says that already")

    from persondet.cli.dlc_output import context_soc, echo_dlc
    from persondet.cli.onnx_input import beside, onnx_of
    from persondet.cli.progress import progress_bar
    from quantize.calibration_set import calibration_set
    from quantize.qdq import Scheme
    from quantize.quantizer import quantize

    soc = context_soc(context_binary, soc_name)
    chosen = calibration_set(calib, max_pictures) if calib else None
    with (
        onnx_of(model) as onnx_path,
        progress_bar("calibrating", len(chosen) if chosen else None) as advance,
    ):
        result = quantize(
            onnx_path,
            output or beside(model, ".quantized.dlc"),
            calibration=chosen,
            encodings=encodings,
            scheme=Scheme(int(act_bits), per_channel) if chosen else None,
            method=calibration,
            soc=soc,
            advance=advance,
        )
    if chosen:
        pictures = counted(len(chosen), "picture")
        click.echo(f"calibrated on {pictures} of {chosen.source} ({calibration})")
        if len(chosen) < 10:
            click.echo(
                "note: fewer than 10 pictures; 50 to 100 of the real scene are usual", err=True
            )
    for name in result.widened:
        click.echo(f"note: the scale of {name} was widened so that its bias fits int32", err=True)
    echo_dlc(result.dlc)
    click.echo(f"{result.qdq}: the same graph for onnxruntime")
    click.echo(f"{result.encodings}: encodings for --quantization_overrides, or for --encodings")


def _given(names: tuple[str, ...]) -> list[str]:
    """The options among these that the user typed."""
    context = click.get_current_context()
    typed = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    return [
        f"--{name.replace('_', '-')}"
        for name in names
        if context.get_parameter_source(name) in typed
    ]
