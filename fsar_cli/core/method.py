"""What every method is: `encode` once per video, `match` per episode, `loss` in training."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from fsar_cli.core.encoded import Encoded, Scores
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.checkpointing import in_micro_batches
from fsar_cli.core.losses import episode_cross_entropy


class FewShotMethod(nn.Module):
    """Base class. A method says how frame features are embedded (per video) and how episodes are matched."""

    paper: ClassVar[str]
    """Citation."""
    pair_tensors: ClassVar[tuple[str, ...]] = ()
    """What of an Encoded only `pairs` reads."""
    fuses_stages: ClassVar[bool] = False
    """Whether the maps it gets are learnt fusions of the backbone's stages (`stages`)."""
    classifies: ClassVar[bool] = False
    """Whether its training loss tells the training classes apart: it is then built for `model.classes` of them."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features
        self.micro_batch: int | None = None
        """Training: clips whose activations are kept at a time (`checkpointing`); None: all of them."""

    def describe(self, clips: Tensor, generator: torch.Generator | None = None) -> Encoded:
        """Clips [B,T,3,S,S] -> what the feature branches say of them, [B]: all that costs a backbone.

        What the method keeps of it; with `boxes` [B,T,4] and `saturated` [B,T] where regions were selected. It depends
        on `features` alone, so methods that share backbones and keep the same share it.
        """
        found = self.features(clips, generator)
        tensors = self.keep(found)
        if found.regions is not None:
            tensors |= {"boxes": found.regions.boxes.detach(), "saturated": found.regions.saturated}
        return Encoded(tensors)

    def keep(self, found: FrameFeatures) -> dict[str, Tensor]:
        """What `embed` needs of the features, by name, [B,...]; no parameters take part, so that it can be cached."""
        return {"frames": found.frames}

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        """What `describe` gave -> what `match` needs, [B]."""
        raise NotImplementedError

    def encode(self, clips: Tensor, generator: torch.Generator | None = None) -> Encoded:
        """Clips [B,T,3,S,S] -> Encoded [B], with the regions where any were selected.

        Args:
            generator: source of the randomness of training (dropout, random regions), on the device of the clips.
        """
        if self.training and self.micro_batch and len(clips) > self.micro_batch and torch.is_grad_enabled():
            described = in_micro_batches(self.features, self.describe, clips, self.micro_batch, generator)
        else:
            described = self.describe(clips, generator)
        regions = {name: described[name] for name in ("boxes", "saturated") if name in described}
        return Encoded(self.embed(described, generator).tensors | regions)

    def pairs(self, query: Encoded, support: Encoded) -> dict[str, Tensor]:
        """Distances that depend on two videos alone: query [...,Q], support [...,M] -> [...,Q,M] each.

        Evaluation computes them once for all pairs of test videos, and episodes pick theirs.
        """
        return {}

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        """Support [E,N,K], query [E,Q] -> scores; no state, no information between episodes.

        Args:
            pairs: what `pairs` gives for these videos, [E,Q,N,K] each, where it is known; the tensors it reads
                (`pair_tensors`) may then be absent.
        """
        raise NotImplementedError

    def known_pairs(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """`pairs` where given, else computed for these episodes: [E,Q,N,K] each."""
        if pairs is not None:
            return pairs
        episodes, way, shot = support.shape
        found = self.pairs(query, support.reshape(episodes, way * shot))
        return {name: distance.unflatten(-1, (way, shot)) for name, distance in found.items()}

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Training loss of episodes.

        Args:
            labels: int64 [E,Q], positions of the queries' classes in the episode.
            reduction: over the queries of an episode, `sum` or `mean`.
            classes: int64 [E,N], which of the training classes those of the episode are, for methods that classify.
        """
        return episode_cross_entropy(scores.logits, labels, reduction)
