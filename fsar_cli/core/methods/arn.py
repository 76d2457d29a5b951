"""ARN: second-order pooling of attended space-time features, and a relation network that compares support and query.

    Zhang et al., Few-shot Action Recognition with Permutation-invariant Attention, ECCV 2020.

A re-implementation from the paper on the harness's 2D backbone; the authors published code for evaluation alone. For
features phi_n [R] at the N = T*H*W places of a video, after attention:

    M = 1/N sum_n phi_n phi_n^T      descriptor = 2 sigmoid(sigma M / trace M) - 1      a class: mean over its shots

Pairs of descriptors are two channels of a picture, which four convolutions and two linear maps score. The loss is the
squared error of the sigmoid of a score. Temporal attention is trained to move with the frames: attention of shuffled
frames shall be the shuffled attention of the frames (self-supervision by alignment).

What is simpler than in the paper, and why. Four 3D convolutions on blocks of 128 px frames are replaced by the backbone
all methods here share, and one 1x1 convolution to R = 64 channels. Frames are shuffled after the backbone instead of
before: it sees each frame alone, so both are the same and clips are not encoded twice. Alignment of spatial attention
under rotation and jigsaw, and the discriminator that guesses the augmentation, would need clips to be encoded anew and
are left out. The relation network has 32 channels instead of 64, as it runs for every pair of a query and a class: a
third of the time. Batch norms gather running statistics (theirs have momentum 1: those of the last batch alone). Their
optimiser is Adam with lr 1e-3.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.basics import at_least_float32
from fsar_cli.core.layers.classification import extras_of, over_queries
from fsar_cli.core.method import MAPS, Encoded, FewShotMethod, Pairs, Scores

DESCRIPTOR = "descriptor"  # [B,R,R]
ALIGNMENT = "alignment"  # [B] in training: how far temporal attention does not move with the frames
SIGMA = 100.0  # slope of the power normalisation
SMALLEST_TRACE = 1e-6  # a video without features has a descriptor of zeros
ATTENTION_WIDTH, RELATION_WIDTH, HIDDEN = 16, 32, 8
# In evaluation. The first convolution makes half a megabyte of a pair: on a CPU a few fit its caches.
PAIRS_AT_A_TIME = {"cpu": 16, "cuda": 2048}


class ARN(FewShotMethod):
    """Second-order pooling with permutation-invariant attention, learnt comparison."""

    paper = "Zhang et al., ECCV 2020"
    kept_features = (MAPS,)

    def __init__(
        self,
        features: Features,
        reduce: nn.Module,
        temporal: "Attention",
        spatial: "Attention",
        relation: "RelationNetwork",
        alignment: float = 1.0,
    ) -> None:
        """
        Args:
            reduce: maps [b,D,H,W] -> the R channels that are pooled.
            temporal, spatial: a number for each frame, and for each position.
            alignment: weight of the attention's alignment in the loss.
        """
        super().__init__(features)
        self.alignment = alignment
        self.reduce, self.temporal, self.spatial, self.relation = reduce, temporal, spatial, relation

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "ARN":
        channels = config.model.arn.channels
        parts = (
            nn.Sequential(nn.Conv2d(features.dim, channels, kernel_size=1), nn.BatchNorm2d(channels), nn.ReLU()),
            Attention(channels, (1, 2, 2), over=(3, 4)),
            Attention(channels, (2, 1, 1), over=(2,)),
            RelationNetwork(channels),
        )
        for part in parts:
            part.apply(initialise)
        return cls(features, *parts, config.model.arn.alignment)

    def keep(self, features: FrameFeatures) -> dict[str, Tensor]:
        return {MAPS: features.joined()}

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        maps = described[MAPS]
        features = self.reduce(maps.flatten(0, 1)).unflatten(0, maps.shape[:2]).transpose(1, 2)  # [B,R,T,H,W]
        temporal = self.temporal(features)
        attended = features * (1 + temporal) * (1 + self.spatial(features))
        tensors = {DESCRIPTOR: second_order(attended.flatten(2))}
        if self.training and self.alignment:
            tensors[ALIGNMENT] = self._misalignment(features, temporal, generator)
        return Encoded(tensors)

    def _misalignment(self, features: Tensor, temporal: Tensor, generator: torch.Generator | None) -> Tensor:
        """[B]: squared distance of the attention of shuffled frames to the shuffled attention, a mean over frames."""
        videos, frames = features.shape[0], features.shape[2]
        order = torch.rand(videos, frames, device=features.device, generator=generator).argsort(1)
        index = order[:, None, :, None, None]
        shuffled = features.gather(2, index.expand_as(features))
        misalignment: Tensor = self.temporal(shuffled) - temporal.gather(2, index)
        return misalignment.square().flatten(1).mean(1)

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        prototypes, queries = at_least_float32(support[DESCRIPTOR]).mean(2), at_least_float32(query[DESCRIPTOR])
        lead = (*queries.shape[:2], prototypes.shape[1])  # E, Q, N
        sides = [prototypes.unsqueeze(1).expand(*lead, -1, -1), queries.unsqueeze(2).expand(*lead, -1, -1)]
        # Channels last in memory: faster convolutions.
        couples = torch.stack([x.flatten(0, 2) for x in sides], -1).permute(0, 3, 1, 2)  # [E*Q*N,2,R,R]
        groups = couples.split(len(couples) if self.training else PAIRS_AT_A_TIME[couples.device.type])
        logits = torch.cat([self.relation(some) for some in groups]).view(lead)
        return Scores(logits, extras=extras_of((ALIGNMENT,), support, query))

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Squared error of the relation, summed over classes, and the alignment of attention."""
        way = torch.arange(scores.logits.shape[-1], device=labels.device)
        truth = (labels.unsqueeze(-1) == way).to(scores.logits.dtype)  # one_hot() would read from the device
        error = (torch.sigmoid(scores.logits) - truth).square().sum(-1).mean()  # over queries and episodes
        total = over_queries(error, labels, reduction)
        if ALIGNMENT in scores.extras:
            total = total + self.alignment * over_queries(scores.extras[ALIGNMENT].mean(), labels, reduction)
        return total


