"""The policy for what is wrong with annotations; all of it is counted in the data set's report.

Learning clips boxes to their images and leaves out images that cannot be used. Evaluation takes
boxes as they are annotated, as pycocotools does, and refuses a set that is not whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from persondet.data.picture_size import displayed_size_hw
from persondet.data.report import Report, added
from persondet.data.samples import DataSet, Sample
from persondet.data.sizes import shorter_sides_px
from persondet.errors import InputError
from persondet.files import is_file

MIN_SIDE_PX = 1.0  # a box that is thinner, in the picture's own pixels, is no annotation
_SHOWN_MISSING = 5
_EXCHANGED = ", width and height exchanged as by an EXIF orientation"


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
        turned = _EXCHANGED if sample.size_hw == size_hw[::-1] else ""
        report.add(f"picture of another size than its annotation says{turned}: dropped", path)
        return None
    return size_hw


def _none_left(dataset: DataSet, report: Report) -> str:
    reasons = "; ".join(report.lines())
    if not dataset.samples:
        return f"{dataset.name} annotates no picture" + (f": {reasons}" if reasons else "")
    return (
        f"{dataset.name}: none of its {len(dataset.samples)} pictures can be used; "
        f"{reasons}; check the folder of the pictures"
    )


def _with_good_boxes(sample: Sample, size_hw: tuple[int, int], report: Report) -> Sample:
    with np.errstate(over="ignore"):  # becomes infinite, and is dropped
        sample = replace(sample, boxes_xyxy_px=sample.boxes_xyxy_px.astype(np.float32))
    sample = _with_boxes(sample, size_hw, report, lambda sides_px: sides_px >= MIN_SIDE_PX)
    clipped = _clipped(sample, size_hw)
    inside = (clipped[:, 2:] - clipped[:, :2] >= MIN_SIDE_PX).all(axis=1)
    moved = inside & (clipped != sample.boxes_xyxy_px).any(axis=1)
    name = sample.image_path.name
    report.add("box outside the picture: dropped", name, int((~inside).sum()))
    report.add("box partly outside the picture: clipped", name, int(moved.sum()))
    return replace(sample, boxes_xyxy_px=clipped).chosen(inside)


def _with_boxes(
    sample: Sample,
    size_hw: tuple[int, int],
    report: Report,
    has_size: Callable[[np.ndarray], np.ndarray],
) -> Sample:
    """Without what is no box. has_size: whether sides in pixels are those of a box."""
    boxes = sample.boxes_xyxy_px
    with np.errstate(over="ignore", invalid="ignore"):  # no picture is as large as float32's range
        finite = np.isfinite(boxes.astype(np.float32)).all(axis=1)
        solid = has_size(boxes[:, 2:] - boxes[:, :2]).all(axis=1)
    checks = (  # of what is good, in this order; a box is counted by the first that it fails
        (
            np.isin(sample.class_ids, sample.labeled_class_ids),
            "box of a class that the picture does not label: dropped",
        ),
        (finite, "box with a corner that is no number: dropped"),
        (solid, "box of no size, or its corners the wrong way round: dropped"),
    )
    kept = np.ones(len(sample), bool)
    for good, reason in checks:
        report.add(reason, sample.image_path.name, int((kept & ~good).sum()))
        kept &= good
    return replace(sample.chosen(kept), size_hw=size_hw)


def _clipped(sample: Sample, size_hw: tuple[int, int]) -> np.ndarray:
    height, width = size_hw
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(sample.boxes_xyxy_px.astype(np.float32), 0, limits)


def as_ground_truth(dataset: DataSet) -> DataSet:
    """Return the data set as evaluation takes it, every sample with its image's size.

    Boxes stay as annotated, beyond the border too: pycocotools takes them so, and what is outside
    is to be found as well. A box of a class that the image does not label, with a corner that is
    not a finite number or without a size is dropped. What is dropped or unusual is counted.
    Only the headers of images are read. Raises InputError if an image is missing, cannot be read or
    has another size, as displayed, than its annotation says.
    """
    missing = [str(s.image_path) for s in dataset.samples if not is_file(s.image_path)]
    if missing:
        shown = "\n  ".join(missing[:_SHOWN_MISSING])
        more = len(missing) - _SHOWN_MISSING
        raise InputError(
            f"{len(missing)} of the {len(dataset.samples)} pictures of {dataset.name} are not "
            "there; the names in it are below the folder given as IMAGES or with --images-root:\n"
            f"  {shown}" + (f"\n  and {more} more" if more > 0 else "")
        )
    report = added([dataset.report])
    samples = [_truth(sample, report) for sample in dataset.samples]
    return replace(dataset, samples=tuple(samples), report=report)


def _truth(sample: Sample, report: Report) -> Sample:
    path = sample.image_path
    size_hw = displayed_size_hw(path)
    if sample.size_hw not in (None, size_hw):
        raise InputError(_another_size(path, size_hw, sample.size_hw or size_hw))
    sample = _with_boxes(sample, size_hw, report, lambda sides_px: sides_px > 0)
    sides_px = sample.boxes_xyxy_px[:, 2:] - sample.boxes_xyxy_px[:, :2]
    thin = (sides_px < MIN_SIDE_PX).any(axis=1)
    clipped = _clipped(sample, size_hw)
    outside = (clipped[:, 2:] <= clipped[:, :2]).any(axis=1)
    partly = ~outside & (clipped != sample.boxes_xyxy_px.astype(np.float32)).any(axis=1)
    for unusual, reason in (
        (thin, f"box thinner than {MIN_SIDE_PX:g} px: to be found all the same"),
        (outside, "box outside the picture: to be found all the same"),
        (partly, "box partly outside the picture: taken as annotated"),
    ):
        report.add(reason, path.name, int(unusual.sum()))
    return sample


def _another_size(path: Path, size_hw: tuple[int, int], said_hw: tuple[int, int]) -> str:
    turned = f"{_EXCHANGED}; annotate it as displayed" if said_hw == size_hw[::-1] else ""
    return (
        f"{path} is {size_hw[1]} x {size_hw[0]} pixels as displayed, its annotation says "
        f"{said_hw[1]} x {said_hw[0]}: the boxes belong to another picture, or to one before it "
        f"was turned or scaled{turned}"
    )


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
        sides_px = shorter_sides_px(sample.boxes_xyxy_px, sample.size_hw, input_size_hw)
        small = (sides_px < min_side_px) & ~sample.ignore
        reason = f"box smaller than {min_side_px:g} px at network scale: ignored"
        report.add(reason, sample.image_path.name, int(small.sum()))
        samples.append(replace(sample, ignore=sample.ignore | small))
    return replace(dataset, samples=tuple(samples), report=report)
