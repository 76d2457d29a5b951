"""AdaFocus V2's learned patch selection, to compare the paper's parameter-free one with (`region.selector: adafocus`).

    Wang et al., AdaFocus V2: End-to-End Training of Spatial Dynamic Networks for Video Recognition, CVPR 2022.

A policy network reads the global maps of a clip, frame by frame, and says where in the valid area of eq. 4 the centre
of each region lies. It learns through the bilinear crop (their interpolation-based patch selection is eq. 8). Of their
training tricks, the stop-gradient before the policy is `region.stop_gradient`, auxiliary losses on either feature are
`match.auxiliary`, and random patches are `region.random_probability`, uniform over the valid area as theirs.

Differs from the authors' code. Theirs classifies every clip twice in training, with the policy's patches and with
random ones; here one of the two is drawn for each forward, which costs half. Normalisation is over a frame instead of
over the batch, so that a clip's regions do not depend on its neighbours. The hidden state has 128 numbers, not 1024:
few-shot training sees few classes. One optimiser trains everything; theirs gives the policy a hundredth of the rate.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fsar_cli.core.layers.basics import at_least_float32, without_autocast
from fsar_cli.core.regions import TANH_SATURATION, Regions, Selector

CHANNELS, HIDDEN = 64, 128


class PatchPolicy(Selector):
    """Global maps -> regions, each from its frame and those before it."""

    def __init__(
        self,
        input_side: int,
        region_side: int | Sequence[int],
        channels: int,
        map_side: int,
        hidden: int = HIDDEN,
    ) -> None:
        """
        Args:
            input_side, region_side: S and P in pixels, P < S; or several P.
            channels, map_side: C and H = W of the global maps.
            hidden: numbers that the policy remembers from frame to frame.
        """
        super().__init__(input_side, region_side)
        self.encode = nn.Sequential(
            nn.Conv2d(channels, CHANNELS, kernel_size=1, bias=False),
            nn.GroupNorm(1, CHANNELS),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(CHANNELS * map_side**2, hidden),
            nn.LayerNorm(hidden),
            nn.Tanh(),
        )
        # Not nn.GRU: cuDNN's has no backward pass in evaluation mode.
        self.memory = nn.GRUCell(hidden, hidden)
        self.place = nn.Linear(hidden, 2)

    def forward(self, maps: Tensor) -> Regions:
        """Maps [B,T,C,H,W] -> regions [B,T]; at least float32, whatever autocast says."""
        maps = at_least_float32(maps)
        with without_autocast(maps):
            seen = self.encode(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])  # [B,T,hidden]
            state, states = torch.zeros_like(seen[:, 0]), []
            for frame in seen.unbind(1):
                state = self.memory(frame, state)
                states.append(state)
            # tanh(x/2) is a sigmoid from one border of the valid area to the other.
            place = self.place(torch.stack(states, 1)) / 2  # [B,T,2]
        saturated = (place.detach().abs() >= TANH_SATURATION).any(-1)
        return self.regions(self.input_side / 2 + self.reach * torch.tanh(place), saturated)
