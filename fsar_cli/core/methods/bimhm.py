"""Bi-MHM: videos as sets of frames, compared by the bidirectional mean Hausdorff metric of HyRSM alone.

    Wang et al., Hybrid Relation Guided Set Matching for Few-shot Action Recognition, CVPR 2022.

The metric without HyRSM's relation modules and without its classifier of frames; it has no parameters of its own. The
sum over frames is theirs; `match.hausdorff` offers others. They average the cross-entropy over the queries of an
episode; here `train.loss_reduction` decides, the sum unless set.
"""

from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.core.features import Features
from fsar_cli.core.layers.alignment import hausdorff
from fsar_cli.core.layers.pairwise import Pairwise


class BiMHM(Pairwise):
    """Every frame's nearest frame in the other video, in both directions, cosine distance."""

    paper = "Wang et al., CVPR 2022"

    def __init__(self, features: Features, reduction: str = "sum") -> None:
        super().__init__(features)
        self.reduction = reduction

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "BiMHM":
        return cls(features, config.model.match.hausdorff)

    def distance(self, query: Tensor, support: Tensor) -> Tensor:
        return hausdorff(query, support, self.reduction)
