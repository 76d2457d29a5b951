"""Frames -> the square clip a network sees: crop and flip on uint8, then scaling and normalisation, on any device.

Coordinates: a `Crop` is in pixels of the resized frame; boxes in [0,1] are relative to the crop.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from fsar_cli.recipes import Normalization

Frames = TypeVar("Frames", np.ndarray, Tensor)


@dataclass(frozen=True)
class Crop:
    """A square cut from every frame of a clip."""

    x: int
    y: int
    side: int
    flip: bool = False

    def window(self, frames: Frames) -> Frames:
        """[T,h,w,3] -> the view [T,side,side,3] inside the crop, not yet mirrored."""
        return frames[:, self.y : self.y + self.side, self.x : self.x + self.side]

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [T,h,w,3] -> contiguous uint8 [T,side,side,3]."""
        cut = self.window(frames)
        return np.ascontiguousarray(cut[:, :, ::-1] if self.flip else cut)

    def in_source(self, resized: tuple[int, int], source: tuple[int, int]) -> tuple[float, float, float, float]:
        """The crop as xyxy in source pixels.

        Args:
            resized, source: (width, height) of the resized and of the original frame.
        """
        sx, sy = source[0] / resized[0], source[1] / resized[1]
        return self.x * sx, self.y * sy, (self.x + self.side) * sx, (self.y + self.side) * sy


def centre_crop(width: int, height: int, side: int) -> Crop:
    """The middle of the frame (testing)."""
    return Crop((width - side) // 2, (height - side) // 2, side)


def random_crop(width: int, height: int, side: int, flip: bool, rng: np.random.Generator) -> Crop:
    """One random position and, with `flip`, a mirror image half of the time, the same for all frames of a clip."""
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    return Crop(x, y, side, flip and bool(rng.random() < 0.5))


@dataclass(frozen=True)
class UncutClips:
    """B clips of T frames on their way to the device: the frames as they were read, and the square each is cut to.

    Videos differ in width and height, so the frames of all clips lie end to end in one flat buffer, which is one piece
    of memory from the loader process to pinned memory to the device. There a clip is a view of the buffer, and its crop
    one strided copy (and a mirror image where it was drawn) into the batch.
    """

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
            window = crop.window(part.view(shape))
            clip.copy_(window.flip(2) if crop.flip else window)
        return clips


def to_float(clips: Tensor, normalization: Normalization | None) -> Tensor:
    """uint8 [B,T,S,S,3] -> float32 [B,T,3,S,S] on the same device, in [0,1] or normalised.

    The memory stays channels-last, which is what convolutions want.
    """
    side = clips.shape[-2]
    rows = clips.flatten(-2).float().div_(255)  # [B,T,S,S*3]: arithmetic on long rows, not on three numbers at a time
    if normalization is not None:
        mean, deviation = _statistics(normalization, clips.device, side)
        rows.sub_(mean).div_(deviation)
    pixels: Tensor = rows.unflatten(-1, (side, 3))
    return pixels.permute(0, 1, 4, 2, 3)


@lru_cache(maxsize=64)
def _statistics(normalization: Normalization, device: torch.device, side: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation along a row of pixels, [S*3]; kept, since numbers sent to a GPU make it wait."""
    with torch.inference_mode(False):
        mean, deviation = torch.tensor(normalization.mean), torch.tensor(normalization.deviation)
    return mean.repeat(side).to(device), deviation.repeat(side).to(device)
