"""One live source as it is watched: its frames become windows in a thread of its own, of which the newest waits."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Condition

import numpy as np

from fsar_cli.data.video import to_jpeg
from fsar_cli.data.video.live import LiveSource, StreamState, masked
from fsar_cli.data.video.picture import jpeg_picture
from fsar_cli.errors import FsarError
from fsar_cli.recognise.events import Event, EventDetector, ScoredWindow
from fsar_cli.recognise.outputs import NamedEvent
from fsar_cli.recognise.windows import Window, Windower

CLIP_QUALITY = 85
LARGEST_PICTURE = 16_384
MOST_GAPS = 10_000
LAST = 5  # events that a view shows


def shown_names(addresses: Sequence[str]) -> list[str]:
    """Addresses without logins, with a number behind those that differ by these alone."""
    names = [masked(address) for address in addresses]
    return [f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


@dataclass
class WatchedSource:
    """A live source that is being watched."""

    source: LiveSource
    name: str
    """The address as it may be shown, unlike all others'."""
    windower: Windower
    detector: EventDetector
    keep: float = 0.0
    """Seconds of pictures that are kept for clips; 0: none."""
    events: Collection[NamedEvent] = ()
    """Those that are over (`SaidEvents`), without their tracks."""
    last: deque[NamedEvent] = field(default_factory=lambda: deque(maxlen=LAST))
    windows: int = 0
    passed_over: int = 0
    """Windows that were not scored, as newer ones had come."""
    gaps: deque[tuple[float, float, str]] = field(default_factory=lambda: deque(maxlen=MOST_GAPS))
    """(start, end, why) in seconds, the last of many."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    seconds: float = 0.0
    """Of the newest frame."""
    failed: str = ""
    _slot: Window | None = None
    _before: ScoredWindow | None = None
    _pictures: deque[tuple[float, bytes]] = field(default_factory=deque)
    _over: bool = False
    _stopped: bool = False

    @property
    def state(self) -> StreamState:
        """How the source does now."""
        return self.source.state()

    def collect(self, there: Condition) -> None:
        """In a thread: make windows of the frames until the source ends; the newest one waits."""
        try:
            for frame in self.source:
                if frame.gap:
                    self.gaps.append((self.seconds, frame.seconds, "the source had a gap"))
                self.seconds = frame.seconds
                if self.keep:
                    self._keep(frame.seconds, frame.picture)
                for window in self.windower.push(frame.seconds, frame.picture, frame.gap, frame.wall):
                    self._offer(window, there)
        except FsarError as error:
            self.failed = error.message
        finally:
            with there:
                self._over = True
                there.notify_all()

    def _offer(self, window: Window, there: Condition) -> None:
        with there:
            if self.source.finite:  # it waits, so nothing need be passed over
                there.wait_for(lambda: self._slot is None or self._stopped)
            if self._slot is not None:
                self.passed_over += 1
                window = replace(window, breaks=window.breaks or self._slot.breaks)
            self._slot = window
            there.notify_all()

    def _keep(self, seconds: float, picture: np.ndarray) -> None:
        self._pictures.append((seconds, to_jpeg(picture, CLIP_QUALITY)))
        while self._pictures[0][0] < seconds - self.keep:
            self._pictures.popleft()

    def take(self, there: Condition) -> Window | None:
        """The newest window, which waits no more; with the condition's lock."""
        window, self._slot = self._slot, None
        there.notify_all()
        return window

    def stop(self, there: Condition) -> None:
        """Take no more windows."""
        with there:
            self._stopped = True
            there.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more."""
        return self._over and self._slot is None

    def follow(self, window: ScoredWindow, crop: tuple[float, float, float, float]) -> list[Event]:
        """A scored window's events; one that comes long after the one before begins anew."""
        self.crop, before, self._before = crop, self._before, window
        self.windows += 1
        longest = max(window.end - window.start, 3 * self.detector.stride)
        late = before is not None and window.start - before.start > longest
        return self.detector.push(replace(window, breaks=True) if late else window)

    def pictures(self, start: float, end: float) -> Iterator[tuple[float, np.ndarray]]:
        """What is kept of a stretch of time."""
        kept = [(seconds, jpeg) for seconds, jpeg in list(self._pictures) if start <= seconds < end]
        return ((seconds, jpeg_picture(jpeg, LARGEST_PICTURE)) for seconds, jpeg in kept)
