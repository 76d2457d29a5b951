"""Prototypical network on the mean of the frame features: the sanity floor.

    Snell et al., Prototypical Networks for Few-Shot Learning, NeurIPS 2017.

It has no parameters of its own and no notion of time. With `match.metric: cosine` and whitening (`preparation`) it is
the classifier in closed form of frozen networks of video.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.features import Features
from fsar_cli.core.layers.basics import at_least_float32
from fsar_cli.core.method import FRAMES, Encoded, FewShotMethod, Pairs, Scores

VIDEO = "video"  # [B,D]


class Prototype(FewShotMethod):
    """Nearest class mean of time-averaged features, squared Euclidean or cosine distance."""

    paper = "Snell et al., NeurIPS 2017"

    def __init__(self, features: Features, metric: str = "euclidean") -> None:
        super().__init__(features)
        self.metric = metric

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "Prototype":
        return cls(features, config.model.match.metric)

    def pooled(self, described: Encoded) -> Encoded:
        return Encoded({FRAMES: described[FRAMES].mean(1, keepdim=True)})

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        return Encoded({VIDEO: described[FRAMES].mean(1)})

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        prototypes = at_least_float32(support[VIDEO]).mean(2)  # [E,N,D]
        queries = at_least_float32(query[VIDEO])
        if self.metric == "cosine":
            with torch.autocast(queries.device.type, enabled=False):
                return Scores(F.normalize(queries, dim=-1) @ F.normalize(prototypes, dim=-1).mT)
        difference = queries.unsqueeze(2) - prototypes.unsqueeze(1)  # [E,Q,N,D]
        return Scores(-difference.square().sum(-1))
