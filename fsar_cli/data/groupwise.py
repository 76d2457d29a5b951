"""Draw the videos of one episode so that no group (film, actors) is in both its queries and its support.

Procedure. Queries come first, class by class: each is drawn uniformly from the videos of its class that still leave
every class of the episode K videos outside the groups drawn so far. Then K videos of each class are drawn uniformly
from those outside the query groups, of which there are enough by then. So nothing is rejected as long as a query can
be found; where earlier choices left a class without one, the draw starts again, and the second half of the attempts
takes queries from groups already used wherever it can. The generator runs on through the attempts: the result stays a
pure function of its state at the start.
"""

from collections.abc import Sequence

import numpy as np

ATTEMPTS = 40


class GroupDraw:
    """Group-disjoint draws over one split.

    Args:
        groups: group name of each of the V videos; "" is a group of its own.
        labels: int64 [V] class index of each video, ascending.
        shot, queries: K and Q.
    """

    def __init__(self, groups: Sequence[str], labels: np.ndarray, shot: int, queries: int) -> None:
        self.shot, self.queries = shot, queries
        names: dict[tuple[str, int], int] = {}
        keys = [(name, -1 if name else i) for i, name in enumerate(groups)]
        self.group = np.array([names.setdefault(key, len(names)) for key in keys])  # [V]
        classes = int(labels.max()) + 1
        self.members = [np.flatnonzero(labels == c) for c in range(classes)]
        self.counts = np.zeros((classes, len(names)), dtype=np.int32)  # [C, G] videos of a class in a group
        np.add.at(self.counts, (labels, self.group), 1)

    def group_sizes(self, cls: int) -> list[int]:
        """Number of videos in each group of a class."""
        return [int(size) for size in self.counts[cls] if size]

    def draw(self, rng: np.random.Generator, classes: np.ndarray) -> np.ndarray | None:
        """Video indices int64 [N, K+Q], support first; None if the attempts did not find any."""
        for attempt in range(ATTEMPTS):
            drawn = self._queries(rng, classes, sparing=attempt >= ATTEMPTS // 2)
            if drawn is not None:
                query, used = drawn
                support = [self._support(rng, c, used) for c in classes]
                return np.concatenate([np.stack(support), query], axis=1)
        return None

    def _queries(
        self, rng: np.random.Generator, classes: np.ndarray, sparing: bool
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Queries int64 [N, Q] and bool [G] the groups they use up; None if some class is left without one."""
        counts = self.counts[classes]  # a copy: columns of used groups become zero
        spare = counts.sum(axis=1) - self.shot  # [N] how many videos a class can still give up
        used = np.zeros(counts.shape[1], dtype=bool)
        query = np.empty((len(classes), self.queries), dtype=np.int64)
        for row, cls in enumerate(classes):
            free = self.members[cls]
            for column in range(self.queries):
                allowed = (counts <= spare[:, None]).all(axis=0)  # used groups cost nothing more: always allowed
                pool = free[allowed[self.group[free]]]
                again = pool[used[self.group[pool]]] if sparing else pool[:0]
                pool = again if len(again) else pool
                if not len(pool):
                    return None
                video = pool[int(rng.random() * len(pool))]
                group = self.group[video]
                spare = spare - counts[:, group]
                counts[:, group] = 0
                used[group] = True
                query[row, column] = video
                free = free[free != video]
        return query, used

    def _support(self, rng: np.random.Generator, cls: int, used: np.ndarray) -> np.ndarray:
        pool = self.members[cls]
        pool = pool[~used[self.group[pool]]]
        drawn: np.ndarray = pool[np.argsort(rng.random(len(pool)), kind="stable")[: self.shot]]
        return drawn


def splittable(sizes: Sequence[int], shot: int, queries: int) -> bool:
    """Whether groups of these sizes can be parted into one side with >= shot and one with >= queries videos."""
    reachable = 1  # bit s: some set of groups holds s videos
    for size in sizes:
        reachable |= reachable << size
    return bool(reachable >> queries & ((1 << max(sum(sizes) - shot - queries + 1, 0)) - 1))
