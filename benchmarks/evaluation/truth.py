"""What is to be found: the annotated boxes of a COCO JSON, by the model's own classes."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from persondet.data.samples import DataSet
from persondet.errors import InputError
from persondet.files import MAX_ANNOTATION_BYTES, is_file, parse_json, read_text

_SHOWN_MISSING = 5


@dataclass(frozen=True, eq=False)
class TruthPicture:
    """The annotated boxes of a picture.

    boxes_xyxy_px: (N, 4) float64, in pixels of the picture as displayed. class_ids: (N,) int64.
    ignored: (N,) bool; a detection on such a box is neither true nor false. areas_px: (N,) float64,
    by which COCO tells small from large. annotated_class_ids: the classes that were looked for.
    size_hw: what the annotation says; None where it does not.
    """

    path: Path
    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    ignored: np.ndarray
    areas_px: np.ndarray
    annotated_class_ids: tuple[int, ...]
    size_hw: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """name: of the data. class_names: index = class id, as in the model's spec; 0: background.

    evaluated_class_ids: those that are annotated here. notes: what was left out, in words.
    """

    name: str
    class_names: tuple[str, ...]
    evaluated_class_ids: tuple[int, ...]
    pictures: tuple[TruthPicture, ...]
    notes: tuple[str, ...] = ()


def read_truth(
    path: Path,
    images_root: Path,
    class_names: Sequence[str],
    classes: Sequence[str] | None = None,
    limit: int | None = None,
) -> Truth:
    """COCO's instances JSON (cocodataset.org/#format-data) for a model with these class_names.

    Names of classes and of categories are the same where they differ in capitals only. `iscrowd`
    and `ignore` boxes are ignored ones. A picture with `labeled_category_ids` is annotated for
    these alone. classes: to evaluate; None: all that are annotated. limit: the first so many
    pictures that are annotated for them. A box without an area cannot be found: it is left out.
    Raises InputError where the file is no such JSON, lacks a class or has no box of it, or pictures
    are missing.
    """
    record = _record(path)
    ids = _class_ids_by_category(path, record["categories"], class_names, classes)
    dropped: Counter[str] = Counter()
    try:
        items = defaultdict(list)
        for item in record["annotations"]:
            items[item["image_id"]].append(item)
        wanted = [image for image in record["images"] if _annotated(image, ids)][:limit]
        pictures = [_picture(i, items[i["id"]], ids, images_root, dropped) for i in wanted]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: a picture or a box is not as COCO has it: {error!r}") from None
    _check_present(path, pictures)
    notes = [f"{path}: {count} {what}" for what, count in dropped.items()]
    name = f"{path.absolute().parent.name}/{path.name}"  # a test.json is told from another
    return _checked(name, class_names, pictures, notes, ids.values(), classes)


def truth_of(
    dataset: DataSet,
    class_names: Sequence[str],
    classes: Sequence[str] | None = None,
    limit: int | None = None,
) -> Truth:
    """A data set of any format. class_names: the model's; the data set's may be in another order.

    The area of a box is its width times its height. classes, limit: as `read_truth` takes them.
    Raises InputError as `read_truth` does.
    """
    categories = [{"name": n, "id": i} for i, n in enumerate(dataset.class_names) if i > 0]
    ids = _class_ids_by_category(Path(dataset.name), categories, class_names, classes)
    annotated = [s for s in dataset.samples if not ids.keys().isdisjoint(s.labeled_class_ids)]
    pictures = []
    for sample in annotated[:limit]:
        known = np.isin(sample.class_ids, list(ids))
        boxes = sample.boxes_xyxy_px[known].astype(np.float64)
        pictures.append(
            TruthPicture(
                sample.image_path,
                boxes,
                np.array([ids[int(i)] for i in sample.class_ids[known]], np.int64),
                sample.ignore[known],
                (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
                tuple(sorted(ids[i] for i in sample.labeled_class_ids if i in ids)),
                sample.size_hw,
            )
        )
    return _checked(dataset.name, class_names, pictures, [], ids.values(), classes)


def _record(path: Path) -> dict[str, Any]:
    try:
        record = parse_json(read_text(path, limit=MAX_ANNOTATION_BYTES))
        ids = [image["id"] for image in record["images"]]
        twice = [i for i, count in Counter(ids).items() if count > 1]
        for item in record["annotations"]:
            item["image_id"], item["category_id"]
        for category in record["categories"]:
            hash(category["id"]), category["name"].casefold()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path} is no COCO annotation: expected a JSON object with images, annotations and "
            "categories, as cocodataset.org describes it"
        ) from None
    if twice:
        raise InputError(f"{path}: two images have the id {twice[0]}; ids must be distinct")
    return record


def _class_ids_by_category(
    path: Path,
    categories: Sequence[Mapping[str, Any]],
    class_names: Sequence[str],
    classes: Sequence[str] | None,
) -> dict[int, int]:
    """Category id to class id, of the wanted classes."""
    wanted = class_names[1:] if classes is None else classes
    if unknown := [name for name in wanted if name not in class_names[1:]]:
        raise InputError(
            f"the model knows no class {', '.join(unknown)}; "
            f"its classes: {', '.join(class_names[1:])}"
        )
    by_name = {category["name"].casefold(): category["id"] for category in categories}
    if missing := [name for name in wanted if name.casefold() not in by_name]:
        raise InputError(
            f"{path} has no category {', '.join(missing)}: the model's classes are "
            f"{', '.join(class_names[1:])}, the categories "
            f"{', '.join(category['name'] for category in categories) or 'none'}; rename the "
            "category, or choose with --classes"
        )
    return {by_name[name.casefold()]: list(class_names).index(name, 1) for name in wanted}


def _annotated(image: Mapping[str, Any], ids: Mapping[int, int]) -> bool:
    labeled = image.get("labeled_category_ids")
    return labeled is None or any(category in ids for category in labeled)


def _picture(
    image: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    ids: Mapping[int, int],
    images_root: Path,
    dropped: Counter[str],
) -> TruthPicture:
    labeled = [c for c in image.get("labeled_category_ids", list(ids)) if c in ids]
    kept = [item for item in items if item["category_id"] in labeled]
    boxes_xywh = np.array([item["bbox"] for item in kept], np.float64).reshape(len(kept), 4)
    whole = np.isfinite(boxes_xywh).all(axis=1) & (boxes_xywh[:, 2:] > 0).all(axis=1)
    if not whole.all():
        dropped["boxes without an area left out"] += int((~whole).sum())
        kept, boxes_xywh = [kept[i] for i in np.flatnonzero(whole)], boxes_xywh[whole]
    sizes = boxes_xywh[:, 2:]
    areas = [item.get("area", w * h) for item, (w, h) in zip(kept, sizes, strict=True)]
    return TruthPicture(
        images_root / image["file_name"],
        np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + sizes], axis=1),
        np.array([ids[item["category_id"]] for item in kept], np.int64),
        np.array([bool(i.get("iscrowd", 0) or i.get("ignore", 0)) for i in kept], bool),
        np.array(areas, np.float64),
        tuple(sorted(ids[category] for category in labeled)),
        (image["height"], image["width"]) if "height" in image and "width" in image else None,
    )


def _check_present(path: Path, pictures: Sequence[TruthPicture]) -> None:
    missing = [str(picture.path) for picture in pictures if not is_file(picture.path)]
    if missing:
        shown = "\n  ".join(missing[:_SHOWN_MISSING])
        more = len(missing) - _SHOWN_MISSING
        raise InputError(
            f"{len(missing)} of the {len(pictures)} pictures of {path} are not there; the names in "
            f"it are below the folder given with --images-root:\n  {shown}"
            + (f"\n  and {more} more" if more > 0 else "")
        )


def _checked(
    name: str,
    class_names: Sequence[str],
    pictures: Sequence[TruthPicture],
    notes: list[str],
    class_ids: Any,
    asked: Sequence[str] | None,
) -> Truth:
    """Leave out classes of which there is nothing to find, unless they were asked for by name."""
    found = {int(i) for picture in pictures for i in picture.class_ids[~picture.ignored]}
    absent = [class_names[i] for i in class_ids if i not in found]
    if absent and (asked is not None or not found):
        raise InputError(
            f"{name}: no box of {', '.join(absent)} in {len(pictures)} annotated pictures; "
            "there is nothing to evaluate"
        )
    notes += [
        f"{name} has no boxes of {missing}: this class is not evaluated" for missing in absent
    ]
    evaluated = tuple(sorted(found))
    kept = tuple(p for p in pictures if set(p.annotated_class_ids) & set(evaluated))
    return Truth(name, tuple(class_names), evaluated, kept, tuple(notes))
