"""SloshNet: stages of the backbone fused by a searched cell, long- and short-term modules, tuples of one frame.

    Xing et al., Revisiting the Spatial and Temporal Modeling for Few-Shot Action Recognition, AAAI 2023.

Spatial: the last map of each of four resolutions is brought to the size and width of the last one. A cell then
searches, by weights that are learnt beside everything else, how these nodes build on one another:

    s_1 = f_1     s_i = sum over j < i of  a_ij1 (f_i + g(f_i) s_j) + a_ij2 (s_j + g(s_j) f_i) + a_ij3 (s_j + f_i)
    map = sum over i of b_i s_i + b_0 f_4        g(x) = sigmoid(mean of x over its cells); a_ij and b are softmaxes

Maps of the first stages are too large to keep, so the fusion is a part of the features, unlike what methods learn of
them: it stands still where features do (`train.views`). With key regions each backbone has its own.

Temporal: frames attend to one another at each position (`LongTerm`), and are gated by their change (`ShortTerm`).

Differs from the authors' code. Their long-term transformer takes positions and videos for the sequence and frames for
the batch, and its result is read with frames and channels swapped; here the frames of one video attend to one another
at each position, and no video sees another. Their second optimiser (Adam, lr 3e-3, for the cell's weights; others SGD
with momentum 0.9, lr 1e-4, weight decay 3e-4) is left out: the one of `optim` trains all. Operations of the cell whose
weight falls below 0.01 are not dropped. On Something-Something V2 they match pairs of frames as well.
"""

import math
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.backbones.backbone import Backbone, ClipMaps
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.layers.basics import added
from fsar_cli.core.method import MAPS, Encoded, FewShotMethod, Pairs, Scores

CARDINALITIES = (1,)
ATTENTION_HEADS, GROUPS = 8, 16
VIDEOS_AT_A_TIME = 8  # in evaluation; the transformer's hidden numbers of one take 100 MB
NODES = 4
LAST_SHARE = 0.6  # of the last stage in the map, at the start
OPERATIONS = 3


class SloshNet(FewShotMethod):
    """Fused stages of the backbone, long- and short-term relations, cross-attention between frames."""

    paper = "Xing et al., AAAI 2023"
    kept_features = (MAPS,)

    def __init__(self, features: Features, long: "LongTerm", short: "ShortTerm", head: CrossTransformer) -> None:
        super().__init__(features)
        self.long, self.short = long, short
        self.shares = nn.Parameter(torch.zeros(2))  # of long and short, before the softmax
        self.head = head

    @classmethod
    def from_config(cls, config: Config, features: Features) -> "SloshNet":
        dim = features.dim
        head = CrossTransformer.from_config(config, features.steps, "frames", dim, CARDINALITIES)
        long, short = LongTerm(dim, math.gcd(dim, ATTENTION_HEADS)), ShortTerm(dim, math.gcd(dim, GROUPS))
        return cls(features, long, short, head)

    @classmethod
    def around(cls, backbone: Backbone, side: int) -> ClipMaps:
        return FusedBackbone(backbone, side)

    def keep(self, features: FrameFeatures) -> dict[str, Tensor]:
        return {MAPS: features.joined()}

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        maps = described[MAPS]
        groups = [maps] if torch.is_grad_enabled() else maps.split(VIDEOS_AT_A_TIME)
        frames = torch.cat([self._temporal(some) for some in groups])
        return Encoded(self.head.encode(frames, generator))

    def _temporal(self, maps: Tensor) -> Tensor:
        """Maps [B,T,D,H,W] -> frames [B,T,D]."""
        tokens = maps.permute(0, 3, 4, 1, 2).flatten(1, 2)  # [B,H*W,T,D]
        long, short = 2 * self.shares.softmax(0)
        frames: Tensor = long * self.long(tokens) + short * self.short(tokens, maps.shape[-2:])
        return frames

    def match(self, support: Encoded, query: Encoded, classes: Tensor | None = None, pairs: Pairs = None) -> Scores:
        return Scores(-self.head.distance(support, query))


class FusedBackbone(ClipMaps):
    """A backbone and the fusion of its stages: clips -> maps of the size and width of its own last map."""

    def __init__(self, backbone: Backbone, input_side: int, nodes: int = NODES) -> None:
        """
        Args:
            input_side: of a square input, with which the stages are told apart; inputs may have other sides.
            nodes: stages to fuse, the last ones; a trunk with fewer gives all of its own.
        """
        super().__init__()
        self.backbone, self.dim = backbone, backbone.dim
        self.stages = backbone.stages(input_side, nodes)
        count = len(self.stages)
        self.align = nn.ModuleList(
            Alignment(stage.channels, self.dim, halvings)
            for stage, halvings in zip(self.stages, reversed(range(count)), strict=True)
        )
        self.cell = SearchedCell(count)
        shares = [(1 - LAST_SHARE) / count] * count + [LAST_SHARE]
        self.shares = nn.Parameter(torch.tensor(shares).log())

    def forward(self, clips: Tensor) -> Tensor:
        """[B,F,3,h,w] -> [B,T,C,H,W]."""
        maps = [m.flatten(0, 1) for m in self.backbone.maps(clips, self.stages)]
        rows, columns = maps[-1].shape[-2:]
        nodes = [_sized(align(m), (rows, columns)) for align, m in zip(self.align, maps, strict=True)]
        shares = self.shares.softmax(0)
        fused = sum(share * m for share, m in zip(shares, [*self.cell(nodes), maps[-1]], strict=True))
        of_clips: Tensor = fused.unflatten(0, (clips.shape[0], -1))
        return of_clips


