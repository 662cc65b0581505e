"""`persondet export`."""

from pathlib import Path

import click

from persondet.cli.options import NAMES, NUMBERS, model_spec_option
from persondet.spec import BACKBONE_ACTIVATIONS, INPUT_FORMATS


@click.command()
@click.argument("checkpoint")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="default: CHECKPOINT.onnx")
@click.option(
    "--input",
    "input_format",
    type=click.Choice(INPUT_FORMATS),
    help="what the graph takes; uint8-nhwc: the camera's RGB bytes, normalised inside. "
    f"Default: {INPUT_FORMATS[0]}, or what --spec says.",
)
@click.option(
    "--opset",
    type=click.IntRange(9, 20),
    default=17,
    show_default=True,
    help="For old converters: 9 or more.",
)
@click.option("--model", help="network name, where the checkpoint's keys do not tell")
@click.option("--classes", type=NAMES, help="class names without the background, comma-separated")
@click.option(
    "--anchor-ratios",
    type=NUMBERS,
    help="height / width of the anchors, comma-separated, as trained (f38: 1.7)",
)
@click.option(
    "--backbone-activation",
    type=click.Choice(BACKBONE_ACTIVATIONS),
    help="activation the backbone was trained with, where it is not the network's own (f19 with "
    "the original's onnx_compatible=True: relu)",
)
@model_spec_option(
    "Spec, or sidecar of any artefact, that says the network, its input, anchors and thresholds, "
    "for a checkpoint that does not say them itself."
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="picture on which torch and the ONNX file are compared (default: one that comes along)",
)
def command(
    checkpoint: str,
    output: Path | None,
    input_format: str | None,
    opset: int,
    model: str | None,
    classes: tuple[str, ...] | None,
    anchor_ratios: tuple[float, ...] | None,
    backbone_activation: str | None,
    spec_path: Path | None,
    picture: Path | None,
) -> None:
    """Write CHECKPOINT (.pth, or a model's name) as ONNX.

    Outputs: scores (1, A, classes) logits and boxes (1, A, 4) offsets. Softmax, box decoding and
    non-maximum suppression stay outside; `persondet detect` does them.
    """
    from persondet import zoo
    from persondet.cli.onnx_input import stem_of
    from persondet.cli.opening import read_spec
    from persondet.images import read_image_rgb
    from persondet.models import resolve_model
    from persondet.sidecar import check_destination
    from runtime.backend import model_kind

    spec = read_spec(spec_path) if spec_path else None
    if spec and (model or classes or anchor_ratios or backbone_activation):
        raise click.UsageError(
            "--spec says the network, its classes, anchors and activation: leave away --model, "
            "--classes, --anchor-ratios and --backbone-activation, or change the file"
        )
    path = resolve_model(checkpoint)
    model_kind(path)
    destination = output or Path(f"{stem_of(checkpoint)}.onnx")
    check_destination(destination, ".onnx", inputs=[path])
    if anchor_ratios:
        zoo.check_anchor_ratios(anchor_ratios)
    if model:
        zoo.detector_spec(model, anchor_ratios=anchor_ratios)
    if picture:
        read_image_rgb(picture)

    from export.onnx_export import CHECK_PICTURE, export_onnx
    from persondet.checkpoint import load_checkpoint

    loaded = load_checkpoint(
        path,
        model=model,
        class_names=classes,
        anchor_ratios=anchor_ratios,
        backbone_activation=backbone_activation,
        spec=spec,
    )
    result = export_onnx(
        loaded,
        destination,
        input_format=input_format or (spec.input_format if spec else INPUT_FORMATS[0]),
        opset=opset,
        picture=picture or CHECK_PICTURE,
    )
    for note in loaded.notes:
        click.echo(f"note: {note}")
    written = result.spec
    click.echo(
        f"{result.path}: {written.network}, opset {result.opset}, "
        f"{written.input_name} {written.input_dtype} {list(written.input_shape)}, "
        f"{written.num_anchors} anchors, classes {', '.join(written.class_names)}"
    )
    differences = ", ".join(f"{name} {value:.2g}" for name, value in result.max_abs.items())
    click.echo(f"max abs difference to torch on {result.picture.name}: {differences}")
