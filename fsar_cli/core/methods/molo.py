"""MoLo: frames and their motion, each matched as a set, trained to be like the whole of a video of the same class.

    Wang et al., MoLo: Motion-augmented Long-short Contrastive Learning for Few-shot Action Recognition, CVPR 2023.

Two branches of a transformer layer each: the frames, and the differences of neighbouring frames' maps (motion), with
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

from fsar_cli.config import Config
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.alignment import hausdorff
from fsar_cli.core.layers.basics import AddPositions, at_least_float32, check_frames, middle_frames, named
from fsar_cli.core.layers.classification import CLASS_SCORES, Classifying, extras_of, over_queries
from fsar_cli.core.layers.selfattention import TransformerLayer
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.method import FRAMES, MAPS, Encoded, Pairs, Scores

LARGEST_MAP = 7
REDUCTION = 8  # of the channels of motion
SHARE_OF_SIDE = 4  # changes are kept at a quarter of it, the size of what a map of stride 32 is enlarged to
POSITION = 0.02
POSITION_DROPOUT, ATTENTION_DROPOUT, UNIT_DROPOUT = 0.1, 0.2, 0.05
MOTION_WEIGHT, CONTRAST, RECONSTRUCTION_WEIGHT = 0.3, 0.05, 0.1  # in the prediction and in the loss
MOTION = "motion"  # [B,T-1,D]
CHANGES, RECONSTRUCTION = "changes", "reconstruction"  # [B,T-1,3,s,s] of pixels, [B] error of the decoder
BRANCHES = (FRAMES, MOTION)
TOKENS = {name: f"{name}_token" for name in BRANCHES}  # [B,D] in training


class MoLo(Classifying):
    """Frames and motion with a token of the whole video, then set matching of both."""

    paper = "Wang et al., CVPR 2023"
    kept_features = (FRAMES, MAPS)
    usual_weight = 0.1

    def __init__(
        self,
        features: Features,
        frames: int,
        motion: "MotionBranch",
        decoder: "MotionDecoder",
        branches: dict[str, "TokenBranch"],
        classifier: nn.Linear | None = None,
        class_weight: float = usual_weight,
    ) -> None:
        """
        Args:
            frames: T of the clips.
            branches: by the names in BRANCHES.
            classifier: of videos; see `Classifying`.
        """
        super().__init__(features)
        self.frames, self.motion, self.decoder = frames, motion, decoder
        self.branches = named(branches)
        self.classifier, self.class_weight = classifier, class_weight

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "MoLo":
        dim, frames = features.dim, features.steps
        motion = MotionBranch(dim)
        decoder = MotionDecoder(motion.width)
        branches = {name: TokenBranch(dim, frames) for name in BRANCHES}
        return cls(features, frames, motion, decoder, branches, *cls.classifier_of(config, dim))

    def keep(self, features: FrameFeatures) -> dict[str, Tensor]:
        side = min(LARGEST_MAP, *features.maps.shape[-2:])
        maps = features.pooled(partial(F.adaptive_avg_pool2d, output_size=side))
        return {FRAMES: features.frames, MAPS: maps}

    def describe(self, clips: Tensor, generator: torch.Generator | None = None) -> Encoded:
        shown = clips[:, middle_frames(clips.shape[1], self.frames)]
        return Encoded(super().describe(clips, generator).tensors | {CHANGES: changes_of(shown)})

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        check_frames("MoLo", self.frames, described[FRAMES].shape[1])
        motion = self.motion(described[MAPS])  # [B,T-1,D/8,h,h]
        inputs = {FRAMES: described[FRAMES], MOTION: self.motion.features(motion)}
        branches = {name: self.branches[name](inputs[name], generator) for name in BRANCHES}  # [B,T+1,D], [B,T,D]
        tensors = {name: tokens[:, 1:] for name, tokens in branches.items()}
        if self.training:
            tensors |= {TOKENS[name]: tokens[:, 0] for name, tokens in branches.items()}
            tensors |= self.class_scores(sum(tokens.mean(1) for tokens in branches.values()))
            if CHANGES in described:
                tensors[RECONSTRUCTION] = self.decoder.error(motion, described[CHANGES])
        return Encoded(tensors)

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        names = [name for name in (*BRANCHES, *TOKENS.values()) if name in support]
        prototypes = {name: at_least_float32(support[name]).mean(2) for name in names}
        queries = {name: at_least_float32(query[name]) for name in names}
        parts = {name: -hausdorff(queries[name], prototypes[name]) for name in BRANCHES}
        logits = parts[FRAMES] + MOTION_WEIGHT * parts[MOTION]
        for name, token in TOKENS.items():
            if token in support:
                parts |= self.branches[name].contrast(name, prototypes, queries)
        return Scores(logits, parts, extras_of((CLASS_SCORES, RECONSTRUCTION), support, query))

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Cross-entropy of the queries and of the contrasts, of all videos' known classes, and the reconstruction."""
        loss = episode_cross_entropy(scores.logits, labels, reduction)
        for name, part in scores.parts.items():
            if name.endswith("_token"):
                loss = loss + CONTRAST * episode_cross_entropy(part, labels, reduction)
        loss = loss + self.class_loss(scores, labels, reduction, classes)
        if RECONSTRUCTION in scores.extras:
            mean = scores.extras[RECONSTRUCTION].mean()
            loss = loss + RECONSTRUCTION_WEIGHT * over_queries(mean, labels, reduction)
        return loss


