"""The contract of every method: `encode` each video once, `match` many episodes against the result.

    encode(clips [B,T,3,S,S]) -> Encoded [B]       describe, prepare, embed: no information crosses videos
    match(support [E,N,K], query [E,Q], classes [E,N]) -> Scores      larger is better; no state between calls
    loss(scores, labels [E,Q]) -> a number                            in training

Axis letters, used in every shape comment of the core:

    E episodes   N way   K shot   Q queries   B videos   T frames   L tuples of frames, or tokens
    C channels   H W map cells   D feature    S side of the input crop   P side of the key region (pixels)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.backbones.backbone import Backbone, ClipMaps
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.checkpointing import in_micro_batches
from fsar_cli.core.losses import episode_cross_entropy
from fsar_cli.core.preparation import Preparation

# Names of the tensors in an Encoded that more than one file reads; a method's own stand at the top of its file.
FRAMES = "frames"  # [B,T,D] features of frames
MAPS = "maps"  # [B,T,D,H,W] their maps
BOXES = "boxes"  # [B,T,4] key regions, xyxy in [0,1] of the input crop
SATURATED = "saturated"  # [B,T] bool: the region was clamped to the border

Pairs = dict[str, Tensor] | None  # distances of two videos alone, by name, where they are known


class Encoded:
    """What videos become: named tensors that share their leading axes.

    `encode` gives one leading axis [B]; indexing with an integer tensor of shape [E,N,K] gives [E,N,K]. So a bank of
    encoded videos becomes the support and query of thousands of episodes by one index each.
    """

    def __init__(self, tensors: Mapping[str, Tensor], lead: int = 1) -> None:
        leads: list[tuple[int, ...] | None] = [tuple(t.shape[:lead]) for t in tensors.values()]
        first, *others = leads or [None]
        if first is None or any(other != first for other in others):  # no set: an exporter's sizes have no hash
            shapes = {name: tuple(t.shape) for name, t in tensors.items()}
            raise ValueError(f"encoded tensors must share their first {lead} axes, got {shapes}")
        self.tensors = dict(tensors)
        self.lead = lead

    @property
    def shape(self) -> tuple[int, ...]:
        """The leading axes: [B], [E,Q] or [E,N,K]."""
        return tuple(next(iter(self.tensors.values())).shape[: self.lead])

    def __len__(self) -> int:
        return self.shape[0]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def take(self, index: Tensor) -> "Encoded":
        """Pick videos along the first axis by an int64 tensor of any shape; its shape takes that axis's place."""
        flat = index.reshape(-1)
        picked = {n: t.index_select(0, flat).reshape(*index.shape, *t.shape[1:]) for n, t in self.tensors.items()}
        return Encoded(picked, self.lead - 1 + index.ndim)

    def reshape(self, *lead: int) -> "Encoded":
        """Give the leading axes another shape."""
        return Encoded({n: t.reshape(*lead, *t.shape[self.lead :]) for n, t in self.tensors.items()}, len(lead))

    def only(self, names: Iterable[str]) -> "Encoded":
        """Keep the named tensors."""
        return Encoded({name: self.tensors[name] for name in names}, self.lead)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Encoded":
        """Move; `dtype` applies to floating-point tensors alone."""
        kinds = {n: dtype if t.is_floating_point() else None for n, t in self.tensors.items()}
        return Encoded({n: t.to(device=device, dtype=kinds[n]) for n, t in self.tensors.items()}, self.lead)

    @property
    def finite(self) -> bool:
        """Whether every number is; waits for the device."""
        return all(bool(t.isfinite().all()) for t in self.tensors.values())

    def numel_per_video(self) -> int:
        """Numbers kept for one video."""
        return sum(t[(0,) * self.lead].numel() for t in self.tensors.values())

    @staticmethod
    def cat(parts: list["Encoded"]) -> "Encoded":
        """Join along the first axis."""
        return Encoded({n: torch.cat([p[n] for p in parts]) for n in parts[0].tensors}, parts[0].lead)


