"""Which clips of a pool are the support and which the queries, draw by draw.

In a draw every class gives K clips to the support and asks all its others, so that a clip is never among the examples
it is compared with (leave-one-out), and every class shows as many examples: one with more would look nearer for that
alone. For 5 clips a class and K = 4, the columns being draws:

    clip 1   s s s s q   s q s ...       each block of 5 draws is one random order of the class, moved on by one
    clip 2   s s q s s   q s s ...       from draw to draw: after a block every clip was asked equally often
    clip 3   q s s s s   s s q ...

A class with K clips or fewer shows all but the one it asks, over and over until there are K. One with a single clip
shows it and asks nothing. A draw is a pure function of (seed, number of the draw).
"""

from zlib import crc32

import numpy as np

from fsar_cli.data.episodes import Episodes

STREAM = crc32(b"support")


class SupportDraws:
    """Draws over a pool; with it a `Matcher` is built, as with an `EpisodeSampler`.

    Args:
        labels: int64 [V] class of each clip, 0 .. C - 1, every class at least once.
        shot: K.
    """

    def __init__(self, labels: np.ndarray, shot: int, seed: int = 0) -> None:
        self.labels, self.shot, self.seed = labels, shot, seed
        self.members = [np.flatnonzero(labels == c) for c in range(int(labels.max()) + 1)]
        self.way = len(self.members)
        self.shown = [max(1, min(shot, len(members) - 1)) for members in self.members]
        self.asked = sum(len(members) - shown for members, shown in zip(self.members, self.shown, strict=True))
        """Queries of a draw."""
        self.queries = -(-self.asked // self.way)
        """The same for each class, on average, rounded up: what a `Matcher` counts memory by."""

    def batch(self, start: int, count: int) -> Episodes:
        """Draws start .. start + count - 1: classes [E,C] in order, support [E,C,K], query [E,1,asked]."""
        parts = [self._class(c, np.arange(start, start + count)) for c in range(self.way)]
        classes = np.tile(np.arange(self.way), (count, 1))
        return Episodes(
            classes, np.stack([shown for shown, _ in parts], 1), np.concatenate([rest for _, rest in parts], 1)[:, None]
        )

    def _class(self, cls: int, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Support [E,K] and queries [E,n - shown] of a class."""
        members, shown = self.members[cls], self.shown[cls]
        size = len(members)
        orders = {block: self._order(cls, block) for block in np.unique(draws // size).tolist()}
        order = np.stack([np.roll(orders[draw // size], draw % size) for draw in draws.tolist()])
        return members[order[:, np.arange(self.shot) % shown]], members[order[:, shown:]]

    def _order(self, cls: int, block: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, STREAM, cls, block])
        return np.argsort(rng.random(len(self.members[cls])), kind="stable")
