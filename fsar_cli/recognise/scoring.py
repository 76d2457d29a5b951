"""Described windows -> a score a class: how much more a window is like the class than like any normal window.

    s_c = logit of the class against all its examples  -  largest logit of a normal window as an example of its own

The logits are the method's own (`FewShotMethod.match`). Without normal windows nothing is subtracted: scores then
compare classes, and tell little of whether it is any of them.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from fsar_cli.core.method import Encoded
from fsar_cli.recognise.encoder import Encoder

PAIRS_A_CALL = 4096  # of a query and an example or normal window: what a method says of each pair can be large
MOST_REPEATED = 3  # classes of 4 and 5 examples would share 20 places, which costs more than it is worth


class Scorer:
    """Matches against enrolled examples and normal windows.

    Args:
        examples: [n] described.
        labels: int64 [n] class of each, 0 .. C - 1, every class at least once.
        normal: [m] described windows that show none of the classes; None: there are none.
    """

    def __init__(
        self, encoder: Encoder, examples: Encoded, labels: Sequence[int] | np.ndarray, normal: Encoded | None
    ) -> None:
        self.encoder, self.labels = encoder, np.asarray(labels)
        self.ways = int(self.labels.max()) + 1
        self.examples = encoder.embed(examples)
        self.normal = None if normal is None else encoder.embed(normal)

    def __call__(self, described: Encoded) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 [B,C] of described windows, and int64 [B] the example that each is most like.

        The example is one of the best class.
        """
        singles = max(len(self.examples), 0 if self.normal is None else len(self.normal))
        chunks = _chunks(described, max(1, PAIRS_A_CALL // singles))
        parts = [self._scored(self.encoder.embed(some)) for some in chunks]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([nearest for _, nearest in parts])

    def left_out(self, groups: Sequence[str]) -> np.ndarray:
        """Scores float32 [n,C] of each example by the others; NaN for the only one of its class.

        Args:
            groups: [n]; examples of an example's class and group are left out with it, where its class has others.
                Empty names are no groups.
        """
        scores = np.full((len(self.labels), self.ways), np.nan, np.float32)
        for i in range(len(self.labels)):
            kept = self._without(i, groups)
            if kept is not None:
                scores[i] = self._scored(self._taken(np.array([i])), kept)[0][0]
        return scores

    def _without(self, i: int, groups: Sequence[str]) -> np.ndarray | None:
        """bool [n]: the examples by which one is recognised; None: none of its class is left."""
        own = self.labels == self.labels[i]
        others = np.arange(len(own)) != i
        apart = others & np.array([not group or group != groups[i] for group in groups])
        kept = ~own | (apart if (apart & own).any() else others)
        return kept if (kept & own).any() else None

    @torch.inference_mode()
    def _scored(self, query: Encoded, kept: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores [B,C] and nearest examples [B] of embedded windows."""
        kept = np.ones(len(self.labels), bool) if kept is None else kept
        logits = self._match(self._taken(self._support(kept)), query)  # [B,C]
        alone = self._match(self._singly(self.examples), query)  # [B,n]
        if self.normal is not None:
            logits = logits - self._match(self._singly(self.normal), query).max(1, keepdims=True)
        best = logits.argmax(1)
        alone[(self.labels != best[:, None]) | ~kept] = -np.inf
        return logits.astype(np.float32), alone.argmax(1)

    def _taken(self, index: np.ndarray) -> Encoded:
        return self.examples.take(torch.from_numpy(index).to(self.encoder.device))

    def _support(self, kept: np.ndarray) -> np.ndarray:
        """int64 [C,K]: examples of each class, over and over where others have more: all as often, or nearly so."""
        members = [np.flatnonzero(kept & (self.labels == c)) for c in range(self.ways)]
        most, even = max(map(len, members)), math.lcm(*map(len, members))
        return np.stack([np.resize(some, min(even, MOST_REPEATED * most)) for some in members])

    @staticmethod
    def _singly(encoded: Encoded) -> Encoded:
        """Each as a class of one example: [M] -> [M,1]."""
        return encoded.reshape(len(encoded), 1)

    def _match(self, support: Encoded, query: Encoded) -> np.ndarray:
        """Logits float64 [B,N] of support [N,K] for queries [B]: one episode."""
        scores = self.encoder.method.match(support.reshape(1, *support.shape), query.reshape(1, len(query)))
        return scores.logits[0].double().cpu().numpy()


def _chunks(encoded: Encoded, size: int) -> Iterator[Encoded]:
    for rows in torch.arange(len(encoded)).split(size):
        yield encoded.take(rows)
