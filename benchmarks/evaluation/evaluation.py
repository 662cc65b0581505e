"""Detections against the truth: every figure, with its interval."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.evaluation.average_precision import coco_average_precision, voc_average_precision
from benchmarks.evaluation.bootstrap import RESAMPLES, interval_95, resample_weights
from benchmarks.evaluation.by_size import judged_in_range
from benchmarks.evaluation.coco_ap import MAX_DETECTIONS, CocoPrecision, coco_precision
from benchmarks.evaluation.found import FoundPicture
from benchmarks.evaluation.matching import judged, match
from benchmarks.evaluation.miss_rate import log_average_miss_rate
from benchmarks.evaluation.tally import Tally, counts, set_itself, tally_of
from benchmarks.evaluation.threshold_sweep import (
    SHOWN_THRESHOLDS,
    OperatingPoint,
    best_threshold,
    operating_point,
    rates_at,
)
from benchmarks.evaluation.truth import Truth, TruthPicture
from benchmarks.evaluation.voc_matching import voc_judged
from persondet.data.sizes import SIZE_RANGES, shorter_sides_px
from persondet.errors import InputError
from persondet.wording import counted

MIN_IOU = 0.5
FIGURES = (
    *("ap", "ap50", "ap75", "voc_ap50", "mr2"),
    *("miss_rate", "precision", "recall", "f1"),  # at the working threshold
)
MOST_NUMBERS = 20_000_000  # resamples times boxes, of which half a dozen arrays are at work
_IOU_75 = 5
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Figure:
    """value: None where it is not defined. interval: 95 %, by bootstrap over the pictures."""

    value: float | None
    interval: Interval


@dataclass(frozen=True)
class SizeFigure:
    """boxes: to be found in the range. ap50: COCO's, of these alone."""

    boxes: int
    ap50: Figure


