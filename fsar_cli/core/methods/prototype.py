"""Prototypical network on the mean of the frame features: the sanity floor.

    Snell et al., Prototypical Networks for Few-Shot Learning, NeurIPS 2017.

It has no parameters of its own and no notion of time.
"""

import torch
from torch import Tensor

from fsar_cli.core.encoded import Encoded, Scores, at_least_float32
from fsar_cli.core.method import FewShotMethod


class Prototype(FewShotMethod):
    """Nearest class mean of time-averaged features, squared Euclidean distance."""

    paper = "Snell et al., NeurIPS 2017"

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        return Encoded({"video": described["frames"].mean(1)})  # [B,D]

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        prototypes = at_least_float32(support["video"]).mean(2)  # [E,N,D]
        difference = at_least_float32(query["video"]).unsqueeze(2) - prototypes.unsqueeze(1)  # [E,Q,N,D]
        return Scores(-difference.square().sum(-1))
