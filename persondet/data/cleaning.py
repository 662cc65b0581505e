"""The policy for what is wrong with annotations; all of it is counted in the data set's report."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from persondet.data.picture_size import displayed_size_hw
from persondet.data.report import Report, added
from persondet.data.samples import DataSet, Sample
from persondet.errors import InputError
from persondet.files import is_file

MIN_SIDE_PX = 1.0  # a box that is thinner, in the picture's own pixels, is no annotation


def cleaned(dataset: DataSet) -> DataSet:
    """The data set without what cannot be used, every sample with its picture's size.

    A picture that is missing, cannot be read, or is of another size as displayed (its EXIF
    orientation applied) than the annotation says: the sample is dropped. A box of a class that the
    picture does not label, with a corner that is no finite number, with its corners the wrong way
    round, with a side under MIN_SIDE_PX, or wholly outside the picture: dropped. Partly outside:
    clipped. A picture without boxes stays: it teaches what is none.
    Only the headers of pictures are read. Raises InputError where no picture is left.
    """
    report = added([dataset.report])
    samples = []
    for sample in dataset.samples:
        size_hw = _usable_size(sample, report)
        if size_hw is not None:
            samples.append(_with_good_boxes(sample, size_hw, report))
    if not samples:
        raise InputError(_none_left(dataset, report))
    return replace(dataset, samples=tuple(samples), report=report)


def _usable_size(sample: Sample, report: Report) -> tuple[int, int] | None:
    path = sample.image_path
    if not is_file(path):
        report.add("picture missing: dropped", path)
        return None
    try:
        size_hw = displayed_size_hw(path)
    except InputError:
        report.add("picture not readable: dropped", path)
        return None
    if sample.size_hw not in (None, size_hw):
        report.add("picture of another size than its annotation says: dropped", path)
        return None
    return size_hw


def _none_left(dataset: DataSet, report: Report) -> str:
    if not dataset.samples:
        return f"{dataset.name} annotates no picture"
    return (
        f"{dataset.name}: none of its {len(dataset.samples)} pictures can be used; "
        f"{'; '.join(report.lines())}; check the folder of the pictures"
    )


def _with_good_boxes(sample: Sample, size_hw: tuple[int, int], report: Report) -> Sample:
    height, width = size_hw
    boxes = sample.boxes_xyxy_px
    clipped = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    checks = (  # of what is good, in this order; a box is counted by the first that it fails
        (
            np.isin(sample.class_ids, sample.labeled_class_ids),
            "box of a class that the picture does not label: dropped",
        ),
        (np.isfinite(boxes).all(axis=1), "box with a corner that is no number: dropped"),
        (_has_sides(boxes), "box of no size, or its corners the wrong way round: dropped"),
        (_has_sides(clipped), "box outside the picture: dropped"),
    )
    kept = np.ones(len(sample), bool)
    for good, reason in checks:
        report.add(reason, sample.image_path.name, int((kept & ~good).sum()))
        kept &= good
    moved = kept & (clipped != boxes).any(axis=1)
    report.add("box partly outside the picture: clipped", sample.image_path.name, int(moved.sum()))
    return replace(
        sample,
        boxes_xyxy_px=clipped[kept],
        class_ids=sample.class_ids[kept],
        ignore=sample.ignore[kept],
        size_hw=size_hw,
    )


def _has_sides(boxes_xyxy_px: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        sides = boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    return (sides >= MIN_SIDE_PX).all(axis=1)


def sides_at_network_scale(
    boxes_xyxy_px: np.ndarray, size_hw: Sequence[int], input_size_hw: Sequence[int]
) -> np.ndarray:
    """(N, 2) float64 widths and heights after a picture of size_hw is stretched to the input."""
    sides_px = (boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]).astype(np.float64)
    return sides_px * (input_size_hw[1] / size_hw[1], input_size_hw[0] / size_hw[0])


def with_small_ignored(
    dataset: DataSet, input_size_hw: Sequence[int], min_side_px: float
) -> DataSet:
    """Boxes whose shorter side is under min_side_px at network scale are ignored, not learnt.

    dataset: cleaned. They are counted in the report.
    """
    report = added([dataset.report])
    samples = []
    for sample in dataset.samples:
        assert sample.size_hw is not None, "cleaned() gives every sample its size"
        sides = sides_at_network_scale(sample.boxes_xyxy_px, sample.size_hw, input_size_hw)
        small = (sides.min(axis=1, initial=np.inf) < min_side_px) & ~sample.ignore
        reason = f"box smaller than {min_side_px:g} px at network scale: ignored"
        report.add(reason, sample.image_path.name, int(small.sum()))
        samples.append(replace(sample, ignore=sample.ignore | small))
    return replace(dataset, samples=tuple(samples), report=report)
