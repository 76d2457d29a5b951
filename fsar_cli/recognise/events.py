"""Scores of windows -> events: start, end and class, as the windows come.

A window speaks for one stride of time around its middle. With windows about as long as an action, those that hold at
least half of it are the ones whose middle lies inside it, so the middles of the first and the last window that speak
for a class, and half a stride on both sides, are the event.

    windows   . . K k K K . P P P . .      capitals: at or above the threshold, small: at or above the release
    events        |--kick-|  |punch|       opens as `agree` of the last `among` windows are at the threshold,
                                           ends as fewer are at the release

A gap in the source ends an event: nothing is bridged.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

ROUNDING = 1e-6  # seconds

Box = tuple[float, float, float, float]
"""xyxy in [0,1] of the source's picture."""


@dataclass(frozen=True)
class ScoredWindow:
    """One window of a source."""

    start: float
    """Seconds since the source's first frame; of the window's first frame."""
    end: float
    """Of its last frame, and one step of the grid more."""
    scores: np.ndarray
    """float32 [C] a class, as `scoring`; larger is likelier."""
    nearest: int = 0
    """Position of the example that it is most like, of the best class."""
    track: tuple[tuple[float, Box], ...] = ()
    """(seconds, key region) of its steps."""
    wall: float | None = None
    """Clock time (seconds since 1970) at which its last frame was there; None: of a file."""
    breaks: bool = False
    """Whether there is a gap between the window before and this one."""

    @property
    def middle(self) -> float:
        """Seconds that it speaks for."""
        return (self.start + self.end) / 2


