"""ATA: frames matched by appearance and by their order, with prototypes that are adapted to each episode.

    Nguyen et al., Inductive and Transductive Few-Shot Video Classification via Appearance and Temporal Alignments,
    ECCV 2022.

Training is classification: a classifier with T prototypes for each training class. Testing puts the frames of the
support in their place, and adapts them and the scale for 50 steps (`adaptation`). This is the inductive variant; the
transductive one looks at all queries together, where each query here is answered by itself.

Differs from the authors' code. The clips that are classified come in episodes, support and queries alike, as in all
methods here; theirs are drawn at random. `train.loss_reduction: sum`, the default, multiplies their mean over clips by
the number of queries. All episodes of a call are adapted at once. Their optimiser is SGD (lr 1e-3, momentum 0.9,
weight decay 5e-4, batches of 32, a tenth of the rate after 10 and 20 of 25 epochs): `optim.momentum`,
`optim.weight_decay`. As there, the prior's width is a share of the clip, whatever its number of frames.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.adaptation import CONDITIONAL, MARGINAL, adapt
from fsar_cli.core.encoded import Encoded, Scores, at_least_float32
from fsar_cli.core.features import Features
from fsar_cli.core.layers.attention import dropout
from fsar_cli.core.layers.classification import all_videos, over_queries, true_classes
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import FewShotMethod

SCALE = 10.0  # of the cosine of two frames, before adaptation
SHARPNESS = 5.0  # of the two scores, before each becomes a probability
TEMPORAL = 0.05  # weight of the temporal score in training


class ATA(FewShotMethod):
    """Appearance and order of frames, against prototypes adapted to the episode."""

    paper = "Nguyen et al., ECCV 2022"
    classifies = True

    def __init__(
        self,
        features: Features,
        frames: int,
        classes: int | None = None,
        *,
        steps: int = 50,
        lr: float = 1e-3,
        dropout: float = 0.5,
    ) -> None:
        """
        Args:
            frames: T, of the classifier's prototypes.
            classes: training classes; None: no classifier, as for evaluation without training.
            steps: of adaptation at test time, with the rate `lr`.
            dropout: of the frames, before the classifier.
        """
        super().__init__(features)
        self.frames, self.steps, self.lr, self.dropout = frames, steps, lr, dropout
        self.classifier = None if classes is None else nn.Linear(features.dim, classes * frames)
        if self.classifier is not None:
            nn.init.normal_(self.classifier.weight, std=1e-3)
            nn.init.zeros_(self.classifier.bias)

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = described["frames"]
        tensors = {"frames": F.normalize(at_least_float32(frames), dim=-1)}  # [B,T,D]
        if self.training and self.classifier is not None:
            kept = dropout(frames, self.dropout, generator)
            tensors["similarity"] = self.classifier(kept).unflatten(-1, (-1, self.frames))  # [B,T,C,T']
        return Encoded(tensors)

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        stored, asked = at_least_float32(support["frames"]), at_least_float32(query["frames"])
        with torch.autocast(asked.device.type, enabled=False):
            if self.training:
                prototypes, scales = stored.mean(2), stored.new_full((len(stored),), SCALE)
            else:
                prototypes, scales = adapt(stored, SCALE, self.steps, self.lr)
            products = asked.flatten(1, 2) @ prototypes.flatten(1, 2).transpose(1, 2)  # [E,Q*T,N*T']
            similarity = (products * scales.view(-1, 1, 1)).unflatten(2, prototypes.shape[1:3])
            similarity = similarity.unflatten(1, asked.shape[1:3])  # [E,Q,T,N,T']
            parts = {
                "appearance": SHARPNESS * appearance_score(similarity),
                "temporal": SHARPNESS * temporal_score(similarity),
            }
        extras = {}
        if "similarity" in query:
            extras["similarity"] = all_videos(support["similarity"], query["similarity"])  # [E,N*K+Q,T,C,T']
        return Scores(parts["appearance"].softmax(-1) + parts["temporal"].softmax(-1), parts, extras)

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Classification of all clips; of the queries by their appearance, where no classes are known."""
        if classes is None or "similarity" not in scores.extras:
            return episode_cross_entropy(scores.parts["appearance"], labels, reduction)
        similarity = scores.extras["similarity"]
        truth = true_classes(classes, labels, similarity.shape[1])
        return over_queries(prototype_loss(similarity.flatten(0, 1), truth.flatten()), labels, reduction)


def appearance_score(similarity: Tensor) -> Tensor:
    """Similarities [...,T,N,T'] of a video's frames to those of prototypes -> [...,N]."""
    return similarity.logsumexp(-1).mean(-2)


def temporal_score(similarity: Tensor) -> Tensor:
    """How far frames are like those at the same place: 2 minus the mean Kullback-Leibler divergence from the prior.

    Args:
        similarity: [...,T,N,T'].

    Returns:
        [...,N], at most 2.
    """
    logs = similarity.log_softmax(-1)
    prior = order_prior(similarity.shape[-3], similarity.shape[-1], logs.device).to(logs.dtype).log().unsqueeze(1)
    return 2 - (logs.exp() * (logs - prior)).sum(-1).mean(-2)


def order_prior(frames: int, others: int, device: torch.device | None = None) -> Tensor:
    """float64 [T,T'] where in a prototype a frame is expected: a Gaussian around the same place, rows sum to one.

    Its standard deviation is sqrt(2)/8 of the clip: 1.4 frames of 8.
    """
    of_clip = {"dtype": torch.float64, "device": device}
    places = torch.arange(frames, **of_clip).view(-1, 1) / frames - torch.arange(others, **of_clip) / others
    weights = torch.exp(-((places * 8 / math.sqrt(2)).square()) / 2)
    return weights / weights.sum(1, keepdim=True)


def prototype_loss(similarity: Tensor, truth: Tensor) -> Tensor:
    """The loss of training: cross-entropy of appearance and, of the true class, entropies and temporal score.

    Args:
        similarity: [V,T,C,T'] of the frames of videos to the prototypes of the training classes.
        truth: int64 [V].

    Returns:
        the mean over videos.
    """
    loss = F.cross_entropy(appearance_score(similarity), truth)
    places = truth.view(-1, 1, 1, 1).expand(-1, similarity.shape[1], 1, similarity.shape[3])
    own = similarity.gather(2, places)  # [V,T,1,T']
    shares = own.softmax(-1).squeeze(2)
    conditional = torch.special.entr(shares).sum(-1).mean()
    marginal = torch.special.entr(shares.mean(1)).sum(-1).mean()
    return loss + CONDITIONAL * conditional - MARGINAL * marginal - TEMPORAL * temporal_score(own).mean()
