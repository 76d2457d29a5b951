"""`train.compile`: the backbones' forward and backward as a compiler makes them.

A graph is made for each size of batch that training has (support, query, or both in one call) and each backbone, and
tried forwards and backwards before training begins, so a compiler that is missing or fails is noticed there and then.
Evaluation, whose batches have other sizes, runs the plain network. Names of parameters stay what they are.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.backbones.image import Backbone
from fsar_cli.core.method import FewShotMethod
from fsar_cli.engine.device import autocast
from fsar_cli.engine.steps import clips_per_call, statistics_kept
from fsar_cli.reporting import Reporter


def compile_backbones(
    method: FewShotMethod, config: Config, device: torch.device, reporter: Reporter, backend: str = "inductor"
) -> bool:
    """Compile the backbones of a method that is in its place and in training mode; whether it worked.

    Args:
        backend: of torch.compile.
    """
    backbones = method.features.backbones()
    if method.micro_batch or any(backbone.checkpointing for backbone in backbones):
        reporter.warn("train.compile: not with activations that are computed twice (train.memory_budget)")
        return False
    if method.features.wrapped:
        reporter.warn(f"train.compile: not with {config.model.method}, which takes backbones apart into stages")
        return False
    sides = [(config.clip.size,), config.model.region.sides]
    reporter.log("compiling the backbones")
    try:
        for backbone, own in zip(backbones, sides, strict=False):
            backbone.compiled = _compiled(backbone.trunk, backend)
            for clips, side in product(clips_per_call(method, config), own):
                frames = torch.rand(clips * config.clip.frames, 3, side, side, device=device)
                _try(method, backbone, frames, config)
    except Exception as error:  # of many kinds: no compiler, an operation it does not know, a bug of its own
        for backbone in backbones:
            backbone.compiled = None
        cause = getattr(error, "inner_exception", error)
        reason = next(iter(str(cause).strip().splitlines()), "")
        reporter.warn(f"train.compile: the backbones run as they are ({type(cause).__name__}: {reason})")
        return False
    return True


def _compiled(trunk: nn.Module, backend: str) -> Callable[[Tensor], Tensor]:
    def run(frames: Tensor) -> Tensor:
        return trunk(frames)

    # A function, not a module: a second module with the same parameters would be saved twice.
    return torch.compile(run, dynamic=False, backend=backend)


def _try(method: FewShotMethod, backbone: Backbone, frames: Tensor, config: Config) -> None:
    """Run as in an episode: the whole frames need no gradient; crops do where the relation chose them, else not."""
    first = backbone is method.features.backbones()[0]
    frames = frames.to(memory_format=torch.channels_last if first else torch.contiguous_format)
    choices = [False] if first else [False, True]
    for needs_gradient in choices:
        with statistics_kept(method):
            with autocast(frames.device, config.train.amp):
                maps = backbone(frames.requires_grad_(needs_gradient))
            if maps.requires_grad:
                maps.float().square().mean().backward()
