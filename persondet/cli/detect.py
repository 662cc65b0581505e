"""`persondet detect`."""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.options import detection_options
from persondet.errors import InputError
from persondet.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from runtime.detections import Detections


@click.command()
@click.argument("arguments", nargs=-1, metavar="MODEL PATHS...")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Draw the boxes, into DIR."
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a picture on standard output."
)
@click.option(
    "--coco",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write COCO results. Image ids: the numbers in the files' names where all are distinct "
    "numbers, otherwise 1, 2, ... in the order of the pictures.",
)
@click.option(
    "--coco-like",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Number images and classes in the --coco results as this COCO JSON does.",
)
@detection_options
@click.option("--net_type", metavar="MODEL", help="MODEL, as the original project spells it.")
@click.option("--test_path", metavar="PATH", help="PATHS, as the original project spells it.")
def command(
    arguments: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    coco: Path | None,
    coco_like: Path | None,
    score_threshold: float | None,
    nms_iou: float | None,
    top_k: int | None,
    classes: tuple[str, ...] | None,
    spec_path: Path | None,
    threads: int | None,
    net_type: str | None,
    test_path: str | None,
) -> None:
    """Find persons or heads in pictures.

    PATHS are pictures, and folders of pictures at any depth. MODEL is a .pth, .onnx or .dlc file,
    or a model's name. A picture that cannot be read is reported and passed over, and the exit code
    is then 2.
    """
    from persondet.cli.opening import check_detection_options, open_model, spec_if_known
    from persondet.models import resolve_model
    from runtime.detector import Detector

    model, paths = model_and_paths(arguments, net_type, test_path)
    check_detection_options(
        spec_if_known(model, spec_path),
        score_threshold=score_threshold,
        nms_iou=nms_iou,
        top_k=top_k,
        classes=classes,
    )
    pictures = _pictures(paths, out)
    specs = [] if spec_path is None else [spec_path]
    report = PictureReport(
        pictures,
        out=out,
        as_json=as_json,
        coco=coco,
        coco_like=coco_like,
        inputs=[resolve_model(model), *specs],
    )
    with contextlib.closing(open_model(model, spec_path, threads)) as backend:
        detector = Detector(backend, score_threshold, nms_iou, top_k, classes)
        report.write(
            lambda _, image_rgb: detector(image_rgb), backend.spec.class_names, "detecting"
        )


class PictureReport:
    """What `detect` and `decode` write of detections: lines, drawings, COCO results.

    out: folder of the drawings; coco: file of the results; None for none. coco_like: a JSON that
    numbers the images and classes of the results. inputs: files beside the pictures that must not
    be overwritten. Raises InputError for a place that cannot be written to.
    """

    def __init__(
        self,
        pictures: Sequence[Path],
        *,
        out: Path | None,
        as_json: bool,
        coco: Path | None,
        coco_like: Path | None = None,
        inputs: Sequence[Path],
    ) -> None:
        from persondet.data.coco_numbering import read_coco_numbering
        from persondet.sidecar import check_destination, check_folder

        if coco_like is not None and coco is None:
            raise click.UsageError("--coco-like numbers the results of --coco FILE; give both")
        if coco is not None:
            given = [*inputs, *([] if coco_like is None else [coco_like])]
            check_destination(coco, ".json", inputs=[*given, *pictures])
        if out is not None:
            check_folder(out)
        self._pictures = pictures
        self._drawings = [None] * len(pictures) if out is None else _drawings(pictures, out)
        self._as_json = as_json
        self._coco = coco
        self._coco_like = coco_like
        self._numbering = None if coco_like is None else read_coco_numbering(coco_like)

    def write(
        self,
        detections_in: "Callable[[int, np.ndarray], Detections]",
        class_names: Sequence[str],
        doing: str,
    ) -> None:
        """Write all that is found. detections_in: of a picture's index and its pixels.

        Raises InputError at the end if a picture could not be read.
        """
        from persondet.cli.progress import progress_bar
        from runtime import output

        image_ids: Sequence[int | str | None] = output.coco_image_ids(self._pictures)
        category_ids = None
        if self._numbering is not None:
            image_ids = self._numbering.of_images(self._pictures)
            category_ids = self._numbering.of_classes(class_names)
        results: list[dict[str, Any]] = []
        done = 0
        # Lines that appear on the terminal are progress enough.
        piped = not sys.stdout.isatty()
        with progress_bar(doing, len(self._pictures), shown=piped) as advance:
            for index, image_rgb in _readable(self._pictures, advance):
                found = self._write_one(
                    index, image_rgb, detections_in(index, image_rgb), class_names
                )
                if (image_id := image_ids[index]) is not None:
                    name = self._pictures[index].name
                    results += output.coco_results(found, image_id, name, category_ids=category_ids)
                done += 1
        if self._coco is not None:
            output.write_coco_results(self._coco, results)
            click.echo(f"COCO results of {counted(done, 'picture')}: {self._coco}", err=True)
            for note in _not_numbered(image_ids, category_ids, class_names):
                click.echo(f"note: {self._coco_like} {note}", err=True)
        if done < len(self._pictures):
            missing = len(self._pictures) - done
            of = counted(len(self._pictures), "picture")
            raise InputError(f"{missing} of {of} could not be read; see above")

    def _write_one(
        self,
        index: int,
        image_rgb: "np.ndarray",
        detections: "Detections",
        class_names: Sequence[str],
    ) -> dict[str, Any]:
        from persondet.images import write_image_rgb
        from runtime import output
        from runtime.drawing import draw_detections

        found = output.found_record(image_rgb.shape[:2], detections, class_names)
        if (drawing := self._drawings[index]) is not None:
            write_image_rgb(drawing, draw_detections(image_rgb, detections, class_names))
        echo_found(self._pictures[index], found, as_json=self._as_json, drawing=drawing)
        return found


