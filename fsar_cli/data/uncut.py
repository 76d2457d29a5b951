"""Clips on their way to the device: the frames as they were read, and the square each clip is to be cut to.

Videos differ in width and height, so the frames of a batch lie end to end in one flat buffer, which is one piece of
memory from the loader process to pinned memory to the device. There a clip is a view of the buffer, and its crop one
strided copy (and a mirror image where it was drawn) into the batch [B,T,S,S,3].
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fsar_cli.data.transforms import Crop


@dataclass(frozen=True)
class UncutClips:
    """B clips of T frames, on one device."""

    pixels: Tensor
    """uint8 [n]: the frames [T,h,w,3] of each clip, one clip after the other."""
    shapes: tuple[tuple[int, int, int, int], ...]
    """(T, h, w, 3) of each clip; T is the same for all."""
    crops: tuple[Crop, ...]
    """Where each clip is cut; the side is the same for all."""

    @staticmethod
    def pack(clips: list[tuple[np.ndarray, Crop]]) -> "UncutClips":
        """Lay frames uint8 [T,h,w,3] end to end."""
        pixels = torch.empty(sum(frames.size for frames, _ in clips), dtype=torch.uint8)
        room, start = pixels.numpy(), 0
        for frames, _ in clips:
            room[start : start + frames.size].reshape(frames.shape)[...] = frames
            start += frames.size
        return UncutClips(pixels, tuple(frames.shape for frames, _ in clips), tuple(crop for _, crop in clips))

    def __len__(self) -> int:
        return len(self.shapes)

    def pin_memory(self) -> "UncutClips":
        """A copy from which a GPU fetches by itself."""
        return replace(self, pixels=self.pixels.pin_memory())

    def to(self, device: torch.device) -> "UncutClips":
        """On the device, in one transfer that from pinned memory nobody waits for."""
        return replace(self, pixels=self.pixels.to(device, non_blocking=True))

    def cut(self) -> Tensor:
        """The clips after crop and flip, uint8 [B,T,S,S,3], made where the frames are."""
        frames, side = self.shapes[0][0], self.crops[0].side
        clips = self.pixels.new_empty(len(self), frames, side, side, 3)
        parts = self.pixels.split([int(np.prod(shape)) for shape in self.shapes])
        for clip, part, shape, crop in zip(clips, parts, self.shapes, self.crops, strict=True):
            crop.copy_to(clip, part.view(shape))
        return clips
