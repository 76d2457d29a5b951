"""What comparing found events with true ones comes to: rates with their intervals, and every event without a partner.

Intervals are of 95 %: of shares by Wilson with events as units, of counts an hour by Garwood's exact limits of a
Poisson mean. Both take events as independent. Those of one video are not, as it has one scene and the same people: with
few videos the truth may lie further away than the intervals say.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fsar_cli.engine.statistics.poisson import poisson_interval
from fsar_cli.engine.statistics.wilson import wilson_interval
from fsar_cli.errors import counted, listed

Why = Literal["alone", "time", "class", "repeated"]
"""Of an event without a partner: it shares time with none of the others; with some, but too little; enough, but of
another class; enough of its class, which is another event's partner."""
IN_WORDS: Mapping[Why, str] = {
    "time": "badly timed",
    "class": "of another class",
    "repeated": "a second find of a true event",
}
NOTE = "the intervals take events as independent; those of one video are not, so with few videos they are too narrow"


@dataclass(frozen=True)
class Nearest:
    """The event on the other side that overlaps an event most."""

    start: float
    end: float
    cls: str
    tiou: float


@dataclass(frozen=True)
class Unpaired:
    """A true event that was missed, or a found one that matches none."""

    video: str
    start: float
    end: float
    cls: str
    score: float | None
    """None: a true event."""
    why: Why
    nearest: Nearest | None
    """None: it shares time with none."""


@dataclass(frozen=True)
class ClassEvents:
    """The events of one class."""

    cls: str
    truth: int
    found: int
    right: int

    @property
    def recall(self) -> float | None:
        """Share of the true events that were found; None: there are none."""
        return self.right / self.truth if self.truth else None

    @property
    def precision(self) -> float | None:
        """Share of the found events that are right; None: there are none."""
        return self.right / self.found if self.found else None


@dataclass(frozen=True)
class TruthReport:
    """See the module docstring; events of classes that are not enrolled are in `passed_over` alone."""

    hours: float
    tiou: float
    videos: int
    """Videos with a true or a found event."""
    right_of_any_class: int
    """Matches if classes are left out."""
    classes: tuple[ClassEvents, ...]
    missed: tuple[Unpaired, ...]
    """By video and time."""
    unmatched: tuple[Unpaired, ...]
    """The same."""
    start_errors: tuple[float, ...]
    """Seconds by which a match starts after the true event."""
    end_errors: tuple[float, ...]
    """Seconds by which it ends after it."""
    passed_over: Mapping[str, int]
    """{class that is not enrolled: true events}."""

    @property
    def truth(self) -> int:
        """True events of enrolled classes."""
        return sum(count.truth for count in self.classes)

    @property
    def found(self) -> int:
        """Found events."""
        return sum(count.found for count in self.classes)

    @property
    def right(self) -> int:
        """Matches."""
        return sum(count.right for count in self.classes)

    @property
    def false_alarms(self) -> tuple[Unpaired, ...]:
        """Found events that share no time with a true event."""
        return tuple(event for event in self.unmatched if event.why == "alone")

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values; rates and medians of nothing are null."""
        return {
            "tiou": self.tiou,
            "hours": self.hours,
            "videos": self.videos,
            "truth": self.truth,
            "found": self.found,
            "right": self.right,
            "recall": _share(self.right, self.truth),
            "precision": _share(self.right, self.found),
            "recall_of_any_class": _share(self.right_of_any_class, self.truth),
            "precision_of_any_class": _share(self.right_of_any_class, self.found),
            "missed": self._hourly(len(self.missed)),
            "unmatched": self._hourly(len(self.unmatched)),
            "false_alarms": self._hourly(len(self.false_alarms)),
            "start_error": _medians(self.start_errors),
            "end_error": _medians(self.end_errors),
            "classes": [asdict(c) | {"recall": c.recall, "precision": c.precision} for c in self.classes],
            "missed_events": [asdict(event) for event in self.missed],
            "unmatched_events": [asdict(event) for event in self.unmatched],
            "passed_over": dict(self.passed_over),
            "note": NOTE,
        }

    def lines(self) -> list[str]:
        """All but the table of classes and the lists, in sentences."""
        whole = self.document()
        told = [
            f"{counted(self.truth, 'true event')}, {self.found} found, in {self.hours:.3g} h; "
            f"matched one to one at a tIoU of {self.tiou:g} or more",
            _shares("recall", whole["recall"], whole["recall_of_any_class"]),
            _shares("precision", whole["precision"], whole["precision_of_any_class"]),
            _rates("missed", whole["missed"]),
            _rates("false alarms, which share no time with a true event", whole["false_alarms"]) + self._others(),
        ]
        if self.right:
            told.append(_off("starts", whole["start_error"]) + "; " + _off("ends", whole["end_error"]) + " (medians)")
        if self.passed_over:
            names = listed([f"{cls} ({number})" for cls, number in self.passed_over.items()])
            told.append(f"passed over are true events of classes that are not enrolled: {names}")
        return [*told, NOTE]

    def figures(self) -> list[tuple[str, str]]:
        """The most important of it: (what, figure with its 95 % interval)."""
        whole = self.document()
        shares = [(f"{name} at tIoU {self.tiou:g}", whole[name.lower()]) for name in ("Recall", "Precision")]
        rates = [("Missed an hour", whole["missed"]), ("False alarms an hour", whole["false_alarms"])]
        return [
            *((what, f"{100 * f['share']:.0f} % ({100 * f['low']:.0f} to {100 * f['high']:.0f})" if f["of"] else "-")
              for what, f in shares),
            *((what, f"{f['an_hour']:.3g} ({f['low']:.3g} to {f['high']:.3g})") for what, f in rates),
        ]  # fmt: skip

    def _others(self) -> str:
        """The unmatched that are no false alarms, to follow a sentence."""
        reasons = Counter(event.why for event in self.unmatched)
        parts = [f"{reasons[why]} {text}" for why, text in IN_WORDS.items() if reasons[why]]
        return f"; unmatched besides: {', '.join(parts)}" if parts else ""

    def _hourly(self, count: int) -> dict[str, float]:
        low, high = poisson_interval(count)
        hours = self.hours
        return {"count": count, "an_hour": count / hours, "low": low / hours, "high": high / hours}


def _share(right: int, of: int) -> dict[str, Any]:
    low, high = wilson_interval(right, of)
    return {"right": right, "of": of, "share": right / of if of else None, "low": low, "high": high}


def _medians(errors: tuple[float, ...]) -> dict[str, float | None]:
    if not errors:
        return {"off": None, "late": None}
    return {"off": float(np.median(np.abs(errors))), "late": float(np.median(errors))}


def _shares(name: str, strict: dict[str, Any], any_class: dict[str, Any]) -> str:
    if strict["share"] is None:
        return f"{name}: cannot be told, as there is no event"
    interval = f"95 % interval {100 * strict['low']:.1f} to {100 * strict['high']:.1f} %"
    counts = f"{strict['right']} of {strict['of']}"
    return f"{name} {100 * strict['share']:.1f} % ({counts}, {interval}); of any class {100 * any_class['share']:.1f} %"


def _rates(name: str, rate: dict[str, float]) -> str:
    interval = f"95 % interval {rate['low']:.3g} to {rate['high']:.3g}"
    return f"{name}: {rate['count']}, {rate['an_hour']:.3g} an hour ({interval})"


def _off(name: str, error: dict[str, float]) -> str:
    side = "late" if error["late"] >= 0 else "early"
    return f"{name} are off by {error['off']:.2f} s, on balance {abs(error['late']):.2f} s {side}"
