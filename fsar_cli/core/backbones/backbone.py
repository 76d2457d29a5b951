"""The contract of every backbone: clips [B,F,3,h,w] -> maps [B,T,C,H,W].

F is `clip.frames`, what is read; T is the steps, what everything behind counts. A network of images sees each frame
alone and has T = F; a network of video sees the clip, and F / T frames make a step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torchvision.ops import Permute

from fsar_cli.core.layers.checkpointing import checkpointed
from fsar_cli.errors import UsageError

LARGE = 512  # pixels a side that are enough for any network

Result = TypeVar("Result")


class MapShape(NamedTuple):
    """Of the maps of a clip."""

    steps: int
    channels: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Stage:
    """The last map of one resolution."""

    end: int
    """Parts of the trunk (`parts`) that have run when it is there."""
    channels: int
    side: int


class ClipMaps(nn.Module):
    """What makes maps of clips: a backbone, or what a method puts around one."""

    dim: int
    """C of the maps."""


class Backbone(ClipMaps):
    """A trunk, and how it runs; the vector of a step is the mean of its map (global average pooling)."""

    memory_format = torch.channels_last
    """Of its convolutions' weights, where `train.channels_last` is on."""
    side: int | None = None
    """Pixels a side that it takes; None: any."""
    library: str = ""
    """What computes the maps besides torch and this project, with its version and whatever weights do not say."""

    def __init__(self, trunk: nn.Module, dim: int, name: str = "") -> None:
        """
        Args:
            trunk: module that maps what `enter` gives to what `leave` takes.
            dim: C.
        """
        super().__init__()
        self.trunk, self.dim, self.name = trunk, dim, name
        self.checkpointing = False
        """Training keeps the inputs of blocks only and runs them again in the backward pass (`checkpointing`)."""
        self.compiled: Callable[[Tensor], Tensor] | None = None
        """The trunk as a compiler made it, for training only; None: there is none."""
        self.folded: Callable[[Tensor], Tensor] | None = None
        """The trunk with folded batch norms, for evaluation only (`engine.device.folded`); None: there is none."""

    def enter(self, clips: Tensor) -> Tensor:
        """[B,F,3,h,w] -> what the trunk takes."""
        raise NotImplementedError

    def leave(self, maps: Tensor, clips: int) -> Tensor:
        """What the trunk makes of B `clips` -> [B,T,C,H,W]."""
        raise NotImplementedError

    def forward(self, clips: Tensor) -> Tensor:
        """[B,F,3,h,w] -> maps [B,T,C,H,W]."""
        return self.leave(self._run(self.enter(clips)), clips.shape[0])  # len() would fix an exporter's batch

    def _run(self, x: Tensor) -> Tensor:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpointed(self.trunk, x)
        if self.compiled is not None and torch.is_grad_enabled():
            return self.compiled(x)
        if self.folded is not None and not self.training and not torch.is_grad_enabled():
            return self.folded(x)
        maps: Tensor = self.trunk(x)
        return maps

    def check_frames(self, frames: int) -> None:
        """Refuse clips of a length that the network cannot take. Raises UsageError."""

    def shape(self, frames: int, side: int) -> MapShape:
        """Of the maps of clips of `frames` frames of `side` x `side` pixels; nothing is computed.

        Raises:
            UsageError: the network does not take them.
        """
        self.check_frames(frames)
        if self.side not in (None, side):
            raise UsageError(
                f"the backbone '{self.name}' takes inputs of {self.side} x {self.side} pixels, not {side} x {side}",
                f"--set clip.size={self.side}, with a clip.short_side of at least that",
            )
        return self._tried(side, lambda length: MapShape(*self._meta(frames, length)))

    def _meta(self, frames: int, side: int) -> torch.Size:
        """[T,C,H,W], from tensors without content."""
        state = {n: t.to("meta") for n, t in (*self.trunk.named_parameters(), *self.trunk.named_buffers())}
        clip = torch.zeros(1, frames, 3, side, side, device="meta", dtype=next(self.parameters()).dtype)
        with torch.no_grad():
            return self.leave(functional_call(self.trunk, state, (self.enter(clip),)), 1).shape[1:]

    def stages(self, input_side: int, count: int = 4) -> list[Stage]:
        """The last `count` stages of the trunk, found with a square input (fewer where it has fewer).

        Raises:
            UsageError: an input too small for the network.
        """
        raise NotImplementedError

    def maps(self, clips: Tensor, stages: Sequence[Stage]) -> list[Tensor]:
        """[B,F,3,h,w] -> the maps [B,T,C,H,W] at the ends of `stages`, which may be those of another input side.

        What a compiler made of the trunk gives the last map alone; it has no part in this.
        """
        raise NotImplementedError

    def _tried(self, side: int, run: Callable[[int], Result]) -> Result:
        """What `run` gives for a side, in evaluation mode; the network is left as it was.

        Raises:
            UsageError: it fails, but does not with a side that is large enough for any network.
        """
        modes = {module: module.training for module in self.modules()}
        try:
            self.eval()
            with torch.no_grad():
                return run(side)
        except RuntimeError as error:
            with torch.no_grad():
                run(self.side or LARGE)  # a fault other than the size comes through here
            raise UsageError(
                f"{side} x {side} pixels are too few for the backbone '{self.name}'",
                "make clip.size or model.region.side larger, or use another model.backbone",
            ) from error
        finally:
            for module, mode in modes.items():
                module.training = mode


