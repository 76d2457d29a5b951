"""What training writes while it runs: metrics.csv and, with the extra installed, TensorBoard.

`waiting` is the share of time that training waited for the loader. On a GPU it is an upper bound of the time that the
GPU was idle for want of frames: the host waits while the GPU still computes.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pandas as pd
from torch import Tensor

from fsar_cli.core.method import BOXES, SATURATED, Encoded
from fsar_cli.engine.motion import region_statistics
from fsar_cli.files import atomic

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


class TrainingLog:
    """Figures of episodes, averaged over windows of `train.log_every`; its state is part of a checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self.window: list[Row] = []
        self._board = None

    def add(self, figures: Row) -> None:
        """The figures of one episode; not every episode needs all of them. `seconds` and `waited` of it are a share."""
        self.window.append(figures)

    def close_window(self, step: int) -> None:
        """Average what was added since the last call into the row of `step`."""
        means = pd.DataFrame(self.window).mean().to_dict()
        self.window.clear()
        if "waited" in means:
            means["waiting"] = means.pop("waited") / means["seconds"]
        self.put(step, {name: float(value) for name, value in means.items()})

    def put(self, step: int, figures: Row) -> None:
        """Add figures to the row of `step` and write the files."""
        if not self.rows or self.rows[-1]["step"] != step:
            self.rows.append({"step": step})
        self.rows[-1] |= figures
        with atomic(self.folder / "metrics.csv") as part:
            pd.DataFrame(self.rows).to_csv(part, index=False)
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
    found = region_statistics(clips, encoded[BOXES], encoded[SATURATED])
    return {
        "saturated": found.saturated,
        "region_offset": found.offset,
        "motion_region": found.motion_region,
        "motion_centre": found.motion_centre,
    }


def _tensorboard(folder: Path):
    """A TensorBoard writer where the extra is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
