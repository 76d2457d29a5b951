"""Prototypical network on the mean of the frame features: the sanity floor.

    Snell et al., Prototypical Networks for Few-Shot Learning, NeurIPS 2017.

It has no parameters of its own and no notion of time.
"""

import torch
from torch import Tensor

from fsar_cli.core.layers.basics import at_least_float32
from fsar_cli.core.method import FRAMES, Encoded, FewShotMethod, Pairs, Scores

VIDEO = "video"  # [B,D]


class Prototype(FewShotMethod):
    """Nearest class mean of time-averaged features, squared Euclidean distance."""

    paper = "Snell et al., NeurIPS 2017"

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        return Encoded({VIDEO: described[FRAMES].mean(1)})

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        prototypes = at_least_float32(support[VIDEO]).mean(2)  # [E,N,D]
        difference = at_least_float32(query[VIDEO]).unsqueeze(2) - prototypes.unsqueeze(1)  # [E,Q,N,D]
        return Scores(-difference.square().sum(-1))
