"""What every method is: `encode` once per video, `match` per episode, `loss` in training."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from fsar_cli.core.encoded import Encoded, Scores
from fsar_cli.core.features import Features
from fsar_cli.core.losses import episode_cross_entropy


class FewShotMethod(nn.Module):
    """Base class. A method says how frame features are embedded (per video) and how episodes are matched."""

    paper: ClassVar[str]
    """Citation."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features

    def encode(self, clips: Tensor, generator: torch.Generator | None = None) -> Encoded:
        """Clips [B,T,3,S,S] -> Encoded [B]; with `boxes` [B,T,4] and `saturated` [B,T] where regions were selected.

        Args:
            generator: source of the randomness of training (dropout, random regions), on the device of the clips.
        """
        found = self.features(clips, generator)
        tensors = self.embed(found.frames, generator)
        if found.regions is not None:
            tensors |= {"boxes": found.regions.boxes.detach(), "saturated": found.regions.saturated}
        return Encoded(tensors)

    def embed(self, frames: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Frame features [B,T,D] -> whatever `match` needs of a video, each [B,...]."""
        raise NotImplementedError

    def match(self, support: Encoded, query: Encoded) -> Scores:
        """Support [E,N,K], query [E,Q] -> scores; no state, no information between episodes."""
        raise NotImplementedError

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum") -> Tensor:
        """Training loss of episodes; labels int64 [E,Q]."""
        return episode_cross_entropy(scores.logits, labels, reduction)
