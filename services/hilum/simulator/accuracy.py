"""How well the findings agree with the truth, with 95 % intervals (every figure with its n)."""

from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A proportion or an area, between ``low`` and ``high``; ``n`` is what it was measured on."""

    value: float
    low: float
    high: float
    n: str

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}), {self.n}"


def wilson(successes: int, total: int) -> Estimate | None:
    """Wilson's score interval (1927); None where there is nothing to count."""
    if total == 0:
        return None
    p = successes / total
    middle = p + _Z**2 / (2 * total)
    spread = _Z * sqrt(p * (1 - p) / total + _Z**2 / (4 * total**2))
    scale = 1 + _Z**2 / total
    low, high = max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
    return Estimate(p, low, high, f"{successes} of {total}")


def area_under_curve(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> Estimate | None:
    """AUC with DeLong's variance (1988) and an interval on the logit scale, from the scores of either class.

    None where a class has fewer than two. At 0 or 1 the variance vanishes and the interval, with it, says nothing:
    it is then [0, rule of three] or its mirror.
    """
    m, n = len(positive), len(negative)
    if m < 2 or n < 2:
        return None
    joint = _midranks(np.concatenate([positive, negative]))
    own_positive, own_negative = _midranks(positive), _midranks(negative)
    area = float((joint[:m].sum() - m * (m + 1) / 2) / (m * n))
    by_positive = (joint[:m] - own_positive) / n
    by_negative = 1 - (joint[m:] - own_negative) / m
    variance = float(np.var(by_positive, ddof=1) / m + np.var(by_negative, ddof=1) / n)
    counted = f"{m} positive, {n} negative"
    if area in (0.0, 1.0) or variance == 0:
        slack = min(1.0, 3 / min(m, n))
        return Estimate(area, max(0.0, area - slack), min(1.0, area + slack), counted)
    centre, spread = log(area / (1 - area)), _Z * sqrt(variance) / (area * (1 - area))
    return Estimate(area, _logistic(centre - spread), _logistic(centre + spread), counted)


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; ties share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return middle


def _logistic(x: float) -> float:
    return 1 / (1 + exp(-x))
