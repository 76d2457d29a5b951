"""What came of the episodes that were sent to the device, read when nobody has to wait for it.

On a GPU the losses are read an episode late; before anything is written, all of them are.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fsar_cli.engine.metrics import Row, TrainingLog
from fsar_cli.errors import DataError


@dataclass
class Outcome:
    """An episode whose figures have not been read yet."""

    index: int
    figures: Tensor
    """[2]: loss, accuracy; on the device."""
    row: Row
    """The figures that are known already."""


class Outcomes:
    """Takes outcomes in order and passes their figures to the log."""

    def __init__(self, log: TrainingLog, late: bool) -> None:
        """
        Args:
            late: leave the last one unread, which the device may still be at.
        """
        self.log, self.late = log, late
        self.unread: list[Outcome] = []
        self.running: Row = {}
        """Loss and accuracy of the last episode that was read."""
        self._seconds = self._waited = 0.0

    def add(self, index: int, loss: Tensor, accuracy: Tensor, row: Row) -> None:
        """Take the outcome of an episode.

        Args:
            row: what is known of it, `seconds` and `waited` at least.

        Raises:
            DataError: as `read`.
        """
        self._seconds, self._waited = self._seconds + row["seconds"], self._waited + row["waited"]
        self.unread.append(Outcome(index, torch.stack([loss.detach(), accuracy]), row))
        self._read(all_but=int(self.late))

    def read(self) -> None:
        """Read all that were taken.

        Raises:
            DataError: a loss is not finite.
        """
        self._read(0)

    def _read(self, all_but: int) -> None:
        while len(self.unread) > all_but:
            outcome = self.unread.pop(0)
            loss, accuracy = outcome.figures.tolist()
            if not math.isfinite(loss):
                raise DataError(
                    f"the loss became {loss} at episode {outcome.index}",
                    "lower optim.lr, set optim.clip_norm=10, or train.amp=off",
                )
            self.running = {"loss": loss, "accuracy": accuracy}
            self.log.add(self.running | outcome.row)

    @property
    def waiting(self) -> float:
        """Share of the episodes' time that was spent waiting for the loader."""
        return self._waited / self._seconds if self._seconds else 0.0
