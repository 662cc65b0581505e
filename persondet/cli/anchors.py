"""`persondet anchors`: what the data's boxes look like, and anchors that fit them."""

from dataclasses import replace
from pathlib import Path

import click

from persondet.cli.options import NAMES, images_root_option
from persondet.errors import InputError
from persondet.files import is_file
from persondet.sidecar import check_destination, publishing
from persondet.spec import spec_to_json


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@images_root_option
@click.option(
    "--model", required=True, help="A network (f38 for short), a spec's JSON, or a model file."
)
@click.option(
    "--classes", type=NAMES, metavar="NAMES", help="Whose boxes. [default: the model's classes]"
)
@click.option(
    "--min-side",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="PX",
    help="Fit the proposal to boxes whose shorter side is at least this, at network scale.",
)
@click.option(
    "--form",
    type=click.Choice(["best", "ratio", "levels", "clusters"]),
    default="best",
    show_default=True,
    help="What is proposed: the network's widths with fitted ratios; each level's own boxes "
    "clustered; all boxes clustered and handed out by size; or which of these fits best.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the proposal as a spec, a .json to train with.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the distributions: a .png, .svg or .pdf.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    data: tuple[str, ...],
    images_root: Path | None,
    model: str,
    classes: tuple[str, ...] | None,
    min_side: float,
    form: str,
    seed: int,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Statistics of DATA's boxes as MODEL's network sees them, how well its anchors cover them,
    and anchors that fit better.

    DATA is FORMAT:ANNOTATIONS:IMAGES[:CLASSES], as often as there are data sets. FORMAT: coco,
    voc, crowdhuman, wider, brainwash. CLASSES: names, or ours=theirs, with commas. FILE.json is
    short for coco:FILE.json:IMAGES_ROOT.

    Recall: the share of boxes whose best anchor, where it stands in the grid, has at least that
    IoU. Clusters alone promise more than they hold: on a coarse grid a small anchor misses.
    """
    import json

    from benchmarks import anchor_report
    from persondet.anchor_study import study_anchors
    from persondet.cli.opening import open_spec
    from persondet.data.sources import open_datasets, parse_sources
    from persondet.data.summary import summary_lines

    sources = parse_sources(data, images_root)
    annotations = [source.annotations for source in sources if is_file(source.annotations)]
    _check_destinations(out, plot, [*annotations, Path(model)])
    spec = open_spec(model)
    if classes:
        spec = replace(spec, class_names=("background", *classes))
    dataset = open_datasets(sources, spec.class_names[1:])
    click.echo("\n".join(summary_lines(dataset)), err=True)
    study = study_anchors(dataset, spec, form=form, min_side_px=min_side, seed=seed)
    if as_json:
        click.echo(json.dumps(anchor_report.report_json(dataset, study), indent=2))
    else:
        anchor_report.print_report(study)
    if plot is not None:
        from persondet.anchor_plot import draw_distributions

        specs = {"model": spec, f"proposed ({study.chosen.form})": study.chosen.spec}
        draw_distributions(plot, study.boxes_norm, specs, f"{dataset.name}; {spec.network}")
        click.echo(f"{plot}: the distributions", err=True)
    if out is not None:
        details = {
            "data": list(data),
            "images_root": None if images_root is None else str(images_root),
            "form": study.chosen.form,
            "min_side_px": min_side,
            "seed": seed,
            "mean_iou": study.chosen.mean_iou,
        }
        with publishing() as publication:
            text = spec_to_json(study.chosen.spec) + "\n"
            publication.file(out).write_text(text, encoding="utf-8")
            publication.describe(
                out, step="anchors", inputs=annotations, spec=None, details=details
            )
        click.echo(f"{out}: the proposal ({study.chosen.form}) as a spec", err=True)


def _check_destinations(out: Path | None, plot: Path | None, inputs: list[Path]) -> None:
    if out is not None:
        check_destination(out, ".json", inputs=inputs)
    if plot is not None:
        import matplotlib.figure  # noqa: F401  where it is missing, that is said before the work

        suffix = plot.suffix.lower()
        if suffix not in (".png", ".svg", ".pdf"):
            raise InputError(f"cannot draw {plot}: expected a name in .png, .svg or .pdf")
        check_destination(plot, suffix, inputs=inputs)
