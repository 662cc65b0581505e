"""What `detect` writes for machines: JSON lines and COCO results."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from persondet.sidecar import replacing
from persondet.terminal import UNPRINTABLE
from runtime.detections import Detections


def found_record(
    size_hw: tuple[int, ...], detections: Detections, class_names: Sequence[str]
) -> dict[str, Any]:
    """One picture's JSON: width, height, detections (see `Detections.to_dicts`)."""
    return {
        "width": size_hw[1],
        "height": size_hw[0],
        "detections": detections.to_dicts(class_names),
    }


def json_line(record: dict[str, Any]) -> str:
    """Return the record as one line of JSON; letters as they are, what is unprintable as \\uXXXX.

    A byte of a file name that is not UTF-8 is a lone surrogate, \\udce9, as Python's os.fsdecode
    has it: json.loads and os.fsencode give the very name back.
    """
    text = json.dumps(record, allow_nan=False, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def coco_image_ids(paths: Sequence[Path]) -> list[int]:
    """COCO image ids of the pictures, in their order.

    The numbers that the file names are (000000000139.jpg is 139), as in COCO itself; where one of
    them is not a number, or two are the same, all pictures are numbered from 1 instead.
    """
    stems = [path.stem for path in paths]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        ids = [int(stem) for stem in stems]
        if len(set(ids)) == len(ids):
            return ids
    return list(range(1, len(paths) + 1))


def coco_results(
    found: dict[str, Any],
    image_id: int | str,
    file_name: str,
    *,
    category_ids: Mapping[int, int | str] | None = None,
) -> list[dict[str, Any]]:
    """A picture's `found_record` to entries of a COCO results file.

    bbox: x, y, width, height in pixels. category_id: the class id, or what category_ids, by class
    id, has for it; a class that is not among them is left out. file_name, which COCO's own tools
    pass over, says which picture it was.
    """
    classes = {found_one["class_id"] for found_one in found["detections"]}
    numbers = {i: i for i in classes} if category_ids is None else category_ids
    return [
        {
            "image_id": image_id,
            "category_id": numbers[detection["class_id"]],
            "bbox": _xywh(detection["box_xyxy"]),
            "score": detection["score"],
            "file_name": file_name,
        }
        for detection in found["detections"]
        if detection["class_id"] in numbers
    ]


def _xywh(box_xyxy: Sequence[float]) -> list[float]:
    x1, y1, x2, y2 = box_xyxy
    return [x1, y1, round(x2 - x1, 4), round(y2 - y1, 4)]


def write_coco_results(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """A COCO results file, as pycocotools' loadRes reads it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(results, allow_nan=False) + "\n", encoding="utf-8")
