"""Video files -> a folder of results. Here what is written as it happens.

FOLDER/windows/0001.jsonl    scored windows of the first video (`windowlog`); --resume goes on from them
FOLDER/events.jsonl          an event a line, as it opens and as it is over
FOLDER/events.csv, events.json, NAME.vtt, clips/, report.html, scan.json
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsar_cli.data.video import printable, probe
from fsar_cli.errors import DataError
from fsar_cli.ranks import ALONE, Ranks
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.events import Box, Event, ScoredWindow
from fsar_cli.recognise.outputs import EventLog, NamedEvent
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.recognise.saidevents import SaidEvents
from fsar_cli.recognise.stretches import VideoLog, score_together
from fsar_cli.recognise.windowlog import WindowLog, read_windows
from fsar_cli.recognise.windows import crop_of
from fsar_cli.reporting import SILENT, Reporter

EVENTS = "events.jsonl"
Say = Callable[[NamedEvent], None]


@dataclass
class ScannedVideo:
    """What became of one file."""

    path: Path
    """Absolute."""
    log: Path
    """Its windows."""
    crop: Box = (0.0, 0.0, 1.0, 1.0)
    """What the network sees of its pictures."""
    duration: float | None = None
    """Seconds, as its header says; None: it does not."""
    seconds: float = 0.0
    """Of video that windows cover."""
    windows: int = 0
    events: Collection[NamedEvent] = ()
    """Those that are over (`SaidEvents`), by start."""
    failed: str = ""
    """Why it was not read to its end; empty: it was."""


@dataclass
class ScanResult:
    """What became of all files."""

    folder: Path
    level: AlarmLevel
    videos: list[ScannedVideo]
    took: float = 0.0
    """Seconds that scanning took, without what was there already."""
    fresh: float = 0.0
    """Seconds of video that were scanned in that time."""

    @property
    def events(self) -> list[NamedEvent]:
        """Of all videos."""
        return [event for video in self.videos for event in video.events]

    @property
    def speed(self) -> float | None:
        """Seconds of video a second; None: nothing was scanned."""
        return self.fresh / self.took if self.took and self.fresh else None


def scan_files(
    recognizer: Recognizer,
    videos: Sequence[Path],
    folder: Path,
    level: AlarmLevel,
    *,
    made_with: str = "",
    resume: bool = False,
    say: Say = lambda event: None,
    reporter: Reporter = SILENT,
    ranks: Ranks = ALONE,
) -> ScanResult:
    """Scan video files, one after the other; one that cannot be read is named and the others finish.

    Args:
        folder: exists.
        made_with: digest of the support file: windows of another are not gone on from.
        resume: go on from the windows that are there.
        say: is told of each event as it opens and as it is over.
        ranks: the processes that divide the windows; the first one has the result, and all see the folder.

    Raises:
        OSError: the folder cannot be written to.
    """
    if ranks.first:
        (folder / "windows").mkdir(exist_ok=True)
    found = [ScannedVideo(path.absolute(), folder / "windows" / f"{number:04d}.jsonl")
             for number, path in enumerate(videos, 1)]  # fmt: skip
    result = ScanResult(folder, level, found)
    if not ranks.alone:
        started, asked = time.monotonic(), found if ranks.first else ()  # the others are told of stretches alone
        logs = [_log_of(recognizer, video, made_with) for video in asked]
        windows = score_together(recognizer, [log for log in logs if log], resume, ranks, reporter)
        result.took, result.fresh, resume = time.monotonic() - started, windows * recognizer.grid.stride, True
    if not ranks.first:
        return result
    (folder / EVENTS).unlink(missing_ok=True)  # all that is known is said again
    with EventLog(folder / EVENTS) as log:

        def tell(event: NamedEvent) -> None:
            log.say(event)
            say(event)

        for video in found:
            video.events = SaidEvents(log, str(video.path), tracks=True)
            with _noted(video, reporter):
                video.duration = probe(video.path).duration
                video.crop = crop_of(video.path, recognizer.encoder.config.clip)
                made_of = _made_of(video.path, made_with, recognizer)
            if not video.failed:
                _scan(recognizer, video, result, made_of, resume, tell, reporter)
    return result


def _log_of(recognizer: Recognizer, video: ScannedVideo, made_with: str) -> VideoLog | None:
    """What several processes need to know of a video; None: it cannot be read, which is told later."""
    try:
        return VideoLog(video.path, video.log, _made_of(video.path, made_with, recognizer), probe(video.path).duration)
    except DataError:
        return None


@contextmanager
def _noted(video: ScannedVideo, reporter: Reporter) -> Iterator[None]:
    """That a video cannot be read is noted and told, and is no error."""
    try:
        yield
    except DataError as error:
        video.failed = error.message
        reporter.warn(f"{error.message}{f' ({error.hint})' if error.hint else ''}")


def _made_of(video: Path, made_with: str, recognizer: Recognizer) -> dict[str, object]:
    """What windows are of, as `WindowLog` is told. Raises DataError: the video is gone."""
    try:
        facts = video.stat()
    except OSError as error:
        raise DataError(f"{printable(video)} cannot be read: {error.strerror}") from error
    return {"video": str(video), "size": facts.st_size, "time": facts.st_mtime_ns, "support": made_with,
            "grid": vars(recognizer.grid)}  # fmt: skip


def _scan(
    recognizer: Recognizer, video: ScannedVideo, result: ScanResult, made_of: dict[str, object], resume: bool,
    tell: Say, reporter: Reporter,
) -> None:  # fmt: skip
    detector, stride = recognizer.detector(result.level), recognizer.grid.stride

    def take(events: list[Event]) -> None:
        for event in events:
            tell(named_event(recognizer, str(video.path), event))
            if not event.is_open:
                assert isinstance(video.events, SaidEvents)  # since the scan began
                video.events.note()

    total = None if video.duration is None else max(1, round(video.duration / stride))
    with (
        WindowLog(video.log, made_of, recognizer.grid.window, resume, recognizer.together) as log,
        reporter.track(video.path.name, total, "windows") as task,
    ):
        last = None
        for last in read_windows(video.log) if resume else ():
            take(detector.push(last))
            video.windows += 1
        task.advance(video.windows)
        if resume and not video.windows:
            reporter.log(f"{video.path.name}: no windows of it by this support file to go on from; from its start")
        started = time.monotonic()
        try:
            for window in () if log.ended else _further(recognizer, video, last, stride, reporter):
                log.add(window)
                take(detector.push(window))
                video.windows, last = video.windows + 1, window
                result.fresh += stride
                task.advance(events=len(video.events))
            if not log.ended and not video.failed:
                log.end()
        finally:
            result.took += time.monotonic() - started
            video.seconds = last.end if last else 0.0
            take(detector.flush())


def _further(
    recognizer: Recognizer, video: ScannedVideo, last: ScoredWindow | None, stride: float, reporter: Reporter
) -> Iterator[ScoredWindow]:  # fmt: skip
    """The windows behind the last one that is known, up to what cannot be read."""
    begin = () if last is None else (last.start + stride,) * 2
    with _noted(video, reporter):
        try:
            yield from recognizer.windows(video.path, *begin)
        except DataError as error:
            if last is None or "has no frame" not in error.message:  # else the last window was the last
                raise


def named_event(recognizer: Recognizer, video: str, event: Event) -> NamedEvent:
    """An event with its rank among normal windows and the example that speaks for it."""
    return NamedEvent(video, event, recognizer.rank(event.score), recognizer.examples[event.nearest].name)


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
