"""I3D: Inception-v1 inflated to three dimensions, up to its last map.

    Carreira and Zisserman, Quo Vadis, Action Recognition?, CVPR 2017.

Names of parameters are those of the public PyTorch port, so its files of weights load. Padding is TensorFlow's SAME:
as much as makes T = ceil(F / stride), the odd cell behind, zeros also where the largest is taken.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Widths of the branches: 1; reduced and 3; reduced and 3; after the pooling.
MIXED = {
    "3b": (192, (64, 96, 128, 16, 32, 32)), "3c": (256, (128, 128, 192, 32, 96, 64)),
    "4b": (480, (192, 96, 208, 16, 48, 64)), "4c": (512, (160, 112, 224, 24, 64, 64)),
    "4d": (512, (128, 128, 256, 24, 64, 64)), "4e": (512, (112, 144, 288, 32, 64, 64)),
    "4f": (528, (256, 160, 320, 32, 128, 128)), "5b": (832, (256, 160, 320, 32, 128, 128)),
    "5c": (832, (384, 192, 384, 48, 128, 128)),
}  # fmt: skip


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Cells before and after an axis of `size` cells, for ceil(size / stride) of the result."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@torch.fx.wrap
def padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """[B,C,T,H,W] with zeros around it."""
    pads = [same_padding(*axis) for axis in zip(x.shape[2:], kernel, stride, strict=True)]
    return F.pad(x, [cells for pair in reversed(pads) for cells in pair]) if any(map(any, pads)) else x


class SamePool(nn.MaxPool3d):
    """Largest of each window; the zeros of the padding count."""

    kernel_size: tuple[int, int, int]
    stride: tuple[int, int, int]

    def forward(self, x: Tensor) -> Tensor:
        largest: Tensor = super().forward(padded(x, self.kernel_size, self.stride))
        return largest


class SameUnit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        # With stride 1 the padding is the same on both sides, and the convolution's own is faster.
        own = kernel // 2 if stride == 1 else 0
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, own, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        if self.conv3d.stride[0] > 1:
            x = padded(x, self.conv3d.kernel_size, self.conv3d.stride)
        return F.relu(self.bn(self.conv3d(x)), inplace=True)


class Mixed(nn.Module):
    """Four branches side by side."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = SameUnit(inputs, widths[0])
        self.b1a, self.b1b = SameUnit(inputs, widths[1]), SameUnit(widths[1], widths[2], 3)
        self.b2a, self.b2b = SameUnit(inputs, widths[3]), SameUnit(widths[3], widths[4], 3)
        self.b3a, self.b3b = SamePool((3, 3, 3), (1, 1, 1)), SameUnit(inputs, widths[5])

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, dim=1)


class I3D(nn.Sequential):
    """[B,3,F,S,S] in [-1,1] -> maps [B,1024,T,H,W], T = ceil(F / 8) and H = ceil(S / 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("Conv3d_1a_7x7", SameUnit(3, 64, 7, 2))
        self.add_module("MaxPool3d_2a_3x3", SamePool((1, 3, 3), (1, 2, 2)))
        self.add_module("Conv3d_2b_1x1", SameUnit(64, 64))
        self.add_module("Conv3d_2c_3x3", SameUnit(64, 192, 3))
        self.add_module("MaxPool3d_3a_3x3", SamePool((1, 3, 3), (1, 2, 2)))
        for name, (inputs, widths) in MIXED.items():
            if name == "4b":
                self.add_module("MaxPool3d_4a_3x3", SamePool((3, 3, 3), (2, 2, 2)))
            if name == "5b":
                self.add_module("MaxPool3d_5a_2x2", SamePool((2, 2, 2), (2, 2, 2)))
            self.add_module(f"Mixed_{name}", Mixed(inputs, widths))
