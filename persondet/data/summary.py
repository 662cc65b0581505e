"""A data set in words."""

import numpy as np

from persondet.data.samples import DataSet
from persondet.wording import counted


def summary_lines(dataset: DataSet) -> list[str]:
    """What was opened and what was dropped, for people: commands print it on standard error."""
    empty = sum(not len(sample) for sample in dataset.samples)
    ignored = sum(int(sample.ignore.sum()) for sample in dataset.samples)
    counts = np.zeros(len(dataset.class_names), np.int64)
    for sample in dataset.samples:
        counts += np.bincount(sample.class_ids[~sample.ignore], minlength=len(counts))
    named = zip(counts[1:], dataset.class_names[1:], strict=True)
    per_class = ", ".join(f"{count} {name}" for count, name in named if count)
    pictures = counted(len(dataset.samples), "picture")
    return [
        f"{dataset.name}: {pictures}, {empty} without boxes; boxes: "
        f"{per_class or 'none'}; {ignored} ignored",
        *(f"  {line}" for line in dataset.report.lines()),
    ]
