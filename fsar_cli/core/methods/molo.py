"""MoLo: frames and their motion, each matched as a set, trained to be like the whole of a video of the same class.

    Wang et al., MoLo: Motion-augmented Long-short Contrastive Learning for Few-shot Action Recognition, CVPR 2023.

Two branches of a transformer layer each: the frames, and the differences of neighbouring frames' maps (`motion`), with
a class token that stands for the whole video. Classes are means over shots, token by token. Prediction: bidirectional
mean Hausdorff distance of frames plus 0.3 times that of motion. In training also: each side's frames against the
other's token, in both branches (contrastive), a classifier of videos, and a decoder that draws the changes of the
frames from the motion.

Everything up to the means over shots concerns one video and is done in `embed`, from frames and maps. The maps are
most of what is kept of a video: 3.2 MB with a ResNet-50 at 224 pixels.

Differs from the authors' code:
- The decoder draws at a quarter of the frame's side, not at its full side. A third enlargement would take 4.5 GB for
  an episode of 40 clips, and the changes would be larger than the maps where features are kept for training heads.
- Its normalisation is by groups of channels, not by the batch, so that support and query need not be encoded apart.
- The cosine of two frames has no 0.01 in its denominator.
- Position encoding of the usual frequencies (theirs grow by the square) with their weight on Kinetics, 0.02.
- Their classification loss weighs 0.1 on Kinetics, the default here, 0.4 on HMDB51, 0.6 on UCF101, 0.8 on SSv2:
  `model.class_weight`. The reconstruction weighs 0.1 (0.05 on HMDB51 and UCF101); as they do not divide it by the
  4 tasks of a step, it weighs four times as much there.
- They train with Adam, lr 2e-5 to 1e-4 with weight decay 5e-4, 4 tasks a step, 1 shot and 6 queries a class, and
  average the loss over queries: `optim.name`, `.lr`, `.weight_decay`, `.accumulate`, `episode`, `train.loss_reduction`.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.changes import MotionBranch, MotionDecoder, changes_of
from fsar_cli.core.encoded import Encoded, Scores, at_least_float32, check_frames
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.alignment import hausdorff
from fsar_cli.core.layers.attention import dropout
from fsar_cli.core.layers.classification import all_videos, classification_loss, over_queries
from fsar_cli.core.layers.selfattention import TransformerLayer
from fsar_cli.core.layers.tuples import position_encoding
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import FewShotMethod

LARGEST_MAP = 7
POSITION = 0.02
POSITION_DROPOUT, ATTENTION_DROPOUT, UNIT_DROPOUT = 0.1, 0.2, 0.05
MOTION, CONTRAST, RECONSTRUCTION = 0.3, 0.05, 0.1  # weights in the prediction and in the loss
BRANCHES = ("frames", "motion")


class MoLo(FewShotMethod):
    """Frames and motion with a token of the whole video, then set matching of both."""

    paper = "Wang et al., CVPR 2023"
    classifies = True

    def __init__(
        self, features: Features, frames: int, classes: int | None = None, *, class_weight: float = 0.1
    ) -> None:
        """
        Args:
            frames: T of the clips.
            classes: training classes; None: no classifier, as for evaluation without training.
            class_weight: of the classifier's loss.
        """
        super().__init__(features)
        self.frames, self.class_weight = frames, class_weight
        self.motion = MotionBranch(features.dim)
        self.decoder = MotionDecoder(self.motion.width)
        self.branches = nn.ModuleDict({name: TokenBranch(features.dim, frames) for name in BRANCHES})
        self.classifier = None if classes is None else nn.Linear(features.dim, classes)

    def keep(self, found: FrameFeatures) -> dict[str, Tensor]:
        side = min(LARGEST_MAP, *found.maps.shape[-2:])
        maps = found.pooled(partial(F.adaptive_avg_pool2d, output_size=side))
        return {"frames": found.frames, "maps": maps}  # [B,T,D], [B,T,D,h,h]

    def describe(self, clips: Tensor, generator: torch.Generator | None = None) -> Encoded:
        return Encoded(super().describe(clips, generator).tensors | {"changes": changes_of(clips)})

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        check_frames("MoLo", self.frames, described["frames"].shape[1])
        motion = self.motion(described["maps"])  # [B,T-1,D/8,h,h]
        seen = {"frames": described["frames"], "motion": self.motion.features(motion)}
        found = {name: self.branches[name](seen[name], generator) for name in BRANCHES}  # [B,T+1,D], [B,T,D]
        tensors = {name: tokens[:, 1:] for name, tokens in found.items()}
        if self.training:
            tensors |= {f"{name}_token": tokens[:, 0] for name, tokens in found.items()}  # [B,D]
            if self.classifier is not None:
                tensors["class_scores"] = self.classifier(sum(tokens.mean(1) for tokens in found.values()))  # [B,C]
            if "changes" in described:
                tensors["reconstruction"] = self.decoder.error(motion, described["changes"])  # [B]
        return Encoded(tensors)

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        means = {name: at_least_float32(support[name]).mean(2) for name in support.tensors if name.startswith(BRANCHES)}
        asked = {name: at_least_float32(query[name]) for name in means}
        parts = {name: -hausdorff(asked[name], means[name]) for name in BRANCHES}
        logits = parts["frames"] + MOTION * parts["motion"]
        for name in BRANCHES if "frames_token" in means else ():
            parts |= self.branches[name].contrast(name, means, asked)
        extras = {
            name: all_videos(support[name], query[name]) for name in ("class_scores", "reconstruction") if name in query
        }
        return Scores(logits, parts, extras)

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Cross-entropy of the queries and of the contrasts, of all videos' known classes, and the reconstruction."""
        loss = episode_cross_entropy(scores.logits, labels, reduction)
        for name, part in scores.parts.items():
            if name.endswith("_token"):
                loss = loss + CONTRAST * episode_cross_entropy(part, labels, reduction)
        if classes is not None and "class_scores" in scores.extras:
            found = classification_loss(scores.extras["class_scores"], classes, labels, reduction)
            loss = loss + self.class_weight * found
        if "reconstruction" in scores.extras:
            mean = scores.extras["reconstruction"].mean()
            loss = loss + RECONSTRUCTION * over_queries(mean, labels, reduction)
        return loss


