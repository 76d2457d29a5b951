"""What methods share that compare videos two by two, by their frames alone, and average over shots."""

import torch
from torch import Tensor

from fsar_cli.core.method import FRAMES, Encoded, FewShotMethod, Pairs, Scores

DISTANCE = "distance"


class Pairwise(FewShotMethod):
    """Base of methods whose score is a distance of two videos alone, averaged over the shots of a class."""

    pair_tensors = (FRAMES,)

    def distance(self, query: Tensor, support: Tensor) -> Tensor:
        """Frame features [...,Q,T,D] and [...,M,T,D] -> [...,Q,M]."""
        raise NotImplementedError

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        return described.only([FRAMES])

    def pairs(self, query: Encoded, support: Encoded) -> dict[str, Tensor]:
        return {DISTANCE: self.distance(query[FRAMES], support[FRAMES])}

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        return Scores(-self.known_pairs(support, query, pairs)[DISTANCE].mean(-1))
