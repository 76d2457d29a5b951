"""TRX: temporal-relational cross-transformers, the paper's baseline.

    Perrett et al., Temporal-Relational CrossTransformers for Few-Shot Action Recognition, CVPR 2021.

Differs from the authors' code in form only: keys and values are computed once per video, all classes and queries are
matched in one call.
"""

import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.features import Features
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.method import FRAMES, Encoded, FewShotMethod, Pairs, Scores


class TRX(FewShotMethod):
    """Cross-attention between ordered tuples of 2 and 3 frames."""

    paper = "Perrett et al., CVPR 2021"

    def __init__(self, features: Features, head: CrossTransformer) -> None:
        super().__init__(features)
        self.head = head

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "TRX":
        return cls(features, CrossTransformer.from_config(config, features.steps, "trx", features.dim))

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        return Encoded(self.head.encode(described[FRAMES], generator))

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        return Scores(-self.head.distance(support, query))