def echo_found(
    path: Path, found: dict[str, Any], *, as_json: bool, drawing: Path | None = None
) -> None:
    """Print one picture's `found_record`: as JSON, or as a line to read."""
    from runtime import output

    if as_json:
        click.echo(output.json_line({"path": str(path), **found}))
    else:
        click.echo(_line(path, found["detections"], drawing))


def _not_numbered(
    image_ids: Sequence[object], category_ids: Mapping[int, object] | None, names: Sequence[str]
) -> Iterator[str]:
    """What the results lack because the JSON that numbers them does not list it."""
    if unlisted := sum(image_id is None for image_id in image_ids):
        yield f"does not list {counted(unlisted, 'picture')}: left out of the results"
    if category_ids is not None:
        unknown = [name for i, name in enumerate(names) if i > 0 and i not in category_ids]
        if unknown:
            yield f"has no category {', '.join(unknown)}: left out of the results"


def model_and_paths(
    arguments: Sequence[str], model: str | None, path: str | None
) -> tuple[str, tuple[str, ...]]:
    """MODEL and PATHS: of the arguments, or as the original project's options give them."""
    paths = tuple(arguments)
    if model is None:
        if not paths:
            raise click.UsageError("expected MODEL PATHS...; `--help` explains them")
        model, *rest = paths
        paths = tuple(rest)
    if path is not None:
        paths = (*paths, path)
    if not paths:
        raise click.UsageError(f"expected pictures or folders of pictures after the model {model}")
    return model, paths


def _pictures(paths: Sequence[str], out: Path | None) -> list[Path]:
    """What to look at: not the drawings that an earlier run left in a folder below."""
    from persondet.images import list_images

    pictures = list_images(paths)
    if out is None:
        return pictures
    folder = out.resolve()
    kept = [
        picture
        for picture in pictures
        if str(picture) in paths or folder not in picture.absolute().resolve().parents
    ]
    if not kept:
        raise InputError(f"--out {out} holds the pictures themselves; name another folder")
    return kept


def _drawings(pictures: Sequence[Path], out: Path) -> list[Path]:
    """Where each picture is drawn: JPEG stays JPEG, all else becomes PNG; no name twice."""
    originals = {picture.resolve() for picture in pictures}
    taken: set[Path] = set()
    drawings = []
    for picture in pictures:
        suffix = ".jpg" if picture.suffix.lower() in (".jpg", ".jpeg") else ".png"
        drawing, number = out / f"{picture.stem}{suffix}", 2
        while drawing in taken:
            drawing, number = out / f"{picture.stem}-{number}{suffix}", number + 1
        if drawing.resolve() in originals:
            raise InputError(
                f"--out {out} would overwrite the picture {drawing}; name another folder"
            )
        taken.add(drawing)
        drawings.append(drawing)
    return drawings


def _readable(pictures: Sequence[Path], advance: Callable[[], None]) -> Iterator[tuple[int, Any]]:
    """Index and pixels of each picture that can be read; the others are reported."""
    from persondet.images import read_image_rgb

    for index, picture in enumerate(pictures):
        try:
            image_rgb = read_image_rgb(picture)
        except InputError as error:
            click.echo(f"persondet: {error}", err=True)
        else:
            yield index, image_rgb
        advance()


def _line(picture: Path, detections: Sequence[dict[str, Any]], drawing: Path | None) -> str:
    best = f", best {detections[0]['score']:.2f}" if detections else ""
    drawn = "" if drawing is None else f" -> {drawing}"
    counts = Counter(detection["class_name"] for detection in detections)
    shown = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
    return f"{picture}: {shown}{best}{drawn}"
