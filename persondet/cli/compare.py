"""`persondet compare`."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from persondet.cli.device import DeviceChoice, device_options

if TYPE_CHECKING:
    from benchmarks.limits import Limit
    from persondet.spec import DetectorSpec


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="REFERENCE MODEL...")
@click.option(
    "--images",
    "image_paths",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="PATH",
    help="Folder of pictures, or one picture; may be given more than once.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first N pictures.")
@click.option("--score-threshold", type=float, help="Of all models; default: the reference's own.")
@click.option("--nms-iou", type=float, help="Of all models; default: the reference's own.")
@click.option("--top-k", type=int, help="Of all models; default: the reference's own.")
@click.option(
    "--fail-above",
    multiple=True,
    metavar="[OUTPUT.]METRIC=VALUE",
    help="Exit with 1 where a model is above: boxes.max_abs=0.001, detections.vanished=0, or a "
    "bare number, which is of max_abs. May be given more than once.",
)
@click.option(
    "--fail-below",
    multiple=True,
    metavar="[OUTPUT.]METRIC=VALUE",
    help="Exit with 1 where a model is below: sqnr_db=30, cosine=0.999, detections.min_iou=0.8.",
)
@click.option(
    "--spec",
    "spec_path",
    type=click.Path(path_type=Path),
    help="Spec or sidecar for a DLC without its own, and for the anchors of a bare .pth.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Draw the picture on which each model differs most, reference and model side by side.",
)
@device_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    models: tuple[str, ...],
    image_paths: tuple[Path, ...],
    limit: int | None,
    score_threshold: float | None,
    nms_iou: float | None,
    top_k: int | None,
    fail_above: tuple[str, ...],
    fail_below: tuple[str, ...],
    spec_path: Path | None,
    out: Path | None,
    device: DeviceChoice | None,
    as_json: bool,
) -> None:
    """Compare models with the first, the REFERENCE: any of .pth, .onnx, .dlc, or a model's name.

    Raw outputs over all pictures: max abs, mean abs, RMSE, cosine and SQNR (signal to quantization
    noise). Detections: matched within a class at IoU 0.5, those that vanished or appeared, and how
    far the scores moved.

    A DLC runs on the emulated chip where there is none, a second or more a picture: --limit helps.
    With --device, all but the REFERENCE run on the device; one model alone is compared with itself,
    here and there.
    """
    from benchmarks import compare_report
    from benchmarks.compare import check_count, comparable_detectors, compare
    from benchmarks.limits import violations
    from persondet.cli import opening
    from persondet.cli.progress import progress_bar
    from persondet.errors import PersondetError
    from persondet.images import list_images, read_image_rgb
    from runtime.backend import Backend

    pictures = list_images(image_paths)[:limit]
    if device is not None and len(models) == 1:
        models *= 2
    check_count(models)
    known = opening.spec_if_known(models[0], spec_path)
    opening.check_detection_options(
        known, score_threshold=score_threshold, nms_iou=nms_iou, top_k=top_k
    )
    if known is not None:
        _limits(fail_above, fail_below, known)
    with contextlib.ExitStack() as stack:
        here = models if device is None else models[:1]
        backends: list[Backend] = [
            stack.enter_context(contextlib.closing(opening.open_model(model, spec_path)))
            for model in here
        ]
        there = [] if device is None else device.open(stack, models[1:], spec_path)
        backends += there
        models = (*here, *(f"{model} on {device}" for model in models[len(here) :]))
        detectors = comparable_detectors(models, backends, score_threshold, nms_iou, top_k)
        for backend, detector in zip(there, detectors[len(here) :], strict=True):
            backend.prefetch(detector.preprocess(read_image_rgb(path)) for path in pictures)
        spec = backends[0].spec
        limits = _limits(fail_above, fail_below, spec)
        with progress_bar("comparing", total=len(pictures)) as advance:
            comparison = compare(models, detectors, pictures, lambda _: advance())
        drawn: list[Path] = []
        if out is not None:
            from benchmarks.compare_pictures import draw_worst

            drawn = draw_worst(comparison, detectors, out)
    if as_json:
        click.echo(json.dumps(compare_report.comparison_json(comparison), allow_nan=False))
    else:
        from benchmarks.tables import print_to_stdout

        print_to_stdout(compare_report.title_text(comparison))
        print_to_stdout("", compare_report.outputs_table(comparison))
        print_to_stdout("", compare_report.detections_table(comparison), "")
        print_to_stdout(compare_report.explanation_text(comparison))
        print_to_stdout(*compare_report.worst_lines(comparison))
    for path in drawn:
        click.echo(f"drawn: {path}", err=True)
    if broken := violations(comparison, limits):
        raise PersondetError("the comparison fails:\n  " + "\n  ".join(broken))


def _limits(
    fail_above: tuple[str, ...], fail_below: tuple[str, ...], spec: "DetectorSpec"
) -> "list[Limit]":
    from benchmarks.limits import parse_limit

    names = (spec.scores_name, spec.boxes_name)
    limits = [parse_limit(text, above=True, output_names=names) for text in fail_above]
    return limits + [parse_limit(text, above=False, output_names=names) for text in fail_below]
