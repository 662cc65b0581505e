"""`persondet export`."""

from pathlib import Path

import click

from persondet.cli.options import NAMES, NUMBERS
from persondet.spec import INPUT_FORMATS


@click.command()
@click.argument("checkpoint")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="default: CHECKPOINT.onnx")
@click.option(
    "--input",
    "input_format",
    type=click.Choice(INPUT_FORMATS),
    default=INPUT_FORMATS[0],
    show_default=True,
    help="what the graph takes; uint8-nhwc: the camera's RGB bytes, normalised inside",
)
@click.option(
    "--opset", type=int, default=17, show_default=True, help="9 to 20, for old converters"
)
@click.option("--model", help="network name, where the checkpoint's keys do not tell")
@click.option("--classes", type=NAMES, help="class names without the background, comma-separated")
@click.option(
    "--anchor-ratios",
    type=NUMBERS,
    help="height / width of the anchors, comma-separated, as trained (f38: 1.7)",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="picture on which torch and the ONNX file are compared (default: one that comes along)",
)
def command(
    checkpoint: str,
    output: Path | None,
    input_format: str,
    opset: int,
    model: str | None,
    classes: tuple[str, ...] | None,
    anchor_ratios: tuple[float, ...] | None,
    picture: Path | None,
) -> None:
    """Write CHECKPOINT (.pth, or a model's name) as ONNX.

    Outputs: scores (1, A, classes) logits and boxes (1, A, 4) offsets. Softmax, box decoding and
    non-maximum suppression stay outside; `persondet detect` does them.
    """
    from export.onnx_export import CHECK_PICTURE, export_onnx
    from persondet.checkpoint import load_checkpoint
    from persondet.cli.onnx_input import stem_of
    from persondet.models import resolve_model

    path = resolve_model(checkpoint)
    loaded = load_checkpoint(path, model=model, class_names=classes, anchor_ratios=anchor_ratios)
    result = export_onnx(
        loaded,
        output or Path(f"{stem_of(checkpoint)}.onnx"),
        input_format=input_format,
        opset=opset,
        picture=picture or CHECK_PICTURE,
    )
    for note in loaded.notes:
        click.echo(f"note: {note}")
    spec = result.spec
    click.echo(
        f"{result.path}: {spec.network}, opset {result.opset}, "
        f"{spec.input_name} {spec.input_dtype} {list(spec.input_shape)}, "
        f"{spec.num_anchors} anchors, classes {', '.join(spec.class_names)}"
    )
    differences = ", ".join(f"{name} {value:.2g}" for name, value in result.max_abs.items())
    click.echo(f"max abs difference to torch on {result.picture.name}: {differences}")
