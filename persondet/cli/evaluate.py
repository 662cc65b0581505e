"""`persondet evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from persondet.cli.annotated import AnnotatedImages
from persondet.cli.device import DeviceChoice, device_options
from persondet.cli.options import NAMES, Points, images_root_option
from persondet.errors import InputError
from persondet.files import is_file

if TYPE_CHECKING:
    from persondet.cli.evaluation_output import OutputFiles


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    help="The annotated pictures: FILE.json of COCO, or FORMAT:ANNOTATIONS:IMAGES[:CLASSES], such "
    "as voc:annotations/:pictures/.",
)
@images_root_option
@click.option("--classes", type=NAMES, metavar="NAMES", help="Only these: person,head.")
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first N pictures.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that detect, one thread each: for an emulated chip.",
)
@click.option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    help="The working threshold, of miss rate, precision, recall and F1. Default: the model's own.",
)
@click.option(
    "--plots",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Draw the curves, the worst misses and the worst false alarms.",
)
@click.option(
    "--results",
    "results_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the detections as COCO results, numbered as DATA numbers images and categories.",
)
@click.option("--no-cache", is_flag=True, help="Neither use nor keep detections of other runs.")
@click.option(
    "--spec",
    "spec_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Spec or sidecar, for a model file that came without its own.",
)
@click.option(
    "--fail-below",
    multiple=True,
    metavar="FIGURE=VALUE",
    help="Exit with 1 if a model is below: AP50=0.6, recall=0.7. May be given more than once.",
)
@click.option(
    "--fail-above",
    multiple=True,
    metavar="FIGURE=VALUE",
    help="Exit with 1 if a model is above: mr2=0.7, changed=0.02 (the share of the first model's "
    "detections that vanished or appeared). May be given more than once.",
)
@click.option(
    "--max-drop",
    type=Points(),
    metavar="POINTS",
    help="Exit with 1 if a model has over so many AP50 points less than the first; 0.5 is an AP50 "
    "of 0.005.",
)
@click.option(
    "--proxy",
    is_flag=True,
    help="In place of a quantized DLC, evaluate the QDQ ONNX that was written with it, and check "
    "on --confirm images that the HTP agrees: much faster than emulating it on all.",
)
@click.option(
    "--confirm",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images of --proxy's check on the HTP, taken evenly. Default: 20.",
)
@device_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    models: tuple[str, ...],
    data: str,
    images_root: Path | None,
    classes: tuple[str, ...] | None,
    limit: int | None,
    workers: int,
    score_threshold: float | None,
    plots: Path | None,
    results_path: Path | None,
    no_cache: bool,
    spec_path: Path | None,
    fail_below: tuple[str, ...],
    fail_above: tuple[str, ...],
    max_drop: float | None,
    proxy: bool,
    confirm: int | None,
    device: DeviceChoice | None,
    as_json: bool,
) -> None:
    """Measure how well MODEL finds what is annotated in pictures.

    Average precision as COCO and VOC have it, miss rates, precision and recall by threshold, AP50
    by size, each with its 95 % interval. MODEL is a .pth, .onnx or .dlc file, or a model's name.

    Several models are shown side by side against the first: AP50, MR-2, the difference in AP50 with
    its paired 95 % interval, and how many detections changed.

    Detections are kept in the user's cache, by the content of model and picture: an interrupted run
    goes on, and one that is repeated takes no time.
    """
    from persondet.cli.evaluation_output import OutputFiles, limits_of, show_one, show_several
    from persondet.cli.evaluation_run import run_models

    files = OutputFiles(plots, results_path)
    several = len(models) > 1
    _check_count(several, plots or results_path, max_drop)
    _check_place(device, workers, proxy=proxy, confirm=confirm)
    images = AnnotatedImages(
        data=data,
        images_root=images_root,
        classes=classes,
        limit=limit,
        workers=workers,
        use_cache=not no_cache,
        spec_path=spec_path,
        device=device,
    )
    _check_files(models, images, files)
    limits = limits_of(fail_below, fail_above, max_drop)
    run = run_models(images, models, proxy=proxy, sample=confirm)
    if several:
        show_several(run, score_threshold, limits, as_json=as_json)
    else:
        show_one(run, score_threshold, limits, files, as_json=as_json)


def _check_count(several: bool, written: Path | None, max_drop: float | None) -> None:
    """Raise click.UsageError for options that do not go with this number of models."""
    if several and written is not None:
        raise click.UsageError("--plots and --results are for one model, not for several")
    if not several and max_drop is not None:
        raise click.UsageError("--max-drop needs two models or more; the first is the reference")


def _check_place(
    device: DeviceChoice | None, workers: int, *, proxy: bool, confirm: int | None
) -> None:
    """Raise for options that contradict each other about what runs the models."""
    if confirm is not None and not proxy:
        raise click.UsageError("--confirm needs --proxy")
    if device is not None and workers > 1:
        raise InputError("--workers are processes on this machine; with --device there are none")
    if device is not None and proxy:
        raise click.UsageError("--proxy is for a DLC that is emulated here, not for --device")


def _check_files(models: Sequence[str], images: AnnotatedImages, files: "OutputFiles") -> None:
    """Raise InputError for models and data that are not there, and for unwritable places."""
    from persondet.models import resolve_model
    from persondet.sidecar import check_destination, check_folder

    if files.plots is not None:
        import matplotlib.figure  # noqa: F401  # missing: better known now than at the end

        check_folder(files.plots)
    inputs = [resolve_model(model) for model in models]
    inputs += [s.annotations for s in images.sources() if is_file(s.annotations)]
    if files.results is not None:
        check_destination(files.results, ".json", inputs=inputs)
