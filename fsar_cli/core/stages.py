"""A backbone whose map is a learnt fusion of its stages (SloshNet's spatial modelling); it takes a backbone's place.

    Xing et al., Revisiting the Spatial and Temporal Modeling for Few-Shot Action Recognition, AAAI 2023.

The last map of each of four resolutions is brought to the size and width of the last one. A cell then searches, by
weights that are learnt beside everything else, how these nodes build on one another:

    s_1 = f_1     s_i = sum over j < i of  a_ij1 (f_i + g(f_i) s_j) + a_ij2 (s_j + g(s_j) f_i) + a_ij3 (s_j + f_i)
    map = sum over i of b_i s_i + b_0 f_4        g(x) = sigmoid(mean of x over its cells); a_ij and b are softmaxes

Maps of the first stages are too large to keep, so the fusion is a part of the features, unlike what methods learn of
them: it stands still where features do (`train.views`).
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fsar_cli.core.backbones.image import Backbone

NODES = 4
LAST_SHARE = 0.6  # of the last stage in the map, at the start
OPERATIONS = 3


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
            states.append(sum(self._edge(state, own, w) for state, w in zip(states, weights, strict=True)))
        return states

    @staticmethod
    def _edge(state: Tensor, own: Tensor, weights: Tensor) -> Tensor:
        """All three operations in one: the two maps appear in each, plain or gated."""
        by_own, by_state, plain = weights.unbind()
        return (by_own + plain + by_state * gate(state)) * own + (by_state + plain + by_own * gate(own)) * state


class FusedBackbone(nn.Module):
    """A backbone and the fusion of its stages: frames -> map of the size and width of its own last map."""

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

    def forward(self, frames: Tensor) -> Tensor:
        """[B,3,h,w] -> [B,C,H,W]."""
        maps = self.backbone.maps(frames, self.stages)
        size = maps[-1].shape[-2:]
        nodes = [_sized(align(m), size) for align, m in zip(self.align, maps, strict=True)]
        shares = self.shares.softmax(0)
        return sum(share * m for share, m in zip(shares, [*self.cell(nodes), maps[-1]], strict=True))


def _sized(maps: Tensor, size: torch.Size) -> Tensor:
    # Trunks that do not round sides up where they halve them end a cell short of a strided convolution with padding.
    return maps if maps.shape[-2:] == size else F.adaptive_avg_pool2d(maps, size)
