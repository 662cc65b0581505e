"""One picture's annotation, whatever its format."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from persondet.data.plain_values import Id
from persondet.data.report import Report
from persondet.files import MAX_ANNOTATION_BYTES, read_text

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Sample:
    """An annotated picture.

    boxes_xyxy_px: (N, 4), in pixels of the picture as displayed: float64 as annotated, float32
    after `cleaning.cleaned`. class_ids: (N,) int64, indices into DataSet.class_names, never 0.
    ignore: (N,) bool: neither learnt nor counted.
    labeled_class_ids: the classes that were looked for; of any other nothing is known here.
    size_hw: of the picture as the annotation says it, or None; after `cleaning.cleaned` and
    `cleaning.as_ground_truth` that of the picture as displayed, always.
    annotated_areas_px: (N,) float64, or None if the format has no areas. image_id: the number or
    text by which the annotation file names the image; None if the format has none.
    """

    image_path: Path
    boxes_xyxy_px: np.ndarray
    class_ids: np.ndarray
    ignore: np.ndarray
    labeled_class_ids: tuple[int, ...]
    size_hw: tuple[int, int] | None = None
    annotated_areas_px: np.ndarray | None = None
    image_id: Id | None = None

    def __len__(self) -> int:
        return len(self.class_ids)

    @property
    def areas_px(self) -> np.ndarray:
        """(N,) float64, by which COCO tells small from large: as annotated, or width x height."""
        if self.annotated_areas_px is not None:
            return self.annotated_areas_px
        sides_px = self.boxes_xyxy_px[:, 2:] - self.boxes_xyxy_px[:, :2]
        return sides_px.astype(np.float64).prod(axis=1)

    def chosen(self, kept: np.ndarray) -> "Sample":
        """Return the sample with these boxes alone. kept: (N,) bool."""
        areas_px = self.annotated_areas_px
        return replace(
            self,
            boxes_xyxy_px=self.boxes_xyxy_px[kept],
            class_ids=self.class_ids[kept],
            ignore=self.ignore[kept],
            annotated_areas_px=None if areas_px is None else areas_px[kept],
        )


@dataclass(frozen=True, eq=False)
class DataSet:
    """Samples with one meaning of class ids. class_names: index = class id, 0 is the background.

    category_ids: by class name, the number or text by which the annotation file names the class;
    empty if the format has none, or there are several files.
    """

    name: str
    class_names: tuple[str, ...]
    samples: tuple[Sample, ...]
    report: Report = field(default_factory=Report)
    category_ids: Mapping[str, Id] = field(default_factory=dict)

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
    return Sample(
        image_path,
        np.array([row[0] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], bool),
        tuple(sorted(set(labeled_class_ids))),
        size_hw,
    )


def xyxy_from_xywh(values: Any) -> tuple[float, float, float, float]:
    """A box as JSON or text gives it; raises TypeError or ValueError where it is not 4 numbers."""
    if isinstance(values, str):  # whose digits would be taken for numbers
        raise TypeError(f"{values!r:.40} is text")
    x, y, width, height = map(float, values)
    return x, y, x + width, y + height


def annotation_text(path: Path) -> str:
    """The file's text. Raises InputError where it cannot be read or is no text."""
    return read_text(path, "the annotation", MAX_ANNOTATION_BYTES)
