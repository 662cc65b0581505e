"""Limits on a comparison, for CI: `boxes.max_abs=0.001`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from benchmarks.compare import Comparison, Pair
from benchmarks.detection_difference import DetectionDifference
from benchmarks.output_difference import OutputDifference
from persondet.errors import InputError

DETECTIONS = "detections"
DEFAULT_METRIC = "max_abs"
_OUTPUT_METRICS = tuple(field.name for field in fields(OutputDifference))
_DETECTION_METRICS = tuple(field.name for field in fields(DetectionDifference))
_BETTER_WHEN_LARGER = ("cosine", "sqnr_db", "matched", "count", "mean_iou", "min_iou")


@dataclass(frozen=True)
class Limit:
    """subject: an output's name, "detections", or None for every output. above: fail above the
    bound, otherwise below it."""

    subject: str | None
    metric: str
    bound: float
    above: bool

    def __str__(self) -> str:
        return f"{self.metric if self.subject is None else f'{self.subject}.{self.metric}'}"


def parse_limit(text: str, *, above: bool, output_names: Sequence[str]) -> Limit:
    """`0.001`, `max_abs=0.001`, `boxes.max_abs=0.001` or `detections.vanished=0`.

    Without an output's name every output is held to it; a bare number is of max_abs.
    Raises InputError for what names no metric, no output, or would fail where it is good.
    """
    name, _, number = text.rpartition("=")
    subject, _, metric = (name or DEFAULT_METRIC).rpartition(".")
    if subject and subject not in (*output_names, DETECTIONS):
        known = ", ".join((*output_names, DETECTIONS))
        raise InputError(f"{text!r}: no output {subject!r}; known: {known}")
    metrics = _DETECTION_METRICS if subject == DETECTIONS else _OUTPUT_METRICS
    if metric not in metrics:
        raise InputError(f"{text!r}: no metric {metric!r}; known: {', '.join(metrics)}")
    check_direction(text, metric, above=above, is_better_larger=metric in _BETTER_WHEN_LARGER)
    bound = read_bound(text, number, form="METRIC=NUMBER")
    return Limit(subject or None, metric, bound, above)


def check_direction(text: str, metric: str, *, above: bool, is_better_larger: bool) -> None:
    """Raise InputError for a limit that would fail where the metric is good."""
    if above == is_better_larger:
        other = "--fail-below" if above else "--fail-above"
        better = "larger" if above else "smaller"
        raise InputError(f"{text!r}: {metric} is better when {better}; use {other}")


def read_bound(text: str, number: str, *, form: str) -> float:
    """Return the number of a limit. Raises InputError if it is none."""
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise InputError(f"{text!r}: expected {form}, got {number!r} for the number")
    return bound


def violations(comparison: Comparison, limits: Sequence[Limit]) -> list[str]:
    """A sentence for each limit that a model does not keep. Equal to the bound is kept."""
    return [
        f"{pair.model}: {name} is {value:.6g}, "
        f"{'above' if limit.above else 'below'} the limit {limit.bound:g}"
        for pair in comparison.pairs
        for limit in limits
        for name, value in _values(pair, limit)
        if (value > limit.bound if limit.above else value < limit.bound)
    ]


def _values(pair: Pair, limit: Limit) -> Iterator[tuple[str, float]]:
    """What the limit is about; nothing where there is no number, as without any detection."""
    if limit.subject == DETECTIONS:
        value = getattr(pair.detections, limit.metric)
        if value is not None:
            yield f"{DETECTIONS}.{limit.metric}", value
        return
    for name, difference in pair.outputs.items():
        if limit.subject in (None, name):
            yield f"{name}.{limit.metric}", getattr(difference, limit.metric)
