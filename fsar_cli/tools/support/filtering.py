"""Does leaving flagged clips out of the support help? Paired, and on queries that no flag has seen.

Flags are made from labels. Were they made from all clips, a query would have had a hand in choosing its own support,
and where classes are hard to tell apart leaving out flagged clips would seem to help although no label is wrong. So the
pool is cut into folds (cross-fitting):

    queries    fold f
    support    the other folds; their clips are flagged by one another alone, as a user would flag them

Both evaluations ask the same queries. The support of a class is the first K of a random order of its candidates; with
the filter flagged ones are passed over, so that the next in order take their place and all others stay. Where fewer
than K are left they are repeated, which is a smaller support; where none is, the flagged ones stay.

An episode is a pure function of (seed, split, index). Where the protocol keeps groups apart, a group is in one fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from fsar_cli.data.episodes import Episodes, distinct
from fsar_cli.engine.results import ShotResult, mean_and_ci
from fsar_cli.engine.statistics.paired import LEVEL, sign_flip_p, t_quantile
from fsar_cli.errors import DataError

FOLDS = 5
STREAM = crc32(b"support folds")


def make_folds(labels: np.ndarray, groups: Sequence[str] | None, seed: int = 0, folds: int = FOLDS) -> np.ndarray:
    """int64 [V] fold of each clip: every class is spread evenly, and a group stays together.

    Args:
        groups: [V], empty for a clip on its own; None: groups do not matter.

    Raises:
        DataError: a class that cannot be in two folds.
    """
    names: dict[object, int] = {}
    unit = np.array([names.setdefault((groups[i] if groups else "") or i, len(names)) for i in range(len(labels))])
    sizes = [len(np.unique(unit[labels == c])) for c in range(labels.max() + 1)]
    if min(sizes) < 2:
        raise DataError(
            f"a class has {min(sizes)} {'group of clips' if groups else 'clip'}: none is left to ask about",
            "--filter needs two of each class or more; without it the check works on one",
        )
    count = min(folds, *sizes)
    held = np.zeros((count, labels.max() + 1))  # clips of a class in a fold
    fold = np.empty(len(names), dtype=np.int64)
    order = np.random.default_rng([seed, STREAM]).random(len(names))
    members = [labels[unit == u] for u in range(len(names))]
    # The rarest classes first, as they have the least choice; in a class at random.
    rarest = [min(sizes[c] for c in m) for m in members]
    for u in sorted(range(len(names)), key=lambda u: (rarest[u], members[u].min(), order[u])):
        classes = np.unique(members[u])
        fold[u] = np.lexsort((held.sum(1), held[:, classes].sum(1)))[0]
        np.add.at(held[fold[u]], members[u], 1)
    if ((held > 0).sum(0) < 2).any():
        raise DataError("the groups of a class cannot be spread over two folds", "use --any-group")
    return fold[unit]


class FoldSampler:
    """Episodes whose queries are in one fold and whose support is in the others; serves `evaluate_bank`.

    Args:
        dropped: bool [folds, V]: the clips passed over in the support when the queries are in a fold; None: none.
    """

    def __init__(
        self,
        videos: Sequence[str],
        labels: np.ndarray,
        classes: Sequence[str],
        folds: np.ndarray,
        *,
        way: int,
        shot: int,
        seed: int = 0,
        dropped: np.ndarray | None = None,
    ) -> None:
        self.videos, self.labels, self.classes = tuple(videos), labels, tuple(classes)
        self.way, self.shot, self.queries, self.seed = way, shot, 1, seed
        self.count = int(folds.max()) + 1
        self.dropped = np.zeros((self.count, len(labels)), dtype=bool) if dropped is None else dropped
        kinds = range(len(classes))
        self._asked = [[np.flatnonzero((folds == f) & (labels == c)) for c in kinds] for f in range(self.count)]
        self._shown = [[np.flatnonzero((folds != f) & (labels == c)) for c in kinds] for f in range(self.count)]
        self._drawable = [
            [c for c in kinds if len(self._asked[f][c]) and len(self._shown[f][c])] for f in range(self.count)
        ]
        self._rounds = [f for f in range(self.count) if len(self._drawable[f]) >= way]
        if not self._rounds:
            raise DataError(
                f"no fold has clips of {way} classes", "use fewer ways (--way) or give each class more clips"
            )

    def batch(self, start: int, count: int) -> Episodes:
        """Episodes start .. start + count - 1; folds take turns."""
        found = [self._episode(index) for index in range(start, start + count)]
        return Episodes(*(np.stack(part) for part in zip(*found, strict=True)))

    def _episode(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng, fold = np.random.default_rng([self.seed, STREAM, index]), self._rounds[index % len(self._rounds)]
        drawable = np.array(self._drawable[fold])
        classes = drawable[distinct(rng.random(self.way), np.int64(len(drawable)))]
        query = [self._asked[fold][c][int(rng.random() * len(self._asked[fold][c]))] for c in classes]
        support = [self._support(rng, fold, c) for c in classes]
        return classes, np.stack(support), np.array(query)[:, None]

    def _support(self, rng: np.random.Generator, fold: int, cls: int) -> np.ndarray:
        pool = self._shown[fold][cls]
        order = pool[np.argsort(rng.random(len(pool)), kind="stable")]
        clean = order[~self.dropped[fold, order]]
        kept = (clean if len(clean) else order)[: self.shot]
        return kept[np.arange(self.shot) % len(kept)]


@dataclass(frozen=True)
class Effect:
    """Accuracy without the flagged clips less that with them, at one number of shots; shares of 1."""

    way: int
    shot: int
    episodes: int
    queries: int
    """Different clips that were asked."""
    flagged: float
    """Clips flagged in the support pool of a fold, on average."""
    changed: float
    """Share of episodes whose support is another one."""
    before: float
    after: float
    difference: float
    ci: float
    """Half the 95 % interval, had other episodes of these clips been drawn."""
    ci_clips: float | None
    """Had other clips been asked (Student's t over the clips asked); None: fewer than two."""
    p: float
    """Exact randomisation test on the episodes; of a check at several numbers of shots adjusted for them (Holm)."""
    digest: str
    """Of the list of episodes as they are without the filter."""

    @property
    def real(self) -> bool:
        """Whether the episodes tell the two apart."""
        return self.p < LEVEL


def effect_of(before: ShotResult, after: ShotResult, plain: Episodes, other: Episodes, flagged: float) -> Effect:
    """The paired difference of two evaluations of the same queries."""
    if not np.array_equal(plain.query, other.query):
        raise ValueError("the two evaluations asked other queries")
    shares = after.accuracies - before.accuracies
    counts = after.right.sum(1).astype(np.int64) - before.right.sum(1).astype(np.int64)
    moved = after.right.astype(float) - before.right.astype(float)
    mean, ci = mean_and_ci(shares)
    changed = (plain.support != other.support).any((1, 2)).mean()
    asked = plain.query.reshape(len(plain.query), -1)
    clips, clip_ci = _over_clips(asked, moved)
    return Effect(
        before.way, before.shot, len(shares), clips, flagged, float(changed), float(before.accuracies.mean()),
        float(after.accuracies.mean()), mean, ci, clip_ci, sign_flip_p(counts), before.digest,
    )  # fmt: skip


def _over_clips(asked: np.ndarray, moved: np.ndarray) -> tuple[int, float | None]:
    """Number of clips asked, and half the t interval of the mean over them of what changed for each."""
    clips, place, times = np.unique(asked, return_inverse=True, return_counts=True)
    means = np.bincount(place.ravel(), moved.ravel()) / times
    if len(clips) < 2:
        return len(clips), None
    return len(clips), float(t_quantile(len(clips) - 1) * means.std(ddof=1) / np.sqrt(len(clips)))
