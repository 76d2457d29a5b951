"""ATA: frames matched by appearance and by their order, with prototypes that are adapted to each episode.

    Nguyen et al., Inductive and Transductive Few-Shot Video Classification via Appearance and Temporal Alignments,
    ECCV 2022.

Training is classification: a classifier with T prototypes for each training class. Testing puts the frames of the
support in their place, and adapts them and the scale for 50 steps (`adapt`). This is the inductive variant; the
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

from fsar_cli.config import Config
from fsar_cli.core.features import Features
from fsar_cli.core.layers.basics import at_least_float32, dropout
from fsar_cli.core.layers.classification import extras_of, over_queries, true_classes
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import FRAMES, Encoded, FewShotMethod, Pairs, Scores

SIMILARITY = "similarity"  # [B,T,C,T'] in training: of frames to the prototypes of the training classes
SCALE = 10.0  # of the cosine of two frames, before adaptation
SHARPNESS = 5.0  # of the two scores, before each becomes a probability
CONDITIONAL, MARGINAL = 0.1, 1.0  # weights of the two entropies
TEMPORAL = 0.05  # weight of the temporal score in training


class ATA(FewShotMethod):
    """Appearance and order of frames, against prototypes adapted to the episode."""

    paper = "Nguyen et al., ECCV 2022"
    classifies = True

    def __init__(
        self,
        features: Features,
        frames: int,
        classifier: nn.Linear | None = None,
        *,
        steps: int = 50,
        lr: float = 1e-3,
        dropout: float = 0.5,
    ) -> None:
        """
        Args:
            frames: T, of the classifier's prototypes.
            classifier: frames -> similarities to the C*T prototypes of the training classes; None: there are none, as
                for evaluation without training.
            steps: of adaptation at test time, with the rate `lr`.
            dropout: of the frames, before the classifier.
        """
        super().__init__(features)
        self.frames, self.steps, self.lr, self.dropout = frames, steps, lr, dropout
        self.classifier = classifier

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "ATA":
        ata, frames, classes, classifier = config.model.ata, features.steps, config.model.classes, None
        if classes is not None:
            classifier = nn.Linear(features.dim, classes * frames)
            nn.init.normal_(classifier.weight, std=1e-3)
            nn.init.zeros_(classifier.bias)
        return cls(features, frames, classifier, steps=ata.steps, lr=ata.lr, dropout=ata.dropout)

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = described[FRAMES]
        tensors = {FRAMES: F.normalize(at_least_float32(frames), dim=-1)}
        if self.training and self.classifier is not None:
            kept = dropout(frames, self.dropout, generator)
            tensors[SIMILARITY] = self.classifier(kept).unflatten(-1, (-1, self.frames))
        return Encoded(tensors)

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        shots, queries = at_least_float32(support[FRAMES]), at_least_float32(query[FRAMES])
        with torch.autocast(queries.device.type, enabled=False):
            if self.training:
                prototypes, scales = shots.mean(2), shots.new_full((len(shots),), SCALE)
            else:
                prototypes, scales = adapt(shots, SCALE, self.steps, self.lr)
            products = queries.flatten(1, 2) @ prototypes.flatten(1, 2).transpose(1, 2)  # [E,Q*T,N*T']
            similarity = (products * scales.view(-1, 1, 1)).unflatten(2, prototypes.shape[1:3])
            similarity = similarity.unflatten(1, queries.shape[1:3])  # [E,Q,T,N,T']
            parts = {
                "appearance": SHARPNESS * appearance_score(similarity),
                "temporal": SHARPNESS * temporal_score(similarity),
            }
        logits = parts["appearance"].softmax(-1) + parts["temporal"].softmax(-1)
        return Scores(logits, parts, extras_of((SIMILARITY,), support, query))

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Classification of all clips; of the queries by their appearance, where no classes are known."""
        if classes is None or SIMILARITY not in scores.extras:
            return episode_cross_entropy(scores.parts["appearance"], labels, reduction)
        similarity = scores.extras[SIMILARITY]
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
    own, other = (torch.arange(length, dtype=torch.float64, device=device) / length for length in (frames, others))
    places = own.view(-1, 1) - other
    weights = torch.exp(-((places * 8 / math.sqrt(2)).square()) / 2)
    return weights / weights.sum(1, keepdim=True)


