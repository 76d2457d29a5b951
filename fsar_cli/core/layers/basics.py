"""What every layer needs: precision, dropout, positions, and the check of a clip's length."""

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from fsar_cli.errors import UsageError

Kind = TypeVar("Kind", bound=nn.Module)


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision -> float32; float32 and float64 stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Autocast off, on the device of a tensor; nothing where it is off already, as an exporter knows no such switch."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def added(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of one tensor or more."""
    first, *others = tensors
    return sum(others, first)


def named(modules: Mapping[str, Kind]) -> Mapping[str, Kind]:
    """Modules of one kind, as a part of the module that keeps them."""
    # An nn.ModuleDict has what a mapping has, but its type does not say of which kind of module.
    return cast(Mapping[str, Kind], nn.ModuleDict(modules))


def check_frames(part: str, wanted: int, given: int) -> None:
    """Refuse clips of another length than the one a part was built (and trained) for.

    Raises:
        UsageError: they differ.
    """
    if given != wanted:
        raise UsageError(
            f"{part} was built for clips of {wanted} frames, not {given}",
            "a checkpoint evaluates only at the clip.frames it was trained with",
        )


def middle_frames(frames: int, steps: int) -> slice:
    """Which of F frames stand for the T steps: the middle one of the F / T that make a step."""
    step = frames // steps
    return slice(step // 2, None, step)


def dropout(x: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Inverted dropout whose randomness is passed in."""
    kept = torch.rand(x.shape, device=x.device, generator=generator) >= probability
    return x * kept.to(x.dtype) / (1 - probability)


def position_encoding(tokens: int, dim: int) -> Tensor:
    """Sinusoidal position encoding [T,D] (Vaswani et al., 2017): sine on even features, cosine on odd ones."""
    rates = torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * (-math.log(10_000.0) / dim))
    angles = torch.arange(tokens, dtype=torch.float64).unsqueeze(1) * rates  # [T, ceil(D/2)]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(tokens, -1)[:, :dim].float()


class AddPositions(nn.Module):
    """Adds the position encoding, times a scale, to tokens; then dropout in training. No parameters, nothing saved."""

    encoding: Tensor

    def __init__(self, tokens: int, dim: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.register_buffer("encoding", scale * position_encoding(tokens, dim), persistent=False)

    def forward(self, tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[...,L,D] -> [...,L,D], of at most as many tokens as it was built for."""
        x = tokens + self.encoding[: tokens.shape[-2]].to(tokens.dtype)
        return dropout(x, self.dropout, generator) if self.training and self.dropout else x
