"""Changes of the frames, in their maps and in their pixels: the motion branch of MoLo and its decoder.

    Wang et al., MoLo: Motion-augmented Long-short Contrastive Learning for Few-shot Action Recognition, CVPR 2023.

The branch makes features of how maps change from frame to frame; the decoder draws from it how the pixels do.
"""

import torch.nn.functional as F
from torch import Tensor, nn

REDUCTION = 8  # of the channels
SHARE_OF_SIDE = 4  # changes are kept at a quarter of it, the size of what a map of stride 32 is enlarged to


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
        return self.shift(following.flatten(0, 1)).view_as(following) - reduced[:, :-1]

    def features(self, motion: Tensor) -> Tensor:
        """Motion [B,T-1,D/8,h,w] -> [B,T-1,D]."""
        widened = self.widen(motion.flatten(0, 1)).relu().mean((2, 3))
        return widened.unflatten(0, motion.shape[:2])


class MotionDecoder(nn.Module):
    """Draws the changes of the frames from the motion of their maps; a task for training alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_enlarge(width, 128, 2), *_enlarge(128, 32, 4), nn.Conv2d(32, 3, 1))

    def error(self, motion: Tensor, changes: Tensor) -> Tensor:
        """Mean squared error for each video [B], from motion [B,T-1,D/8,h,w] and changes [B,T-1,3,s,s]."""
        drawn = self.layers(motion.flatten(0, 1))  # [B*(T-1),3,8h,8w]
        if drawn.shape[-2:] != changes.shape[-2:]:
            drawn = F.interpolate(drawn, changes.shape[-2:], mode="bilinear", align_corners=False)
        return (drawn.unflatten(0, changes.shape[:2]).to(changes.dtype) - changes).square().mean((1, 2, 3, 4))


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
    return small[:, 1:] - small[:, :-1]