@dataclass
class Scores:
    """Result of a match; larger is better."""

    logits: Tensor
    """[E,Q,N]: the prediction is its argmax."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """Further logits [E,Q,N] by name: what the loss is made of, and what is reported beside the prediction."""
    extras: dict[str, Tensor] = field(default_factory=dict)
    """What only the training loss needs, of any shape [E,...]; empty in evaluation."""

    def everything(self) -> dict[str, Tensor]:
        """The prediction under `logits`, and the parts under their names."""
        return {"logits": self.logits, **self.parts}


class FewShotMethod(nn.Module):
    """Base class. A method says how frame features are embedded (per video) and how episodes are matched.

    Its constructor takes ready parts; `from_config` makes them. `encode`, `match` and `loss` never read a tensor back
    to the host: a GPU would be waited for.
    """

    paper: ClassVar[str]
    """Citation, ends in the year."""
    pair_tensors: ClassVar[tuple[str, ...]] = ()
    """What of an Encoded only `pairs` reads."""
    kept_features: ClassVar[tuple[str, ...]] = (FRAMES,)
    """Names of what `keep` gives of the features, [B,T,D,...]: all that is rooted and whitened."""
    classifies: ClassVar[bool] = False
    """Whether its training loss tells the training classes apart: it is then built for `model.classes` of them."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features
        self.preparation = Preparation(self.kept_features)
        self.micro_batch: int | None = None
        """Training: clips whose activations are kept at a time (`checkpointing`); None: all of them."""

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "FewShotMethod":
        """The method with the parts and numbers of a configuration; here of one that has none."""
        return cls(features)

    @classmethod
    def around(cls, backbone: Backbone, side: int) -> ClipMaps:
        """What takes a backbone's place in the features, for inputs of `side` pixels: [B,F,3,h,w] -> [B,T,C,H,W]."""
        return backbone

    def describe(self, clips: Tensor, generator: torch.Generator | None = None) -> Encoded:
        """Clips [B,T,3,S,S] -> what the feature branches say of them, [B]: all that costs a backbone.

        That is what the method keeps of the features, with BOXES and SATURATED where regions were selected. It depends
        on `features` alone, so methods that share backbones and keep the same share it.
        """
        return self.described(self.features(clips, generator))

    def described(self, features: FrameFeatures) -> Encoded:
        """What `describe` gives of clips whose features are known."""
        tensors = self.keep(features)
        if features.regions is not None:
            tensors |= {BOXES: features.regions.boxes.detach(), SATURATED: features.regions.saturated}
        return Encoded(tensors)

    def keep(self, features: FrameFeatures) -> dict[str, Tensor]:
        """What `embed` needs of the features, by name, [B,...]; no parameters take part, so that it can be cached."""
        return {FRAMES: features.frames}

    def pooled(self, described: Encoded) -> Encoded:
        """What `describe` gave, of which the method reads means alone: those. Roots are taken of them."""
        return described

    def prepare(self, described: Encoded) -> Encoded:
        """What `describe` gave -> rooted and whitened, as `model.match` asks."""
        pooled = self.pooled(described)
        return Encoded(self.preparation(pooled.tensors), pooled.lead)

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        """What `prepare` gave -> what `match` needs, [B]."""
        raise NotImplementedError

    def encode(self, clips: Tensor, generator: torch.Generator | None = None) -> Encoded:
        """Clips [B,T,3,S,S] -> Encoded [B], with the regions where any were selected.

        Args:
            generator: source of the randomness of training (dropout, random regions), on the device of the clips.
        """
        if self.training and self.micro_batch and len(clips) > self.micro_batch and torch.is_grad_enabled():
            run = lambda some, draws: self.describe(some, draws).tensors  # noqa: E731
            described = Encoded(in_micro_batches(self.features, run, clips, self.micro_batch, generator))
        else:
            described = self.describe(clips, generator)
        regions = {name: described[name] for name in (BOXES, SATURATED) if name in described}
        return Encoded(self.embed(self.prepare(described), generator).tensors | regions)

    def pairs(self, query: Encoded, support: Encoded) -> dict[str, Tensor]:
        """Distances that depend on two videos alone: query [...,Q], support [...,M] -> [...,Q,M] each.

        Evaluation computes them once for all pairs of test videos, and episodes pick theirs.
        """
        return {}

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        """Support [E,N,K], query [E,Q] -> scores; no state, no information between episodes.

        Args:
            classes: int64 [E,N], which classes the episode has: positions in the sampler's list of classes (those of
                the training split in training, of the evaluated split in evaluation); None: not known.
            pairs: what `pairs` gives for these videos, [E,Q,N,K] each, where it is known; the tensors it reads
                (`pair_tensors`) may then be absent.
        """
        raise NotImplementedError

    def known_pairs(self, support: Encoded, query: Encoded, pairs: Pairs) -> dict[str, Tensor]:
        """`pairs` where given, else computed for these episodes: [E,Q,N,K] each."""
        if pairs is not None:
            return pairs
        episodes, way, shot = support.shape
        distances = self.pairs(query, support.reshape(episodes, way * shot))
        return {name: distance.unflatten(-1, (way, shot)) for name, distance in distances.items()}

    def loss(self, scores: Scores, labels: Tensor, reduction: str = "sum", classes: Tensor | None = None) -> Tensor:
        """Training loss of episodes.

        Args:
            labels: int64 [E,Q], positions of the queries' classes in the episode.
            reduction: over the queries of an episode, `sum` or `mean`.
            classes: as for `match`, for methods that classify.
        """
        return episode_cross_entropy(scores.logits, labels, reduction)