class FrameBackbone(Backbone):
    """A network of images: each frame alone, T = F; its trunk maps [B*F,3,h,w] -> [B*F,C,H,W]."""

    def enter(self, clips: Tensor) -> Tensor:
        return clips.flatten(0, 1)

    def leave(self, maps: Tensor, clips: int) -> Tensor:
        of_clips: Tensor = maps.unflatten(0, (clips, -1))
        return of_clips

    def stages(self, input_side: int, count: int = 4) -> list[Stage]:
        """A stage ends where the side of the map falls by a quarter or more; a convolution without padding, which takes
        off a cell or two, ends none.
        """
        black = next(self.parameters()).new_zeros(1, 3, 1, 1)
        ends = self._tried(input_side, lambda side: self._ends(black.expand(1, 3, side, side)))
        last = [stage for stage, following in pairwise(ends) if 4 * following.side <= 3 * stage.side]
        return [*last, ends[-1]][-count:]

    def _ends(self, x: Tensor) -> list[Stage]:
        """[B,3,h,w] -> the map at the end of every part of the trunk, where it is one."""
        return [
            Stage(end, *self._plain(x, end).shape[1:3])
            for end, part in enumerate(parts(self.trunk), 1)
            if (x := part(x)).ndim == 4
        ]

    def maps(self, clips: Tensor, stages: Sequence[Stage]) -> list[Tensor]:
        steps, x, start, maps = parts(self.trunk), self.enter(clips), 0, []
        thrifty = self.checkpointing and self.training and torch.is_grad_enabled()
        for stage in stages:
            segment = nn.Sequential(*steps[start : stage.end])
            x = checkpointed(segment, x) if thrifty else segment(x)
            maps.append(self.leave(self._plain(x, stage.end), clips.shape[0]))
            start = stage.end
        return maps

    def _plain(self, x: Tensor, end: int) -> Tensor:
        """What is there after `end` parts, as a map [B,C,H,W]; Swin transformers work on [B,H,W,C] up to their end."""
        steps = parts(self.trunk)
        return steps[-1](x) if isinstance(steps[-1], Permute) and end < len(steps) else x


class ClipBackbone(Backbone):
    """A network of video; its trunk maps [B,3,F,h,w] -> [B,C,T,H,W]."""

    memory_format = torch.channels_last_3d

    def __init__(
        self, trunk: nn.Module, dim: int, name: str = "", *, step: int = 1, only: int | None = None,
        side: int | None = None,
    ) -> None:  # fmt: skip
        """
        Args:
            step: F / T, of which F is a multiple.
            only: the one number of frames that it takes; None: any multiple of `step`.
            side: the one side; None: any.
        """
        super().__init__(trunk, dim, name)
        self.step, self.only, self.side = step, only, side

    def enter(self, clips: Tensor) -> Tensor:
        return clips.transpose(1, 2)

    def leave(self, maps: Tensor, clips: int) -> Tensor:
        return maps.transpose(1, 2)

    def check_frames(self, frames: int) -> None:
        if self.only not in (None, frames):
            raise UsageError(
                f"the backbone '{self.name}' takes clips of {self.only} frames, not {frames}",
                f"--set clip.frames={self.only}",
            )
        if frames % self.step:
            below, above = frames // self.step * self.step, -(-frames // self.step) * self.step
            near = f"{below} or {above}" if below else str(above)
            raise UsageError(
                f"the backbone '{self.name}' makes a step of {self.step} frames: clips of {frames} do not fit",
                f"--set clip.frames={near}, or another multiple of {self.step}",
            )

    def stages(self, input_side: int, count: int = 4) -> list[Stage]:
        """One: those before the last have other steps, too."""
        frames = self.only or self.step
        shape = self.shape(frames, input_side)
        return [Stage(len(parts(self.trunk)), shape.channels, shape.rows)]

    def maps(self, clips: Tensor, stages: Sequence[Stage]) -> list[Tensor]:
        return [self(clips)]


def parts(trunk: nn.Module) -> list[nn.Module]:
    """A trunk as modules that run one after the other, all sequences inside it taken apart."""
    if not isinstance(trunk, nn.Sequential) or type(trunk).forward is not nn.Sequential.forward:
        return [trunk]
    return [part for module in trunk for part in parts(module)]
