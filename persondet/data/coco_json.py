"""COCO's instances JSON (Lin et al. 2014, cocodataset.org/#format-data)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from persondet.data.class_names import name_key, one_name_per_class
from persondet.data.coco_boxes import CocoBox, coco_boxes
from persondet.data.coco_entries import (
    BadEntryError,
    CocoEntries,
    CocoImage,
    path_of_image,
    read_coco_entries,
)
from persondet.data.plain_values import Id
from persondet.data.report import Report
from persondet.data.samples import (
    BACKGROUND,
    DataSet,
    Sample,
    make_sample,
    xyxy_from_xywh,
)
from persondet.errors import InputError


def read_coco_json(
    path: Path, images_root: Path, classes: Mapping[str, str] | None = None
) -> DataSet:
    """classes: our class name to a category's name; default: every category under its own name.
    All ids of a name are that class; names that differ in capitals only are one, and reported.

    `iscrowd` and `ignore` are ignored. An image with `labeled_category_ids` is annotated for these
    categories only: of the other classes nothing is known there.
    What is left out, or not taken as it stands, is in the report by kind. Raises InputError, naming
    file and entry, where the file is no such JSON, lacks a class, or holds an entry that has no
    plain meaning.
    """
    report = Report()
    entries = read_coco_entries(path, report)
    names = one_name_per_class(entries.category_names.values(), report)
    chosen = classes or {name: name for name in names}
    class_ids = _class_ids(path, entries, chosen, names)
    try:
        boxes = coco_boxes(entries, class_ids, report)
    except BadEntryError as error:
        raise InputError(f"{path}: {error}") from None
    by_image = defaultdict(list)
    for box in boxes:
        by_image[box.image].append(box)
    samples = [
        _sample(image, by_image[key], class_ids, images_root)
        for key, image in entries.images.items()
    ]
    ours = (BACKGROUND, *chosen)
    return DataSet(
        name=str(path),
        class_names=ours,
        samples=tuple(samples),
        report=report,
        category_ids=_category_ids(entries, class_ids, ours),
    )


def _class_ids(
    path: Path, entries: CocoEntries, chosen: Mapping[str, str], names: Sequence[str]
) -> dict[Id, int]:
    """Class ids by the ids of the categories that are asked for."""
    known = {name_key(name) for name in names}
    if missing := [name for name in chosen.values() if name_key(name) not in known]:
        raise InputError(
            f"{path} has no category {', '.join(missing)}; it has {', '.join(names) or 'none'}"
        )
    by_key = {name_key(name): index for index, name in enumerate(chosen.values(), 1)}
    return {
        key: by_key[name_key(name)]
        for key, name in entries.category_names.items()
        if name_key(name) in by_key
    }


def _category_ids(
    entries: CocoEntries, class_ids: Mapping[Id, int], class_names: Sequence[str]
) -> dict[str, Id]:
    """By class name the id of its category, as the file has it; the first of several."""
    ids: dict[str, Id] = {}
    for key, class_id in class_ids.items():
        ids.setdefault(class_names[class_id], entries.category_ids[key])
    return ids


def _sample(
    image: CocoImage, boxes: Sequence[CocoBox], class_ids: Mapping[Id, int], images_root: Path
) -> Sample:
    labeled: Iterable[Id] = class_ids
    if image.labeled_category_ids is not None:
        labeled = image.labeled_category_ids & class_ids.keys()
    rows = [(xyxy_from_xywh(box.xywh_px), class_ids[box.category], box.ignore) for box in boxes]
    sample = make_sample(
        image_path=path_of_image(images_root, image.file_name),
        boxes=rows,
        labeled_class_ids=[class_ids[key] for key in labeled],
        size_hw=image.size_hw,
    )
    areas_px = [
        box.xywh_px[2] * box.xywh_px[3] if box.area_px is None else box.area_px for box in boxes
    ]
    return replace(
        sample, annotated_areas_px=np.array(areas_px, np.float64), image_id=image.image_id
    )
