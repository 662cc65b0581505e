"""Several data sets as one, and the classes of one chosen by name."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from persondet.data.report import added
from persondet.data.samples import BACKGROUND, DataSet, Sample
from persondet.errors import InputError


def merged(datasets: Sequence[DataSet]) -> DataSet:
    """One data set of all samples. Classes are the same where their names are; those of the first
    data set come first. A class that a data set does not have is not labelled in its pictures."""
    names = dict.fromkeys(name for dataset in datasets for name in dataset.class_names[1:])
    ids = {name: index for index, name in enumerate((BACKGROUND, *names))}
    samples = [
        _renumbered(sample, [ids[name] for name in dataset.class_names])
        for dataset in datasets
        for sample in dataset.samples
    ]
    return DataSet(
        " + ".join(dataset.name for dataset in datasets),
        (BACKGROUND, *names),
        tuple(samples),
        added(dataset.report for dataset in datasets),
    )


def with_classes(
    dataset: DataSet, class_names: Sequence[str], *, keep_unlabelled: bool = False
) -> DataSet:
    """The data set with these classes, in this order, and no others.

    class_names: without the background. Pictures that label none of them are dropped and counted,
    unless keep_unlabelled: for a teacher, who needs no annotation.
    A class that the data set lacks is labelled nowhere. Raises InputError where it has none.
    """
    wanted = (BACKGROUND, *class_names)
    if not set(class_names) & set(dataset.class_names):
        raise InputError(
            f"{dataset.name} has none of the classes {', '.join(class_names)}; it has "
            f"{', '.join(dataset.class_names[1:]) or 'no class'}"
        )
    new_ids = [wanted.index(name) if name in wanted else -1 for name in dataset.class_names]
    report = added([dataset.report])
    samples = []
    for sample in dataset.samples:
        selected = _renumbered(sample, new_ids)
        if selected.labeled_class_ids or keep_unlabelled:
            samples.append(selected)
        else:
            report.add("picture that labels none of the classes: left out", sample.image_path)
    return replace(dataset, class_names=wanted, samples=tuple(samples), report=report)


def _renumbered(sample: Sample, new_ids: Sequence[int]) -> Sample:
    """new_ids[old] = new; boxes of classes that become -1 are left out."""
    class_ids = np.array(new_ids, np.int64)[sample.class_ids]
    kept = class_ids >= 0
    labeled = sorted(new_ids[old] for old in sample.labeled_class_ids if new_ids[old] >= 0)
    return replace(
        sample,
        boxes_xyxy_px=sample.boxes_xyxy_px[kept],
        class_ids=class_ids[kept],
        ignore=sample.ignore[kept],
        labeled_class_ids=tuple(labeled),
    )
