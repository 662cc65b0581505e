"""`persondet equalize`."""

from pathlib import Path

import click

from persondet.cli.onnx_input import beside, given_spec, onnx_of, onnx_spec_option
from quantize.presets import DEFAULT_RECIPE, Equalization

_METHODS = [method.value for method in Equalization if method is not Equalization.NONE]


@click.command()
@click.argument("model")
@click.option(
    "--calib",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR|LIST|VIDEO|DATA",
    help="Images that show what each channel carries, as `persondet quantize` takes them.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.onnx",
    help="[default: MODEL.equalized.onnx]",
)
@click.option(
    "--method",
    type=click.Choice(_METHODS),
    default=DEFAULT_RECIPE.equalization.value,
    show_default=True,
    help="noise: the scales of least quantization noise; closed-form: fast.",
)
@click.option(
    "--act-bits",
    type=click.Choice(["8", "16"]),
    default="8",
    show_default=True,
    help="Bits of activations that it is equalised for.",
)
@onnx_spec_option
def command(
    model: str,
    calib: Path,
    output: Path | None,
    method: str,
    act_bits: str,
    spec_path: Path | None,
) -> None:
    """Rescale MODEL's channels so that 8 bits hold them, and write it as float ONNX.

    The outputs stay what they are; any quantizer with one scale per tensor loses less on the file:
    SNPE's, TFLite's, TensorRT's. `persondet quantize` does it by itself.

    Example: persondet equalize head.onnx --calib images/ -o head.equalized.onnx
    """
    from persondet.cli.progress import progress_bar
    from persondet.cli.quantize import equalization_line
    from persondet.models import resolve_model
    from persondet.sidecar import check_destination
    from runtime.backend import model_kind

    source = resolve_model(model)
    model_kind(source)
    destination = output or beside(model, ".equalized.onnx")
    check_destination(destination, ".onnx", inputs=[source])

    from quantize.calibration_set import calibration_set
    from quantize.equalization import equalize_file

    chosen = calibration_set(calib)
    spec = given_spec(spec_path)
    with onnx_of(model, spec=spec) as onnx_path:
        found, notes = equalize_file(
            onnx_path,
            destination,
            calibration=chosen,
            method=Equalization(method),
            act_bits=int(act_bits),
            spec=spec,
            progress=progress_bar,
        )
    for note in notes:
        click.echo(f"note: {note}", err=True)
    click.echo(equalization_line(found))
    click.echo(f"{destination}: the equalised float graph")
