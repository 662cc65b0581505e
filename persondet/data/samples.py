"""One picture's annotation, whatever its format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from persondet.data.report import Report
from persondet.files import MAX_ANNOTATION_BYTES, read_text

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Sample:
    """An annotated picture.

    boxes_xyxy_px: (N, 4) float32, in pixels of the picture as displayed. class_ids: (N,) int64,
    indices into DataSet.class_names, never 0. ignore: (N,) bool: neither learnt nor counted.
    labeled_class_ids: the classes that were looked for; of any other nothing is known here.
    size_hw: of the picture as the annotation says it, or None; after `cleaning.cleaned` that of the
    picture as displayed, always.
    """

    image_path: Path
    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    ignore: np.ndarray
    labeled_class_ids: tuple[int, ...]
    size_hw: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Samples with one meaning of class ids. class_names: index = class id, 0 is the background."""

    name: str
    class_names: tuple[str, ...]
    samples: tuple[Sample, ...]
    report: Report = field(default_factory=Report)

    @property
    def num_boxes(self) -> int:
        """Boxes that are not ignored."""
        return sum(int((~sample.ignore).sum()) for sample in self.samples)


def make_sample(
    image_path: Path,
    boxes: Iterable[tuple[Sequence[float], int, bool]],
    labeled_class_ids: Iterable[int],
    size_hw: tuple[int, int] | None = None,
) -> Sample:
    """boxes: (xyxy in pixels, class id, ignore) of each."""
    rows = list(boxes)
    with np.errstate(over="ignore"):  # becomes infinite, and `cleaned` drops it
        boxes_xyxy_px = np.array([row[0] for row in rows], np.float64).astype(np.float32)
    return Sample(
        image_path,
        boxes_xyxy_px.reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], bool),
        tuple(sorted(set(labeled_class_ids))),
        size_hw,
    )


def xyxy_from_xywh(values: Any) -> tuple[float, float, float, float]:
    """A box as JSON or text gives it; raises TypeError or ValueError where it is not 4 numbers."""
    x, y, width, height = map(float, values)
    return x, y, x + width, y + height


def annotation_text(path: Path) -> str:
    """The file's text. Raises InputError where it cannot be read or is no text."""
    return read_text(path, "the annotation", MAX_ANNOTATION_BYTES)
