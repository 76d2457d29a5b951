"""Where the thread that reads a live source puts frames and figures, and others take them."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np

from fsar_cli.data.video.live.clocks import Tick
from fsar_cli.errors import DataError, counted

WAITING = 32
"""Frames that may wait for a reader."""
RATE_OVER = 5.0
"""Seconds over which the rate is measured."""

Situation = Literal["connecting", "live", "stalled", "lost", "ended", "failed"]


class WallClock(Protocol):
    """What is used of the module `time`."""

    def time(self) -> float:
        """Seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds that only grow."""


class LiveFrame(NamedTuple):
    """One frame of a live source."""

    seconds: float
    """Since the source's first frame: by its own stamps within a connection, by our clock from one to the next."""
    picture: np.ndarray
    """uint8 RGB [h, w, 3]."""
    wall: float
    """Seconds since 1970 at which it was decoded."""
    gap: bool
    """Whether there was a gap before it: a new connection, a freeze, a clock that was set, pictures of another size.
    Frames that a slow reader let go are none."""


@dataclass(frozen=True)
class StreamState:
    """How a live source does, at one moment."""

    state: Situation
    """`stalled` (connected, no picture) and `lost` sources are connected anew; `ended` is over by itself or closed,
    `failed` for good."""
    frames: int
    """Good frames that were decoded, wanted or not."""
    rate: float
    """The same a second, over the last five seconds."""
    lag: float
    """Seconds since the newest frame that was handed over was decoded; 0 before the first."""
    drops: dict[str, int]
    """Frames by cause: `slow reader`, `damaged`, `start` and `reconnect` (that could not be decoded as the stream was
    joined midway). What never came is no drop; it is in `missed`."""
    missed: float
    """Seconds of footage that are missing: before all gaps, and since the last frame while it is stalled or lost."""
    reconnects: int
    """New connections that gave a picture."""
    last_error: str
    """In words; empty: there was none."""

    def __str__(self) -> str:
        dropped = ", ".join(f"{number} ({cause})" for cause, number in self.drops.items())
        facts = [counted(self.frames, "frame"), f"dropped {dropped or 'none'}"]
        if self.missed or self.reconnects:
            facts.append(f"missed {self.missed:.1f} s, {counted(self.reconnects, 'reconnect')}")
        return f"{self.state}, {', '.join(facts)}"


class FrameBoard:
    """One lock around the frames that wait for a reader, and the figures.

    Args:
        staleness: seconds that a frame may wait. The newest waits on: it is always better than none.
        stall: seconds without a frame after which a live source is called stalled.
    """

    def __init__(self, staleness: float, stall: float, clock: WallClock) -> None:
        self._staleness, self._stall, self._clock = staleness, stall, clock
        self._changed = threading.Condition()
        self._waiting: deque[tuple[LiveFrame, float]] = deque()
        self._lossless = False
        self._situation: Situation = "connecting"
        self._frames, self._missed, self._reconnects = 0, 0.0, 0
        self._drops: dict[str, int] = {}
        self._error: BaseException | None = None
        self._newest = self._step = 0.0
        self._handed: float | None = None
        self._recent: deque[float] = deque(maxlen=1024)

    @property
    def frames(self) -> int:
        """Good frames that were decoded."""
        return self._frames

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more."""
        return self._situation in ("ended", "failed")

    def count(self, tick: Tick, step: float, now: float) -> bool:
        """A good frame was decoded; whether it is the first of a new connection.

        Args:
            step: usual seconds from frame to frame.
            now: by the clock that grows.
        """
        with self._changed:
            back = self._situation in ("stalled", "lost")
            self._reconnects += back
            self._missed += tick.missed
            self._frames += 1
            self._newest, self._step = now, step
            self._recent.append(now)
            if not self.is_over:
                self._situation = "live"
            self._changed.notify_all()
            return back

    def drop(self, cause: str) -> None:
        """A frame came to nothing."""
        with self._changed:
            self._dropped(cause)

    def put(self, frame: LiveFrame, now: float, lossless: bool) -> None:
        """A frame for the reader.

        Args:
            now: as of `count`.
            lossless: whether to wait for a reader that is slow, rather than let go what is old.
        """
        with self._changed:
            self._lossless = lossless
            if lossless:
                self._changed.wait_for(lambda: len(self._waiting) < WAITING or self.is_over)
            if not self.is_over:
                self._waiting.append((frame, now))
                self._let_go(now)
            self._changed.notify_all()

    def turn(self, situation: Situation, error: BaseException | None = None) -> None:
        """The source is not live any more, and why. What is over stays so."""
        with self._changed:
            if self.is_over:
                return
            if situation in ("ended", "failed"):
                self._missed += self._outage()
            self._situation, self._error = situation, error or self._error
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing is wanted any more."""
        self.turn("ended")
        with self._changed:
            self._waiting.clear()

    def await_first(self, timeout: float) -> bool:
        """Wait for the first good frame; whether it came or something else happened to end the wait."""
        with self._changed:
            return self._changed.wait_for(lambda: self._frames > 0 or self.is_over, timeout)

    def take(self, timeout: float | None, limit: int = WAITING) -> list[LiveFrame]:
        """Up to `limit` frames, the oldest first; none after `timeout` seconds or where the source has ended.

        Raises:
            Exception: what made the source fail, once all frames were taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.is_over, timeout)
            self._let_go(self._clock.monotonic())
            taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
            if taken:
                self._handed = taken[-1][1]
                self._changed.notify_all()
            elif self._situation == "failed":
                raise self._failure()
            return [frame for frame, _ in taken]

    def state(self) -> StreamState:
        """The figures as they are now."""
        with self._changed:
            now = self._clock.monotonic()
            return StreamState(
                state="stalled" if self._is_stalled(now) else self._situation,
                frames=self._frames,
                rate=self._rate(now),
                lag=0.0 if self._handed is None else now - self._handed,
                drops=dict(self._drops),
                missed=self._missed + self._outage(),
                reconnects=self._reconnects,
                last_error="" if self._error is None else getattr(self._error, "message", repr(self._error)),
            )

    def _failure(self) -> BaseException:
        """As new: an exception that is raised again and again would grow by a traceback each time."""
        if isinstance(self._error, DataError):
            return DataError(self._error.message, self._error.hint)
        return self._error or DataError("the source failed")

    def _dropped(self, cause: str) -> None:
        self._drops[cause] = self._drops.get(cause, 0) + 1

    def _let_go(self, now: float) -> None:
        """Drop what is stale, or too many; a gap before it is one before the next."""
        while len(self._waiting) > 1 and not self._lossless:
            stale, at = self._waiting[0]
            if now - at <= self._staleness and len(self._waiting) <= WAITING:
                return
            self._waiting.popleft()
            self._dropped("slow reader")
            frame, at = self._waiting[0]
            self._waiting[0] = (frame._replace(gap=frame.gap or stale.gap), at)

    def _is_stalled(self, now: float) -> bool:
        return self._situation == "live" and not self._lossless and now - self._newest > self._stall

    def _outage(self) -> float:
        """Seconds that are missing since the last frame of a source that is not live."""
        now = self._clock.monotonic()
        away = self._frames > 0 and (self._situation in ("stalled", "lost") or self._is_stalled(now))
        return max(0.0, now - self._newest - self._step) if away else 0.0

    def _rate(self, now: float) -> float:
        late = [at for at in self._recent if now - at < RATE_OVER]
        return (len(late) - 1) / (now - late[0]) if len(late) > 1 and now > late[0] and not self.is_over else 0.0
