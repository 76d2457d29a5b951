"""STRM: frames enriched by their patches and by one another, matched by TRX's cross-transformer.

    Thatipelli et al., Spatio-temporal Relation Modeling for Few-shot Action Recognition, CVPR 2022.

A frame is 16 patches of the map. They attend to one another (`PatchEnrichment`) and are averaged; then the frames of
the clip are mixed (`FrameEnrichment`) and matched as TRX does. A second head on the frames before they are mixed, the
query-class similarity, compares tuples in a learned space: loss = CE(main) + 0.1 CE(similarity), prediction
main + 0.1 similarity.

Differs from the authors' code:
- They keep the second head in a plain list, so that no optimiser sees it, no checkpoint holds it and its dropout stays
  on at test. Here it is trained and saved, and there is no dropout at test.
- Their dropout is 0.1 in the enrichments and in the second head whatever is set; here all of it is `match.dropout`.
- Their scripts train with pairs alone (`match.cardinalities`), lr 1e-4 (SSv2: 1e-3) and 4 queries a class (Kinetics:
  5); the rest is TRX's recipe.
- With key regions, patches of frame and region lie side by side in the channels.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.layers.basics import AddPositions, at_least_float32, check_frames
from fsar_cli.core.layers.nearest import NearestTuples
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import Encoded, FewShotMethod, Pairs, Scores

PATCHES = "patches"  # [B,T,D,16]
PATCH_SIDE = 4


class STRM(FewShotMethod):
    """Enriched patches and frames, matched by frame tuples."""

    paper = "Thatipelli et al., CVPR 2022"
    kept_features = (PATCHES,)

    def __init__(
        self,
        features: Features,
        patches: "PatchEnrichment",
        frames: "FrameEnrichment",
        head: CrossTransformer,
        similarity: NearestTuples,
        similarity_weight: float = 0.1,
    ) -> None:
        """
        Args:
            head: on frames after both enrichments.
            similarity: on frames after the first.
            similarity_weight: of the second head, in the loss and in the prediction.
        """
        super().__init__(features)
        self.patches, self.frames, self.head, self.similarity = patches, frames, head, similarity
        self.similarity_weight = similarity_weight

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "STRM":
        dim, match = features.dim, config.model.match
        shared = {"position_scale": match.position_scale, "dropout": match.dropout}
        return cls(
            features,
            PatchEnrichment(PATCH_SIDE**2, dim, **shared),
            FrameEnrichment(features.steps, dim, **shared),
            CrossTransformer.from_config(config, features.steps, "main", dim),
            NearestTuples.from_config(config, features.steps, "similarity", dim, dim // 2),
        )

    def keep(self, features: FrameFeatures) -> dict[str, Tensor]:
        grid = features.pooled(partial(F.adaptive_max_pool2d, output_size=PATCH_SIDE))  # [B,T,D,4,4]
        return {PATCHES: grid.flatten(3)}

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = self.patches(described[PATCHES].transpose(2, 3), generator).mean(2)  # [B,T,D]
        mixed = self.frames(frames, generator)
        return Encoded(self.head.encode(mixed, generator) | self.similarity.encode(frames, generator))

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        main, similarity = -self.head.distance(support, query), -self.similarity.distance(support, query)
        return Scores(main + self.similarity_weight * similarity, {"main": main, "similarity": similarity})

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Two cross-entropies."""
        main, similarity = (episode_cross_entropy(scores.parts[p], labels, reduction) for p in ("main", "similarity"))
        return main + self.similarity_weight * similarity


class PatchEnrichment(nn.Module):
    """Self-attention among the patches of a frame (one head, as wide as the feature), then a map of each patch."""

    def __init__(self, patches: int, dim: int, *, position_scale: float = 0.1, dropout: float = 0.1) -> None:
        super().__init__()
        self.positions = AddPositions(patches, dim, position_scale, dropout)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.gamma = nn.Parameter(torch.zeros(1))  # attention fades in
        half = dim // 2
        self.mix = nn.Sequential(
            nn.Linear(dim, half), nn.ReLU(), nn.Linear(half, half), nn.ReLU(), nn.Linear(half, dim)
        )

    def forward(self, patches: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Patches [...,L,D] of frames [...] -> [...,L,D]."""
        x = self.positions(patches, generator)
        query, key = at_least_float32(self.query(x)), at_least_float32(self.key(x))
        with torch.autocast(x.device.type, enabled=False):
            attention = (query @ key.transpose(-1, -2)).softmax(-1)  # not divided by a root of D, as in the paper
        x = x + self.gamma * (attention.to(x.dtype) @ self.value(x))
        enriched: Tensor = x + self.mix(x)
        return enriched


class FrameEnrichment(nn.Module):
    """A map over the frames of each channel, then one over the channels of each frame."""

    def __init__(self, frames: int, dim: int, *, position_scale: float = 0.1, dropout: float = 0.1) -> None:
        super().__init__()
        self.positions, self.frames = AddPositions(frames, dim, position_scale, dropout), frames
        self.over_frames = nn.Sequential(nn.Linear(frames, frames), nn.ReLU(), nn.Linear(frames, frames))
        self.over_channels = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, frames: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Frames [...,T,D] -> [...,T,D].

        Raises:
            UsageError: clips of another T.
        """
        check_frames("the frame enrichment", self.frames, frames.shape[-2])
        x = self.positions(frames, generator)
        x = x + self.over_frames(x.transpose(-1, -2)).transpose(-1, -2)
        enriched: Tensor = x + self.over_channels(x)
        return enriched
