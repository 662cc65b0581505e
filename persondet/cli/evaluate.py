"""`persondet evaluate`."""

import contextlib
import json
from pathlib import Path

import click

from persondet.cli.device import DeviceChoice, device_options
from persondet.cli.options import NAMES, images_root_option
from persondet.errors import InputError
from persondet.files import is_file
from persondet.wording import counted


@click.command()
@click.argument("model")
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
@device_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    model: str,
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
    device: DeviceChoice | None,
    as_json: bool,
) -> None:
    """Measure how well MODEL finds what is annotated in pictures.

    Average precision as COCO and VOC have it, miss rates, precision and recall by threshold, AP50
    by size, each with its 95 % interval. MODEL is a .pth, .onnx or .dlc file, or a model's name.

    Detections are kept in the user's cache, by the content of model and picture: an interrupted run
    goes on, and one that is repeated takes no time.
    """
    from benchmarks.evaluation import report
    from benchmarks.evaluation.collecting import collect
    from benchmarks.evaluation.detections_cache import detections_cache, engine
    from benchmarks.evaluation.evaluation import evaluate
    from benchmarks.evaluation.found import ModelToOpen
    from benchmarks.evaluation.results import results_of
    from benchmarks.evaluation.truth import read_truth
    from persondet.cli.opening import open_model, spec_if_known
    from persondet.cli.progress import progress_bar
    from persondet.data.sources import parse_sources
    from persondet.images import read_image_rgb
    from persondet.models import resolve_model
    from persondet.preprocess import preprocess
    from persondet.sidecar import check_destination, check_folder
    from runtime.backend import model_kind
    from runtime.output import write_coco_results

    if plots is not None:
        import matplotlib.figure  # noqa: F401  # missing: better known now than at the end

        check_folder(plots)

    if device is not None and workers > 1:
        raise InputError("--workers are processes on this machine; with --device there are none")
    path = resolve_model(model)
    sources = parse_sources([data], images_root)
    if results_path is not None:
        annotations = [source.annotations for source in sources if is_file(source.annotations)]
        check_destination(results_path, ".json", inputs=[path, *annotations])
    kind = model_kind(path)
    known = spec_if_known(model, spec_path)
    truth = read_truth(sources, known.class_names, classes, limit) if known else None
    threads = None if kind == "dlc" or device else 1
    with contextlib.ExitStack() as stack:
        if device is None:
            there = None
            backend = stack.enter_context(contextlib.closing(open_model(model, spec_path, threads)))
        else:
            (there,) = device.open(stack, [model], spec_path)
            backend = there
        spec, ran_on = backend.spec, backend.device
        if truth is None or known is None or known.class_names != spec.class_names:
            truth = read_truth(sources, spec.class_names, classes, limit)
        for note in truth.notes:
            click.echo(f"note: {note}", err=True)
        to_open = ModelToOpen(path, spec, threads)
        cache = (
            None
            if no_cache
            else detections_cache(to_open, engine(kind, backend, on_device=there is not None))
        )
        pictures = [picture.path for picture in truth.pictures]
        if there is not None:
            waiting = (path for path in pictures if cache is None or cache.get(path) is None)
            there.prefetch(preprocess(read_image_rgb(path), spec) for path in waiting)
        with progress_bar("detecting", len(pictures)) as advance:
            found, cached = collect(to_open, backend, pictures, cache, workers, advance)
    if cached:
        of = counted(len(pictures), "picture")
        click.echo(f"note: detections of {cached} of {of} came from another run", err=True)
    threshold = spec.score_threshold if score_threshold is None else score_threshold
    evaluation = evaluate(truth, found, spec.input_size_hw, threshold)
    for note in evaluation.limit_notes:
        click.echo(f"note: {note}", err=True)
    if results_path is not None:
        write_coco_results(results_path, results_of(truth, found))
        click.echo(f"COCO results of {counted(len(found), 'picture')}: {results_path}", err=True)
    if as_json:
        record = report.evaluation_json(evaluation, model, ran_on)
        click.echo(json.dumps(record, allow_nan=False))
    else:
        from benchmarks.tables import print_to_stdout

        print_to_stdout(report.title_text(evaluation, model, ran_on))
        for heading, summary in report.summaries(evaluation):
            print_to_stdout("", heading, report.figures_table(evaluation, summary))
            print_to_stdout("", report.sizes_table(summary))
            print_to_stdout("", report.thresholds_table(summary))
        print_to_stdout("", report.explanation_text(evaluation))
    if plots is not None:
        from benchmarks.evaluation.contact_sheet import draw_faults
        from benchmarks.evaluation.faults import faults
        from benchmarks.evaluation.plots import draw_curves

        drawn = draw_curves(evaluation, Path(model).name, plots)
        worst = faults(truth, found, spec.input_size_hw, threshold)
        drawn += draw_faults(worst, truth, found, threshold, plots)
        for picture in drawn:
            click.echo(f"drawn: {picture}", err=True)
