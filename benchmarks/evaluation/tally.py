"""Judged detections of one class over all pictures, and their counts under resampling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.evaluation.matching import IGNORED, TRUE


@dataclass(frozen=True, eq=False)
class Tally:
    """Every detection that counts, best score first; of equal scores the earlier picture's.

    scores: (N,) float64. is_true: (N,) bool, the others are false alarms. picture: (N,) int64.
    truths: (P,) int64, how many boxes are to be found in each picture. annotated: (P,) bool,
    whether the class was looked for there; where not, there is neither detection nor box.
    """

    scores: np.ndarray
    is_true: np.ndarray
    picture: np.ndarray
    truths: np.ndarray
    annotated: np.ndarray


def tally_of(
    scores: Sequence[np.ndarray],
    judgements: Sequence[np.ndarray],
    truths: Sequence[int],
    annotated: Sequence[bool],
) -> Tally:
    """Put the pictures together. scores and judgements: one array a picture, best score first."""
    together = np.concatenate([*scores, np.zeros(0)]).astype(np.float64)
    judgement = np.concatenate([*judgements, np.zeros(0, np.int8)])
    picture = np.repeat(np.arange(len(scores)), [len(s) for s in scores])
    order = np.argsort(-together, kind="stable")
    order = order[judgement[order] != IGNORED]
    return Tally(
        together[order],
        judgement[order] == TRUE,
        picture[order],
        np.array(truths, np.int64),
        np.array(annotated, bool),
    )


@dataclass(frozen=True, eq=False)
class Counts:
    """The counts at every true detection, best score first, for R resamples of the pictures.

    true, false: (R, K), detections up to and with that one. truths, pictures: (R,), in all. The
    recall rises at true detections alone, and between two of them the precision falls, so that
    these K points hold all that the curves have.
    """

    true: np.ndarray
    false: np.ndarray
    truths: np.ndarray
    pictures: np.ndarray


def counts(tally: Tally, weights: np.ndarray) -> Counts:
    """weights: (R, P), how often each resample holds each picture; ones for the set itself.

    The false alarms before each true detection are one matrix, pictures by true detections, which
    does not depend on the resample: each resample is a product with it.
    """
    true_picture = tally.picture[tally.is_true]
    next_true = np.cumsum(tally.is_true)[~tally.is_true]
    false_before = np.zeros((len(tally.truths), len(true_picture) + 1), np.float32)
    np.add.at(false_before, (tally.picture[~tally.is_true], next_true), 1)
    false_before = np.cumsum(false_before[:, :-1], axis=1)
    return Counts(
        np.cumsum(weights[:, true_picture], axis=1, dtype=np.float64),
        (weights.astype(np.float32) @ false_before).astype(np.float64),  # whole numbers: exact
        weights @ tally.truths.astype(np.float64),
        weights @ tally.annotated.astype(np.float64),
    )


def set_itself(tally: Tally) -> np.ndarray:
    """(1, P) weights that hold every picture once."""
    return np.ones((1, len(tally.truths)))
