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
from torch import Tensor

from fsar_cli.core.encoded import Encoded, Scores
from fsar_cli.core.enrichment import FrameEnrichment, PatchEnrichment, patches_of
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.layers.nearest import NearestTuples
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import FewShotMethod

PATCH_SIDE = 4


class STRM(FewShotMethod):
    """Enriched patches and frames, matched by frame tuples."""

    paper = "Thatipelli et al., CVPR 2022"

    def __init__(
        self,
        features: Features,
        patches: PatchEnrichment,
        frames: FrameEnrichment,
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

    def keep(self, found: FrameFeatures) -> dict[str, Tensor]:
        grid = found.pooled(partial(patches_of, side=PATCH_SIDE))  # [B,T,D,4,4]
        return {"patches": grid.flatten(3).transpose(2, 3)}  # [B,T,16,D]

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = self.patches(described["patches"], generator).mean(2)  # [B,T,D]
        mixed = self.frames(frames, generator)
        return Encoded(self.head.encode(mixed, generator) | self.similarity.encode(frames, generator))

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        main, similarity = -self.head.distance(support, query), -self.similarity.distance(support, query)
        return Scores(main + self.similarity_weight * similarity, {"main": main, "similarity": similarity})

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Two cross-entropies."""
        main, similarity = (episode_cross_entropy(scores.parts[p], labels, reduction) for p in ("main", "similarity"))
        return main + self.similarity_weight * similarity
