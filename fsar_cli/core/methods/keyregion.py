"""The paper's method: key-region features, two-headed cross-transformer, Hausdorff refinement (sections 3.1-3.5).

    Xiao et al., Anomalous Action Recognition with Spatio-Temporal Key Region Enhancement and Few-Shot Learning,
    Chinese Journal of Computers, 2025.

Every row of Tables 2 and 3 is a setting: `region.enabled`, `relation.temporal/motion`, `match.heads` and
`match.temporal_weight` for the modules; `region.stop_gradient`, `region.random_probability` and `match.auxiliary` for
the three training tricks.
"""

import torch
from torch import Tensor, nn

from fsar_cli.core.encoded import Encoded, Scores
from fsar_cli.core.features import Features
from fsar_cli.core.layers.alignment import hausdorff
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.losses import episode_cross_entropy, spatio_temporal_refined_loss, total_loss
from fsar_cli.core.method import FewShotMethod


class KeyRegion(FewShotMethod):
    """Global and key-region features matched by tuples (eq. 9-10) and by frames (eq. 11)."""

    pair_tensors = ("frames",)
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
        self.heads, self.auxiliary = nn.ModuleDict(heads), nn.ModuleDict(auxiliary)
        self.temporal_weight = temporal_weight
        self.temporal_test_weight = temporal_weight if temporal_test_weight is None else temporal_test_weight
        self.hausdorff_reduction = hausdorff_reduction

    def _part(self, frames: Tensor, part: str) -> Tensor:
        split = self.features.global_dim
        return {"joint": frames, "global": frames[..., :split], "local": frames[..., split:]}[part]

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = described["frames"]
        tensors = {"frames": frames}  # [B,T,D] for eq. 11
        for part, head in self.heads.items():
            tensors |= head.encode(self._part(frames, part), generator)
        if self.training:
            for part, head in self.auxiliary.items():
                tensors |= head.encode(self._part(frames, part), generator)
        return Encoded(tensors)

    def pairs(self, query: Encoded, support: Encoded) -> dict[str, Tensor]:
        if not (self.temporal_weight or self.temporal_test_weight):
            return {}
        return {"temporal": hausdorff(query["frames"], support["frames"], self.hausdorff_reduction)}

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        spatial = -sum(head.distance(support, query) for head in self.heads.values())  # -D_MH, eq. 10
        parts, logits = {"spatial": spatial}, spatial
        found = self.known_pairs(support, query, pairs)
        if "temporal" in found:
            parts["temporal"] = -found["temporal"].mean(-1)  # -D_TR, eq. 11: mean over shots
            logits = spatial + self.temporal_test_weight * parts["temporal"]
        if self.training:
            parts |= {f"auxiliary_{p}": -head.distance(support, query) for p, head in self.auxiliary.items()}
        return Scores(logits, parts)

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Eq. 12."""
        parts = scores.parts
        refined = spatio_temporal_refined_loss(
            parts["spatial"], parts.get("temporal"), labels, self.temporal_weight, reduction
        )
        extra = [episode_cross_entropy(p, labels, reduction) for n, p in parts.items() if n.startswith("auxiliary")]
        return total_loss(refined, extra)
