"""By how much an accuracy may differ from the published one because videos are missing.

Published episodes draw N of C classes and k = K + Q of the n_c videos of each, evenly. Ours draw from the u_c videos
that can be used. Write a for the accuracy of an episode, A and A' for its mean over all published and all of our
episodes, D = A' - A. What can be said without knowing the model:

Worst case. A published episode of given classes holds none of the missing videos with probability
prod s_c, s_c = C(u_c, k) / C(n_c, k); over the draw of classes that is e_N(s_1 .. s_C) / C(C, N), e_N the elementary
symmetric polynomial. Our episodes are those, each at least as likely as before (fewer are left to draw from; the same
holds where a class drops out). So the two distributions differ by the share of the others, 1 - e_N / C(C, N), in total
variation, and as a lies in [0, 1], |D| cannot exceed this share. More videos than were published are the same with the
parts of n_c and u_c exchanged: b = min, m = max, s_c = C(b, k) / C(m, k); the share is then an upper bound.

Missing at random. If the u_c are an even draw from the n_c, D has mean 0, and A' is a U-statistic of a finite
population. Split a into its orthogonal parts (Hoeffding, Efron and Stein): for every set of classes S, a part for the
number j_c of videos of each class that act jointly. Averaging over all episodes of a subset scales the variance of
such a part by prod r_c(j_c),

    r_c(j) = prod_{i<j} (k - i) (n_c - u_c - i) / ((u_c - i) (n_c - k - i)),   each factor in [0, 1],

so by at most r_c = r_c(1) = (1/u_c - 1/n_c) / (1/k - 1/n_c) of any class that takes part. And a part in which t
classes act is in the share C(C-t, N-t) / C(C, N) <= N/C of the sets S only, by which averaging over S scales it. With V
the variance of a over the episodes of one set of classes (the largest of any set), all parts together, this gives for
any model, inductive or transductive, without approximation,

    Var D <= N/C * V * mean over S of max_{c in S} r_c.

Equality needs episodes that are decided by single videos, all of one class. Two things are assumed: 1.96 standard
deviations hold 95 %, and V. A measured V is best (`fsar eval` prints 1.96 sqrt(V / episodes), classes drawn included);
without one, 1 / (4 N Q): queries at an even chance that succeed independently of one another.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Deviation:
    """By how much accuracies may differ, as shares of 1 (0.31 is 31 points)."""

    share: float
    """Published episodes that cannot be drawn as they were, which is also the worst case."""
    at_random: float | None
    """Half the 95 % interval if the videos are missing at random; None where a class is too small to take part."""


def independent_spread(way: int, queries: int) -> float:
    """Standard deviation of an episode's accuracy at an even chance of every query, independently."""
    return 0.5 / math.sqrt(way * queries)


def deviation(
    sizes: Sequence[tuple[int, int]], way: int, shot: int, queries: int, spread: float | None = None
) -> Deviation | None:
    """How far the accuracy of what can be used may lie from that of the whole; see the module docstring.

    Args:
        sizes: for each class the videos of the whole and those that can be used, (n_c, u_c).
        spread: standard deviation of the accuracy of an episode (0 to 0.5); None: `independent_spread`.

    Returns:
        None where the whole does not allow such episodes.
    """
    each = shot + queries
    if sum(whole > 0 for whole, _ in sizes) < way or any(0 < whole < each for whole, _ in sizes):
        return None
    share = changed_share(sizes, way, each)
    if any(min(pair) < each for pair in sizes):
        return Deviation(share, None)
    spread = independent_spread(way, queries) if spread is None else spread
    return Deviation(share, 1.96 * spread * math.sqrt(variance_ratio(sizes, way, each)))


def changed_share(sizes: Sequence[tuple[int, int]], way: int, each: int) -> float:
    """1 - e_N(s_1 .. s_C) / C(C, N): episodes with at least one video that only one of the two sides has."""
    kept = (_survival(min(pair), max(pair), each) for pair in sizes)
    return max(0.0, 1.0 - mean_product(kept, way))


def variance_ratio(sizes: Sequence[tuple[int, int]], way: int, each: int) -> float:
    """The bound on Var D / V. Every class must have `each` videos on both sides."""
    ratios = np.sort([_ratio(min(pair), max(pair), each) for pair in sizes])[::-1]
    # The i-th largest is the largest of those drawn if the other N - 1 are among the C - 1 - i smaller ones.
    total = math.comb(len(ratios), way)
    chance = [math.comb(len(ratios) - 1 - i, way - 1) / total for i in range(len(ratios))]
    return float(way / len(ratios) * np.dot(chance, ratios))


def mean_product(values: Iterable[float], way: int) -> float:
    """Mean of the product of `way` of the values, over all ways to choose them: e_N / C(C, N).

    The recurrence runs over means, not sums, so that nothing overflows: with j of c values chosen, the last one is
    among them in j / c of the cases.
    """
    means = np.zeros(way + 1)
    means[0] = 1.0
    chosen = np.arange(1, way + 1)
    for count, value in enumerate(values, 1):
        taken = np.minimum(chosen / count, 1.0)
        means[1:] = (1 - taken) * means[1:] + taken * value * means[:-1]
    return float(means[way])


def _survival(left: int, whole: int, each: int) -> float:
    """C(left, each) / C(whole, each)."""
    return math.prod((left - i) / (whole - i) for i in range(each)) if left >= each else 0.0


def _ratio(left: int, whole: int, each: int) -> float:
    """r_c of the module docstring; 0 where nothing is missing."""
    return (1 / left - 1 / whole) / (1 / each - 1 / whole) if left < whole else 0.0
