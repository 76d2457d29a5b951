"""`train.compile`: the backbones' forward and backward as a compiler makes them.

A graph is made for each backbone and each input that training has (support, query, or both in one call; every side of
the regions), and tried forwards and backwards before training begins, so a compiler that is missing or fails is noticed
there and then. Evaluation, whose batches have other sizes, runs the plain network.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.backbones.backbone import Backbone
from fsar_cli.core.method import FewShotMethod
from fsar_cli.engine.device import autocast
from fsar_cli.engine.steps import clips_per_call, statistics_kept
from fsar_cli.reporting import Reporter


def compile_backbones(
    method: FewShotMethod, config: Config, device: torch.device, reporter: Reporter, backend: str = "inductor"
) -> bool:
    """Compile the backbones of a method that is in its place and in training mode; whether all of it worked.

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
    reporter.log("compiling the backbones")
    sides = [(config.clip.size,), config.model.region.sides]
    try:
        for backbone, own in zip(backbones, sides, strict=False):
            # Whole frames need no gradient; crops do where the relation chose them, and do not where chance did.
            gradients = [False] if backbone is backbones[0] else [False, True]
            inputs = list(product(clips_per_call(method, config), own, gradients))
            backbone.compiled = _compiled(backbone.trunk, len(inputs), backend)
            for clips, side, gradient in inputs:
                some = torch.rand(clips * config.clip.frames, 3, backbone.side or side, backbone.side or side)
                layout = torch.channels_last if backbone is backbones[0] else torch.contiguous_format
                some = some.to(device, memory_format=layout).requires_grad_(gradient).unflatten(0, (clips, -1))
                _try(method, backbone, some, config.train.amp)
    except Exception as error:  # of many kinds: no compiler, an operation it does not know, a bug of its own
        for backbone in backbones:
            backbone.compiled = None
        cause = getattr(error, "inner_exception", error)
        reason = next(iter(str(cause).strip().splitlines()), "")
        reporter.warn(f"train.compile: the backbones run as they are ({type(cause).__name__}: {reason})")
        return False
    return True


def _compiled(trunk: nn.Module, graphs: int, backend: str) -> Callable[[Tensor], Tensor]:
    """The trunk compiled as a whole: what cannot be is an error, where Dynamo alone would run it plainly."""

    def run(frames: Tensor) -> Tensor:  # not a module: a second one with the same parameters would be saved twice
        return trunk(frames)

    # Dynamo counts graphs by code object, and makes 8 of one: each trunk gets its own, with room for all its inputs.
    run.__code__ = run.__code__.replace()
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, 2 * graphs)
    return torch.compile(run, fullgraph=True, dynamic=False, backend=backend)


def _try(method: FewShotMethod, backbone: Backbone, clips: Tensor, amp: str) -> None:
    """A forward and backward as in an episode, which leaves no trace."""
    with statistics_kept(method):
        with autocast(clips.device, amp):
            maps = backbone(clips)
        if maps.requires_grad:
            maps.float().square().mean().backward()
