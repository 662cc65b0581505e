"""The entries of a COCO JSON, checked and in their plain meaning, before any class is chosen."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from persondet.data.class_names import name_key
from persondet.data.plain_values import Id, plain_id, plain_side
from persondet.data.report import Report
from persondet.data.samples import annotation_text
from persondet.errors import InputError
from persondet.files import is_file, parse_json

_LISTS = ("images", "annotations", "categories")
_ROOT = re.compile(r"^(?:[A-Za-z]:)?/+")


class BadEntryError(ValueError):
    """An entry that has no plain meaning; the message names it, the reader adds the file."""


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """An entry of `images`.

    image_id and file_name: as the file has them. size_hw: None if it is not said.
    labeled_category_ids: the categories that were looked for; None: all of them.
    """

    image_id: Id
    file_name: str
    size_hw: tuple[int, int] | None
    labeled_category_ids: frozenset[Id] | None


@dataclass(frozen=True, kw_only=True)
class CocoEntries:
    """category_names and images: by `plain_id`. category_ids: as the file has them, by the same.

    annotations: as they are in the file.
    """

    category_names: Mapping[Id, str]
    category_ids: Mapping[Id, Id]
    images: Mapping[Id, CocoImage]
    annotations: Sequence[Any]


def read_coco_entries(path: Path, report: Report) -> CocoEntries:
    """Read images and categories; what is not taken as it stands is added to the report.

    Raises InputError naming the file and the entry if it is not such a JSON or an entry is bad.
    """
    record = _record(path)
    try:
        names, ids = _categories(record["categories"])
        images = _images(record["images"], report)
    except BadEntryError as error:
        raise InputError(f"{path}: {error}") from None
    return CocoEntries(
        category_names=names,
        category_ids=ids,
        images=images,
        annotations=record["annotations"],
    )


def entry_name(kind: str, item: Mapping[str, Any], number: int) -> str:
    """Return what messages call an entry: by its id, or by its place, counted from 1."""
    key = plain_id(item.get("id"))
    return f"{kind} number {number}" if key is None else f"{kind} {key!s:.40}"


def entry_object(entry: Any, kind: str, number: int) -> Mapping[str, Any]:
    """Return the entry. Raises BadEntryError if it is not a JSON object."""
    if not isinstance(entry, dict):
        raise BadEntryError(f"{kind} number {number} is {entry!r:.60}, expected a JSON object")
    return entry


def _record(path: Path) -> dict[str, Any]:
    try:
        record = parse_json(annotation_text(path))
    except ValueError as error:
        raise InputError(f"{path} is no COCO annotation: not JSON ({error})") from None
    if not isinstance(record, dict) or not all(isinstance(record.get(k), list) for k in _LISTS):
        raise InputError(
            f"{path} is no COCO annotation: expected a JSON object with images, annotations and "
            "categories, as cocodataset.org describes it"
        )
    return record


def _categories(entries: Sequence[Any]) -> tuple[dict[Id, str], dict[Id, Id]]:
    """Names, and ids as written, by plain id."""
    names: dict[Id, str] = {}
    ids: dict[Id, Id] = {}
    for number, entry in enumerate(entries, 1):
        item = entry_object(entry, "category", number)
        key, name = plain_id(item.get("id")), item.get("name")
        if key is None or not isinstance(name, str) or not name.strip():
            raise BadEntryError(
                f"category number {number}: id {item.get('id')!r:.40}, name {name!r:.40}; expected "
                "an id and a name"
            )
        if key in names and name_key(names[key]) != name_key(name):
            raise BadEntryError(
                f"two categories have the id {key}: {names[key]!r:.40} and {name!r:.40}; which "
                "one a box means cannot be known; give each an id of its own"
            )
        names.setdefault(key, name.strip())
        ids.setdefault(key, item["id"])
    return names, ids


def _images(entries: Sequence[Any], report: Report) -> dict[Id, CocoImage]:
    images: dict[Id, CocoImage] = {}
    for number, entry in enumerate(entries, 1):
        item = entry_object(entry, "image", number)
        key, image = plain_id(item.get("id")), _image(item, number, report)
        if key is None:
            raise BadEntryError(
                f"image number {number} ({image.file_name}): id {item.get('id')!r:.40}, expected "
                "a number or text by which its boxes name it"
            )
        if key not in images:
            images[key] = image
        elif images[key].file_name == image.file_name:
            report.add("image listed twice under one id: taken once", image.file_name)
        else:
            raise BadEntryError(
                f"two images have the id {key}: {images[key].file_name} and {image.file_name}; "
                "which of them a box belongs to cannot be known; give each an id of its own"
            )
    return images


def _image(item: Mapping[str, Any], number: int, report: Report) -> CocoImage:
    file_name = item.get("file_name")
    if not isinstance(file_name, str) or not file_name.strip():
        name = entry_name("image", item, number)
        raise BadEntryError(f"{name}: file_name {file_name!r:.40}, expected the name of a file")
    return CocoImage(
        image_id=item.get("id", ""),
        file_name=file_name,
        size_hw=_size_hw(item, file_name, report),
        labeled_category_ids=_labeled(item, number),
    )


def _size_hw(item: Mapping[str, Any], file_name: str, report: Report) -> tuple[int, int] | None:
    height, width = plain_side(item.get("height")), plain_side(item.get("width"))
    if height is not None and width is not None:
        return height, width
    if "height" in item or "width" in item:
        report.add("image whose annotation has no usable size: its own is taken", file_name)
    return None


def _labeled(item: Mapping[str, Any], number: int) -> frozenset[Id] | None:
    listed = item.get("labeled_category_ids")
    if listed is None:
        return None
    keys = [plain_id(value) for value in listed] if isinstance(listed, list) else [None]
    if None in keys:
        raise BadEntryError(
            f"{entry_name('image', item, number)}: labeled_category_ids {listed!r:.60}, expected a "
            "list of the ids of categories"
        )
    return frozenset(key for key in keys if key is not None)


def path_of_image(images_root: Path, file_name: str) -> Path:
    """Return where the image is, below images_root. file_name: as the annotation has it.

    Backslashes part folders, unless a file has them in its name. An absolute name that is not on
    this machine stands for its last part.
    """
    path = images_root / file_name
    slashed = file_name.replace("\\", "/")
    absolute = _ROOT.match(slashed)
    if (slashed == file_name and not absolute) or is_file(path):
        return path
    return images_root / (PurePosixPath(slashed).name if absolute else slashed)


def name_parts(file_name: str) -> tuple[str, ...]:
    """Return folders and name of a file_name, without the root of an absolute one."""
    return PurePosixPath(_ROOT.sub("", file_name.replace("\\", "/"), count=1)).parts
