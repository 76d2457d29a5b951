"""What methods share that compare videos two by two, by their frames alone, and average over shots."""

import torch
from torch import Tensor

from fsar_cli.core.encoded import Encoded, Scores
from fsar_cli.core.method import FewShotMethod


class Pairwise(FewShotMethod):
    """Base of methods whose score is a distance of two videos alone, averaged over the shots of a class."""

    pair_tensors = ("frames",)

    def distance(self, query: Tensor, support: Tensor) -> Tensor:
        """Frame features [...,Q,T,D] and [...,M,T,D] -> [...,Q,M]."""
        raise NotImplementedError

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        return described.only(["frames"])  # [B,T,D]

    def pairs(self, query: Encoded, support: Encoded) -> dict[str, Tensor]:
        return {"distance": self.distance(query["frames"], support["frames"])}

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        return Scores(-self.known_pairs(support, query, pairs)["distance"].mean(-1))