class TokenBranch(nn.Module):
    """A transformer layer over a class token and the frames (or motions) of a video."""

    def __init__(self, dim: int, frames: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(dim))
        self.scale = nn.Parameter(torch.ones(()))
        self.layer = TransformerLayer(dim, ATTENTION_DROPOUT, UNIT_DROPOUT)
        self.register_buffer("position", POSITION * position_encoding(frames + 1, dim), persistent=False)

    def forward(self, frames: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[B,L,D] -> [B,1+L,D], the token first."""
        x = torch.cat([self.token.to(frames.dtype).expand(len(frames), 1, -1), frames], 1)
        x = x + self.position[: x.shape[1]].to(x.dtype)
        if self.training:
            x = dropout(x, POSITION_DROPOUT, generator)
        return self.layer(x, generator).relu()

    def contrast(self, name: str, means: dict[str, Tensor], asked: dict[str, Tensor]) -> dict[str, Tensor]:
        """Minus the scaled distances of each side's frames to the other's token, [E,Q,N] each."""
        classes, queries = (F.normalize(x[name], dim=-1).sum(2) for x in (means, asked))  # [E,N,D], [E,Q,D]
        class_token, query_token = (F.normalize(x[f"{name}_token"], dim=-1) for x in (means, asked))  # [E,N,D], [E,Q,D]
        length = asked[name].shape[2]
        with torch.autocast(queries.device.type, enabled=False):
            return {
                f"{name}_to_query_token": self.scale * (query_token @ classes.transpose(1, 2) - length),
                f"{name}_to_class_token": self.scale * (queries @ class_token.transpose(1, 2) - length),
            }
