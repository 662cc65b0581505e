"""Opening data sets that a command line or a TOML file names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persondet.data.brainwash import read_brainwash
from persondet.data.class_names import name_key
from persondet.data.cleaning import cleaned
from persondet.data.coco_json import read_coco_json
from persondet.data.crowdhuman import DEFAULT_CLASSES, read_crowdhuman
from persondet.data.merging import merged, with_classes, without_unlabelled_classes
from persondet.data.samples import BACKGROUND, DataSet
from persondet.data.voc_xml import read_voc_xml
from persondet.data.wider_face import read_wider_face
from persondet.errors import InputError
from persondet.files import is_file
from persondet.wording import shown

_READERS_OF_CLASSES = {
    "coco": read_coco_json,
    "voc": read_voc_xml,
    "crowdhuman": read_crowdhuman,
}
_READERS_OF_ONE_CLASS = {"wider": read_wider_face, "brainwash": read_brainwash}
FORMATS = (*_READERS_OF_CLASSES, *_READERS_OF_ONE_CLASS)
SYNTAX = "FORMAT:ANNOTATIONS:IMAGES[:CLASSES]"
SHORT_SYNTAX = "FILE.json"


@dataclass(frozen=True)
class Source:
    """Where a data set is. annotations: a file; a folder for voc. images: the folder to which the
    annotation's names of pictures are relative. classes: our name to theirs; empty: all there are.
    """

    format: str
    annotations: Path
    images: Path
    classes: Mapping[str, str]


AnySource = Source | str | Mapping[str, Any]


def is_short_form(source: AnySource, base: Path = Path()) -> bool:
    """Return whether the source is the path of a COCO JSON, without format and images."""
    if not isinstance(source, str):
        return False
    named_json = source.lower().endswith(".json") and source.partition(":")[0] not in FORMATS
    return named_json or is_file(base / source)


def parse_source(source: AnySource, base: Path = Path(), images_root: Path | None = None) -> Source:
    """`FORMAT:ANNOTATIONS:IMAGES[:CLASSES]`, or a table with these keys in small letters.

    CLASSES: `person,head`, or `person=Pedestrian` where the data set has another name for ours; in
    a table a list of such. `FILE.json` is short for `coco:FILE.json:images_root`, by default the
    file's own folder. Relative paths start at `base`. Raises InputError saying what is wrong.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str) and is_short_form(source, base):
        path = base / source
        images = path.parent if images_root is None else base / images_root
        return Source("coco", path, images, {})
    if isinstance(source, str):
        parts = source.split(":")
        if not 3 <= len(parts) <= 4 or not all(parts):
            raise InputError(
                f"data {source!r}: expected {SYNTAX}, such as coco:train.json:images/ or "
                f"voc:Annotations/:JPEGImages/:person, or {SHORT_SYNTAX} of COCO; a path with a "
                "colon goes into a TOML table"
            )
        keys = ("format", "annotations", "images", "classes")
        table: dict[str, Any] = dict(zip(keys, parts, strict=False))
        if "classes" in table:
            table["classes"] = table["classes"].split(",")
    else:
        table = dict(source)
    _check_table(table)
    return Source(
        table["format"],
        base / table["annotations"],
        base / table["images"],
        _class_map(table["format"], table.get("classes", [])),
    )


def parse_sources(sources: Sequence[str], images_root: Path | None) -> list[Source]:
    """Return the sources of a command line. images_root: of those in the short form, FILE.json.

    Raises InputError if images_root is given and every source says itself where its images are.
    """
    if images_root is not None and not any(map(is_short_form, sources)):
        raise InputError(
            f"--images-root: {', '.join(sources)} says itself where the pictures are; it goes with "
            f"{SHORT_SYNTAX} alone"
        )
    return [parse_source(source, images_root=images_root) for source in sources]


def _check_table(table: Mapping[str, Any]) -> None:
    keys = {"format", "annotations", "images"}
    if missing := sorted(keys - set(table)):
        raise InputError(f"data {_named(table)}: {', '.join(missing)} is missing")
    if unknown := sorted(set(table) - keys - {"classes"}):
        raise InputError(f"data {_named(table)}: unknown {', '.join(unknown)}")
    for key in keys:
        if not isinstance(table[key], str):
            raise InputError(f"data {_named(table)}: {key} is {shown(table[key])}, expected a text")
    if table["format"] not in FORMATS:
        raise InputError(f"data {_named(table)}: expected a format of {', '.join(FORMATS)}")


def _named(table: Mapping[str, Any]) -> str:
    """What a person would call the entry: its annotations, or else all of it."""
    return shown(table.get("annotations", dict(table)))


def _class_map(data_format: str, entries: Any) -> dict[str, str]:
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise InputError(f"classes {shown(entries)}: expected a list of names")
    classes: dict[str, str] = {}
    for entry in entries:
        ours, _, theirs = (part.strip() for part in entry.partition("="))
        if data_format == "crowdhuman" and not theirs:
            theirs = DEFAULT_CLASSES.get(ours, ours)
        classes[ours] = theirs or ours
        if not ours or ours == BACKGROUND:
            raise InputError(f"classes {', '.join(entries)}: {ours!r} is no class name")
    if any(len(set(map(name_key, names))) < len(entries) for names in (classes, classes.values())):
        raise InputError(f"classes {', '.join(entries)}: expected every name once")
    if data_format in _READERS_OF_ONE_CLASS and len(classes) > 1:
        raise InputError(f"{data_format} has one class; got {', '.join(classes)}")
    return classes


def read_dataset(source: AnySource, base: Path = Path()) -> DataSet:
    """Return the data set as annotated, with all its classes: nothing is looked up in its images.

    source, base: as `parse_source` takes them. Raises InputError where it cannot be read.
    """
    parsed = parse_source(source, base)
    if parsed.format in _READERS_OF_ONE_CLASS:
        read_one = _READERS_OF_ONE_CLASS[parsed.format]
        name = next(iter(parsed.classes), "head")
        dataset = read_one(parsed.annotations, parsed.images, name)
    else:
        read = _READERS_OF_CLASSES[parsed.format]
        dataset = read(parsed.annotations, parsed.images, parsed.classes or None)
    seen: set[Path] = set()
    for sample in dataset.samples:
        if sample.image_path in seen:
            dataset.report.add("image annotated more than once: each for itself", sample.image_path)
        seen.add(sample.image_path)
    return dataset


def open_dataset(source: AnySource, base: Path = Path()) -> DataSet:
    """The data set, cleaned (`persondet.data.cleaning`), with all classes that it labels.

    source, base: as `parse_source` takes them. Raises InputError where it cannot be opened.
    """
    return without_unlabelled_classes(cleaned(read_dataset(source, base)))


def open_datasets(
    sources: Sequence[AnySource],
    class_names: Sequence[str] = (),
    base: Path = Path(),
    *,
    keep_unlabelled: bool = False,
) -> DataSet:
    """All of them as one; class_names without the background, in the order wanted; () is all.

    keep_unlabelled: also pictures that label none of the classes.
    """
    merged_set = merged([open_dataset(source, base) for source in sources])
    if not class_names:
        return merged_set
    return with_classes(merged_set, class_names, keep_unlabelled=keep_unlabelled)
