"""How far one model's raw outputs are from another's, over any number of pictures."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class OutputDifference:
    """Over all elements of an output, all pictures together.

    max_abs, mean_abs, rmse: of (other - reference), in the output's unit (logits, box offsets).
    cosine: of the two outputs as vectors; 1 where both are zero, 0 where one is.
    sqnr_db: 10 log10(sum reference^2 / sum difference^2); inf for equal outputs, -inf for a
    reference of zeros.
    """

    max_abs: float
    mean_abs: float
    rmse: float
    cosine: float
    sqnr_db: float


class DifferenceSums:
    """Sums in float64, so that no picture's outputs need to be kept."""

    def __init__(self) -> None:
        self._elements = 0
        self._max_abs = 0.0
        self._sum_abs = 0.0
        self._sum_squares = 0.0
        self._reference_squares = 0.0
        self._other_squares = 0.0
        self._product = 0.0

    def add(self, reference: np.ndarray, other: np.ndarray) -> float:
        """Two finite arrays of one shape; returns the largest absolute difference of these two."""
        if reference.shape != other.shape:
            raise ValueError(f"outputs of shapes {reference.shape} and {other.shape}")
        reference64, other64 = reference.astype(np.float64), other.astype(np.float64)
        difference = np.abs(other64 - reference64)
        largest = float(difference.max(initial=0.0))
        self._elements += difference.size
        self._max_abs = max(self._max_abs, largest)
        self._sum_abs += float(difference.sum())
        self._sum_squares += float(np.vdot(difference, difference))
        self._reference_squares += float(np.vdot(reference64, reference64))
        self._other_squares += float(np.vdot(other64, other64))
        self._product += float(np.vdot(reference64, other64))
        return largest

    def difference(self) -> OutputDifference:
        """Raises ValueError where nothing was added."""
        if self._elements == 0:
            raise ValueError("no outputs were added")
        return OutputDifference(
            max_abs=self._max_abs,
            mean_abs=self._sum_abs / self._elements,
            rmse=math.sqrt(self._sum_squares / self._elements),
            cosine=self._cosine(),
            sqnr_db=self._sqnr_db(),
        )

    def _cosine(self) -> float:
        if self._sum_squares == 0.0:
            return 1.0  # exactly, whatever the rounding of the roots below
        lengths = math.sqrt(self._reference_squares) * math.sqrt(self._other_squares)
        return min(1.0, max(-1.0, self._product / lengths)) if lengths else 0.0

    def _sqnr_db(self) -> float:
        if self._sum_squares == 0.0:
            return math.inf
        if self._reference_squares == 0.0:
            return -math.inf
        return 10 * math.log10(self._reference_squares / self._sum_squares)
