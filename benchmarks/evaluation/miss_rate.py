"""Log-average miss rate (Dollar et al., Pedestrian Detection: An Evaluation of the State of the
Art, PAMI 2012)."""

import numpy as np

from benchmarks.evaluation.tally import Counts

# False alarms a picture: nine points, evenly spaced in the logarithm.
FALSE_ALARMS_A_PICTURE = np.logspace(-2, 0, 9)
_SMALLEST_MISS_RATE = 1e-10  # as the authors' toolbox has it: a logarithm is to be taken


def log_average_miss_rate(counts: Counts) -> np.ndarray:
    """(R,) MR-2, 0 to 1: exp of the mean of log(miss rate at each of the nine points).

    At a point the miss rate is that of the lowest threshold with so many false alarms or fewer; 1
    where every detection comes after more.
    """
    a_picture = counts.false / np.maximum(counts.pictures, 1)[:, None]
    reached = [np.searchsorted(row, FALSE_ALARMS_A_PICTURE, side="right") for row in a_picture]
    padded = np.pad(counts.true, ((0, 0), (1, 0)))
    found = np.array([row[at] for row, at in zip(padded, reached, strict=True)])
    found = found.reshape(-1, len(FALSE_ALARMS_A_PICTURE))  # where there are no resamples too
    miss_rate = 1 - found / np.maximum(counts.truths, 1)[:, None]
    values = np.exp(np.log(np.maximum(miss_rate, _SMALLEST_MISS_RATE)).mean(axis=1))
    return np.where(counts.truths > 0, values, np.nan)
