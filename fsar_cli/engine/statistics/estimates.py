"""Means over the episodes of one number of shots, of sides and of pairs of sides, with all their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fsar_cli.data.episodes import Episodes
from fsar_cli.engine.statistics.jackknife import Units, Variance, class_units, variances
from fsar_cli.engine.statistics.paired import LEVEL, episodes_needed, half_width, normal_p, sign_flip_p


@dataclass(frozen=True)
class Estimate:
    """A mean with the half widths of its 95 % intervals; None: cannot be told. All as shares of 1."""

    mean: float
    episodes: float
    """Had other episodes been drawn from these videos."""
    videos: float | None
    """Had the test set held other videos (or groups of videos) of these classes; episodes included."""
    classes: float | None
    """Had it held other classes; their videos, to first order, and episodes included."""
    training: float | None
    """Had the runs been trained with other seeds: Student's t over the runs of a side."""
    floor: float | None
    """What `videos` comes down to with episodes without number."""


@dataclass(frozen=True)
class Difference:
    """The first of two sides less the second, at one number of shots."""

    first: str
    second: str
    shot: int
    estimate: Estimate
    spread: float
    """Standard deviation of the difference of one episode."""
    p: float
    """Exact randomisation test on the episodes."""
    p_normal: float
    p_holm: float = 1.0
    """p, adjusted for the number of tests."""
    tests: int = 1
    """Tests of the whole comparison."""

    @property
    def real(self) -> bool:
        """Whether the episodes tell the two apart, all tests of the comparison considered."""
        return self.p_holm < LEVEL

    @property
    def needed(self) -> int | None:
        """Episodes that would find a difference of this size; None: it is zero."""
        return episodes_needed(self.estimate.mean, self.spread, self.tests)


class Means:
    """The sides on the episodes of one number of shots.

    Args:
        right: [sides] of int64 [runs, E], the queries each run of a side got right in each episode.
        asked: queries of an episode.
        trained: [sides] whether training took part; where not, other seeds change nothing.
        drawn: the episodes.
        labels: int64 [V] class of each video.
        units: what a test set is made of.
    """

    def __init__(
        self,
        right: Sequence[np.ndarray],
        asked: int,
        trained: Sequence[bool],
        drawn: Episodes,
        labels: np.ndarray,
        units: Units,
    ) -> None:
        self.right, self.asked, self.trained = right, asked, trained
        self.drawn, self.labels, self.units = drawn, labels, units
        self.shares = np.array([rows.mean(0) / asked for rows in right])  # [sides, E]

    def scores(self) -> list[Estimate]:
        """The accuracy of each side."""
        training = [self._training(i) for i in range(len(self.right))]
        return self._estimates(self.shares, [None if t is None else [t] for t in training])

    def differences(self, pairs: Sequence[tuple[int, int]], names: Sequence[str], shot: int) -> list[Difference]:
        """The differences of pairs of sides; p values not adjusted yet."""
        values = np.array([self.shares[a] - self.shares[b] for a, b in pairs])
        training = []
        for pair in pairs:
            found = [self._training(side) for side in pair]
            training.append(None if None in found else found)
        estimates = self._estimates(values, training)
        whole = [self._in_queries(a, b) for a, b in pairs]
        return [
            Difference(names[a], names[b], shot, estimate, float(row.std(ddof=1)), sign_flip_p(counts), normal_p(row))
            for (a, b), estimate, row, counts in zip(pairs, estimates, values, whole, strict=True)
        ]

    def _in_queries(self, a: int, b: int) -> np.ndarray:
        """Differences as whole numbers: queries, times the runs of both sides."""
        one, other = self.right[a], self.right[b]
        return one.sum(0) * len(other) - other.sum(0) * len(one)

    def _training(self, side: int) -> tuple[float, float] | None:
        """Variance of a side's mean by the seeds of its runs and its degrees of freedom; None for a single run."""
        means = self.right[side].mean(1) / self.asked
        if not self.trained[side]:
            return 0.0, math.inf
        return (float(means.var(ddof=1)) / len(means), len(means) - 1.0) if len(means) > 1 else None

    def _estimates(
        self, values: np.ndarray, training: Sequence[Sequence[tuple[float, float]] | None]
    ) -> list[Estimate]:
        videos = variances(values, self.drawn, self.labels, self.units)
        classes = variances(values, self.drawn, self.labels, class_units(self.labels))
        sampling = values.var(1, ddof=1) / values.shape[1]
        return [
            Estimate(
                float(row.mean()),
                half_width([(float(noise), math.inf)]),
                _with(by_video, noise),
                _with(by_class, noise),
                None if by_seed is None or not any(v for v, _ in by_seed) else half_width(by_seed),
                _with(by_video, 0.0),
            )
            for row, noise, by_video, by_class, by_seed in zip(values, sampling, videos, classes, training, strict=True)
        ]


def _with(variance: Variance | None, noise: float) -> float | None:
    if variance is None:
        return None
    return half_width([(variance.value, variance.freedom), (float(noise), math.inf)])
