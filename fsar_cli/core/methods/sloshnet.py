"""SloshNet: stages of the backbone fused by a searched cell, long- and short-term modules, tuples of one frame.

    Xing et al., Revisiting the Spatial and Temporal Modeling for Few-Shot Action Recognition, AAAI 2023.

The fusion of stages is a part of the features (`stages`); with key regions each backbone has its own.

Differs from the authors' code. Their long-term transformer takes positions and videos for the sequence and frames for
the batch, and its result is read with frames and channels swapped; here the frames of one video attend to one another
at each position, and no video sees another. Their second optimiser (Adam, lr 3e-3, for the cell's weights; others SGD
with momentum 0.9, lr 1e-4, weight decay 3e-4) is left out: the one of `optim` trains all. Operations of the cell whose
weight falls below 0.01 are not dropped. On Something-Something V2 they match pairs of frames as well.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.encoded import Encoded, Scores
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.layers.attention import CrossTransformer
from fsar_cli.core.method import FewShotMethod

CARDINALITIES = (1,)
ATTENTION_HEADS, GROUPS = 8, 16
VIDEOS_AT_A_TIME = 8  # in evaluation; the transformer's hidden numbers of one take 100 MB


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
        return tokens.mean(1) + self.reduce(hidden.mean(1))


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
        return -(self.gate(change) * value).mean(1)

    def _conv(self, conv: nn.Conv2d, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """All groups of channels [B,P,T,D] pass through the same kernels."""
        lead = tokens.shape[0], tokens.shape[2]
        maps = tokens.permute(0, 2, 3, 1).reshape(-1, conv.in_channels, *size)  # [B*T*G,D/G,H,W]
        return conv(maps).reshape(*lead, tokens.shape[-1], -1).permute(0, 3, 1, 2)


class SloshNet(FewShotMethod):
    """Fused stages of the backbone, long- and short-term relations, cross-attention between frames."""

    paper = "Xing et al., AAAI 2023"
    fuses_stages = True

    def __init__(self, features: Features, head: CrossTransformer) -> None:
        super().__init__(features)
        dim = features.dim
        self.long = LongTerm(dim, math.gcd(dim, ATTENTION_HEADS))
        self.short = ShortTerm(dim, math.gcd(dim, GROUPS))
        self.shares = nn.Parameter(torch.zeros(2))  # of long and short, before the softmax
        self.head = head

    def keep(self, found: FrameFeatures) -> dict[str, Tensor]:
        return {"maps": found.joined()}  # [B,T,D,H,W]

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        maps = described["maps"]
        groups = [maps] if torch.is_grad_enabled() else maps.split(VIDEOS_AT_A_TIME)
        frames = torch.cat([self._temporal(some) for some in groups])
        return Encoded(self.head.encode(frames, generator))

    def _temporal(self, maps: Tensor) -> Tensor:
        """Maps [B,T,D,H,W] -> frames [B,T,D]."""
        tokens = maps.permute(0, 3, 4, 1, 2).flatten(1, 2)  # [B,H*W,T,D]
        long, short = 2 * self.shares.softmax(0)
        return long * self.long(tokens) + short * self.short(tokens, maps.shape[-2:])

    def match(self, support: Encoded, query: Encoded, pairs: dict[str, Tensor] | None = None) -> Scores:
        return Scores(-self.head.distance(support, query))
