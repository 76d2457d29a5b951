"""Means over the episodes of one number of shots, of groups of runs and of pairs of groups, with all their intervals.

A group is what is compared as one: a single run, or the training runs of one method with different seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fsar_cli.data.episodes import EpisodeList
from fsar_cli.engine.statistics.jackknife import Units, Variance, class_units, variances
from fsar_cli.engine.statistics.paired import LEVEL, episodes_needed, half_width, holm, normal_p, sign_flip_p


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
    """Had the runs been trained with other seeds: Student's t over the runs of a group."""
    floor: float | None
    """What `videos` comes down to with episodes without number."""


@dataclass(frozen=True)
class PairedDifference:
    """The first of two groups less the second on the same episodes, at one number of shots."""

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
    """The groups on the episodes of one number of shots.

    Args:
        right: [groups] of int64 [runs, E], the queries each run of a group got right in each episode.
        trained: [groups] whether training took part; where not, other seeds change nothing.
        episodes: those E episodes.
        units: what a test set is made of.
    """

    def __init__(
        self, right: Sequence[np.ndarray], trained: Sequence[bool], episodes: EpisodeList, units: Units
    ) -> None:
        self.right, self.trained, self.episodes, self.units = right, trained, episodes, units
        self.queries = episodes.sampler.way * episodes.sampler.queries
        self.shares = np.array([runs.mean(0) / self.queries for runs in right])  # [groups, E]

    def scores(self) -> list[Estimate]:
        """The accuracy of each group."""
        training = [self._training(i) for i in range(len(self.right))]
        return self._estimates(self.shares, [None if t is None else [t] for t in training])

    def differences(self, pairs: Sequence[tuple[int, int]], names: Sequence[str]) -> list[PairedDifference]:
        """The differences of pairs of groups; p values not adjusted yet (`adjusted`)."""
        if not pairs:
            return []
        values = np.array([self.shares[a] - self.shares[b] for a, b in pairs])
        training = []
        for pair in pairs:
            by_seed = [self._training(group) for group in pair]
            training.append(None if None in by_seed else by_seed)
        estimates = self._estimates(values, training)
        whole = [self._in_queries(a, b) for a, b in pairs]
        return [
            PairedDifference(
                names[a],
                names[b],
                self.episodes.sampler.shot,
                estimate,
                float(row.std(ddof=1)),
                sign_flip_p(counts),
                normal_p(row),
            )
            for (a, b), estimate, row, counts in zip(pairs, estimates, values, whole, strict=True)
        ]

    def _in_queries(self, a: int, b: int) -> np.ndarray:
        """Differences as whole numbers: queries, times the runs of both groups."""
        one, other = self.right[a], self.right[b]
        return one.sum(0) * len(other) - other.sum(0) * len(one)

    def _training(self, group: int) -> tuple[float, float] | None:
        """Variance of a group's mean by the seeds of its runs and its degrees of freedom; None for a single run."""
        means = self.right[group].mean(1) / self.queries
        if not self.trained[group]:
            return 0.0, math.inf
        return (float(means.var(ddof=1)) / len(means), len(means) - 1.0) if len(means) > 1 else None

    def _estimates(
        self, values: np.ndarray, training: Sequence[Sequence[tuple[float, float]] | None]
    ) -> list[Estimate]:
        drawn, labels = self.episodes.drawn, self.episodes.sampler.labels
        videos = variances(values, drawn, labels, self.units)
        classes = variances(values, drawn, labels, class_units(labels))
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


def adjusted(differences: Sequence[PairedDifference]) -> list[PairedDifference]:
    """The differences of a whole comparison with p values adjusted for their number (Holm)."""
    p_values = holm([difference.p for difference in differences])
    return [replace(d, p_holm=p, tests=len(differences)) for d, p in zip(differences, p_values, strict=True)]
