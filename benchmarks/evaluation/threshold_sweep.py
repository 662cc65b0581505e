"""Precision, recall and F1 at score thresholds, and the best threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.evaluation.tally import Tally, set_itself

SHOWN_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True)
class OperatingPoint:
    """At a threshold: what detections with that score or more amount to, mean over the classes.

    precision: None where there are no such detections. false_alarms_a_picture: of all classes.
    """

    threshold: float
    precision: float | None
    recall: float
    f1: float
    false_alarms_a_picture: float

    @property
    def miss_rate(self) -> float:
        return 1 - self.recall


def rates_at(tally: Tally, threshold: float, weights: np.ndarray) -> dict[str, np.ndarray]:
    """precision, recall, miss_rate, f1, (R,) each. weights: (R, P). NaN where undefined.

    A score equal to the threshold, in float32, is kept, as `runtime.decode` keeps it.
    """
    kept = tally.scores >= float(np.float32(threshold))
    by_picture = [
        np.bincount(tally.picture[kept & chosen], minlength=len(tally.truths))
        for chosen in (tally.is_true, ~tally.is_true)
    ]
    true, false = (weights @ amount.astype(np.float64) for amount in by_picture)
    truths = weights @ tally.truths.astype(np.float64)
    with np.errstate(invalid="ignore"):
        recall = true / truths
        rates = {"precision": true / (true + false), "recall": recall, "miss_rate": 1 - recall}
        return {**rates, "f1": 2 * true / (true + false + truths)}


def operating_point(tallies: Sequence[Tally], threshold: float) -> OperatingPoint:
    """tallies: one a class."""
    weights = set_itself(tallies[0])
    rates = [rates_at(tally, threshold, weights) for tally in tallies]
    precisions = [r["precision"][0] for r in rates if not np.isnan(r["precision"][0])]
    limit = float(np.float32(threshold))
    false_alarms = sum(
        int((~tally.is_true & (tally.scores >= limit)).sum()) / int(tally.annotated.sum())
        for tally in tallies
    )
    return OperatingPoint(
        threshold,
        float(np.mean(precisions)) if precisions else None,
        float(np.mean([r["recall"][0] for r in rates])),
        float(np.mean([r["f1"][0] for r in rates])),
        float(false_alarms),
    )


def best_threshold(tallies: Sequence[Tally]) -> float | None:
    """The score at which the F1, mean over the classes, is largest; of equal ones the highest.

    None where nothing was detected.
    """
    candidates = np.unique(np.concatenate([tally.scores for tally in tallies]))[::-1]
    if not len(candidates):
        return None
    f1 = np.mean([_f1_at(tally, candidates) for tally in tallies], axis=0)
    return float(candidates[f1.argmax()])


def _f1_at(tally: Tally, thresholds: np.ndarray) -> np.ndarray:
    kept = np.searchsorted(-tally.scores, -thresholds, side="right")
    true = np.concatenate([[0], np.cumsum(tally.is_true)])[kept]
    return 2 * true / (kept + tally.truths.sum())
