"""BiMACL: frames enhanced by what moves in them, matched by TRX's cross-transformer, with contrastive learning.

    Guo et al., Bi-directional Motion Attention with Contrastive Learning for Few-shot Action Recognition, ICASSP 2024.

Two heads see the enhanced frames: the cross-transformer, and tuples in a learned space (`NearestTuples`). In training
the second contrasts, for each query and class, the distance to the nearest tuples of the class with the distance to
tuples of other classes that have nothing to do with it (`contrast`): loss = CE(main) + 0.05 CE(contrast). The
prediction is main + 0.05 nearest.

Differs from the authors' code:
- They compare tuples by Euclidean distance, but choose, score and train with it as with the cosine similarity that
  stands beside it in comments: the farthest tuple of a class counts as its nearest, and a large distance speaks for a
  class. Here small distances do.
- They keep the second head in plain lists, so that no optimiser sees it, no checkpoint holds it and its dropout stays
  on at test. Here it is trained and saved, and there is no dropout at test.
- They count unrelated tuples over all queries of the episode together, with five classes written in, mix shots and
  tuples in the mean over shots, and skip an episode that is left without unrelated tuples. Here each query has its own,
  any number of classes will do, and the least related ones are always left.
- Their recipe has lr 2e-4 and 2 queries a class; the rest is TRX's.
- With key regions, the region's map is brought to the size of the frame's, and lies beside it in the channels.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fsar_cli.core.encoded import Encoded, Scores
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.layers.nearest import NearestTuples, distances
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import FewShotMethod
from fsar_cli.core.motion_attention import MotionAttention

SMALLEST = 1e-12  # sum of two distances, where all tuples are equal


class BiMACL(FewShotMethod):
    """Frames that attend to motion in both directions of time, matched by frame tuples."""

    paper = "Guo et al., ICASSP 2024"

    def __init__(
        self,
        features: Features,
        motion: MotionAttention,
        head: CrossTransformer,
        nearest: NearestTuples,
        nearest_weight: float = 0.05,
    ) -> None:
        """
        Args:
            nearest_weight: of the second head, in the loss and in the prediction.
        """
        super().__init__(features)
        self.motion, self.head, self.nearest, self.nearest_weight = motion, head, nearest, nearest_weight

    def keep(self, found: FrameFeatures) -> dict[str, Tensor]:
        return {"maps": found.pooled(partial(F.adaptive_avg_pool2d, output_size=found.maps.shape[3:]))}  # [B,T,D,H,W]

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = self.motion(described["maps"], generator)  # [B,T,D]
        return Encoded(self.head.encode(frames, generator) | self.nearest.encode(frames, generator))

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        main, nearest = -self.head.distance(support, query), -self.nearest.distance(support, query)
        parts = {"main": main, "nearest": nearest}
        if self.training:
            cards = list(zip(self.nearest.tuples(support), self.nearest.tuples(query), strict=True))
            parts["contrast"] = sum(contrast(stored, asked) for stored, asked in cards) / len(cards)
        return Scores(main + self.nearest_weight * nearest, parts)

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Two cross-entropies; outside training, where nothing is contrasted, the second is of the nearest tuples."""
        second = scores.parts.get("contrast", scores.parts["nearest"])
        main, extra = (episode_cross_entropy(x, labels, reduction) for x in (scores.parts["main"], second))
        return main + self.nearest_weight * extra


def contrast(support: Tensor, query: Tensor) -> Tensor:
    """How near a query is to a class, beside how near to unrelated tuples of the other classes.

    Args:
        support: tuples [E,N,K,L,D].
        query: tuples [E,Q,L,D].

    Returns:
        -near / (near + far / (N-1)), [E,Q,N] in (-1,0). near: mean over the query's tuples of the distance to the
        nearest tuple of the class; far: mean distance between the query's tuples and the unrelated ones.
    """
    way, queries = support.shape[1], query.shape[1]
    stored = support.flatten(1, 3)  # [E,N*K*L,D]
    distance = distances(query.flatten(1, 2), stored).unflatten(1, (queries, -1))  # [E,Q,L,N*K*L]
    grouped = distance.unflatten(3, support.shape[1:4])  # [E,Q,L,N,K,L]
    near = grouped.amin((4, 5)).mean(2)  # [E,Q,N]
    unrelated = _unrelated(grouped.detach(), distances(stored.detach(), stored.detach())).to(distance.dtype)
    far = torch.einsum("eqnm,eqm->eqn", unrelated, distance.mean(2)) / unrelated.sum(-1)
    return -near / (near + far / (way - 1)).clamp_min(SMALLEST)


def _unrelated(grouped: Tensor, among: Tensor) -> Tensor:
    """Which tuples of other classes have little to do with what a query finds in a class.

    A tuple is related to a query's tuple if it is nearer to the nearest tuple of the class than the query's tuple is to
    the class, its nearest of each shot averaged. Unrelated are those which are related to fewer of the query's tuples
    than the related ones of their class are on average, and in any case the least related ones.

    Args:
        grouped: [E,Q,L,N,K,L] from the query's tuples to the support's.
        among: [E,N*K*L,N*K*L] among the support's tuples.

    Returns:
        bool [E,Q,N,N*K*L].
    """
    episodes, queries, tuples, way = grouped.shape[:4]
    inside = grouped.flatten(4)  # [E,Q,L,N,K*L]
    each = inside.shape[4]
    nearest = inside.argmin(4) + each * torch.arange(way, device=among.device)  # [E,Q,L,N], positions among N*K*L
    reach = grouped.amin(5).mean(4)  # [E,Q,L,N]
    rows = among.gather(1, nearest.flatten(1).unsqueeze(2).expand(-1, -1, way * each))  # [E,Q*L*N,N*K*L]
    related = (rows.view(episodes, queries, tuples, way, way, each) < reach[..., None, None]).sum(2)  # [E,Q,N,N,K*L]
    usual = related.sum(-1, keepdim=True) / (related > 0).sum(-1, keepdim=True).clamp_min(1)
    other = ~torch.eye(way, dtype=torch.bool, device=among.device)
    unrelated = (related < usual) | (related == related.amin(-1, keepdim=True))
    return (unrelated & other.unsqueeze(-1)).flatten(3)
