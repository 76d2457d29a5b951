"""Windows of video files that several processes score: stretches of each video's grid, divided by index.

    FOLDER/windows/0001.parts/0003.jsonl     the fourth stretch of the first video, by whichever process it fell to
    FOLDER/windows/0001.jsonl                all of them, joined by the first process

The costly part of a scan is done so. What follows goes on from the joined windows (`scan`), as behind a scan that was
stopped: it scores what is missing, since a stretch could not be read or lies behind a gap in the video, whose windows
begin anew. So the result is that of one process, whatever the stretches are worth.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fsar_cli.errors import DataError
from fsar_cli.ranks import Ranks
from fsar_cli.recognise.events import ScoredWindow
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.recognise.windowlog import TOLERANCE, WindowLog, read_windows
from fsar_cli.reporting import Reporter

SECONDS = 120.0
"""Of a stretch, or more: a process begins at a key frame before it, and network calls are kept whole."""


@dataclass(frozen=True)
class VideoLog:
    """A video whose windows are to be known."""

    path: Path
    log: Path
    made_of: dict[str, object]
    """As `WindowLog` has it."""
    duration: float | None
    """Seconds; None: not known, and all of it is one stretch."""


@dataclass(frozen=True)
class Stretch:
    """Some windows of a video."""

    video: VideoLog
    number: int
    first: int
    """How many windows of the video lie before it."""
    count: int | None
    """Windows; None: all that follow."""


def score_together(
    recognizer: Recognizer, videos: Sequence[VideoLog], resume: bool, ranks: Ranks, reporter: Reporter
) -> int:
    """Score the windows of videos, each process its stretches; they are joined on the first one when all are there.

    Args:
        resume: keep windows that are there.

    Returns:
        how many were joined.
    """
    if ranks.first and not resume:
        for video in videos:
            video.log.unlink(missing_ok=True)
            shutil.rmtree(video.log.with_suffix(".parts"), ignore_errors=True)
    stretches = ranks.agreed(lambda: [s for video in videos for s in stretches_of(recognizer, video)])
    own = ranks.share(stretches)
    with reporter.track("stretches of all processes", len(stretches), "stretches") as task:
        for stretch in own:
            with suppress(DataError):  # it is met again, and told, by who goes on from what is there
                _score(recognizer, stretch)
            task.advance(ranks.world)
        ranks.all(None)
    return sum(_join(recognizer, video) for video in videos if ranks.first)


def stretches_of(recognizer: Recognizer, video: VideoLog) -> Iterator[Stretch]:
    """What is to be scored of a video; nothing where its windows are all there."""
    if _is_whole(recognizer, video.log, video.made_of):
        return
    stride = recognizer.grid.stride
    size = recognizer.together * max(1, round(SECONDS / stride / recognizer.together))
    number = max(1, int((video.duration or 0.0) / stride) // size)
    for place in range(number):
        yield Stretch(video, place, place * size, size if place + 1 < number else None)


def _is_whole(recognizer: Recognizer, log: Path, made_of: dict[str, object]) -> bool:
    if not log.exists():
        return False
    with WindowLog(log, made_of, recognizer.grid.window, resume=True) as there:
        return there.ended


def _log_of(stretch: Stretch) -> tuple[Path, dict[str, object]]:
    """Where its windows are, and what they are of."""
    file = stretch.video.log.with_suffix(".parts") / f"{stretch.number:04d}.jsonl"
    return file, {**stretch.video.made_of, "first": stretch.first, "count": stretch.count}


def _score(recognizer: Recognizer, stretch: Stretch) -> None:
    place, made_of = _log_of(stretch)
    if _is_whole(recognizer, place, made_of):
        return
    place.parent.mkdir(exist_ok=True)
    origin = stretch.first * recognizer.grid.stride
    windows = recognizer.windows(stretch.video.path, *((origin, origin) if stretch.first else ()))
    with WindowLog(place, made_of, recognizer.grid.window, resume=False) as log:
        for window in islice(windows, stretch.count):
            log.add(window)
        log.end()


def _join(recognizer: Recognizer, video: VideoLog) -> int:
    """Put the stretches of a video together, as far as each goes on where the one before ended; how many windows."""
    parts = video.log.with_suffix(".parts")
    if not parts.exists():
        return 0
    stretches, expected, joined = list(stretches_of(recognizer, video)), 0.0, 0
    if not stretches:  # they were joined before, and the process was killed over removing them
        shutil.rmtree(parts, ignore_errors=True)
        return 0
    with WindowLog(video.log, video.made_of, recognizer.grid.window, resume=False) as log:
        for stretch in stretches:
            windows = list(read_windows(_log_of(stretch)[0])) if _is_whole(recognizer, *_log_of(stretch)) else []
            if not windows or (stretch.first and not _goes_on(windows[0], expected)):
                break
            for window in windows:
                log.add(window)
            expected, joined = windows[-1].start + recognizer.grid.stride, joined + len(windows)
            if stretch is stretches[-1]:
                log.end()
            elif any(window.breaks for window in windows) or len(windows) < (stretch.count or 0):
                break  # behind a gap the grid is another, and what lies behind an early end is nothing
    shutil.rmtree(parts, ignore_errors=True)
    return joined


def _goes_on(window: ScoredWindow, expected: float) -> bool:
    return not window.breaks and abs(window.start - expected) < TOLERANCE