@dataclass(frozen=True)
class Summary:
    """One class, or the mean over the classes. figures: by the names in FIGURES.

    by_size: by the names of SIZE_RANGES. coco_ap_by_size: of COCO's small, medium, large.
    best: the operating point with the best F1; None where nothing was detected.
    """

    name: str
    images: int
    boxes: int
    ignored_boxes: int
    figures: Mapping[str, Figure]
    by_size: Mapping[str, SizeFigure]
    coco_ap_by_size: Mapping[str, float | None]
    working: OperatingPoint
    best: OperatingPoint | None
    sweep: tuple[OperatingPoint, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """total: the mean over the classes; of one class, that class.

    tallies: by class name, judged at IoU 0.5, for curves. resampled: (resamples,) float64 of each
    figure of `total`, NaN if it is not defined; resample i holds the same images in every
    evaluation of the same number of images, so that differences between models are paired.
    data_notes: the truth's. limit_notes: where COCO's limit of detections per image was reached, in
    words.
    """

    data: str
    score_threshold: float
    resamples: int
    total: Summary
    classes: tuple[Summary, ...]
    tallies: Mapping[str, Tally]
    resampled: Mapping[str, np.ndarray]
    data_notes: tuple[str, ...] = ()
    limit_notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _ClassTallies:
    """One class, judged in every way. by_size: by the names of SIZE_RANGES.

    crowded: images with more detections, and with more boxes to be found, than COCO counts.
    """

    name: str
    coco: CocoPrecision
    voc: Tally
    at_50: Tally
    by_size: dict[str, Tally]
    images: int
    ignored_boxes: int
    crowded: tuple[int, int]


def evaluate(
    truth: Truth,
    found: Sequence[FoundPicture],
    input_size_hw: tuple[int, int],
    score_threshold: float,
    resamples: int = RESAMPLES,
) -> Evaluation:
    """found: one a picture of the truth, in its order, all detections that may count.

    input_size_hw: of the network, for the sizes. score_threshold: the working one. resamples: 0 for
    no intervals. Raises InputError where a picture is not of the size that its annotation says.
    """
    _check_sizes(truth.pictures, found)
    classes = [
        _class_tallies(truth, found, class_id, input_size_hw)
        for class_id in truth.evaluated_class_ids
    ]
    points = [_point_values(tallies, score_threshold) for tallies in classes]
    weights = resample_weights(len(truth.pictures), resamples)
    drawn = [_drawn_values(tallies, weights, score_threshold) for tallies in classes]
    summaries = [
        _summary([tallies], point, values, score_threshold)
        for tallies, point, values in zip(classes, points, drawn, strict=True)
    ]
    total = summaries[0]
    resampled = drawn[0]
    if len(classes) > 1:
        resampled = _mean(drawn)
        total = _summary(classes, _mean(points), resampled, score_threshold)
    tallies = {of_class.name: of_class.at_50 for of_class in classes}
    return Evaluation(
        data=truth.name,
        score_threshold=score_threshold,
        resamples=resamples,
        total=total,
        classes=tuple(summaries),
        tallies=tallies,
        resampled={name: resampled[name] for name in FIGURES},
        data_notes=truth.notes,
        limit_notes=tuple(note for of_class in classes for note in _limit_notes(of_class)),
    )


def _limit_notes(of_class: _ClassTallies) -> list[str]:
    """What COCO's limit of detections costs, if an image has more boxes or AP50 shows it."""
    detections, boxes = of_class.crowded
    unlimited = coco_average_precision(counts(of_class.at_50, set_itself(of_class.at_50)))[0]
    if not boxes and f"{unlimited:.3f}" == f"{of_class.coco.ap50:.3f}":
        return []
    return [
        f"{of_class.name}: AP, AP50 and AP75 count the {MAX_DETECTIONS} best detections per image, "
        f"as COCO does: {counted(detections, 'image')} with more detections, {boxes} with more "
        f"boxes to be found; counting all, AP50 is {unlimited:.3f}"
    ]


def _check_sizes(pictures: Sequence[TruthPicture], found: Sequence[FoundPicture]) -> None:
    for picture, result in zip(pictures, found, strict=True):
        if picture.size_hw is not None and picture.size_hw != result.size_hw:
            raise InputError(
                f"{picture.path} is {result.size_hw[1]} x {result.size_hw[0]} pixels as displayed, "
                f"its annotation says {picture.size_hw[1]} x {picture.size_hw[0]}: the boxes "
                "belong to another picture, or to one before it was turned or scaled"
            )


def _class_tallies(
    truth: Truth, found: Sequence[FoundPicture], class_id: int, input_size_hw: tuple[int, int]
) -> _ClassTallies:
    pictures = [
        _judge(picture, result, class_id, input_size_hw)
        for picture, result in zip(truth.pictures, found, strict=True)
    ]
    annotated = [class_id in picture.annotated_class_ids for picture in truth.pictures]

    def tally(name: str) -> Tally:
        judgements = [picture.judgements[name] for picture in pictures]
        truths = [picture.truths[name] for picture in pictures]
        return tally_of([picture.scores for picture in pictures], judgements, truths, annotated)

    return _ClassTallies(
        truth.class_names[class_id],
        coco_precision(truth.pictures, [result.detections for result in found], class_id),
        tally("voc"),
        tally("at_50"),
        {size.name: tally(size.name) for size in SIZE_RANGES},
        sum(annotated),
        sum(picture.ignored for picture in pictures),
        (
            sum(len(picture.scores) > MAX_DETECTIONS for picture in pictures),
            sum(picture.truths["at_50"] > MAX_DETECTIONS for picture in pictures),
        ),
    )


@dataclass(frozen=True, eq=False)
class _JudgedPicture:
    """scores: (N,), best first. judgements, truths: by the way of judging."""

    scores: np.ndarray
    judgements: dict[str, np.ndarray]
    truths: dict[str, int]
    ignored: int


def _judge(
    picture: TruthPicture, result: FoundPicture, class_id: int, input_size_hw: tuple[int, int]
) -> _JudgedPicture:
    """One class on one picture; a picture not annotated for it has neither boxes nor detections."""
    annotated = class_id in picture.annotated_class_ids
    chosen = (result.detections.class_ids == class_id) & annotated
    boxes = result.detections.boxes_xyxy_px[chosen].astype(np.float64)
    of_class = picture.class_ids == class_id
    wanted, ignored = picture.boxes_xyxy_px[of_class], picture.ignored[of_class]
    all_truths = int((~ignored).sum())
    judgements = {
        "voc": voc_judged(boxes, wanted, ignored),
        "at_50": judged(match(boxes, wanted, ignored, ignored, MIN_IOU), ignored),
    }
    truths = {"voc": all_truths, "at_50": all_truths}
    sides = shorter_sides_px(boxes, result.size_hw, input_size_hw)
    truth_sides = shorter_sides_px(wanted, result.size_hw, input_size_hw)
    for size in SIZE_RANGES:
        truth_in_range = size.holds(truth_sides)
        judgements[size.name] = judged_in_range(
            boxes, wanted, ignored, size.holds(sides), truth_in_range, MIN_IOU
        )
        truths[size.name] = int((truth_in_range & ~ignored).sum())
    scores = result.detections.scores[chosen]
    return _JudgedPicture(scores, judgements, truths, int(ignored.sum()))


def _values(
    tallies: _ClassTallies, weights: np.ndarray, score_threshold: float
) -> dict[str, np.ndarray]:
    """(R,) of each figure and size, by name."""
    by_iou = [coco_average_precision(counts(tally, weights)) for tally in tallies.coco.tallies]
    return {
        "ap": np.mean(by_iou, axis=0),
        "ap50": by_iou[0],
        "ap75": by_iou[_IOU_75],
        "voc_ap50": voc_average_precision(counts(tallies.voc, weights)),
        "mr2": log_average_miss_rate(counts(tallies.at_50, weights)),
        **rates_at(tallies.at_50, score_threshold, weights),
        **{
            name: coco_average_precision(counts(tally, weights))
            for name, tally in tallies.by_size.items()
        },
    }


def _drawn_values(
    tallies: _ClassTallies, weights: np.ndarray, score_threshold: float
) -> dict[str, np.ndarray]:
    """As `_values`, for as many resamples at a time as the memory should hold."""
    rows = max(1, MOST_NUMBERS // max(1, int(tallies.at_50.truths.sum())))
    parts = [
        _values(tallies, weights[start : start + rows], score_threshold)
        for start in range(0, max(1, len(weights)), rows)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _point_values(tallies: _ClassTallies, score_threshold: float) -> dict[str, np.ndarray]:
    """(1,) of each figure: of the set itself; COCO's own are pycocotools' numbers."""
    coco = tallies.coco
    return {
        **_values(tallies, set_itself(tallies.at_50), score_threshold),
        **{name: np.array([getattr(coco, name)]) for name in ("ap", "ap50", "ap75")},
    }


def _mean(values: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Over the classes for which the figure is defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of no class at all: NaN
        return {name: np.nanmean([v[name] for v in values], axis=0) for name in values[0]}


def _summary(
    classes: Sequence[_ClassTallies],
    point: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray],
    score_threshold: float,
) -> Summary:
    tallies = [of_class.at_50 for of_class in classes]
    best = best_threshold(tallies)

    def figure(name: str) -> Figure:
        return Figure(_defined(point[name][0]), interval_95(drawn[name]))

    def boxes(name: str) -> int:
        return sum(int(of_class.by_size[name].truths.sum()) for of_class in classes)

    return Summary(
        ", ".join(of_class.name for of_class in classes),
        int(np.any([tally.annotated for tally in tallies], axis=0).sum()),
        sum(int(tally.truths.sum()) for tally in tallies),
        sum(of_class.ignored_boxes for of_class in classes),
        {name: figure(name) for name in FIGURES},
        {size.name: SizeFigure(boxes(size.name), figure(size.name)) for size in SIZE_RANGES},
        _coco_by_size([of_class.coco for of_class in classes]),
        operating_point(tallies, score_threshold),
        None if best is None else operating_point(tallies, best),
        tuple(operating_point(tallies, threshold) for threshold in SHOWN_THRESHOLDS),
    )


def _coco_by_size(classes: Sequence[CocoPrecision]) -> dict[str, float | None]:
    means = _mean([{k: np.array(v) for k, v in coco.by_size.items()} for coco in classes])
    return {name: _defined(value) for name, value in means.items()}


def _defined(value: float | np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)
