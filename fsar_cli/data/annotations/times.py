"""A time as people write it -> a stretch of a video in seconds, or what is wrong with it."""

import math
import re
from dataclasses import dataclass, field

SHORTEST = 0.01
"""Seconds; no frame is that short."""
_TIME = re.compile(r"([+-]?)(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
HOW = "times are seconds or clock times, as in 90.5 or 0:01:30.5"


@dataclass(frozen=True, order=True)
class Segment:
    """A stretch of a video."""

    start: float
    """Seconds since the video's first frame."""
    end: float
    """The first moment that is no longer of it."""
    at: str = field(default="", compare=False)
    """Where it is written, such as `a.csv, row 3`."""

    def __str__(self) -> str:
        return f"{self.start:g}-{self.end:g} s"


def seconds(value: object, rate: float, first: int = 0) -> float:
    """A time as written in seconds, of a number so many to the second from `first` on; NaN for anything else.

    Read are numbers, `90.5` or `90,5`, and clock times, `1:30`, `00:01:30.500` or `00:01:30,500`.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (float(value) - first) / rate if abs(value) < 1e300 else math.nan
    parts = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if not parts:
        return math.nan
    sign, hours, minutes, rest, exponent = parts.groups()
    last = float(rest.replace(",", ".") + (exponent or ""))
    # Of a clock time only the first part may be 60 or more.
    if (minutes and (last >= 60 or exponent or rate != 1)) or (hours and float(minutes) >= 60):
        return math.nan
    total = float(hours or 0) * 3600 + float(minutes) * 60 + last if minutes else (last - first) / rate
    return -total if sign == "-" else total


def fault(start: object, end: object, segment: Segment) -> str:
    """Why a segment is dropped, by its times as written; empty for a good one."""
    for name, written, value in (("start", start, segment.start), ("end", end, segment.end)):
        if not math.isfinite(value):
            return f"the {name} is missing" if written in ("", None) else f"the {name} is no time; {HOW}"
    if min(segment.start, segment.end) < 0:
        return "before the video starts"
    if segment.end <= segment.start:
        return "it ends where it starts" if segment.end == segment.start else "it ends before it starts"
    return "shorter than a frame" if segment.end - segment.start < SHORTEST else ""


def disjoint(segments: list[Segment]) -> tuple[tuple[Segment, ...], list[tuple[str, bool]]]:
    """Segments of one video and class by start, what shares time made one; and (what was done, whether one is gone)."""
    merged: list[Segment] = []
    notes: list[tuple[str, bool]] = []
    for segment in sorted(segments):
        before = merged[-1] if merged else None
        if before is None or segment.start >= before.end:
            merged.append(segment)
        elif segment == before:
            notes.append((f"{_row(segment)}{segment} is there twice", True))
        else:
            merged[-1] = Segment(before.start, max(before.end, segment.end), before.at)
            notes.append((f"{_row(segment)}{before} and {segment} share time: merged to {merged[-1]}", False))
    return tuple(merged), notes


def _row(segment: Segment) -> str:
    return f"{segment.at.rpartition(', ')[2]}: " if segment.at else ""
