"""COCO's instances JSON (Lin et al. 2014, cocodataset.org/#format-data)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from persondet.data.report import Report
from persondet.data.samples import (
    BACKGROUND,
    DataSet,
    Sample,
    annotation_text,
    make_sample,
    xyxy_from_xywh,
)
from persondet.errors import InputError
from persondet.files import parse_json


def read_coco_json(
    path: Path, images_root: Path, classes: Mapping[str, str] | None = None
) -> DataSet:
    """classes: our class name to a category's name; default: every category that some picture
    labels, under its own name. Boxes of other categories are passed over.

    `iscrowd` and `ignore` are ignored. An image with `labeled_category_ids` is annotated for these
    categories only: of the other classes nothing is known there.
    Raises InputError where the file is no such JSON, lacks a class, or holds a bad entry.
    """
    record = _record(path)
    try:
        ids = {item["name"]: item["id"] for item in record["categories"]}
        images = {image["id"]: image for image in record["images"]}
        chosen = classes or {name: name for name in _labeled_names(ids, images.values())}
        if missing := [name for name in chosen.values() if name not in ids]:
            raise InputError(
                f"{path} has no category {', '.join(missing)}; it has {', '.join(ids)}"
            )
        class_ids = {ids[name]: index for index, name in enumerate(chosen.values(), 1)}
        report = Report()
        items = _by_image(record["annotations"], images, report)
        samples = [
            _sample(image, items[key], class_ids, images_root) for key, image in images.items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is no COCO annotation: an entry is bad: {error!r}") from None
    return DataSet(str(path), (BACKGROUND, *chosen), tuple(samples), report)


def _record(path: Path) -> dict[str, Any]:
    try:
        record = parse_json(annotation_text(path))
        record["images"], record["annotations"], record["categories"]
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{path} is no COCO annotation: expected a JSON object with images, annotations and "
            "categories"
        ) from None
    return record


def _labeled_names(ids: Mapping[str, int], images: Iterable[Mapping[str, Any]]) -> list[str]:
    labeled: set[int] = set()
    for image in images:
        labeled.update(image.get("labeled_category_ids", ids.values()))
    return [name for name, category in ids.items() if category in labeled]


def _by_image(
    annotations: Sequence[Mapping[str, Any]], images: Mapping[int, Any], report: Report
) -> dict[int, list[Mapping[str, Any]]]:
    items = defaultdict(list)
    for item in annotations:
        if item["image_id"] in images:
            items[item["image_id"]].append(item)
        else:
            report.add("box of a picture that is not listed: dropped", f"id {item.get('id')}")
    return items


def _sample(
    image: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    class_ids: Mapping[int, int],
    images_root: Path,
) -> Sample:
    boxes = [_box(item, class_ids) for item in items if item["category_id"] in class_ids]
    labeled = image.get("labeled_category_ids", list(class_ids))
    return make_sample(
        images_root / image["file_name"],
        boxes,
        [class_ids[category] for category in labeled if category in class_ids],
        (int(image["height"]), int(image["width"])) if {"height", "width"} <= set(image) else None,
    )


def _box(
    item: Mapping[str, Any], class_ids: Mapping[int, int]
) -> tuple[tuple[float, float, float, float], int, bool]:
    try:
        box_xyxy_px = xyxy_from_xywh(item["bbox"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"annotation {item.get('id')}: bbox {item.get('bbox')}, expected x, y, width, height"
        ) from None
    ignored = bool(item.get("iscrowd", 0) or item.get("ignore", 0))
    return box_xyxy_px, class_ids[item["category_id"]], ignored
