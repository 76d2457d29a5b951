"""Events that were found against those that truly happened: which are right, which are missing, which are for nothing.

Matched one to one as ActivityNet's evaluation does: the found events of a video by falling score, each with the free
true event of its class that it overlaps most, if their overlap in time (intersection over union, tIoU) is large enough.
A second find of a true event is thus unmatched. Of any class: the same with classes left out.

An unmatched event is not always an alarm for nothing: where something truly happens, whoever looks up sees it, even
if the class, the times or the number of finds are wrong. So a false alarm is a found event that shares no time with
any true event of any enrolled class; the others are unmatched and told apart (`Unpaired.why`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fsar_cli.data.annotations.labelled import LabelledSegment
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recognise.outputs import NamedEvent
from fsar_cli.recognise.truth_report import ClassEvents, Nearest, TruthReport, Unpaired, Why

TIOU = 0.5


@dataclass(frozen=True)
class FoundEvent:
    """What comparing needs of an event; times in seconds since the video's first frame."""

    video: str
    start: float
    end: float
    cls: str
    score: float

    @classmethod
    def of(cls, named: NamedEvent) -> "FoundEvent":
        """The same of an event as it is written."""
        event = named.event
        return cls(named.video, event.start, event.end, event.cls, event.score)


@dataclass(frozen=True)
class TrueEvent:
    """A true event whose end is known."""

    video: str
    start: float
    end: float
    cls: str


def compare_events(
    found: Sequence[NamedEvent | FoundEvent],
    truth: Sequence[LabelledSegment],
    hours: float,
    tiou: float = TIOU,
    classes: Sequence[str] | None = None,
    durations: Mapping[str, float] | None = None,
) -> TruthReport:
    """Match found events with true ones, and count; the order of neither matters.

    Args:
        truth: of the videos that were watched alone, named as in `found` (`labelled.of_videos`).
        hours: of footage watched.
        tiou: least overlap of a match, above 0 and at most 1.
        classes: those enrolled. True events of other classes, such as `normal`, are counted and passed over, also where
            an alarm is judged. None: all classes of `found` and `truth`.
        durations: {video: seconds}, where a true event may be a whole video.

    Raises:
        UsageError: no hours, or a tIoU out of range. DataError: a true event is a whole video of unknown length.
    """
    if not hours > 0 or not 0 < tiou <= 1:
        raise UsageError(f"cannot compare over {hours} hours at a tIoU of {tiou}", "above 0 hours, tIoU 0 to 1")
    spans = sorted(
        (e if isinstance(e, FoundEvent) else FoundEvent.of(e) for e in found),
        key=lambda e: (-e.score, e.video, e.start, e.end, e.cls),
    )
    enrolled = None if classes is None else set(classes)
    kept = sorted(
        (_ended(segment, durations or {}) for segment in truth if enrolled is None or segment.cls in enrolled),
        key=lambda segment: (segment.video, segment.start, segment.end, segment.cls),
    )
    others = Counter(segment.cls for segment in truth if enrolled is not None and segment.cls not in enrolled)
    pairs = _matched(spans, kept, tiou, same_class=True)
    taken = set(pairs.values())
    both: list[FoundEvent | TrueEvent] = [*kept, *spans]
    names = list(dict.fromkeys([*(classes or ()), *sorted({e.cls for e in both})]))
    return TruthReport(
        hours=float(hours),
        tiou=float(tiou),
        videos=len({each.video for each in both}),
        right_of_any_class=len(_matched(spans, kept, tiou, same_class=False)),
        classes=tuple(_counted(name, spans, kept, pairs) for name in names),
        missed=_by_time(_unpaired(kept[t], spans, tiou) for t in range(len(kept)) if t not in taken),
        unmatched=_by_time(_unpaired(spans[f], kept, tiou) for f in range(len(spans)) if f not in pairs),
        start_errors=tuple(spans[f].start - kept[t].start for f, t in pairs.items()),
        end_errors=tuple(spans[f].end - kept[t].end for f, t in pairs.items()),
        passed_over=dict(sorted(others.items())),
    )


def overlap(one: FoundEvent | TrueEvent, other: FoundEvent | TrueEvent) -> float:
    """Intersection over union of the times of two events of a video; 0 for one that takes no time."""
    shared = min(one.end, other.end) - max(one.start, other.start)
    return max(0.0, shared) / whole if (whole := max(one.end, other.end) - min(one.start, other.start)) > 0 else 0.0


def _touch(one: FoundEvent | TrueEvent, other: FoundEvent | TrueEvent) -> bool:
    """Whether there is a moment inside both; that of an event that takes no time is its start."""
    return one.start < other.end and other.start < one.end


def _ended(segment: LabelledSegment, durations: Mapping[str, float]) -> TrueEvent:
    if segment.end is not None:
        return TrueEvent(segment.video, segment.start, segment.end, segment.cls)
    if segment.video not in durations:
        message = f"{segment.at or segment.video}: the event is the whole of '{segment.video}', whose length is unknown"
        raise DataError(message, "write its start and end")
    return TrueEvent(segment.video, segment.start, float(durations[segment.video]), segment.cls)


def _matched(found: Sequence[FoundEvent], truth: Sequence[TrueEvent], tiou: float, same_class: bool) -> dict[int, int]:
    """{position found: position of its true event}; both are sorted, which settles ties."""
    of_video: dict[str, list[int]] = {}
    for t, segment in enumerate(truth):
        of_video.setdefault(segment.video, []).append(t)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for f, event in enumerate(found):
        free = [t for t in of_video.get(event.video, ()) if t not in taken]
        free = [t for t in free if truth[t].cls == event.cls or not same_class]
        best = max(free, key=lambda t: overlap(event, truth[t]), default=None)
        if best is not None and overlap(event, truth[best]) >= tiou:
            pairs[f] = best
            taken.add(best)
    return pairs


def _counted(
    cls: str, found: Sequence[FoundEvent], truth: Sequence[TrueEvent], pairs: Mapping[int, int]
) -> ClassEvents:
    right = sum(found[f].cls == cls for f in pairs)
    return ClassEvents(cls, sum(s.cls == cls for s in truth), sum(e.cls == cls for e in found), right)


def _unpaired(of: FoundEvent | TrueEvent, others: Iterable[FoundEvent | TrueEvent], tiou: float) -> Unpaired:
    """An event without a partner, and why it has none of the others."""
    near = [other for other in others if other.video == of.video and _touch(other, of)]
    fits = {other.cls for other in near if overlap(of, other) >= tiou}
    why: Why = "repeated" if of.cls in fits else "class" if fits else "time" if near else "alone"
    score = of.score if isinstance(of, FoundEvent) else None
    return Unpaired(of.video, of.start, of.end, of.cls, score, why, _nearest(of, near))


def _nearest(of: FoundEvent | TrueEvent, near: Iterable[FoundEvent | TrueEvent]) -> Nearest | None:
    best = max(near, key=lambda each: (overlap(of, each), each.cls == of.cls), default=None)
    return None if best is None else Nearest(best.start, best.end, best.cls, overlap(of, best))


def _by_time(events: Iterable[Unpaired]) -> tuple[Unpaired, ...]:
    return tuple(sorted(events, key=lambda event: (event.video, event.start, event.end, event.cls)))
