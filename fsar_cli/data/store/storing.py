"""One video -> what a frame store keeps of it, in a folder: the work of an extraction's worker process."""

import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsar_cli.data.sizes import scaled_size
from fsar_cli.data.store import jpeg
from fsar_cli.data.store.linked import LinkedSink
from fsar_cli.data.store.loose import LooseSink
from fsar_cli.data.store.packed import PackedSink
from fsar_cli.data.store.records import Record, Settings
from fsar_cli.data.store.sources import Source
from fsar_cli.data.store.thinning import Thinning
from fsar_cli.data.video import iter_frames, printable, probe
from fsar_cli.data.video.positions import Positions
from fsar_cli.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Job:
    """One video, where its frames go, and how."""

    source: Source
    folder: Path
    settings: Settings


def store_video(job: Job) -> Record | str | OSError:
    """Decode one video into `job.folder`.

    Returns:
        The manifest's row; or the reason why the video cannot be read; or the error of a disk that takes no more.
    """
    try:
        return _store(job)
    except DataError as error:
        return error.message.removeprefix(f"{printable(job.source.path)}: ")
    except OSError as error:
        return error if error.errno in FULL else f"its frames cannot be written ({error.strerror})"
    except MemoryError:
        return "not enough memory for its pictures"


class _Counter:
    """Counts a clip's frames and notes the time of the last since the first, while the thinning chooses among them."""

    def __init__(self, thinning: Thinning) -> None:
        self._thinning, self.count, self.first, self.last = thinning, 0, 0.0, 0.0

    def __call__(self, index: int, seconds: float) -> bool:
        if index == 0:
            self.first = seconds
        self.count, self.last = index + 1, seconds - self.first
        return self._thinning(index, self.last)


def _store(job: Job) -> Record:
    settings = job.settings
    info = probe(job.source.path)
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    thinning = Thinning(settings.fps, settings.every, settings.max_frames)
    counter = _Counter(thinning)
    sink, frames = _plan(job, counter)
    times = []
    for seconds, frame in frames:
        _make_room(sink, times, thinning)
        sink.add(frame)
        times.append(seconds - counter.first)
    _make_room(sink, times, thinning)
    sink.finish(times)
    width, height = scaled_size(info.width, info.height, settings.short_side)
    fps = (counter.count - 1) / counter.last if counter.count > 1 else info.fps
    return Record(
        id=job.source.id,
        label=job.source.label,
        source=str(job.source.path),
        source_width=info.width,
        source_height=info.height,
        source_fps=round(fps, 6),
        source_frames=counter.count,
        width=width,
        height=height,
        fps=round((len(times) - 1) / times[-1] if len(times) > 1 else fps, 6),
        frames=len(times),
        duration=round(counter.last + 1 / fps, 6),
        start=job.source.span[0] if job.source.span else 0.0,
    )


def _plan(job: Job, counter: _Counter) -> tuple[LooseSink | PackedSink | LinkedSink, Iterator[tuple[float, Any]]]:
    """Where the clip's frames go, and the frames as (seconds, what is kept of it)."""
    path, settings = job.source.path, job.settings
    start, end = job.source.span or (0.0, None)
    if settings.store == "videos":
        positions = Positions(path, start, end)
        return LinkedSink(job.folder, path, positions), positions.frames(counter)
    sink = {"files": LooseSink, "packed": PackedSink}[settings.store](job.folder)
    pictures = iter_frames(path, settings.short_side, counter, 1, start, end, planes=True)
    return sink, ((seconds, jpeg.encode(picture, settings.quality)) for seconds, picture in pictures)


def _make_room(sink, times: list[float], thinning: Thinning) -> None:
    """Remove the frames that the thinning gave up."""
    for position in reversed(thinning.given_up):
        sink.drop(position)
        times.pop(position)
    thinning.given_up = []
