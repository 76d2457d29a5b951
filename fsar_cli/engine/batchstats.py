"""Running statistics of batch norms that several processes gather, as one process would have gathered them.

In training a batch norm normalises each call by the call's own statistics, so an episode's loss and gradients do not
depend on who computes which episode. Its running statistics do: with momentum m they move by every call, in order,

    r <- (1 - m) r + m b                                            b: statistics of the call

which is linear in r: after the calls of episodes 0..n-1 it is (1 - m)^calls r_0 and, of each episode, what its calls
would add to zero, times (1 - m) to the power of the calls behind it. So each process begins at zero, adds its own
episodes, lets the others' pass as so many calls, and the sum of all is the value of one process, but for rounding.
"""

import torch
from torch import nn

from fsar_cli.core.layers.checkpointing import NORMS
from fsar_cli.ranks import Ranks


class RunningStatistics:
    """Of all batch norms of a method that train; between `part` and `join` their buffers hold this process's part."""

    def __init__(self, method: nn.Module, ranks: Ranks) -> None:
        self.ranks = ranks
        self.norms = [] if ranks.alone else [m for m in method.modules() if isinstance(m, NORMS) and _gathers(m)]
        self._base: list[torch.Tensor] = []
        self._own = self._passed = 0

    @property
    def joined(self) -> bool:
        """Whether the buffers hold the whole, and training that goes on is to `part` first."""
        return not self._base

    def own(self) -> None:
        """The next episode is this process's own."""
        self._let_pass()
        self._own += 1

    def pass_over(self) -> None:
        """The next episode is another's."""
        self._passed += 1

    @torch.no_grad()
    def part(self) -> None:
        """Begin a part at zero."""
        self._base = [t.clone() for norm in self.norms for t in _buffers(norm)]
        self._own = self._passed = 0
        for norm in self.norms:
            for tensor in _buffers(norm):
                tensor.zero_()

    @torch.no_grad()
    def join(self) -> None:
        """Put the parts of all processes together; each then has the whole."""
        if not self._base:
            return
        self._let_pass()
        self.ranks.add([t for norm in self.norms for t in _buffers(norm)[:2]])
        self.ranks.add([norm.num_batches_tracked for norm in self.norms])
        before, self._base = iter(self._base), []
        for norm in self.norms:
            mean, variance, calls = _buffers(norm)
            left = (1 - norm.momentum) ** calls.double()
            mean += (left * next(before)).to(mean)
            variance += (left * next(before)).to(variance)
            calls += next(before)

    @torch.no_grad()
    def _let_pass(self) -> None:
        for norm in self.norms if self._own and self._passed else ():
            mean, variance, calls = _buffers(norm)
            left = (1 - norm.momentum) ** (calls.double() / self._own * self._passed)  # calls of an episode are as many
            mean *= left.to(mean)
            variance *= left.to(variance)
        self._passed = 0


def _gathers(norm: nn.Module) -> bool:
    """Whether it has running statistics of its own; those of SyncBatchNorm are the same everywhere."""
    plain = norm.training and norm.track_running_stats and norm.momentum is not None
    return plain and norm.running_mean is not None and not isinstance(norm, nn.SyncBatchNorm)


def _buffers(norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return norm.running_mean, norm.running_var, norm.num_batches_tracked
