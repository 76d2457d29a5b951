"""How far an accuracy, or a difference of two, depends on which videos happen to be in the test set.

More episodes narrow the interval of the episodes without end, because they are drawn from the same videos again and
again. What those videos are is chance too. The jackknife says how much: leave one out, look by how much the mean over
all episodes moves, and add up the squares (Efron and Stein, Annals of Statistics, 1981). A mean over episodes is a
U-statistic of the videos; for these the jackknife is unbiased where videos act one by one and errs on the safe side
where they act together.

No video is encoded and no episode matched again: the episodes that do not hold video v are episodes of the test set
without v. They are not quite evenly spread, as classes whose videos are left out are drawn less often among them; each
is weighted by 1 / P(v absent | its classes), P = prod_c C(n_c - m_c, k) / C(n_c, k) for k of the n_c videos of each
class, m_c of which are left out. So with D_v the weighted mean of what lacks v and D the mean of all,

    V = sum over v of (n - 1) / n ((D_v - D)^2 - noise_v),   n the number of units that v could have been one of.

noise_v is the variance that D_v - D has because the episodes are a sample: without taking it away V would hold
N (K + Q) times the variance of the episodes.

What is left out is a unit: a video, or where the split file has groups (one film, the same actors) the videos of a
group together, which resemble one another. Or a whole class, where there are more classes than ways: that tells of
other classes, too. Assumed are units drawn independently from what one wants to speak about, and enough of them for a
t interval. With `group_disjoint` the weights are those of free draws, an approximation: what all D_v share because of
it is taken out by their mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fsar_cli.data.episodes import Episodes

# Numbers of a matrix [episodes, units] at a time: more gain nothing.
NUMBERS = 2**21
# An estimate below this many of its own standard errors is noise.
RESOLVED = 2.0


@dataclass(frozen=True)
class Units:
    """What is left out one at a time: videos, groups of videos or classes."""

    name: str
    """What one of them is called, plural."""
    of_video: np.ndarray
    """int64 [V]: unit of each video."""
    stratum: np.ndarray
    """int64 [units]: units of different strata could not have taken one another's place."""

    def __len__(self) -> int:
        return len(self.stratum)


def video_units(labels: np.ndarray, groups: Sequence[str]) -> Units:
    """Videos by class; or groups, where any two videos share one, by the classes they link.

    Args:
        labels: int64 [V] class of each video.
        groups: group of each; "" is a group of its own.
    """
    names: dict[object, int] = {}
    unit = np.array([names.setdefault(group or i, len(names)) for i, group in enumerate(groups)], dtype=np.int64)
    stratum = np.arange(labels.max() + 1)  # of a class
    for members in (labels[unit == u] for u in range(len(names))) if len(names) < len(labels) else ():
        stratum[np.isin(stratum, stratum[members])] = stratum[members].min()
    first = np.zeros(len(names), dtype=np.int64)
    first[unit] = stratum[labels]
    return Units("groups of videos" if len(names) < len(labels) else "videos", unit, first)


def class_units(labels: np.ndarray) -> Units:
    """Whole classes."""
    return Units("classes", labels, np.zeros(labels.max() + 1, dtype=np.int64))


@dataclass(frozen=True)
class Variance:
    """Variance of a mean over episodes due to the units of the test set, episodes being innumerable."""

    value: float
    freedom: float
    """Degrees of freedom: units less strata."""


def variances(values: np.ndarray, drawn: Episodes, labels: np.ndarray, units: Units) -> list[Variance | None]:
    """The variance of the mean of each row of values.

    Args:
        values: float64 [R, E], one row a method, or a difference of two.
        drawn: the E episodes.
        labels: int64 [V] class of each video.

    Returns:
        [R]; None where it cannot be told: a class has no video to spare, too few units, or the episodes are too few to
        see it above their own noise.
    """
    freedom = float(len(units) - len(np.unique(units.stratum)))
    logs = _absent(drawn, labels, units)
    moved = None if freedom < 1 or logs is None else _leave_out(values, drawn, units, logs)
    if moved is None:
        return [None] * len(values)
    shifts, noise = moved  # [R,U] each
    counts = np.bincount(units.stratum)[units.stratum]
    factor = (counts - 1) / counts
    means = np.array([np.bincount(units.stratum, row)[units.stratum] for row in shifts]) / counts
    raw = factor * ((shifts - means) ** 2 - noise)
    error = np.sqrt(2 * ((factor * noise) ** 2).sum(1))
    quiet = np.ptp(values, axis=1) == 0
    return [
        Variance(max(float(total), 0.0), freedom) if total > RESOLVED * limit or still else None
        for total, limit, still in zip(raw.sum(1), error, quiet, strict=True)
    ]


def _absent(drawn: Episodes, labels: np.ndarray, units: Units) -> np.ndarray | None:
    """float64 [C,U]: by how much each class of an episode adds to log P(unit absent | classes of the episode).

    None where a unit cannot be left out, as too little would remain of a class, or too few classes.
    """
    way, each = drawn.classes.shape[1], drawn.support.shape[-1] + drawn.query.shape[-1]
    sizes = np.bincount(labels)
    if units.name == "classes":
        # A class is drawn or not: P is the same for all episodes, and a common factor of their weights does nothing.
        return np.zeros((len(sizes), len(units))) if len(sizes) > way else None
    members = np.zeros((len(sizes), len(units)), dtype=np.int64)
    np.add.at(members, (labels, units.of_video), 1)
    if (sizes[:, None] - members < each).any():
        return None
    steps = np.arange(each)
    left = (sizes[:, None] - members)[..., None] - steps
    return np.log(left / (sizes[:, None, None] - steps)).sum(-1)


def _leave_out(
    values: np.ndarray, drawn: Episodes, units: Units, logs: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """What the mean of each row moves by when a unit is left out, and the variance of that by the draw: [R,U] each.

    None where some unit is in every episode.
    """
    episodes, centred = values.shape[1], values - values.mean(1, keepdims=True)
    held = units.of_video[np.concatenate([drawn.support, drawn.query], axis=-1)].reshape(episodes, -1)
    present = np.zeros((episodes, len(logs)))
    np.put_along_axis(present, drawn.classes, 1.0, axis=1)
    step, found = max(1, NUMBERS // episodes), []
    for start in range(0, len(units), step):
        weights = np.exp(-(present @ logs[:, start : start + step]))  # [E,step]
        rows, columns = np.nonzero((held >= start) & (held < start + step))
        weights[rows, held[rows, columns] - start] = 0.0
        if not weights.any(0).all():
            return None
        weights = weights / weights.mean(0) - 1
        shifts = centred @ weights / episodes
        found.append((shifts, (centred**2 @ weights**2 / episodes - shifts**2) / (episodes - 1)))
    return np.concatenate([s for s, _ in found], 1), np.concatenate([n for _, n in found], 1)
