"""What is to be found: the annotated boxes of a data set, by the model's own classes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from persondet.data.class_names import name_key
from persondet.data.cleaning import as_ground_truth
from persondet.data.merging import merged, report_other_classes
from persondet.data.plain_values import Id
from persondet.data.report import added
from persondet.data.samples import DataSet, Sample
from persondet.data.sources import AnySource, parse_source, read_dataset
from persondet.errors import InputError


@dataclass(frozen=True, eq=False)
class TruthPicture:
    """The annotated boxes of a picture.

    boxes_xyxy_px: (N, 4) float64, in pixels of the picture as displayed. class_ids: (N,) int64.
    ignored: (N,) bool; a detection on such a box is neither true nor false. areas_px: (N,) float64,
    by which COCO tells small from large. annotated_class_ids: the classes that were looked for.
    size_hw: what the annotation says; None where it does not. image_id: what the annotation file
    calls the picture, or None.
    """

    path: Path
    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    ignored: np.ndarray
    areas_px: np.ndarray
    annotated_class_ids: tuple[int, ...]
    size_hw: tuple[int, int] | None = None
    image_id: Id | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """name: of the data. class_names: index = class id, as in the model's spec; 0: background.

    evaluated_class_ids: those that are annotated here. notes: what was left out, in words.
    category_ids: by class id, what the annotation file calls the class; empty if it has no numbers.
    """

    name: str
    class_names: tuple[str, ...]
    evaluated_class_ids: tuple[int, ...]
    pictures: tuple[TruthPicture, ...]
    notes: tuple[str, ...] = ()
    category_ids: Mapping[int, Id] = field(default_factory=dict)


def read_truth(
    sources: Sequence[AnySource],
    class_names: Sequence[str],
    classes: Sequence[str] | None = None,
    limit: int | None = None,
) -> Truth:
    """Read the ground truth of data sets, as `persondet.data.sources` takes them, for a model.

    Raises InputError as `truth_of` does, or if a data set cannot be read.
    """
    parsed = [parse_source(source) for source in sources]
    dataset = merged([read_dataset(source) for source in parsed])
    names = [source.annotations.absolute() for source in parsed]
    # With the folder: one test.json is told from another.
    name = " + ".join(f"{path.parent.name}/{path.name}" for path in names)
    return replace(truth_of(dataset, class_names, classes, limit), name=name)


def truth_of(
    dataset: DataSet,
    class_names: Sequence[str],
    classes: Sequence[str] | None = None,
    limit: int | None = None,
) -> Truth:
    """Return the ground truth of a data set as annotated (`read_dataset`), for a model.

    class_names: the model's; the data set's may be in another order, and differ in capitals. Boxes
    are as `persondet.data.cleaning.as_ground_truth` has them. classes: to evaluate; None: all that
    are annotated. limit: the first so many pictures that are annotated for them.
    Raises InputError if the data set lacks a class or has no box of it, or a picture is missing,
    cannot be read, or is not of the size that its annotation says.
    """
    ids = _class_ids(dataset, class_names, classes)
    annotated = [s for s in dataset.samples if not ids.keys().isdisjoint(s.labeled_class_ids)]
    new_ids = [ids.get(index, -1) for index in range(len(dataset.class_names))]
    report = added([dataset.report])
    for sample in annotated[:limit]:
        report_other_classes(sample, new_ids, dataset.class_names, report)
    chosen = [_of_classes(sample, ids) for sample in annotated[:limit]]
    whole = as_ground_truth(replace(dataset, samples=tuple(chosen), report=report))
    pictures = _in_coco_order([_picture(sample, ids) for sample in whole.samples])
    notes = [f"{dataset.name}: {line}" for line in whole.report.lines()]
    truth = _checked(dataset.name, class_names, pictures, notes, ids.values(), classes)
    category_ids = {
        class_id: dataset.category_ids[dataset.class_names[index]]
        for index, class_id in ids.items()
        if dataset.class_names[index] in dataset.category_ids
    }
    return replace(truth, category_ids=category_ids)


def _class_ids(
    dataset: DataSet, class_names: Sequence[str], classes: Sequence[str] | None
) -> dict[int, int]:
    """The data set's class id to the model's, of the wanted classes."""
    wanted = class_names[1:] if classes is None else classes
    if unknown := [name for name in wanted if name not in class_names[1:]]:
        raise InputError(
            f"the model knows no class {', '.join(unknown)}; "
            f"its classes: {', '.join(class_names[1:])}"
        )
    by_key = {name_key(name): index for index, name in enumerate(dataset.class_names) if index > 0}
    if missing := [name for name in wanted if name_key(name) not in by_key]:
        raise InputError(
            f"{dataset.name} has no category {', '.join(missing)}: the model's classes are "
            f"{', '.join(class_names[1:])}, the categories "
            f"{', '.join(dataset.class_names[1:]) or 'none'}; rename the category, or choose with "
            "--classes"
        )
    return {by_key[name_key(name)]: list(class_names).index(name, 1) for name in wanted}


def _of_classes(sample: Sample, ids: Mapping[int, int]) -> Sample:
    """The sample's boxes of these classes, its class ids as they are."""
    return sample.chosen(np.isin(sample.class_ids, list(ids)))


def _in_coco_order(pictures: Sequence[TruthPicture]) -> list[TruthPicture]:
    """By image id, if they have any of one type and none twice.

    So pycocotools takes them, and of equal scores, of which quantized models have many, AP counts
    the earlier image's first.
    """
    numbers = [p.image_id for p in pictures if isinstance(p.image_id, int)]
    texts = [p.image_id for p in pictures if isinstance(p.image_id, str)]
    if len(pictures) not in (len(set(numbers)), len(set(texts))):
        return list(pictures)
    return [pictures[i] for i in np.argsort(numbers or texts, kind="stable")]


def _picture(sample: Sample, ids: Mapping[int, int]) -> TruthPicture:
    return TruthPicture(
        path=sample.image_path,
        boxes_xyxy_px=sample.boxes_xyxy_px.astype(np.float64),
        class_ids=np.array([ids[int(i)] for i in sample.class_ids], np.int64),
        ignored=sample.ignore,
        areas_px=sample.areas_px,
        annotated_class_ids=tuple(sorted(ids[i] for i in sample.labeled_class_ids if i in ids)),
        size_hw=sample.size_hw,
        image_id=sample.image_id,
    )


def _checked(
    name: str,
    class_names: Sequence[str],
    pictures: Sequence[TruthPicture],
    notes: list[str],
    class_ids: Iterable[int],
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
    return Truth(
        name=name,
        class_names=tuple(class_names),
        evaluated_class_ids=evaluated,
        pictures=kept,
        notes=tuple(notes),
    )
