"""Batch norms folded into the convolutions before them: the same maps with a pass less over each of them.

In evaluation a batch norm multiplies and shifts each channel by constants, so the convolution's own weights and bias
can do it. What is folded is a copy that lives as long as the block in which it is used: names, weights and training
stay what they are. A map differs by float32 rounding (1e-6 of its largest value).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from fsar_cli.core.method import FewShotMethod


@contextmanager
def folded(method: FewShotMethod) -> Iterator[None]:
    """Inside, backbones in evaluation mode run with folded batch norms, as their weights are now."""
    backbones = method.features.backbones()
    try:
        for backbone in backbones:
            backbone.folded = _folded(backbone.trunk)
        yield
    finally:
        for backbone in backbones:
            backbone.folded = None


def _folded(trunk: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """None where there is nothing to fold, or the trunk cannot be traced (it decides by what it computes)."""
    if trunk.training or not any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules()):
        return None
    try:
        return fuse(trunk).forward  # a method, not a module: a second module would be saved with the first
    except Exception:  # torch.fx raises of many kinds
        return None