def prototype_loss(similarity: Tensor, truth: Tensor, temporal: float = TEMPORAL) -> Tensor:
    """Cross-entropy of appearance, and of the true class: entropies and temporal score.

    Each frame shall surely be like one frame of its class's prototype (low conditional entropy), the video as a whole
    like all of them (high marginal entropy).

    Args:
        similarity: [V,T,C,T'] of the frames of videos to the prototypes of classes.
        truth: int64 [V].
        temporal: weight of the temporal score; adaptation has 0.

    Returns:
        the mean over videos.
    """
    loss = F.cross_entropy(appearance_score(similarity), truth)
    places = truth.view(-1, 1, 1, 1).expand(-1, similarity.shape[1], 1, similarity.shape[3])
    own = similarity.gather(2, places)  # [V,T,1,T']
    shares = own.softmax(-1).squeeze(2)
    conditional = torch.special.entr(shares).sum(-1).mean()
    marginal = torch.special.entr(shares.mean(1)).sum(-1).mean()
    total: Tensor = loss + CONDITIONAL * conditional - MARGINAL * marginal - temporal * temporal_score(own).mean()
    return total


def similarity_gradient(similarity: Tensor) -> Tensor:
    """The gradient of `prototype_loss(similarity, truth, temporal=0)`, the loss of adaptation, by the similarities.

    Each of its three terms is a function of the softmax over a prototype's frames, `shares`.

    Args:
        similarity: [E,T',N,M,T] of the frames of M = N*K support videos, class by class, to those of N prototypes.

    Returns:
        the same shape; a loss for each episode.
    """
    way, videos, length = similarity.shape[2:]
    logs = similarity.log_softmax(1)
    shares = logs.exp()
    appearance = (similarity - logs)[:, 0].mean(-1)  # [E,N,M]: logsumexp over T'
    wrong = appearance.softmax(1)
    _own(wrong.unsqueeze(-1), way).sub_(1)
    gradient = shares * (wrong / (videos * length))[:, None, ..., None]
    own, own_logs = _own(shares, way), _own(logs, way)  # [E,T',K,T,N]
    entropy = -(own * own_logs).sum(1, keepdim=True)
    mean_logs = own.mean(3, keepdim=True).clamp_min(torch.finfo(own.dtype).tiny).log()
    spread = mean_logs - (own * mean_logs).sum(1, keepdim=True)
    change = own * (MARGINAL * spread - CONDITIONAL * (own_logs + entropy)) / (videos * length)
    _own(gradient, way).add_(change)
    return gradient


def _own(x: Tensor, way: int) -> Tensor:
    """[...,N,N*K,T] -> [...,K,T,N]: of each video what concerns its own class; a view."""
    own: Tensor = x.unflatten(-2, (way, -1)).diagonal(dim1=-4, dim2=-3)
    return own


@torch.no_grad()
def adapt(support: Tensor, scale: float, steps: int, lr: float) -> tuple[Tensor, Tensor]:
    """Prototypes and scales of each episode after some steps of Adam from the means over shots (section 3.3).

    Adam works number by number, so one optimiser over the tensors of all episodes takes the steps each would take
    alone. The gradient is written out: no graph is kept, and it can run in inference mode. A step is two products of
    all frames of the support with all of the prototypes, whose frames come first, as what is done runs along those.

    Args:
        support: [E,N,K,T,D] frames of unit length, float32 or better.
        scale: of the similarities, at the start.
        steps: 0 leaves the means as they are.

    Returns:
        prototypes [E,N,T,D] and scales [E].
    """
    way, length = support.shape[1], support.shape[3]
    prototypes = support.mean(2).transpose(1, 2).flatten(1, 2).contiguous()  # [E,T'*N,D]
    scales = support.new_full((len(support),), scale)
    frames = support.flatten(1, 3)  # [E,N*K*T,D]
    adam = torch.optim.Adam([prototypes, scales], lr=lr, fused=True)
    with torch.autocast(support.device.type, enabled=False):
        for _ in range(steps):
            products = (prototypes @ frames.transpose(1, 2)).unflatten(2, (-1, length)).unflatten(1, (length, way))
            slopes = similarity_gradient(products * scales.view(-1, 1, 1, 1, 1))
            prototypes.grad = (slopes.flatten(1, 2).flatten(2) @ frames) * scales.view(-1, 1, 1)
            scales.grad = (slopes * products).flatten(1).sum(1)
            adam.step()
    return prototypes.unflatten(1, (length, way)).transpose(1, 2), scales
