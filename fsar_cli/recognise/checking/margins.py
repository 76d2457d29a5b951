"""How a method recognises each clip of a pool by all the others: its leave-one-out margin.

In a draw every class gives K clips to the support, and all its others are queries: a clip is never among the examples
it is compared with, and every class has as many examples, as one with more would look nearer for that alone. For 5
clips a class and K = 4, the columns being draws:

    clip 1   s s s s q   s q s ...       each block of 5 draws is one random order of the class, moved on by one
    clip 2   s s q s s   q s s ...       from draw to draw: after a block every clip was a query equally often
    clip 3   q s s s s   s s q ...

A class with K clips or fewer gives all but the query, over and over until there are K. The only clip of a class is an
example and never a query.

The margin of a clip is its mean score for its own class less that for the best other class, in units of how far the
classes' scores lie apart in this pool (the median over clips of the standard deviation of a clip's scores over the
classes), so margins of methods compare, whatever the scale of their scores. Above 0 a clip is recognised as what it is
called, at 0 it could be either, below 0 it looks more like another class.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import torch

from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.episodes import Episodes
from fsar_cli.engine.bank import Bank
from fsar_cli.engine.matching import Matcher
from fsar_cli.reporting import SILENT, Reporter

STREAM = crc32(b"support")
# Queries a call of `match`; a pool of thousands would not fit into one.
QUERIES_A_CALL = 512


class SupportDraws:
    """Draws over a pool, each a pure function of (seed, number); a `Matcher` takes it as it takes an `EpisodeSampler`.

    Args:
        labels: int64 [V] class of each clip, 0 .. C - 1, every class at least once.
        classes: [C] names.
        shot: K.
    """

    def __init__(self, labels: np.ndarray, classes: Sequence[str], shot: int, seed: int = 0) -> None:
        self.labels, self.classes, self.shot, self.seed = labels, tuple(classes), shot, seed
        self.way = len(self.classes)
        self.members = [np.flatnonzero(labels == c) for c in range(self.way)]
        self.examples = [max(1, min(shot, len(members) - 1)) for members in self.members]
        queries = len(labels) - sum(self.examples)
        self.queries = -(-queries // self.way)
        """Of a class, on average, rounded up: what a `Matcher` counts memory by."""

    def batch(self, start: int, count: int) -> Episodes:
        """Draws start .. start + count - 1: classes [E,C] in order, support [E,C,K], query [E,1,all queries]."""
        support, query = zip(*[self._class(c, np.arange(start, start + count)) for c in range(self.way)], strict=True)
        classes = np.tile(np.arange(self.way), (count, 1))
        return Episodes(classes, np.stack(support, 1), np.concatenate(query, 1)[:, None])

    def _class(self, cls: int, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Support [E,K] and queries [E,n - examples] of a class."""
        members, examples = self.members[cls], self.examples[cls]
        size = len(members)
        orders = {block: self._order(cls, block) for block in np.unique(draws // size).tolist()}
        order = np.stack([np.roll(orders[draw // size], draw % size) for draw in draws.tolist()])
        return members[order[:, np.arange(self.shot) % examples]], members[order[:, examples:]]

    def _order(self, cls: int, block: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, STREAM, cls, block])
        return np.argsort(rng.random(len(self.members[cls])), kind="stable")


@torch.inference_mode()
def mean_scores(
    method: FewShotMethod,
    bank: Bank,
    draws: SupportDraws,
    count: int,
    device: torch.device | None = None,
    reporter: Reporter = SILENT,
) -> np.ndarray:
    """Mean logits of each clip over draws 0 .. count - 1: float64 [V,C]; NaN for the only clip of a class.

    Args:
        draws: over the videos of the bank.
        device: where to match; None: where the bank is.
    """
    matcher = Matcher(method, bank, draws, count, device)
    totals, times = np.zeros((len(draws.labels), draws.way)), np.zeros((len(draws.labels), 1))
    with reporter.track("leave one out", count, "draws") as task:
        for start in range(0, count, matcher.batch):
            drawn = draws.batch(start, min(matcher.batch, count - start))
            for first in range(0, drawn.query.shape[2], QUERIES_A_CALL):
                query = drawn.query[..., first : first + QUERIES_A_CALL]
                logits = matcher(Episodes(drawn.classes, drawn.support, query)).logits  # [E,Q,C]
                np.add.at(totals, query[:, 0], logits.cpu().numpy())
                np.add.at(times, query[:, 0], 1)
            task.advance(len(drawn.classes))
    return np.divide(totals, times, out=np.full_like(totals, np.nan), where=times > 0)


def margins(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Margins float64 [V] of clips, and the nearest other class int64 [V]; NaN and -1 for the only clip of a class.

    Args:
        scores: float64 [V,C] as `mean_scores`.
        labels: int64 [V].
    """
    values, nearest = np.full(len(labels), np.nan), np.full(len(labels), -1)
    known = np.flatnonzero(~np.isnan(scores[:, 0]))
    if not len(known):
        return values, nearest
    others = scores[known]
    own = others[np.arange(len(known)), labels[known]]
    unit = float(np.median(others.std(1))) or 1.0
    others[np.arange(len(known)), labels[known]] = -np.inf
    nearest[known] = others.argmax(1)
    values[known] = (own - others.max(1)) / unit
    return values, nearest
