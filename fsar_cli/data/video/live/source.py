"""A live source, read by a thread: the newest frames of a grid of times, however often the connection is lost.

- The thread decodes all that comes and converts the frames that are wanted. Of a reader that is slow, old frames are
  let go and counted; so nothing grows, however long it runs.
- The first connection must come about. Later losses are made up for by new connections, at growing distances; so is a
  source that stays connected and sends nothing.
- A server's file (a length, an end) is no live source, and is waited for instead: none of its frames is let go. When
  it breaks off it has failed.
What is told anywhere, `repr` and errors included, has no login in it.
"""

import threading
import time
from collections.abc import Iterator

import av

from fsar_cli.data.video.live.addresses import is_live, masked
from fsar_cli.data.video.live.board import FrameBoard, LiveFrame, StreamState, WallClock
from fsar_cli.data.video.live.clocks import StreamClock, TimeGrid
from fsar_cli.data.video.live.connecting import Connection, Patience, StalledError
from fsar_cli.data.video.picture import FrameScaler
from fsar_cli.errors import DataError, UsageError, counted
from fsar_cli.reporting import SILENT, Reporter

BACK_OFF = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each new try; all that follow are as the last."""
PARTING = 2.0
"""Seconds that `close` waits for the thread, and entering for what no limit reaches (looking up a host)."""


class LiveSource:
    """Reads a live source; a context manager, entered once the first picture is there.

    Args:
        address: as `is_live` knows it.
        short_side: pixels of the shorter side of the pictures; None: as sent.
        every: seconds of a grid; a frame is wanted when it is the first at or after the next time of it. 0: all are.
        staleness: seconds that a frame waits for a reader; the newest waits on.
        stall: seconds without a good frame, after which the source is connected anew.
        max_reconnects: tries in a row without a picture, after which the source has failed; None: no end of them.
        connect_timeout: seconds within which a source must answer.
        clock: as the module `time`.
        threads: of the decoder. They share one picture, so that none is held back.

    Raises:
        UsageError: not the address of a live source.
    """

    def __init__(
        self,
        address: str,
        *,
        short_side: int | None,
        every: float = 0.0,
        staleness: float = 0.5,
        stall: float = 20.0,
        max_reconnects: int | None = None,
        connect_timeout: float = 10.0,
        reporter: Reporter = SILENT,
        clock: WallClock = time,
        threads: int = 1,
    ) -> None:
        self.name = masked(address)
        """The address as it may be shown."""
        if not is_live(address):
            raise UsageError(f"{self.name} is no live source", "write rtsp://..., http://..., udp://... or camera:0")
        self._address, self._short_side = address, short_side
        self._connect_timeout, self._stall, self._threads = connect_timeout, stall, threads
        self._max_reconnects, self._reporter, self._clock = max_reconnects, reporter, clock
        self._board, self._patience = FrameBoard(staleness, stall, clock), Patience(clock.monotonic)
        self._ticks, self._grid = StreamClock(), TimeGrid(every)
        self._size: tuple[int, int] | None = None
        self._scaler: FrameScaler | None = None
        self._gap, self._finite, self._told = False, False, False
        self._thread = threading.Thread(target=self._run, name="live source", daemon=True)

    def __repr__(self) -> str:
        return f"LiveSource({self.name!r}: {self.state()})"

    def __enter__(self) -> "LiveSource":
        """Raises DataError where the first connection gives no picture."""
        self.start()
        if not self._board.await_first(self._connect_timeout + self._stall + PARTING):
            self._board.turn("failed", DataError(f"{self.name}: no answer in {self._connect_timeout:g} s"))
        if not self._board.frames:
            try:
                self._board.take(0.0)
            finally:
                self.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to connect without waiting for it, as for many sources at once; the rest is as if it was entered."""
        if self._thread.ident is None:
            self._thread.start()

    def __iter__(self) -> Iterator[LiveFrame]:
        """Frames one by one, the oldest that is not stale first; ends as the source does, or is closed.

        Raises:
            DataError: the source has failed, and its last frame was handed over.
        """
        self.start()
        while frames := self._board.take(None, limit=1):
            yield from frames

    def take(self, timeout: float) -> list[LiveFrame]:
        """All frames that wait, by time; waits up to `timeout` seconds for one. Raises DataError as iterating does."""
        self.start()
        return self._board.take(timeout)

    @property
    def finite(self) -> bool:
        """Whether it is a server's file, which waits for its reader; known once a picture is there."""
        return self._finite

    def state(self) -> StreamState:
        """How the source does now."""
        return self._board.state()

    def stop(self) -> None:
        """Begin to close without waiting for it, as for many sources at once. Frames that wait are let go."""
        self._patience.stopped.set()
        self._board.close()

    def close(self) -> None:
        """Stop reading; returns when the thread has ended, or after two seconds. Frames that wait are let go."""
        told, self._told = self._told, True
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(PARTING)
            if not told and self._board.frames:
                self._reporter.log(f"{self.name}: {self.state()}")

    def _run(self) -> None:
        try:
            with self._patience:
                self._read()
        except Exception as error:  # raised again by who takes frames
            self._board.turn("failed", error)

    def _read(self) -> None:
        """Connection after connection. Raises DataError where there are to be no more."""
        tries = 0
        while not self._patience.stopped.is_set():
            before = self._board.frames
            loss = self._read_once()
            if loss is None:
                return self._board.turn("ended")
            if not self._board.frames or self._finite:
                raise loss
            tries = 0 if self._board.frames > before else tries
            if tries == self._max_reconnects:
                raise DataError(f"{loss.message}; given up after {counted(tries, 'try')}", loss.hint)
            self._wait(loss, tries)
            tries += 1

    def _wait(self, loss: DataError, tries: int) -> None:
        if self._patience.stopped.is_set():
            return
        self._board.turn("stalled" if isinstance(loss, StalledError) else "lost", loss)
        seconds = BACK_OFF[min(tries, len(BACK_OFF) - 1)]
        tell = self._reporter.detail if tries else self._reporter.warn  # an outage of days is one line
        tell(f"{loss.message}; connecting again in {seconds:g} s")
        self._patience.stopped.wait(seconds)

    def _read_once(self) -> DataError | None:
        """One connection to its end: why it was lost; None where it came to its end."""
        try:
            with Connection(
                self._address, self._patience, self._connect_timeout, self._stall, self._threads
            ) as connection:
                self._finite = connection.finite
                self._ticks.reconnect()
                self._patience.last(self._stall)
                self._read_frames(connection)
        except DataError as error:
            return error
        return None if self._finite else DataError(f"{self.name}: the stream ended")

    def _read_frames(self, connection: Connection) -> None:
        undecoded = "reconnect" if self._board.frames else "start"
        for frame in connection.frames():
            if frame is None:
                self._board.drop(undecoded)
                continue
            undecoded = "damaged"
            self._show(frame, connection)
            self._patience.last(self._stall)

    def _show(self, frame: av.VideoFrame, connection: Connection) -> None:
        now, size = self._clock.monotonic(), (frame.width, frame.height)
        tick = self._ticks.tick(connection.stamp(frame) if connection.timed else now, now, trusted=self._finite)
        gap = tick.gap or self._size not in (None, size)
        self._gap |= gap
        if self._scaler is None or self._size != size:
            self._size, self._scaler = size, FrameScaler(self.name, self._short_side)
        if self._board.count(tick, self._ticks.step, now):
            self._reporter.log(f"{self.name}: there again, {tick.missed:.1f} s are missing")
        if self._grid.takes(tick.seconds, anew=gap):
            shown = LiveFrame(tick.seconds, self._scaler(frame), self._clock.time(), self._gap)
            self._gap = False
            self._board.put(shown, now, lossless=self._finite)
