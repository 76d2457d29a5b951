"""HyRSM: frames related within each video, videos related within each task, then matched as sets of frames.

    Wang et al., Hybrid Relation Guided Set Matching for Few-shot Action Recognition, CVPR 2022.

Within a video: self-attention of its frames. Within a task: the classes' prototypes (frame by frame the mean over
shots) and one query attend to each other, as means over frames; the result of each is joined to its frames. Then
the bidirectional mean Hausdorff metric, and in training a classifier of frames.

A query's task changes its own frames and those of all classes, so nothing can be compared beforehand. But all maps of
one video's features are linear where they meet others, and done in `embed`: frames through their half of the joining
map, means through the three projections of attention. Per episode there remain two products with D x D matrices for
each query and class: 5 x 6 x 2 x 2048^2 = 0.25 GMAC for 5-way tasks of 5 queries, whatever the shot.

Differs from the authors' code. No dropout in the relation of a task, which has no randomness of its own. Position
encoding of the usual frequencies (theirs grow by the square) with their weight on Kinetics, 0.01. Their classification
loss weighs 0.4 on Kinetics, the default here, 0.15 on HMDB51 and UCF101, 0.6 on SSv2: `model.class_weight`. They train
with Adam, lr 2e-5 to 1e-4 with weight decay 5e-4, 4 tasks a step, 3 to 7 queries a class, and average the loss over
queries: `optim.name`, `.lr`, `.weight_decay`, `.accumulate`, `episode.queries`, `train.loss_reduction`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.features import Features
from fsar_cli.core.layers.alignment import hausdorff
from fsar_cli.core.layers.basics import AddPositions, at_least_float32, check_frames
from fsar_cli.core.layers.classification import CLASS_SCORES, Classifying, extras_of
from fsar_cli.core.layers.selfattention import SelfAttention, attend, head_width
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import FRAMES, Encoded, Pairs, Scores

POSITION = 0.01
POSITION_DROPOUT, ATTENTION_DROPOUT = 0.1, 0.2
VIDEO, PROJECTED = "video", "projected"  # [B,D] mean over frames, [B,3*I] its projections for attention


class HyRSM(Classifying):
    """Relations within videos and across the task, then set matching of frames."""

    paper = "Wang et al., CVPR 2022"
    usual_weight = 0.4

    def __init__(
        self,
        features: Features,
        frames: int,
        within: SelfAttention,
        across: "TaskRelation",
        classifier: nn.Linear | None = None,
        class_weight: float = usual_weight,
    ) -> None:
        """
        Args:
            frames: T of the clips.
            classifier: of frames; see `Classifying`.
        """
        super().__init__(features)
        self.frames, self.positions = frames, AddPositions(frames, features.dim, POSITION, POSITION_DROPOUT)
        self.within, self.across = within, across
        self.classifier, self.class_weight = classifier, class_weight

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "HyRSM":
        dim = features.dim
        within, across = SelfAttention(dim, ATTENTION_DROPOUT), TaskRelation(dim)
        return cls(features, features.steps, within, across, *cls.classifier_of(config, dim))

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = described[FRAMES]
        check_frames("HyRSM", self.frames, frames.shape[1])
        x = self.within(self.positions(frames, generator), generator).relu()  # [B,T,D]
        return Encoded(self.across.prepare(x) | self.class_scores(x))

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        prototypes, queries = self.across(support, query)  # [E,Q,N,T,D], [E,Q,T,D]
        logits = -hausdorff(queries.unsqueeze(2), prototypes).squeeze(2)
        return Scores(logits, extras=extras_of((CLASS_SCORES,), support, query))

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Cross-entropy of the queries; with known classes, that of all frames of the episode as well."""
        return episode_cross_entropy(scores.logits, labels, reduction) + self.class_loss(
            scores, labels, reduction, classes
        )


class TaskRelation(nn.Module):
    """Attention between the classes of a task and one query; what they find is joined to their frames."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        width = head_width(dim)
        self.project = nn.Linear(dim, 3 * width, bias=False)
        self.out = nn.Linear(width, dim)
        self.norm = nn.LayerNorm(dim)
        self.join = nn.Linear(2 * dim, dim)

    def _halves(self) -> tuple[Tensor, Tensor]:
        """The joining map's weights for frames and for their context, [D,D] each."""
        frames, context = self.join.weight.chunk(2, 1)
        return frames, context

    def prepare(self, frames: Tensor) -> dict[str, Tensor]:
        """Frames [B,T,D] -> what concerns one video alone, by name.

        All of it is linear in the frames, so that of a prototype is the mean over its shots.
        """
        mean = frames.mean(1)
        joined = F.linear(frames, self._halves()[0], self.join.bias)
        return {FRAMES: joined, VIDEO: mean, PROJECTED: self.project(mean)}

    def forward(self, support: Encoded, query: Encoded) -> tuple[Tensor, Tensor]:
        """Support [E,N,K], query [E,Q] -> frames of classes as each query sees them [E,Q,N,T,D], its own [E,Q,T,D]."""
        prototypes = {name: at_least_float32(support[name]).mean(2) for name in (FRAMES, VIDEO, PROJECTED)}
        queries = {name: at_least_float32(query[name]) for name in prototypes}
        tasks = {name: _with_classes(prototypes[name], queries[name]) for name in (VIDEO, PROJECTED)}  # [E,Q,N+1,...]
        context = self.norm(self.out(attend(tasks[PROJECTED])) + tasks[VIDEO]).relu()
        context = F.linear(context, self._halves()[1]).unsqueeze(3)  # [E,Q,N+1,1,D]
        return prototypes[FRAMES].unsqueeze(1) + context[:, :, :-1], queries[FRAMES] + context[:, :, -1]


def _with_classes(prototypes: Tensor, query: Tensor) -> Tensor:
    """[E,N,D] and [E,Q,D] -> the set of each query: all classes and itself, [E,Q,N+1,D]."""
    classes = prototypes.unsqueeze(1).expand(-1, query.shape[1], -1, -1)
    return torch.cat([classes, query.unsqueeze(2)], 2)
