"""Live sources on the command line: a view that is drawn again and again, or lines; and an end that writes all."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING

from fsar_cli.errors import DataError, counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fsar_cli.recognise.calibration import AlarmLevel
    from fsar_cli.recognise.outputs import NamedEvent
    from fsar_cli.recognise.recognizer import Recognizer
    from fsar_cli.recognise.watched import WatchedSource

TELL_EVERY = 30.0  # seconds between two lines on how sources do, where no view is drawn


@dataclass(frozen=True)
class Output:
    """What a scan is to leave behind, and to say."""

    folder: Path | None
    """None: scans/NAME."""
    force: bool
    page: bool
    clips: bool
    lines: bool
    """A line of JSON on stdout for each event."""
    as_json: bool

    def say(self, named: "NamedEvent") -> None:
        """Tell of an event as it opens or is over."""
        if self.lines:
            from fsar_cli.recognise.outputs import event_document

            sys.stdout.write(json.dumps(event_document(named), allow_nan=False) + "\n")
            sys.stdout.flush()


@contextmanager
def terminated(act: Callable[[], None] | None = None) -> Iterator[None]:
    """Inside, SIGTERM is as Ctrl-C: an exception, or `act`, which Ctrl-C then calls, too."""

    def handle(number: int, frame: object) -> None:
        if act is None:
            raise KeyboardInterrupt
        act()

    numbers = [signal.SIGTERM] if act is None else [signal.SIGTERM, signal.SIGINT]
    try:
        before = {number: signal.signal(number, handle) for number in numbers}
    except ValueError:  # not the main thread, which alone may
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch_sources(
    recognizer: "Recognizer", addresses: Sequence[str], level: "AlarmLevel", support: Path, output: Output,
    seconds: float | None, max_reconnects: int | None, reporter,
) -> None:  # fmt: skip
    """Watch until told to stop; everything is written by then. Raises DataError: a source failed."""
    from fsar_cli.cli.output import print_json, stdout
    from fsar_cli.engine.outputs import result_folder
    from fsar_cli.recognise.results import begin_results, watch_document, write_watch
    from fsar_cli.recognise.watch import watch
    from fsar_cli.recognise.watched import shown_names

    names, stop = shown_names(addresses), Flag()
    default = Path("scans") / f"{datetime.now():%Y%m%d-%H%M%S}"
    with (
        result_folder(default, output.folder, "scan.json", {"sources": names}, reporter, force=output.force) as place,
        terminated(stop.set),  # up to the last file: who asks twice is to lose nothing
    ):
        begin_results(place, names, keep_clips=True)
        with _view(reporter, output) as (say, show):
            watched = watch(
                recognizer, addresses, place, level, stop=stop, seconds=seconds, max_reconnects=max_reconnects,
                clips=output.clips, windows=output.page, say=say, show=show, reporter=reporter,
            )  # fmt: skip
        write_watch(recognizer, watched, place, level, support, page=output.page, reporter=reporter)
    if output.as_json:
        print_json({"command": "scan", **watch_document(recognizer, watched, place, level, support)})
    elif not output.lines:
        for each in watched:
            stdout.print(f"{each.name}: {counted(len(each.events), 'event')}, {_missed(each)}")
        stdout.print(str(place))
    if failed := [each for each in watched if each.failed]:
        raise DataError(f"{len(failed)} of {len(watched)} sources failed: {failed[0].failed}")


def _missed(each: "WatchedSource") -> str:
    over = f", {each.passed_over} passed over" if each.passed_over else ""
    return f"{clock(each.seconds)}, {counted(each.windows, 'window')}{over}; {each.state}"


@contextmanager
def _view(reporter, output: Output) -> Iterator[tuple[Callable, Callable]]:
    """How events and sources are told of: a table that is drawn anew on a terminal, else a line now and then."""
    from fsar_cli.cli.output import stderr, stdout

    drawn = stderr.is_terminal and not reporter.quiet
    told = time.monotonic()

    def lines(watched: Sequence["WatchedSource"]) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            for each in watched:
                reporter.log(f"{each.name}: {_missed(each)}, lag {each.state.lag:.1f} s")

    def say(named: "NamedEvent") -> None:
        output.say(named)
        if not (output.lines or output.as_json or (drawn and sys.stdout.isatty())):
            stdout.print(_event_line(named))

    if not drawn:
        yield say, lines
        return
    from rich.live import Live

    # What a file or a pipe takes is not woven into the view: it goes there.
    woven = sys.stdout.isatty()
    with Live(console=stderr.console, refresh_per_second=4, transient=True, redirect_stdout=woven) as live:
        yield say, lambda watched: live.update(view_of(watched))


def view_of(watched: Sequence["WatchedSource"]) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from fsar_cli.cli.output import table
    from fsar_cli.cli.streams import harmless

    rows = [
        [each.name, (state := each.state).state, f"{state.rate:.1f}", f"{state.lag:.1f} s", str(each.windows),
         str(len(each.events)), _lost(each)]
        for each in watched
    ]  # fmt: skip
    columns = ["source", "state", "fps", "lag", "windows", "events", "lost"]
    last = sorted((event for each in watched for event in each.last), key=lambda named: named.event.wall or 0)[-5:]
    return Group(
        table("", columns, rows, right=("fps", "lag", "windows", "events")),
        *[Text(harmless(_event_line(named))) for named in last],
        Text("Ctrl-C ends, with everything written", style="dim"),
    )


def _lost(each: "WatchedSource") -> str:
    """All that was missed, in as few words as a column has room for."""
    state = each.state
    over = {"passed over": each.passed_over, **state.drops}
    parts = [f"{number} {cause}" for cause, number in over.items() if number]
    parts += [f"{state.missed:.0f} s"] if state.missed else []
    return ", ".join([*parts, *([counted(state.reconnects, "reconnect")] if state.reconnects else [])]) or "-"


def _event_line(named: "NamedEvent") -> str:
    event = named.event
    when = f"{datetime.fromtimestamp(event.wall):%H:%M:%S}" if event.wall else clock(event.start)
    how = "begins" if event.is_open else f"{event.seconds:.1f} s"
    rank = "" if named.rank is None else f", rank {named.rank:.4f}"
    return f"{when}  {event.cls}  {how}, score {event.score:.3f}{rank}, because of {named.because}  ({named.video})"


def clock(seconds: float) -> str:
    """H:MM:SS.s"""
    tenths = round(10 * seconds)
    hours, rest = divmod(tenths, 36_000)
    return f"{hours}:{rest // 600:02d}:{rest % 600 / 10:04.1f}"
