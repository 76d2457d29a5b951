"""How large a rate may be by the number of events that were counted: exact intervals of a Poisson mean (Garwood, 1936).

The limits are the means under which a count as large, or as small, as the one seen has the chance that the level leaves
out. They are found by bisection on the sum of the probabilities.
"""

import math
from collections.abc import Callable

import numpy as np

from fsar_cli.engine.statistics.paired import LEVEL

STEPS = 200
"""Halvings: more than a float has digits."""


def poisson_interval(count: int, confidence: float = 1 - LEVEL) -> tuple[float, float]:
    """Both limits of the mean after a count: 0 -> (0, 3.689), 1 -> (0.0253, 5.572), 10 -> (4.795, 18.39).

    Divided by the hours watched they are the limits of a rate an hour.

    Raises:
        ValueError: a count below 0, or a confidence that is not between 0 and 1.
    """
    return _lower(count, _outside(count, confidence) / 2), _upper(count, _outside(count, confidence) / 2)


def poisson_upper(count: int, confidence: float = 1 - LEVEL) -> float:
    """The upper limit alone: 0 -> 2.996, the rule of three. Raises ValueError as `poisson_interval`."""
    return _upper(count, _outside(count, confidence))


def _outside(count: int, confidence: float) -> float:
    if count < 0 or not 0 < confidence < 1:
        raise ValueError(f"no interval for a count of {count} at a confidence of {confidence}")
    return 1 - confidence


def _upper(count: int, chance: float) -> float:
    """The mean under which so few come with this chance."""
    at_most = _at_most(count)
    return _root(lambda mean: at_most(mean) - chance, count)


def _lower(count: int, chance: float) -> float:
    """The mean under which so many come with this chance."""
    if count == 0:
        return 0.0
    fewer = _at_most(count - 1)
    return _root(lambda mean: fewer(mean) - (1 - chance), count)


def _at_most(count: int) -> Callable[[float], float]:
    """P(X <= count) by the mean of X."""
    numbers = np.arange(count + 1, dtype=np.float64)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(numbers[1:]))])  # their logarithms

    def chance(mean: float) -> float:
        return float(np.exp(numbers * math.log(mean) - mean - factorials).sum()) if mean > 0 else 1.0

    return chance


def _root(falling: Callable[[float], float], count: int) -> float:
    """Where a function of the mean, positive at 0, becomes negative."""
    low, high = 0.0, count + 1.0
    while falling(high) > 0:
        low, high = high, 2 * high
    for _ in range(STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
