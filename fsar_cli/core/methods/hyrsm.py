"""HyRSM: frames related within each video, videos related within each task, then matched as sets of frames.

    Wang et al., Hybrid Relation Guided Set Matching for Few-shot Action Recognition, CVPR 2022.

Within a video: self-attention of its frames. Within a task: the classes' prototypes (frame by frame the mean over
shots) and one query attend to each other, as means over frames; what each found is joined to each of its frames. Then
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

from fsar_cli.core.encoded import Encoded, Scores, at_least_float32, check_frames
from fsar_cli.core.features import Features
from fsar_cli.core.layers.alignment import hausdorff
from fsar_cli.core.layers.attention import dropout
from fsar_cli.core.layers.classification import all_videos, classification_loss
from fsar_cli.core.layers.selfattention import SelfAttention, attend, head_width
from fsar_cli.core.layers.tuples import position_encoding
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import FewShotMethod

POSITION = 0.01
POSITION_DROPOUT, ATTENTION_DROPOUT = 0.1, 0.2


class HyRSM(FewShotMethod):
    """Relations within videos and across the task, then set matching of frames."""

    paper = "Wang et al., CVPR 2022"
    classifies = True

    def __init__(
        self, features: Features, frames: int, classes: int | None = None, *, class_weight: float = 0.4
    ) -> None:
        """
        Args:
            frames: T of the clips.
            classes: training classes; None: no classifier, as for evaluation without training.
            class_weight: of the classifier's loss.
        """
        super().__init__(features)
        self.frames, self.class_weight, dim = frames, class_weight, features.dim
        self.register_buffer("position", POSITION * position_encoding(frames, dim), persistent=False)
        self.within = SelfAttention(dim, ATTENTION_DROPOUT)
        self.across = TaskRelation(dim)
        self.classifier = None if classes is None else nn.Linear(dim, classes)

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        frames = described["frames"]
        check_frames("HyRSM", self.frames, frames.shape[1])
        x = frames + self.position.to(frames.dtype)
        if self.training:
            x = dropout(x, POSITION_DROPOUT, generator)
        x = self.within(x, generator).relu()  # [B,T,D]
        tensors = self.across.prepare(x)
        if self.training and self.classifier is not None:
            tensors["class_scores"] = self.classifier(x)  # [B,T,C]
        return Encoded(tensors)

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        stored, asked = self.across(support, query)  # [E,Q,N,T,D], [E,Q,T,D]
        logits = -hausdorff(asked.unsqueeze(2), stored).squeeze(2)
        extras = {}
        if "class_scores" in query:
            extras["class_scores"] = all_videos(support["class_scores"], query["class_scores"])  # [E,N*K+Q,T,C]
        return Scores(logits, extras=extras)

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Cross-entropy of the queries; with known classes, that of all frames of the episode as well."""
        loss = episode_cross_entropy(scores.logits, labels, reduction)
        if classes is None or "class_scores" not in scores.extras:
            return loss
        found = classification_loss(scores.extras["class_scores"], classes, labels, reduction)
        return loss + self.class_weight * found


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
        """The joining map's weights for frames and for what was found, [D,D] each."""
        return self.join.weight.chunk(2, 1)

    def prepare(self, frames: Tensor) -> dict[str, Tensor]:
        """Frames [B,T,D] -> what concerns one video alone, by name.

        All of it is linear in the frames, so that of a prototype is the mean over its shots.
        """
        mean = frames.mean(1)
        joined = F.linear(frames, self._halves()[0], self.join.bias)
        return {"frames": joined, "video": mean, "projected": self.project(mean)}  # [B,T,D], [B,D], [B,3*I]

    def forward(self, support: Encoded, query: Encoded) -> tuple[Tensor, Tensor]:
        """Support [E,N,K], query [E,Q] -> frames of classes as each query sees them [E,Q,N,T,D], its own [E,Q,T,D]."""
        prototypes = {name: at_least_float32(support[name]).mean(2) for name in ("frames", "video", "projected")}
        asked = {name: at_least_float32(query[name]) for name in prototypes}
        sets = {name: _with_classes(prototypes[name], asked[name]) for name in ("video", "projected")}  # [E,Q,N+1,...]
        found = self.norm(self.out(attend(sets["projected"])) + sets["video"]).relu()
        found = F.linear(found, self._halves()[1]).unsqueeze(3)  # [E,Q,N+1,1,D]
        return prototypes["frames"].unsqueeze(1) + found[:, :, :-1], asked["frames"] + found[:, :, -1]


def _with_classes(prototypes: Tensor, query: Tensor) -> Tensor:
    """[E,N,D] and [E,Q,D] -> the set of each query: all classes and itself, [E,Q,N+1,D]."""
    classes = prototypes.unsqueeze(1).expand(-1, query.shape[1], -1, -1)
    return torch.cat([classes, query.unsqueeze(2)], 2)