class TokenBranch(nn.Module):
    """A transformer layer over a class token and the frames (or motions) of a video."""

    def __init__(self, dim: int, frames: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(dim))
        self.scale = nn.Parameter(torch.ones(()))
        self.layer = TransformerLayer(dim, ATTENTION_DROPOUT, UNIT_DROPOUT)
        self.positions = AddPositions(frames + 1, dim, POSITION, POSITION_DROPOUT)

    def forward(self, frames: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[B,L,D] -> [B,1+L,D], the token first."""
        x = torch.cat([self.token.to(frames.dtype).expand(len(frames), 1, -1), frames], 1)
        layered: Tensor = self.layer(self.positions(x, generator), generator)
        return layered.relu()

    def contrast(self, name: str, prototypes: dict[str, Tensor], queries: dict[str, Tensor]) -> dict[str, Tensor]:
        """Minus the scaled distances of each side's frames to the other's token, [E,Q,N] each.

        Args:
            name: of the branch.
            prototypes, queries: frames [E,N,L,D] and [E,Q,L,D], tokens [E,N,D] and [E,Q,D], by name.
        """
        class_sum, query_sum = (F.normalize(x[name], dim=-1).sum(2) for x in (prototypes, queries))
        class_token, query_token = (F.normalize(x[TOKENS[name]], dim=-1) for x in (prototypes, queries))
        length = queries[name].shape[2]
        with torch.autocast(query_sum.device.type, enabled=False):
            return {
                f"{name}_to_query_token": self.scale * (query_token @ class_sum.transpose(1, 2) - length),
                f"{name}_to_class_token": self.scale * (query_sum @ class_token.transpose(1, 2) - length),
            }


class MotionBranch(nn.Module):
    """Differences of neighbouring frames' maps, after they have been reduced and before they become features."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = max(1, dim // REDUCTION)
        self.reduce = nn.Conv3d(dim, self.width, 3, padding=1)
        self.shift = nn.Conv2d(self.width, self.width, 3, padding=1)
        self.widen = nn.Conv2d(self.width, dim, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B,T,D,h,w] -> motion [B,T-1,D/8,h,w]: each map, shifted by a convolution, minus the one before."""
        reduced = self.reduce(maps.transpose(1, 2)).transpose(1, 2)  # [B,T,D/8,h,w]
        following = reduced[:, 1:]
        motion: Tensor = self.shift(following.flatten(0, 1)).view_as(following) - reduced[:, :-1]
        return motion

    def features(self, motion: Tensor) -> Tensor:
        """Motion [B,T-1,D/8,h,w] -> [B,T-1,D]."""
        widened = self.widen(motion.flatten(0, 1)).relu().mean((2, 3))
        features: Tensor = widened.unflatten(0, motion.shape[:2])
        return features


class MotionDecoder(nn.Module):
    """Draws the changes of the frames from the motion of their maps; a task for training alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_enlarge(width, 128, 2), *_enlarge(128, 32, 4), nn.Conv2d(32, 3, 1))

    def error(self, motion: Tensor, changes: Tensor) -> Tensor:
        """Mean squared error for each video [B], from motion [B,T-1,D/8,h,w] and changes [B,T-1,3,s,s]."""
        drawn: Tensor = self.layers(motion.flatten(0, 1))  # [B*(T-1),3,8h,8w]
        if drawn.shape[-2:] != changes.shape[-2:]:
            drawn = F.interpolate(drawn, changes.shape[-2:], mode="bilinear", align_corners=False)
        error: Tensor = drawn.unflatten(0, changes.shape[:2]).to(changes.dtype) - changes
        return error.square().mean((1, 2, 3, 4))


def _enlarge(channels: int, out: int, factor: int) -> list[nn.Module]:
    return [
        nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=True),
        nn.Conv2d(channels, out, 3, padding=1, bias=False),
        nn.GroupNorm(8, out),
        nn.ReLU(inplace=True),
    ]


def changes_of(clips: Tensor) -> Tensor:
    """Clips [B,T,3,S,S] -> differences of neighbouring frames [B,T-1,3,S/4,S/4], each cell the mean of its pixels."""
    frames = clips.flatten(0, 1)
    small = F.adaptive_avg_pool2d(frames, max(1, frames.shape[-1] // SHARE_OF_SIDE)).unflatten(0, clips.shape[:2])
    changes: Tensor = small[:, 1:] - small[:, :-1]
    return changes
