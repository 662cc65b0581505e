"""`persondet decode`."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.options import threshold_options
from persondet.errors import InputError
from persondet.wording import counted

if TYPE_CHECKING:
    from persondet.spec import DetectorSpec
    from runtime.detector import BoxDecoder

_FILE = click.Path(path_type=Path)
_NUMBER_BEFORE_NAME = re.compile(r"\d+_")  # of the files that `quantize --raw-files` writes


@click.command()
@click.argument("folder", metavar="RESULT_FOLDER", type=_FILE)
@click.option(
    "--spec",
    "model",
    required=True,
    metavar="MODEL",
    help="The model that was run, its file or name; or a spec or sidecar (.json).",
)
@click.option(
    "--images",
    "image_paths",
    multiple=True,
    metavar="PATH",
    help="The images of the run, in its order: files, folders, or a .txt file with one image per "
    "line. May be given several times.",
)
@click.option(
    "--input-list",
    type=_FILE,
    metavar="FILE",
    help="The run's own input list. Images are then found by the names of its files, in any order.",
)
@click.option("--out", type=_FILE, metavar="DIR", help="Draw the boxes, into DIR. Needs --images.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per result on standard output."
)
@click.option(
    "--coco", type=_FILE, metavar="FILE", help="Write COCO results, as `detect`. Needs --images."
)
@threshold_options
def command(
    folder: Path,
    model: str,
    image_paths: tuple[str, ...],
    input_list: Path | None,
    out: Path | None,
    as_json: bool,
    coco: Path | None,
    **thresholds: Any,
) -> None:
    """Make boxes of the raw outputs of a run of snpe-net-run, on whatever device it was.

    RESULT_FOLDER is the run's output folder, with Result_0/scores.raw, Result_0/boxes.raw,
    Result_1/... in it, or one Result_N folder. Result_N belongs to the N-th image, counted from 0.
    Without --images the boxes are in pixels of the network's input.

    \b
    Example:
      snpe-net-run --container head.dlc --input_list list.txt \\
        --set_output_tensors scores,boxes
      persondet decode output/ --spec head.dlc --images photos/ --out boxes/
    """
    from persondet.cli.detect import PictureReport
    from runtime.detector import BoxDecoder
    from runtime.raw_results import read_result, result_folders

    if not image_paths and (out is not None or coco is not None):
        option, needs = (
            ("--out", "draws on the images") if out else ("--coco", "needs their pixels")
        )
        raise click.UsageError(f"{option} {needs}: give the images of the run by --images")
    decoder = BoxDecoder(_spec(model), str(folder), **thresholds)
    results = result_folders(folder)
    listed = _listed(input_list, decoder.spec, len(results))
    if not image_paths:
        _decode_on_input(decoder, results, listed, as_json=as_json)
        return
    report = PictureReport(
        _images_of_results(_images(image_paths), listed, len(results)),
        out=out,
        as_json=as_json,
        coco=coco,
        inputs=[path for path in (input_list, Path(model)) if path is not None],
    )
    report.write(
        lambda index, image_rgb: decoder.detections(
            read_result(results[index], decoder.spec), image_rgb.shape[:2]
        ),
        decoder.spec.class_names,
        "decoding",
    )


def _decode_on_input(
    decoder: "BoxDecoder", results: Sequence[Path], listed: Sequence[str], *, as_json: bool
) -> None:
    """Print every result in pixels of the network's input; listed: the run's input files."""
    from persondet.cli.detect import echo_found
    from runtime.output import found_record
    from runtime.raw_results import read_result

    size_hw = decoder.spec.input_size_hw
    click.echo(
        f"note: without --images the boxes are in pixels of the network's input, {size_hw[1]} x "
        f"{size_hw[0]}",
        err=True,
    )
    for index, result in enumerate(results):
        detections = decoder.detections(read_result(result, decoder.spec), size_hw)
        found = found_record(size_hw, detections, decoder.spec.class_names)
        echo_found(Path(listed[index]) if listed else result, found, as_json=as_json)


def _spec(model: str) -> "DetectorSpec":
    """Return the spec of a model's file or name, of a network's name, or of a JSON file."""
    from persondet.cli.opening import open_spec, read_spec, spec_of_model
    from persondet.models import resolve_model
    from persondet.sidecar import spec_beside
    from persondet.zoo import full_name, network_names

    if model.lower().endswith(".json"):
        return read_spec(Path(model))
    if full_name(model) in network_names():
        return open_spec(model)
    return spec_beside(resolve_model(model)) or spec_of_model(model)


def _images(paths: Sequence[str]) -> list[Path]:
    """Return the images of --images, in order; a .txt file stands for those that it names."""
    from persondet.images import list_images

    return [
        image
        for path in paths
        for image in (_images_in(Path(path)) if _is_list(path) else list_images([path]))
    ]


def _is_list(path: str) -> bool:
    return Path(path).suffix.lower() in (".txt", ".lst", ".list")


def _images_in(listing: Path) -> Iterator[Path]:
    """Yield the images of a list: one path per line, from here or from the list's own folder."""
    for row in _text(listing).splitlines():
        if name := row.strip():
            if name.endswith(".raw"):
                raise InputError(
                    f"{listing} names raw files, not images: give it by --input-list, and the "
                    "images that they were made of by --images"
                )
            path = Path(name)
            beside = listing.parent / path
            yield beside if not path.exists() and beside.exists() else path


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"cannot read the list {path}: {error.strerror}") from None


def _listed(input_list: Path | None, spec: "DetectorSpec", results: int) -> tuple[str, ...]:
    """Return the input files of the run, one per result; none without an input list."""
    if input_list is None:
        return ()
    from export.sdk.raw_files import listed_inputs

    listed = listed_inputs(_text(input_list), spec.input_name)
    if len(listed) < results:
        raise InputError(
            f"{input_list} names {counted(len(listed), 'input')}, and there are {results} results: "
            "it is the list of another run"
        )
    if len(listed) > results:
        rest = f"Result_{results} and the following are missing"
        click.echo(
            f"note: {input_list} names {len(listed)} inputs, and there are results of {results}: "
            f"{rest}",
            err=True,
        )
    return listed[:results]


def _images_of_results(images: list[Path], listed: Sequence[str], results: int) -> list[Path]:
    """Return the image of each result: in the order given, or by the names in the input list."""
    if listed:
        by_name = _by_name(images)
        return [_image_of(name, by_name) for name in listed]
    if len(images) != results:
        raise InputError(
            f"--images names {counted(len(images), 'image')}, and there are {results} results, of "
            "which Result_N belongs to the N-th image: give the images of this run alone, or its "
            "--input-list to find them by name"
        )
    return images


def _by_name(images: Iterable[Path]) -> dict[str, list[Path]]:
    from export.sdk.raw_files import safe_name

    found: dict[str, list[Path]] = {}
    for image in images:
        found.setdefault(safe_name(image.stem), []).append(image)
    return found


def _image_of(listed: str, by_name: dict[str, list[Path]]) -> Path:
    """Return the image that an input file was made of: of the same name, without the number that
    our own files have before it, or the suffix that others keep within it."""
    from export.sdk.raw_files import safe_name

    stem = Path(listed).stem
    names = (stem, _NUMBER_BEFORE_NAME.sub("", stem, count=1), Path(stem).stem)
    images = next((by_name[key] for key in map(safe_name, names) if key in by_name), [])
    if len(images) == 1:
        return images[0]
    found = f"several: {', '.join(map(str, images[:3]))}" if images else "none"
    raise InputError(
        f"the input list names {listed}, and of --images {found} bears that name; leave "
        "--input-list out and give the images in the order of the run"
    )