def _sized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    # Trunks that do not round sides up where they halve them end a cell short of a strided convolution with padding.
    return maps if maps.shape[-2:] == size else F.adaptive_avg_pool2d(maps, size)


class Alignment(nn.Sequential):
    """Blocks of ReLU, batch norm and a strided 3x3 convolution: half the side and twice the width each."""

    def __init__(self, channels: int, dim: int, halvings: int) -> None:
        """
        Args:
            channels: of the stage; those of the last block are `dim`, whatever doubling would give.
        """
        widths = [min(channels * 2**i, dim) for i in range(halvings)] + [dim]
        layers = []
        for width, following in pairwise(widths):
            convolution = nn.Conv2d(width, following, kernel_size=3, stride=2, padding=1, bias=False)
            layers += [nn.ReLU(), nn.BatchNorm2d(width), convolution]
        super().__init__(*layers)


def gate(x: Tensor) -> Tensor:
    """[B,C,H,W] -> [B,C,1,1] in (0,1)."""
    return torch.sigmoid(x.mean((2, 3), keepdim=True))


class SearchedCell(nn.Module):
    """Nodes that build on one another; the weights of the three operations on each edge are learnt."""

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.edges = nn.ParameterList(nn.Parameter(1e-3 * torch.randn(i, OPERATIONS)) for i in range(1, nodes))

    def forward(self, nodes: list[Tensor]) -> list[Tensor]:
        """Maps [B,C,H,W] of all stages, the first one first -> as many maps."""
        states = [nodes[0]]
        for own, edges in zip(nodes[1:], self.edges, strict=True):
            weights = edges.softmax(-1)
            states.append(added(self._edge(state, own, w) for state, w in zip(states, weights, strict=True)))
        return states

    @staticmethod
    def _edge(state: Tensor, own: Tensor, weights: Tensor) -> Tensor:
        """All three operations in one: the two maps appear in each, plain or gated."""
        by_own, by_state, plain = weights.unbind()
        return (by_own + plain + by_state * gate(state)) * own + (by_state + plain + by_own * gate(own)) * state


class LongTerm(nn.Module):
    """One pre-norm transformer layer over the frames of a video, at each position of the map by itself."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.expand, self.reduce = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B,P,T,D], P positions -> their mean over positions [B,T,D]."""
        qkv = self.attention(self.attention_norm(tokens)).unflatten(-1, (3, self.heads, -1))  # [B,P,T,3,h,D/h]
        query, key, value = (x.transpose(2, 3) for x in qkv.unbind(3))  # [B,P,h,T,D/h]
        attended = F.scaled_dot_product_attention(query, key, value).transpose(2, 3).flatten(3)
        tokens = tokens + self.out(attended)
        hidden = self.expand(self.norm(tokens))
        hidden = hidden * torch.sigmoid(1.702 * hidden)  # CLIP's quick GELU
        # The last map is linear: applied to the mean it gives the mean, at a fraction of the cost.
        mean: Tensor = tokens.mean(1) + self.reduce(hidden.mean(1))
        return mean


class ShortTerm(nn.Module):
    """Gates each frame's map by how the next one differs."""

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.groups, width = groups, dim // groups
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        depthwise = partial(nn.Conv2d, width, width, kernel_size=3, padding=1, groups=width, bias=False)
        self.query_conv, self.key_conv = depthwise(), depthwise()
        self.gate = nn.Sequential(
            nn.Linear(dim, dim, bias=False), nn.GELU(), nn.Linear(dim, dim, bias=False), nn.Sigmoid()
        )

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """[B,P,T,D], P = H*W positions -> the mean over positions [B,T,D]; the last frame has no next one."""
        query, key, value = self.qkv(tokens).chunk(3, -1)
        following = self._conv(self.key_conv, key[:, :, 1:], size) - self._conv(self.query_conv, query[:, :, :-1], size)
        change = torch.cat([following, torch.zeros_like(value[:, :, :1])], 2)
        gated: Tensor = self.gate(change) * value
        return -gated.mean(1)

    def _conv(self, conv: nn.Conv2d, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """All groups of channels [B,P,T,D] pass through the same kernels."""
        lead = tokens.shape[0], tokens.shape[2]
        maps = tokens.permute(0, 2, 3, 1).reshape(-1, conv.in_channels, *size)  # [B*T*G,D/G,H,W]
        convolved: Tensor = conv(maps)
        return convolved.reshape(*lead, tokens.shape[-1], -1).permute(0, 3, 1, 2)
