"""Several data sets as one, and the classes of one chosen by name."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from persondet.data.class_names import name_key, one_name_per_class
from persondet.data.report import Report, added
from persondet.data.samples import BACKGROUND, DataSet, Sample
from persondet.errors import InputError


def merged(datasets: Sequence[DataSet]) -> DataSet:
    """One data set of all samples. Classes are the same where their names are, capitals aside;
    those of the first data set come first. A class that a data set does not have is not labelled in
    its pictures."""
    report = added(dataset.report for dataset in datasets)
    given = [name for dataset in datasets for name in dataset.class_names[1:]]
    names = one_name_per_class(given, report)
    ids = {name_key(name): index for index, name in enumerate((BACKGROUND, *names))}
    samples = [
        _renumbered(sample, [ids[name_key(name)] for name in dataset.class_names])
        for dataset in datasets
        for sample in dataset.samples
    ]
    return DataSet(
        name=" + ".join(dataset.name for dataset in datasets),
        class_names=(BACKGROUND, *names),
        samples=tuple(samples),
        report=report,
        category_ids=datasets[0].category_ids if len(datasets) == 1 else {},
    )


def without_unlabelled_classes(dataset: DataSet) -> DataSet:
    """The data set without classes that no picture labels, unless that is all of them."""
    labeled = {class_id for sample in dataset.samples for class_id in sample.labeled_class_ids}
    names = [name for index, name in enumerate(dataset.class_names) if index in labeled]
    if not labeled or len(names) == len(dataset.class_names) - 1:
        return dataset
    return with_classes(dataset, names, keep_unlabelled=True)


def with_classes(
    dataset: DataSet, class_names: Sequence[str], *, keep_unlabelled: bool = False
) -> DataSet:
    """The data set with these classes, in this order, and no others.

    class_names: without the background. Pictures that label none of them are dropped and counted,
    unless keep_unlabelled: for a teacher, who needs no annotation.
    Names are the same, capitals aside. Boxes of other classes are left out and counted.
    A class that the data set lacks is labelled nowhere. Raises InputError where it has none.
    """
    wanted = (BACKGROUND, *class_names)
    known = {name_key(name): index for index, name in enumerate(class_names, 1)}
    new_ids = [0, *(known.get(name_key(name), -1) for name in dataset.class_names[1:])]
    if max(new_ids) == 0:
        raise InputError(
            f"{dataset.name} has none of the classes {', '.join(class_names)}; it has "
            f"{', '.join(dataset.class_names[1:]) or 'no class'}"
        )
    report = added([dataset.report])
    samples = []
    for sample in dataset.samples:
        selected = _renumbered(sample, new_ids)
        report_other_classes(sample, new_ids, dataset.class_names, report)
        if selected.labeled_class_ids or keep_unlabelled:
            samples.append(selected)
        else:
            report.add("picture that labels none of the classes: left out", sample.image_path)
    return replace(dataset, class_names=wanted, samples=tuple(samples), report=report)


def report_other_classes(
    sample: Sample, new_ids: Sequence[int], class_names: Sequence[str], report: Report
) -> None:
    """Count the sample's boxes whose class becomes -1 in new_ids[old]."""
    left_out = [class_id for class_id in sample.class_ids.tolist() if new_ids[class_id] < 0]
    if left_out:
        first = f"{class_names[left_out[0]]!r}, {sample.image_path.name}"
        report.add("box of a class that is not asked for: left out", first, len(left_out))


def _renumbered(sample: Sample, new_ids: Sequence[int]) -> Sample:
    """new_ids[old] = new; boxes of classes that become -1 are left out."""
    class_ids = np.array(new_ids, np.int64)[sample.class_ids]
    kept = class_ids >= 0
    labeled = {new_ids[old] for old in sample.labeled_class_ids if new_ids[old] >= 0}
    return replace(
        sample.chosen(kept),
        class_ids=class_ids[kept],
        labeled_class_ids=tuple(sorted(labeled)),
    )
