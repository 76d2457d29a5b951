"""Paired comparison of two methods on the same episodes: is a difference real, and how many episodes would tell?

The test is a randomisation test on the difference of each episode: if the two were equally good, every difference
could as well have had the other sign. Differences are whole numbers of queries, so the distribution of their sum under
all 2^E signs is known without drawing any: it is that of sum_m m (2 B_m - n_m), n_m the episodes that differ by m
queries and B_m binomial (n_m, 1/2), whose characteristic function is prod_m cos(m t)^n_m; one Fourier transform gives
all its probabilities.

Several comparisons make chance findings likelier; Holm's step-down procedure (Scandinavian Journal of Statistics, 1979)
keeps the chance of any false one below 5 %.
"""

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np

LEVEL = 0.05
POWER = 0.8
NORMAL = NormalDist()
# The transform's rounding: smaller probabilities cannot be told from it.
SMALLEST_P = 1e-12
# Sums beyond this are left to the normal approximation, which is indistinguishable there (and needs no gigabytes).
LARGEST_SUM = 2**24


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p value of int64 [E] differences, in queries, under random signs; exact, at least SMALLEST_P."""
    sizes = np.abs(differences[differences != 0])
    observed = abs(int(differences.sum()))
    if not len(sizes) or observed == 0:
        return 1.0
    unit = int(np.gcd.reduce(sizes))
    values, counts = np.unique(sizes // unit, return_counts=True)
    total, observed = int(values @ counts), observed // unit
    if total > LARGEST_SUM:
        return two_sided(observed / math.sqrt(float((values.astype(float) ** 2) @ counts)))
    points = 2 ** (2 * total + 1).bit_length()
    angles = 2 * np.pi / points * np.arange(points // 2 + 1)
    spectrum = np.ones_like(angles)
    for value, count in zip(values, counts, strict=True):
        spectrum *= np.cos(value * angles) ** int(count)
    chances = np.fft.irfft(spectrum, points)[observed : total + 1]  # of the sums observed .. total
    return float(np.clip(2 * chances.sum(), SMALLEST_P, 1.0))


def two_sided(z: float) -> float:
    """P(|Z| >= |z|) of a standard normal Z, at least SMALLEST_P."""
    return max(math.erfc(abs(z) / math.sqrt(2)), SMALLEST_P)


def normal_p(differences: np.ndarray) -> float:
    """The usual paired z test of [E] differences, an approximation for many episodes; 1 where none differs."""
    spread = differences.std(ddof=1)
    mean = float(differences.mean())
    if spread == 0:
        return 1.0 if mean == 0 else SMALLEST_P
    return two_sided(mean / (spread / math.sqrt(len(differences))))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for their number, in the given order: compare each with the level as if it were alone."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def episodes_needed(mean: float, spread: float, tests: int = 1) -> int | None:
    """Episodes that find a difference as large as `mean` in 80 of 100 tries.

    (z_{1 - level / (2 tests)} + z_power)^2 (spread / mean)^2: the sample size of the paired z test, its level shared
    out evenly among the tests (Bonferroni), so that it never lies below the number at which Holm's procedure failed.

    Args:
        spread: standard deviation of the difference of one episode.

    Returns:
        None for a difference of zero, which no number of episodes finds.
    """
    if abs(mean) < 1e-12:  # shares such as 1/3 that cancel leave a rounding
        return None
    z = NORMAL.inv_cdf(1 - LEVEL / (2 * tests)) + NORMAL.inv_cdf(POWER)
    return max(2, math.ceil((z * spread / mean) ** 2))


@cache
def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """The two-sided quantile of Student's t: 12.71 for 1 degree of freedom (at least 1), 1.96 for very many.

    With t = sqrt(v) tan(a) the density becomes cos(a)^(v - 1), whose integral is summed on a fine grid.
    """
    if freedom > 1e5:
        return NORMAL.inv_cdf(1 - level / 2)
    angles = np.linspace(0, np.pi / 2, 20_001)
    density = np.cos(angles) ** (max(freedom, 1.0) - 1)
    area = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(max(freedom, 1.0)) * math.tan(float(np.interp(1 - level, area / area[-1], angles)))


def half_width(variances: Sequence[tuple[float, float]]) -> float:
    """Half of the 95 % interval of a mean whose variance is a sum of estimates.

    Args:
        variances: (estimate, its degrees of freedom); the freedom of the sum is Satterthwaite's.
    """
    total = sum(variance for variance, _ in variances)
    if total <= 0:
        return 0.0
    freedom = total**2 / max(sum(variance**2 / degrees for variance, degrees in variances), 1e-300)
    return t_quantile(freedom) * math.sqrt(total)
