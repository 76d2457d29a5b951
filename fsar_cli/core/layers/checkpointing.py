"""Activation checkpointing: less memory for one more forward.

    Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.

`checkpointed` keeps only the inputs of a trunk's blocks; each block runs again in the backward pass, on the whole
batch, so batch normalisation normalises with the statistics it had, and the gradients are the plain ones.

`in_micro_batches` runs a whole branch on a few clips at a time, forward and again backward, and needs the activations
of these few. Batch statistics in training are then those of a micro-batch: gradients are the plain ones only where
they are frozen.

The second run never counts for running statistics, and repeats the random draws of the first.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

NORMS = nn.modules.batchnorm._BatchNorm


def blocks(trunk: nn.Module) -> list[nn.Module]:
    """A trunk as parts that run one after the other.

    Sequences inside it are taken apart; layers between blocks, such as a stem's, make one part together.
    """
    if not isinstance(trunk, nn.Sequential):
        return [trunk]
    flat = [block for part in trunk for block in (part if isinstance(part, nn.Sequential) else [part])]
    parts: list[nn.Module] = []
    for is_layer, group in groupby(flat, lambda module: not any(module.children())):
        members = list(group)
        parts += [nn.Sequential(*members)] if is_layer else members
    return parts


def checkpointed(trunk: nn.Module, x: Tensor) -> Tensor:
    """`trunk(x)`, of which the backward pass computes again what lies inside the blocks."""
    for block in blocks(trunk):
        x = checkpoint(block, x, use_reentrant=False, context_fn=partial(_first_and_second_run, block))
    return x


def in_micro_batches(
    branch: nn.Module,
    run: Callable[[Tensor, torch.Generator | None], dict[str, Tensor]],
    clips: Tensor,
    size: int,
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    """`run(clips, generator)` in groups of `size` clips, each computed again in the backward pass.

    Args:
        branch: the module that `run` runs.
        run: clips [b,...] -> tensors [b,...] by name.
        clips: [B,...].

    Returns:
        tensors [B,...] by name.
    """
    names: list[str] = []

    def unnamed(some: Tensor) -> tuple[Tensor, ...]:  # what is checkpointed takes and gives tensors
        tensors = run(some, generator)
        names[:] = tensors
        return tuple(tensors.values())

    groups = []
    for some in clips.split(size):
        state = None if generator is None else generator.get_state()
        context = partial(_first_and_second_run, branch, state, generator)
        groups.append(checkpoint(unnamed, some, use_reentrant=False, context_fn=context))
    return {name: torch.cat(parts) for name, parts in zip(names, zip(*groups, strict=True), strict=True)}


def _first_and_second_run(
    block: nn.Module, state: Tensor | None = None, generator: torch.Generator | None = None
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _second_run(block, state, generator)


@contextmanager
def _second_run(block: nn.Module, state: Tensor | None, generator: torch.Generator | None) -> Iterator[None]:
    if generator is None or state is None:
        with _running_statistics_kept(block):
            yield
        return
    now = generator.get_state()
    generator.set_state(state)
    try:
        with _running_statistics_kept(block):
            yield
    finally:
        generator.set_state(now)


@contextmanager
def _running_statistics_kept(block: nn.Module) -> Iterator[None]:
    norms = [module for module in block.modules() if isinstance(module, NORMS) and module.training]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # Not `track_running_stats = False`: that would change nothing in training but is read elsewhere.
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, batches in kept:
            norm.momentum, norm.num_batches_tracked = momentum, batches