def second_order(features: Tensor) -> Tensor:
    """Features [B,R,N] at N places -> power-normalised autocorrelation [B,R,R] in (-1,1)."""
    features = at_least_float32(features)
    with torch.autocast(features.device.type, enabled=False):
        moments = features @ features.mT / features.shape[-1]
        trace = moments.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(SMALLEST_TRACE)
        return torch.tanh(SIGMA / 2 * moments / trace[:, None, None])  # 2 sigmoid(x) - 1


class Attention(nn.Module):
    """Two 3D convolutions with max pooling, then one number in (0,1) for each frame, or for each position."""

    def __init__(self, channels: int, pool: tuple[int, int, int], over: tuple[int, ...]) -> None:
        """
        Args:
            pool: factors by which time, height and width shrink between the convolutions.
            over: axes of [B,R,T,H,W] that are pooled away in the end.
        """
        super().__init__()
        width, self.over = ATTENTION_WIDTH, over
        self.layers = nn.Sequential(
            nn.Conv3d(channels, width, kernel_size=3, padding=1), nn.BatchNorm3d(width), nn.ReLU(),
            nn.MaxPool3d(pool, ceil_mode=True),
            nn.Conv3d(width, width, kernel_size=3, padding=1), nn.BatchNorm3d(width), nn.ReLU(),
        )  # fmt: skip
        self.score = nn.Conv3d(width, 1, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B,R,T,H,W] -> [B,1,...] of length one along the axes `over`."""
        return torch.sigmoid(self.score(self.layers(features).amax(self.over, keepdim=True)))


class RelationNetwork(nn.Module):
    """Scores how well two descriptors go together."""

    def __init__(self, channels: int) -> None:
        """
        Args:
            channels: R, at least 16: four times halved.
        """
        super().__init__()
        widths = [2] + 4 * [RELATION_WIDTH]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, kernel_size=3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(widths)
        )
        self.hidden = nn.Linear(RELATION_WIDTH * (channels // 16) ** 2, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1)

    def forward(self, pairs: Tensor) -> Tensor:
        """Pairs of descriptors [P,2,R,R] -> scores [P]."""
        x = F.max_pool2d(self.blocks[0](pairs), 2)
        for block in self.blocks[1:]:
            x = F.max_pool2d(x + block(x), 2)
        scores: Tensor = self.score(F.relu(self.hidden(x.flatten(1))))
        return scores.squeeze(-1)


def initialise(module: nn.Module) -> None:
    """The authors' initial weights: units of the linear maps all start active.

    Not for the last map of attention, whose sigmoid would start saturated.
    """
    if isinstance(module, nn.Conv2d | nn.Conv3d) and module.out_channels > 1:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.ones_(module.bias)