@dataclass(frozen=True)
class Event:
    """An action that was recognised."""

    start: float
    """Seconds since the source's first frame."""
    end: float
    """The same; of an open event: so far."""
    cls: str
    score: float
    """Largest of its windows."""
    nearest: int
    """Position of the example that its best window is most like."""
    track: tuple[tuple[float, Box], ...] = ()
    """(seconds, key region), by time."""
    wall: float | None = None
    """Clock time of its start; None: of a file."""
    is_open: bool = False
    """Whether it was still going on when this was said."""
    cut: bool = False
    """Whether it ended because the source had a gap or ended, or it was longer than an event may be."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True)
class EventRule:
    """When windows make an event."""

    threshold: float
    """Score at which a window speaks for its best class."""
    release: float
    """At most the threshold; score at which it still does within an event."""
    agree: int = 2
    """m: windows that must speak for a class, ..."""
    among: int = 2
    """... of the last n."""
    shortest: float = 0.0
    """Seconds; shorter events are passed over."""
    longest: float = 60.0
    """Seconds; a longer one is cut and goes on as the next. It is at least as long as the windows that open it."""
    merge: float = 1.0
    """Seconds; events of a class that are no further apart are one."""


@dataclass
class _Ongoing:
    """An event that is open, or ended so shortly ago that it may go on."""

    windows: list[ScoredWindow]
    is_open: bool = True
    said: bool = False
    cut: bool = False


@dataclass
class _Votes:
    """What the last windows said of one class, and its event."""

    last: deque[tuple[ScoredWindow, float | None]]
    """Windows and their scores for the class; None: another class was better."""
    event: _Ongoing | None = None

    def at(self, level: float) -> list[ScoredWindow]:
        """The last windows that speak for the class at a level."""
        return [window for window, score in self.last if score is not None and score >= level]


@dataclass
class EventDetector:
    """Takes the windows of one source in order.

    Args:
        stride: seconds from window to window.
    """

    classes: Sequence[str]
    rule: EventRule
    stride: float
    _votes: list[_Votes] = field(init=False)

    def __post_init__(self) -> None:
        self._votes = [self._fresh() for _ in self.classes]

    def push(self, window: ScoredWindow) -> list[Event]:
        """Events that opened (`is_open`), and those that are over, by time."""
        said = self.flush() if window.breaks else []
        best = int(window.scores.argmax())
        for c, votes in enumerate(self._votes):
            votes.last.append((window, float(window.scores[c]) if c == best else None))
            said += self._follow(c, votes, window)
        return sorted(said, key=lambda event: (event.start, event.cls))

    def flush(self) -> list[Event]:
        """The events that were open, as the source ends or has a gap."""
        said: list[Event] = []
        for c, votes in enumerate(self._votes):
            if votes.event is not None:
                votes.event.cut = votes.event.is_open
                said += self._closed(c, votes, votes.event)
        self._votes = [self._fresh() for _ in self.classes]
        return said

    def _fresh(self) -> _Votes:
        return _Votes(deque(maxlen=self.rule.among))

    def _follow(self, c: int, votes: _Votes, window: ScoredWindow) -> Iterator[Event]:
        rule, event = self.rule, votes.event
        if event is not None and event.is_open:
            yield from self._go_on(c, votes, event, window)
        elif len(chosen := votes.at(rule.threshold)) >= rule.agree:
            if event is None:
                event = votes.event = _Ongoing(chosen)
            else:
                new = [w for w in chosen if w.start > event.windows[-1].start]  # others are the event's already
                if not self._near(event, chosen[0]) or self._too_long(event, window):
                    yield from self._closed(c, votes, event)
                    event = votes.event = _Ongoing(new)
                else:
                    event = votes.event = replace(event, windows=[*event.windows, *new], is_open=True)
            yield from self._said(c, votes, event, window)
        elif event is not None and not any(self._near(event, w) for w in (*chosen, window)):
            yield from self._closed(c, votes, event)

    def _go_on(self, c: int, votes: _Votes, event: _Ongoing, window: ScoredWindow) -> Iterator[Event]:
        chosen = votes.at(self.rule.release)
        if chosen and chosen[-1] is window:
            event.windows.append(window)
        if len(chosen) < min(self.rule.agree, len(votes.last)):
            event.is_open = False
        yield from self._said(c, votes, event, window)

    def _said(self, c: int, votes: _Votes, event: _Ongoing, window: ScoredWindow) -> Iterator[Event]:
        """An event that goes on is said as it is long enough, and cut before a further window makes it too long."""
        start, end = self._span(event)
        if not event.said and end - start >= self.rule.shortest:
            event.said = True
            yield self._event(c, event)
        if event.is_open and self._too_long(event, window, self.stride):
            event.cut = True
            yield from self._closed(c, votes, event)
            votes.last.clear()

    def _near(self, event: _Ongoing, window: ScoredWindow) -> bool:
        """Whether what a window speaks for is no further from an event than events that are one."""
        return window.middle - event.windows[-1].middle - self.stride <= self.rule.merge + ROUNDING

    def _too_long(self, event: _Ongoing, window: ScoredWindow, more: float = 0.0) -> bool:
        """Whether an event would be, up to a window, or `more` seconds beyond."""
        end = window.middle + self.stride / 2 + more
        return end - self._span(event)[0] > self.rule.longest + ROUNDING

    def _span(self, event: _Ongoing) -> tuple[float, float]:
        """Start and end in seconds; a short window speaks for no more than itself."""
        first, last, half = event.windows[0], event.windows[-1], self.stride / 2
        return max(first.start, first.middle - half), min(last.end, last.middle + half)

    def _closed(self, c: int, votes: _Votes, event: _Ongoing) -> Iterator[Event]:
        votes.event = None
        event.is_open = False
        start, end = self._span(event)
        if end - start >= self.rule.shortest:
            yield self._event(c, event)

    def _event(self, c: int, ongoing: _Ongoing) -> Event:
        start, end = self._span(ongoing)
        best = max(ongoing.windows, key=lambda window: window.scores[c])
        half = self.stride / 2
        track = [at for w in ongoing.windows for at in w.track if w.middle - half <= at[0] < w.middle + half]
        first = ongoing.windows[0]
        wall = None if first.wall is None else first.wall - (first.end - start)
        event = Event(start, end, self.classes[c], float(best.scores[c]), best.nearest, tuple(track), wall)
        return replace(event, is_open=ongoing.is_open, cut=ongoing.cut)


def events_of(windows: Sequence[ScoredWindow], classes: Sequence[str], rule: EventRule, stride: float) -> list[Event]:
    """The events of all windows of one source, by start."""
    detector, said = EventDetector(classes, rule, stride), []
    for window in windows:
        said += detector.push(window)
    return sorted((e for e in [*said, *detector.flush()] if not e.is_open), key=lambda event: (event.start, event.cls))
