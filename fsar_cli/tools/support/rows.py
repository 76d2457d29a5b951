"""The clips of a check, one row each, those to look at first."""

import math
from dataclasses import dataclass

import numpy as np

from fsar_cli.tools.support.check import Report
from fsar_cli.tools.support.flags import Flag

UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Row:
    """One clip; None: not known (alone in its class, or unreadable)."""

    cls: str
    video: str
    margin: float | None
    recognised: float | None
    """Share of draws in which it was recognised as its class."""
    nearest: str | None
    """The other class it is most like."""
    influence: float | None
    influence_error: float | None
    flags: tuple[Flag, ...]
    position: int | None
    """In the pool."""

    @property
    def kinds(self) -> str:
        """Its flags in a word each."""
        return ", ".join(dict.fromkeys(flag.kind for flag in self.flags))

    @property
    def details(self) -> str:
        """What the flags say."""
        return "; ".join(flag.detail for flag in self.flags)


def rows(report: Report) -> list[Row]:
    """All clips: those that cannot be read, then by margin, the worst first, then those without one."""
    pool, scored = report.pool, report.scored
    lost = [
        Row(cls, video, None, None, None, None, None, (Flag(UNREADABLE, reason),), None)
        for video, (cls, reason) in sorted(pool.unreadable.items())
    ]
    order = np.argsort(scored.margins, kind="stable")  # NaN last
    return lost + [_row(report, int(i)) for i in order]


def _row(report: Report, i: int) -> Row:
    pool, scored, effect = report.pool, report.scored, report.influence
    return Row(
        pool.classes[pool.labels[i]], pool.videos[i], known(scored.margins[i]), known(scored.own_share[i]),
        pool.classes[scored.rivals[i]], known(effect.mean[i]), known(effect.error[i]), tuple(scored.flags[i]), i,
    )  # fmt: skip


def known(value: float) -> float | None:
    """The value, None for NaN."""
    return None if math.isnan(value) else float(value)
