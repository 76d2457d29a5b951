"""What training writes while it runs: metrics.csv and, with the extra installed, TensorBoard.

`waiting` is the share of time that training waited for the loader. On a GPU it is an upper bound of the time that the
GPU was idle for want of frames: the host waits while the GPU still computes.
"""

import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from torch import Tensor

from fsar_cli.core.method import BOXES, SATURATED, Encoded
from fsar_cli.engine.motion import region_statistics
from fsar_cli.errors import DataError
from fsar_cli.files import write_whole

DIVERGED = "lower optim.lr, set optim.clip_norm=10, or train.amp=off"

Row = dict[str, float]
Item = TypeVar("Item")


def waits(items: Iterable[Item]) -> Iterator[tuple[Item, float]]:
    """Each item, and the seconds that getting it took."""
    iterator = iter(items)
    while True:
        started = time.monotonic()
        try:
            item = next(iterator)
        except StopIteration:
            return
        yield item, time.monotonic() - started


class DivergedError(DataError):
    """The loss of an episode is not finite."""

    def __init__(self, loss: float, episode: int) -> None:
        super().__init__(f"the loss became {loss} at episode {episode}", DIVERGED)
        self.episode = episode


class TrainingLog:
    """Figures of episodes, averaged over windows of `train.log_every`; `rows` and `window` are part of a checkpoint."""

    def __init__(self, folder: Path, late: bool = False, writes: bool = True) -> None:
        """
        Args:
            late: leave the loss of the newest episode unread, which the device may still be at, until `read`.
            writes: False for a process that leaves the files to another.
        """
        self.folder, self.late, self.writes = folder, late, writes
        self.rows: list[Row] = []
        self.window: list[Row] = []
        """Figures of each `episode` since the last row."""
        self.running: Row = {}
        """Loss and accuracy of the last episode that was read."""
        self.unread: list[tuple[int, Tensor, Row]] = []
        """Episode, [2] loss and accuracy on the device, and the figures that are known already."""
        self._seconds = self._waited = 0.0
        self._board = None

    def add(self, episode: int, loss: Tensor, accuracy: Tensor, figures: Row) -> None:
        """Take what came of an episode.

        Args:
            figures: `seconds` and `waited` of it at least; not every episode needs all others.

        Raises:
            DivergedError: as `read`.
        """
        self._seconds, self._waited = self._seconds + figures["seconds"], self._waited + figures["waited"]
        self.unread.append((episode, torch.stack([loss.detach(), accuracy]), figures))
        self._read(all_but=int(self.late))

    def read(self) -> None:
        """Read what the device has not been asked for yet; before anything is written.

        Raises:
            DivergedError: a loss is not finite.
        """
        self._read(all_but=0)

    def _read(self, all_but: int) -> None:
        while len(self.unread) > all_but:
            episode, pair, figures = self.unread.pop(0)
            loss, accuracy = pair.tolist()
            if not math.isfinite(loss):
                raise DivergedError(loss, episode)
            self.running = {"loss": loss, "accuracy": accuracy}
            self.window.append({"episode": episode} | self.running | figures)

    @property
    def waiting(self) -> float:
        """Share of the episodes' time that was spent waiting for the loader."""
        return self._waited / self._seconds if self._seconds else 0.0

    def close_window(self, step: int) -> None:
        """Average what was added since the last call into the row of `step`."""
        self.read()
        if not self.writes:
            self.window.clear()
            return
        means = pd.DataFrame(self.window).drop(columns="episode", errors="ignore").mean().to_dict()
        self.window.clear()
        means["waiting"] = means.pop("waited") / means["seconds"]
        self.put(step, {name: float(value) for name, value in means.items()})

    def put(self, step: int, figures: Row) -> None:
        """Add figures to the row of `step` and write the files."""
        if not self.rows or self.rows[-1]["step"] != step:
            self.rows.append({"step": step})
        self.rows[-1] |= figures
        if not self.writes:
            return
        write_whole(self.folder / "metrics.csv", pd.DataFrame(self.rows).to_csv(index=False))
        self._board = self._board or _tensorboard(self.folder)
        for name, value in figures.items() if self._board else ():
            self._board.add_scalar(name, value, step)

    def recent(self, name: str, rows: int = 5) -> float:
        """Mean of a figure over the last rows; NaN where there is none."""
        return float(pd.DataFrame(self.rows[-rows:], columns=["step", name])[name].mean())

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()
            self._board = None


def region_figures(seen: list[tuple[Tensor, Encoded]]) -> Row:
    """Saturated share, mean offset and motion share of the regions of an episode's queries; empty without regions."""
    if not seen or BOXES not in seen[-1][1]:
        return {}
    clips, encoded = seen[-1]
    regions = region_statistics(clips, encoded[BOXES], encoded[SATURATED])
    return {
        "saturated": regions.saturated,
        "region_offset": regions.offset,
        "motion_region": regions.motion_region,
        "motion_centre": regions.motion_centre,
    }


def _tensorboard(folder: Path):
    """A TensorBoard writer where the extra is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
