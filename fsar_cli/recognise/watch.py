"""Live sources -> events as they happen.

    source (a thread decodes) -- frames --> collector (a thread) -- newest window --> one loop: scores, events, files

Frames are collected while windows are scored, so a window never lacks frames. Where scoring is slower than windows
come, the newest waits and those before it are passed over and counted; so what is said is never older than one window
and the time of one scoring. A gap of the source, or of windows that were passed over, ends an event.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Condition, Thread
from threading import Event as Flag

import numpy as np

from fsar_cli.data.video.live import LiveSource
from fsar_cli.errors import FsarError
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.eventclip import write_pictures
from fsar_cli.recognise.events import Event
from fsar_cli.recognise.outputs import EventLog, NamedEvent, file_word
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.recognise.saidevents import SaidEvents
from fsar_cli.recognise.scan import EVENTS, Say, named_event
from fsar_cli.recognise.watched import WatchedSource, shown_names
from fsar_cli.recognise.windowlog import WindowLog
from fsar_cli.recognise.windows import Window, Windower
from fsar_cli.reporting import SILENT, Reporter

LOOK_EVERY = 0.25  # seconds, at least, between two looks at what there is to do
CONNECTED_EVERY = 0.05  # seconds between two looks at whether sources are there
BEFORE, AFTER = 2.0, 1.0  # seconds of an event's clip around it


def watch(
    recognizer: Recognizer,
    addresses: Sequence[str],
    folder: Path,
    level: AlarmLevel,
    *,
    stop: Flag,
    seconds: float | None = None,
    max_reconnects: int | None = None,
    clips: bool = False,
    windows: bool = False,
    say: Say = lambda event: None,
    show: Callable[[Sequence[WatchedSource]], None] = lambda watched: None,
    reporter: Reporter = SILENT,
) -> list[WatchedSource]:
    """Watch live sources until told to stop, or all have ended; everything is written by then.

    Args:
        folder: exists; events.jsonl is appended to.
        stop: set by who wants it to end.
        seconds: how long; None: without end.
        clips: write a short video of each event.
        windows: write the scored windows, too, which grows with time.
        say: is told of each event as it opens and as it is over.
        show: is called a few times a second.

    Raises:
        DataError: the first connection of a source gives no picture.
        OSError: the folder cannot be written to.
    """
    keep = level.rule.longest + BEFORE + AFTER + 2 * recognizer.grid.window if clips else 0.0
    watched = [
        _watched(recognizer, address, name, level, keep, max_reconnects, reporter)
        for address, name in zip(addresses, shown_names(addresses), strict=True)
    ]
    until, there = time.monotonic() + (np.inf if seconds is None else seconds), Condition()
    with ExitStack() as stack:
        log = stack.enter_context(EventLog(folder / EVENTS))
        for each in watched:
            each.events = SaidEvents(log, each.name)
        logs = _window_logs(stack, recognizer, watched, folder) if windows else {}
        writer = _ClipWriter(folder / "clips", reporter) if clips else None

        def tell(each: WatchedSource, events: Sequence[Event]) -> None:
            for event in events:
                named = named_event(recognizer, each.name, event)
                log.say(named)
                say(named)
                if not event.is_open:
                    assert isinstance(each.events, SaidEvents)  # since the watch began
                    each.events.note()
                    each.last.append(replace(named, event=replace(event, track=())))
                    if writer:
                        writer.wait_for(each, named)

        stack.callback(_close, watched)
        _connect(watched, stop)
        for each in watched:
            Thread(target=each.collect, args=(there,), name="collector", daemon=True).start()
        while not stop.is_set() and time.monotonic() < until and not all(each.is_over for each in watched):
            due = _due(watched, there)
            scored = recognizer.scored([window for _, window in due]) if due else []
            for (each, window), result in zip(due, scored, strict=True):
                if logs:
                    logs[id(each)].add(result)
                tell(each, each.follow(result, window.input_crop))
            if writer:
                writer.write_ready()
            show(watched)
        for each in watched:
            each.stop(there)
            tell(each, each.detector.flush())
        if writer:
            writer.write_ready(last=True)
    return watched


def _watched(
    recognizer: Recognizer, address: str, name: str, level: AlarmLevel, keep: float, max_reconnects: int | None,
    reporter: Reporter,
) -> WatchedSource:  # fmt: skip
    clip, grid = recognizer.encoder.config.clip, recognizer.grid
    source = LiveSource(
        address, short_side=clip.short_side, every=grid.step, max_reconnects=max_reconnects, reporter=reporter
    )
    return WatchedSource(source, name, Windower(grid, clip), recognizer.detector(level), keep)


def _connect(watched: Sequence[WatchedSource], stop: Flag) -> None:
    """Wait for the first picture of each, all at once, or until told to stop. Raises DataError: one has none."""
    waiting = [each.source for each in watched]
    for source in waiting:
        source.start()
    while waiting and not stop.is_set():
        time.sleep(CONNECTED_EVERY)
        for source in waiting:
            if (state := source.state()).state == "failed" and not state.frames:
                source.take(0.0)  # raises why
        waiting = [source for source in waiting if source.state().state == "connecting"]


def _close(watched: Sequence[WatchedSource]) -> None:
    for each in watched:
        each.source.stop()  # all at once
    for each in watched:
        each.source.close()


def _window_logs(
    stack: ExitStack, recognizer: Recognizer, watched: Sequence[WatchedSource], folder: Path
) -> dict[int, WindowLog]:
    (folder / "windows").mkdir(exist_ok=True)
    return {
        id(each): stack.enter_context(
            WindowLog(window_log(folder, number), {"video": each.name}, recognizer.grid.window, False)
        )
        for number, each in enumerate(watched, 1)
    }


def window_log(folder: Path, number: int) -> Path:
    """Where the windows of the N-th source are, counted from 1."""
    return folder / "windows" / f"{number:04d}.jsonl"


def _due(watched: Sequence[WatchedSource], there: Condition) -> list[tuple[WatchedSource, Window]]:
    """The windows that wait, one a source; after `LOOK_EVERY` none, too."""
    with there:
        there.wait_for(lambda: any(each._slot is not None or each._over for each in watched), LOOK_EVERY)
        found = [(each, each.take(there)) for each in watched]
    due = [(each, window) for each, window in found if window is not None]
    if not due and any(each.is_over for each in watched):
        time.sleep(LOOK_EVERY / 10)  # of those that are over nothing comes: no wait would last
    return due


@dataclass
class _ClipWriter:
    """Writes the clip of each event, once its last pictures are there."""

    folder: Path
    reporter: Reporter
    _waiting: list[tuple[WatchedSource, NamedEvent]] = field(default_factory=list)
    _number: int = 0

    def __post_init__(self) -> None:
        """Clips of an earlier watch into the same folder stay."""
        self.folder.mkdir(exist_ok=True)
        numbers = (path.name.partition("-")[0] for path in self.folder.glob("*-*.mp4"))
        self._number = max((int(number) for number in numbers if number.isdecimal()), default=0)

    def wait_for(self, each: WatchedSource, named: NamedEvent) -> None:
        self._waiting.append((each, named))

    def write_ready(self, last: bool = False) -> None:
        ready = [pair for pair in self._waiting if last or pair[0].seconds >= pair[1].event.end + AFTER]
        self._waiting = [pair for pair in self._waiting if pair not in ready]
        for each, named in ready:
            self._number += 1
            event, out = named.event, self.folder / f"{self._number:04d}-{file_word(named.event.cls)}.mp4"
            try:
                write_pictures(each.pictures(event.start - BEFORE, event.end + AFTER), event, out,
                               1 / each.windower.grid.step)  # fmt: skip
            except FsarError as error:
                self.reporter.warn(f"no clip of an event: {error.message}")
