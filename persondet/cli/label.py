"""`persondet label`."""

import contextlib
from pathlib import Path

import click

from persondet.cli.options import NAMES, images_root_option
from persondet.errors import InputError
from persondet.files import is_folder
from persondet.wording import counted


@click.command()
@click.argument("model")
@click.argument("data")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="JSON",
    help="Where the annotations go.",
)
@click.option("--certain", default=0.5, show_default=True, help="Least score of a label.")
@click.option(
    "--doubtful",
    default=0.2,
    show_default=True,
    help="Least score of an ignored box: neither learnt nor taken as background.",
)
@click.option("--classes", type=NAMES, metavar="NAMES", help="Only these: person,head.")
@images_root_option
def command(
    model: str,
    data: str,
    output: Path,
    certain: float,
    doubtful: float,
    classes: tuple[str, ...] | None,
    images_root: Path | None,
) -> None:
    """Annotate the pictures of DATA by MODEL: pseudo-labels to train another model on.

    DATA is a folder of pictures, or a data set as `train` takes it, whose own boxes are not looked
    at. Writes COCO JSON; `persondet train coco:JSON:IMAGES` reads it. Each picture is marked as
    annotated for the model's classes only.
    """
    import json

    from persondet.cli.opening import check_detection_options, open_model, spec_if_known
    from persondet.cli.progress import progress_bar
    from persondet.data.pseudo_labels import LabelRule, coco_record, pseudo_labelled
    from persondet.data.samples import DataSet
    from persondet.images import read_image_rgb
    from persondet.models import resolve_model
    from persondet.sidecar import check_destination, publishing
    from runtime.detector import Detector

    rule = LabelRule(certain, doubtful)
    images, paths = _pictures(data, images_root)
    source = resolve_model(model)
    check_detection_options(spec_if_known(model), classes=classes)
    check_destination(output, ".json", inputs=[source, *paths])
    samples, unreadable = [], 0
    with (
        contextlib.closing(open_model(model)) as backend,
        progress_bar("labelling", len(paths)) as advance,
    ):
        names = backend.spec.class_names
        wanted = [i for i, name in enumerate(names) if i > 0 and (not classes or name in classes)]
        detector = Detector(backend, score_threshold=doubtful, classes=classes)
        for path in paths:
            try:
                image_rgb = read_image_rgb(path)
            except InputError as error:
                click.echo(f"persondet: {error}", err=True)
                unreadable += 1
            else:
                found = detector(image_rgb)
                found_arrays = (found.boxes_xyxy_px, found.scores, found.class_ids)
                samples.append(
                    pseudo_labelled(path, image_rgb.shape[:2], *found_arrays, wanted, rule)
                )
            advance()
    labelled = DataSet(str(images), names, tuple(samples))
    with publishing() as publication:
        record = json.dumps(coco_record(labelled, images))
        publication.file(output).write_text(record + "\n", encoding="utf-8")
        details = {"certain": certain, "doubtful": doubtful, "images": len(samples)}
        publication.describe(
            output, step="label", inputs=[source], spec=backend.spec, details=details
        )
    boxes = counted(labelled.num_boxes, "box")
    doubtful_boxes = sum(len(sample) for sample in samples) - labelled.num_boxes
    click.echo(
        f"{output}: {boxes} and {doubtful_boxes} doubtful in "
        f"{counted(len(samples), 'picture')}; train with coco:{output}:{images}"
    )
    if unreadable:
        raise InputError(f"{counted(unreadable, 'picture')} could not be read; see above")


def _pictures(data: str, images_root: Path | None) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the pictures, each once."""
    from persondet.data.sources import is_short_form, open_dataset, parse_sources
    from persondet.data.summary import summary_lines
    from persondet.images import list_images

    folder = Path(data)
    if is_folder(folder) and images_root is None:
        return folder, list_images([data])
    if ":" not in data and not is_short_form(data) and not is_folder(folder):
        raise InputError(
            f"{data} is no folder of pictures, and no data set such as coco:train.json:images/"
        )
    (source,) = parse_sources([data], images_root)
    dataset = open_dataset(source)
    click.echo("\n".join(summary_lines(dataset)), err=True)
    paths = list(dict.fromkeys(sample.image_path for sample in dataset.samples))
    if outside := [path for path in paths if not path.is_relative_to(source.images)]:
        raise InputError(
            f"{outside[0]} is not below {source.images}, from which the annotation's names go on; "
            "name the folder that holds all pictures"
        )
    return source.images, paths
