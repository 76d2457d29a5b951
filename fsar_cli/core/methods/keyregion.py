"""The paper's method: key-region features, two-headed cross-transformer, Hausdorff refinement (sections 3.1-3.5).

    Xiao et al., Anomalous Action Recognition with Spatio-Temporal Key Region Enhancement and Few-Shot Learning,
    Chinese Journal of Computers, 2025.

Every row of Tables 2 and 3 is a setting: `region.enabled`, `relation.temporal/motion`, `match.heads` and
`match.temporal_weight` for the modules; `region.stop_gradient`, `region.random_probability` and `match.auxiliary` for
the three training tricks.
"""

from functools import partial

import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.features import Features
from fsar_cli.core.layers.alignment import hausdorff
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.layers.basics import added, named
from fsar_cli.core.losses import episode_cross_entropy, spatio_temporal_refined_loss, total_loss
from fsar_cli.core.method import FRAMES, Encoded, FewShotMethod, Pairs, Scores

TEMPORAL = "temporal"  # the part and the distance of eq. 11


class KeyRegion(FewShotMethod):
    """Global and key-region features matched by tuples (eq. 9-10) and by frames (eq. 11)."""

    pair_tensors = (FRAMES,)
    paper = "Xiao et al., Chinese Journal of Computers 2025"

    def __init__(
        self,
        features: Features,
        heads: dict[str, CrossTransformer],
        auxiliary: dict[str, CrossTransformer],
        *,
        temporal_weight: float = 1.0,
        temporal_test_weight: float | None = None,
        hausdorff_reduction: str = "sum",
    ) -> None:
        """
        Args:
            heads: cross-transformers by the part of the feature they see: `global` and `local` (eq. 9), or `joint`.
            auxiliary: the extra cross-transformers of eq. 12, by part; used in training only.
            temporal_weight: w of the temporal refinement in the loss; 0 leaves it out.
            temporal_test_weight: its weight in the prediction; None: the same.
        """
        super().__init__(features)
        self.heads, self.auxiliary = named(heads), named(auxiliary)
        self.temporal_weight = temporal_weight
        self.temporal_test_weight = temporal_weight if temporal_test_weight is None else temporal_test_weight
        self.hausdorff_reduction = hausdorff_reduction

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "KeyRegion":
        match, dims = config.model.match, {"global": features.global_dim, "local": features.dim - features.global_dim}
        halves = [part for part, dim in dims.items() if dim]
        main = halves if match.heads == "split" else ["joint"]
        extra = halves if match.auxiliary and len(halves) == 2 else []
        head = partial(CrossTransformer.from_config, config, features.steps)
        return cls(
            features,
            {part: head(part, dims.get(part, features.dim)) for part in main},
            {part: head(f"auxiliary_{part}", dims[part]) for part in extra},
            temporal_weight=match.temporal_weight,
            temporal_test_weight=match.temporal_test_weight,
            hausdorff_reduction=match.hausdorff,
        )

    def _part(self, frames: Tensor, part: str) -> Tensor:
        split = self.features.global_dim
        return {"joint": frames, "global": frames[..., :split], "local": frames[..., split:]}[part]

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = described[FRAMES]
        tensors = {FRAMES: frames}  # [B,T,D] for eq. 11
        for part, head in self.heads.items():
            tensors |= head.encode(self._part(frames, part), generator)
        if self.training:
            for part, head in self.auxiliary.items():
                tensors |= head.encode(self._part(frames, part), generator)
        return Encoded(tensors)

    def pairs(self, query: Encoded, support: Encoded) -> dict[str, Tensor]:
        if not (self.temporal_weight or self.temporal_test_weight):
            return {}
        return {TEMPORAL: hausdorff(query[FRAMES], support[FRAMES], self.hausdorff_reduction)}

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        spatial = -added(head.distance(support, query) for head in self.heads.values())  # -D_MH, eq. 10
        parts, logits = {"spatial": spatial}, spatial
        distances = self.known_pairs(support, query, pairs)
        if TEMPORAL in distances:
            parts[TEMPORAL] = -distances[TEMPORAL].mean(-1)  # -D_TR, eq. 11: mean over shots
            logits = spatial + self.temporal_test_weight * parts[TEMPORAL]
        if self.training:
            parts |= {f"auxiliary_{p}": -head.distance(support, query) for p, head in self.auxiliary.items()}
        return Scores(logits, parts)

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Eq. 12."""
        parts = scores.parts
        refined = spatio_temporal_refined_loss(
            parts["spatial"], parts.get(TEMPORAL), labels, self.temporal_weight, reduction
        )
        extra = [episode_cross_entropy(p, labels, reduction) for n, p in parts.items() if n.startswith("auxiliary")]
        return total_loss(refined, extra)
