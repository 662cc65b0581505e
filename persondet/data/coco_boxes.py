"""The boxes of a COCO JSON: four numbers, upright, in pixels, x, y, width, height; or refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from persondet.data.coco_entries import BadEntryError, CocoEntries, entry_name, entry_object
from persondet.data.plain_values import Id, plain_flag, plain_id, plain_number
from persondet.data.report import Report

_EXPECTED = "expected x, y, width, height in pixels"
# Corners taken for x, y, width, height reach far beyond the border, or their area says so.
_FAR_BEYOND = 1.1
_LEAST_FAR = 3
_SAME_AREA = 1e-3


@dataclass(frozen=True, kw_only=True)
class CocoBox:
    """An entry of `annotations`. name: what messages call it. image, category: by `plain_id`.

    xywh_px: as the file has it. area_px: the file's, or None if it has no usable one.
    """

    name: str
    image: Id
    category: Id
    xywh_px: tuple[float, float, float, float]
    area_px: float | None
    ignore: bool


def coco_boxes(entries: CocoEntries, categories: Mapping[Id, int], report: Report) -> list[CocoBox]:
    """Return the boxes of these categories; what is left out is added to the report, by kind.

    categories: those that are asked for, by `plain_id`. Raises BadEntryError naming the entry.
    """
    boxes: list[CocoBox] = []
    names: set[Id] = set()
    for number, entry in enumerate(entries.annotations, 1):
        item = entry_object(entry, "annotation", number)
        name = entry_name("annotation", item, number)
        key = plain_id(item.get("id"))
        if key in names:
            report.add("id of several annotations: each counts", name)
        elif key is not None:
            names.add(key)
        place = _place(item, entries, report, name)
        if place is None:
            continue
        if place[1] in categories:
            boxes.append(_box(item, place, name, report))
        else:
            other = entries.category_names[place[1]]
            report.add("box of a class that is not asked for: left out", f"{other!r}, {name}")
    _check_not_corners(boxes, entries)
    return _without_relative(boxes, report)


def _place(
    item: Mapping[str, Any], entries: CocoEntries, report: Report, name: str
) -> tuple[Id, Id] | None:
    """The image and the category of an annotation; None if it is left out."""
    image, category = plain_id(item.get("image_id")), plain_id(item.get("category_id"))
    if image is None:
        report.add("box without an image id: dropped", name)
    elif image not in entries.images:
        report.add("box of a picture that is not listed: dropped", name)
    elif category is None:
        report.add("box without a category id: dropped", name)
    elif category not in entries.category_names:
        report.add("box of a category that is not listed: dropped", name)
    else:
        return image, category
    return None


def _box(item: Mapping[str, Any], place: tuple[Id, Id], name: str, report: Report) -> CocoBox:
    area_px = plain_number(item.get("area"))
    if "area" in item and not (area_px is not None and 0 < area_px < np.inf):
        report.add("box whose area is 0 or no number: width x height is taken", name)
        area_px = None
    attributes = item.get("attributes")
    if isinstance(attributes, dict) and plain_number(attributes.get("rotation")):
        report.add("box with a rotation among its attributes: its upright bbox is taken", name)
    return CocoBox(
        name=name,
        image=place[0],
        category=place[1],
        xywh_px=_xywh(item.get("bbox"), name),
        area_px=area_px,
        ignore=_flag(item, "iscrowd", name) or _flag(item, "ignore", name),
    )


def _xywh(bbox: Any, name: str) -> tuple[float, float, float, float]:
    numbers = [plain_number(value) for value in bbox] if isinstance(bbox, list) else []
    if len(numbers) in (5, 8):
        raise BadEntryError(f"{name}: bbox {bbox!r:.80} is a rotated box; {_EXPECTED}, upright")
    match numbers:
        case [float(x), float(y), float(width), float(height)]:
            return x, y, width, height
    raise BadEntryError(f"{name}: bbox {bbox!r:.80}, {_EXPECTED}")


def _flag(item: Mapping[str, Any], key: str, name: str) -> bool:
    try:
        return plain_flag(item.get(key))
    except ValueError as error:
        raise BadEntryError(f"{name}: {key} {error}") from None


def _without_relative(boxes: list[CocoBox], report: Report) -> list[CocoBox]:
    """Without boxes that are not in pixels. Raises BadEntryError if they are half of all."""
    relative = [box for box in boxes if _is_relative(box)]
    if relative and 2 * len(relative) >= sum(min(box.xywh_px[2:]) > 0 for box in boxes):
        first = relative[0]
        raise BadEntryError(
            f"{first.name}: bbox {list(first.xywh_px)} lies within 0 and 1, and so do "
            f"{len(relative)} of {len(boxes)} boxes: they are relative to their images; "
            f"{_EXPECTED}; multiply by the images' sizes"
        )
    for box in relative:
        report.add("box within 0 and 1, which are no pixels: dropped", box.name)
    return [box for box in boxes if not _is_relative(box)] if relative else boxes


def _is_relative(box: CocoBox) -> bool:
    return min(box.xywh_px[2:]) > 0 and min(box.xywh_px) >= 0 and max(box.xywh_px) <= 1


def _check_not_corners(boxes: Sequence[CocoBox], entries: CocoEntries) -> None:
    """Raise BadEntryError if the boxes are x1, y1, x2, y2.

    They are if all can be read so, and so read most have the area that the file says, or, read as
    COCO's, a third of them and not few reach far beyond their images.
    """
    solid = [box for box in boxes if min(box.xywh_px[2:]) > 0]
    if not solid:
        return
    xywh = np.array([box.xywh_px for box in solid])
    sizes_hw = [entries.images[box.image].size_hw or (np.inf, np.inf) for box in solid]
    image_wh = np.array(sizes_hw)[:, ::-1]
    if not ((xywh[:, 2:] > xywh[:, :2]) & (xywh[:, 2:] <= image_wh + 1)).all():
        return
    areas = np.array([np.nan if box.area_px is None else box.area_px for box in solid])
    with np.errstate(over="ignore"):  # numbers that are no pixels
        as_corners = np.isclose(areas, (xywh[:, 2:] - xywh[:, :2]).prod(axis=1), rtol=_SAME_AREA)
        as_sides = np.isclose(areas, xywh[:, 2:].prod(axis=1), rtol=_SAME_AREA)
    by_area = as_corners & ~as_sides
    far = (xywh[:, :2] + xywh[:, 2:] > _FAR_BEYOND * image_wh).any(axis=1)
    if 2 * by_area.sum() > len(solid):
        found, why = by_area, "its area is that of corners"
    elif far.sum() >= _LEAST_FAR and 3 * far.sum() > len(solid):
        found, why = far, "it would reach far beyond its image"
    else:
        return
    first = solid[int(found.argmax())]
    raise BadEntryError(
        f"{first.name}: bbox {list(first.xywh_px)} seems to be corners x1, y1, x2, y2: {why}, as "
        f"for {int(found.sum())} of {len(solid)} boxes; {_EXPECTED}"
    )
