"""Activation checkpointing of a trunk: less memory for one more forward, and the same gradients.

    Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.

Only the inputs of a trunk's blocks are kept; each block runs again in the backward pass, on the whole batch, so batch
normalisation normalises with the statistics it had. The second run must not count for the running statistics.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import groupby

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
    parts = []
    for is_layer, group in groupby(flat, lambda module: not any(module.children())):
        found = list(group)
        parts += [nn.Sequential(*found)] if is_layer else found
    return parts


def checkpointed(trunk: nn.Module, x: Tensor) -> Tensor:
    """`trunk(x)`, of which the backward pass computes again what lies inside the blocks."""
    for block in blocks(trunk):
        x = checkpoint(block, x, use_reentrant=False, context_fn=partial(_first_and_second_run, block))
    return x


def _first_and_second_run(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    return nullcontext(), _running_statistics_kept(block)


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
