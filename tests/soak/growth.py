"""Whether memory grows: the question, and an estimator that noise does not fool.

A slope in MiB an hour, fitted to three minutes, is noise: one run of pages that malloc keeps is 0.1 MiB, which is
4 MiB an hour. So the verdict is about the median of the last third of the samples against that of the middle third:
medians ignore spikes, and the first third may still be warming up. Between the two lies a third of the time, for which
1 MiB an hour is allowed, but never less than `NOISE_MIB`, below which nothing can be told. In a day this is the slope
asked for; in three minutes it finds leaks of some hundred bytes a request. The slope itself (Theil-Sen, the median of
all pairs' slopes) goes into the report, and from an hour on into the verdict.
"""

from collections.abc import Sequence

import numpy as np

BAR_MIB_PER_HOUR = 1.0
NOISE_MIB = 1.0
MOST_PAIRS = 1000


def growth_mib(mib: Sequence[float]) -> float:
    """The median of the last third less the median of the middle third."""
    _, middle, last = np.array_split(np.asarray(mib), 3)
    return float(np.median(last) - np.median(middle))


def allowance_mib(seconds: float) -> float:
    """What may have come to it in the third of the time between the two medians."""
    return max(NOISE_MIB, BAR_MIB_PER_HOUR * seconds / 3 / 3600)


def slope_mib_per_hour(seconds: Sequence[float], mib: Sequence[float]) -> float:
    """The median of the slopes between all pairs (Theil 1950, Sen 1968), of samples thinned evenly."""
    step = max(1, len(seconds) // MOST_PAIRS)
    x, y = np.asarray(seconds)[::step] / 3600, np.asarray(mib)[::step]
    first, second = np.triu_indices(len(x), 1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first])))
