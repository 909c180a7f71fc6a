"""The figures that the demonstration states, against values worked out another way."""

from math import log

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu

from hilum.simulator.accuracy import area_under_curve, wilson


@pytest.mark.parametrize(("successes", "total"), [(0, 5), (5, 5), (90, 100), (125, 139), (1, 2)])
def test_wilson_is_the_interval_that_scipy_gives(successes: int, total: int) -> None:
    estimate = wilson(successes, total)
    expected = binomtest(successes, total).proportion_ci(method="wilson")
    assert estimate is not None
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_counted_has_no_proportion() -> None:
    assert wilson(0, 0) is None


def scores(ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    positive, negative = rng.normal(0.8, 1, 31), rng.normal(0, 1, 47)
    return (np.round(positive, 1), np.round(negative, 1)) if ties else (positive, negative)


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_is_mann_whitneys(ties: bool) -> None:
    positive, negative = scores(ties)
    estimate = area_under_curve(positive, negative)
    assert estimate is not None
    assert estimate.value == pytest.approx(mannwhitneyu(positive, negative).statistic / (31 * 47))


@pytest.mark.parametrize("ties", [False, True])
def test_delongs_variance_is_that_of_the_placements_counted_one_by_one(ties: bool) -> None:
    positive, negative = scores(ties)
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = wins.mean(axis=1).var(ddof=1) / 31 + wins.mean(axis=0).var(ddof=1) / 47
    estimate = area_under_curve(positive, negative)
    assert estimate is not None
    width = log(estimate.high / (1 - estimate.high)) - log(estimate.low / (1 - estimate.low))
    area = wins.mean()
    assert width == pytest.approx(2 * 1.959964 * variance**0.5 / (area * (1 - area)), rel=1e-6)


def test_a_perfect_separation_is_not_stated_as_certain() -> None:
    estimate = area_under_curve(np.array([0.8, 0.9, 0.95]), np.array([0.1, 0.2, 0.3]))
    assert estimate is not None
    assert estimate.value == 1.0
    assert estimate.low < 0.5


def test_one_case_a_class_is_too_few_for_an_interval() -> None:
    assert area_under_curve(np.array([0.9]), np.array([0.1, 0.2])) is None
