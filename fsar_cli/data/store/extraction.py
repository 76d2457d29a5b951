"""Videos -> frame store: a whole extraction, which can be stopped and resumed at any point.

A worker leaves what the store keeps of a video in OUT/.partial/<short name>; this process then moves that into its
place and appends the manifest's row. A video is done when both exist, so a killed run repeats no finished video and
keeps no half one. A power cut may take what the system had not yet written: a video whose last frame is empty or
missing then, or whose shard is too short, is extracted anew.

Several processes (`ranks`), which all see OUT, divide the videos by index. Each has workers of its own; the first one
alone moves and lists, and the others tell it what became of theirs.
"""

import errno
import os
import shutil
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from fsar_cli.config import ExtractConfig
from fsar_cli.data.store.changes import Changes
from fsar_cli.data.store.clip import ClipFrames
from fsar_cli.data.store.filling import PARTIAL, StoreWriter, locked
from fsar_cli.data.store.frames import KINDS
from fsar_cli.data.store.origin import content_of, state_of
from fsar_cli.data.store.pictures import read_pictures
from fsar_cli.data.store.records import Record
from fsar_cli.data.store.sources import Source
from fsar_cli.data.store.workers import Crashed, run_tasks
from fsar_cli.data.video import printable, reason_of, scaled_size
from fsar_cli.errors import DataError, Interrupted, UsageError
from fsar_cli.ranks import ALONE, Ranks
from fsar_cli.reporting import SILENT, Reporter

CLAMPED = 1.0
"""A segment that ends so many seconds after its video is worth a word: annotations are in whole seconds."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class VideoTask:
    """One video, where what is kept of it goes, and how."""

    source: Source
    folder: Path
    settings: ExtractConfig


@dataclass(frozen=True)
class Stored:
    """What a worker made of a video."""

    record: Record
    """The manifest's row."""
    remark: str = ""
    """What is odd about it."""


@dataclass
class ExtractResult:
    """What an extraction did."""

    done: int = 0
    """Videos extracted now."""
    skipped: int = 0
    """Videos that were there already."""
    changes: Changes = field(default_factory=Changes)
    """What became of the sources of the clips that were there."""
    failed: list[tuple[Path, str]] = field(default_factory=list)
    """Videos that could not be read, with the reason."""
    frames: int = 0
    """Frames stored now."""
    seconds: float = 0.0
    """Wall time."""


def extract(
    videos: Iterable[Source],
    out: Path,
    settings: ExtractConfig,
    workers: int = 0,
    reporter: Reporter = SILENT,
    overwrite: bool = False,
    prune: bool = False,
    by_content: bool = False,
    ranks: Ranks = ALONE,
) -> ExtractResult:
    """Extract the videos that the store lacks or that have changed; one that cannot be read is noted, the rest goes on.

    Args:
        settings: as `Config.stored` completes them.
        workers: processes; 0 works in this one.
        overwrite: first remove what the store holds. Needed to change the settings.
        prune: remove clips whose source is gone.
        by_content: notice a source of another content even where its size and time are as they were.
        ranks: the processes that divide the videos; the result is whole on the first one.

    Raises:
        UsageError: other settings than the store's, a folder that is no store, another extraction at work in it, two
            videos for one clip, or pictures for a store that reads videos.
        DataError: the disk is full. Interrupted: Ctrl-C; nothing half-written is left.
    """
    begin, videos = time.monotonic(), list(videos)
    _refuse_pictures(videos, settings)
    if not ranks.first:
        _help(out, settings, workers, ranks)
        return ExtractResult()
    with locked(out):
        store = StoreWriter(out, settings, overwrite)
        todo = store.begin(videos, prune, by_content, reporter)
        ranks.agreed(lambda: todo)
        result = ExtractResult(skipped=store.skipped, changes=store.changes)
        for line in store.changes.lines(prune):
            reporter.warn(line)
        try:
            with (
                reporter.track("extract", len(todo), "videos") as bar,
                closing(_outcomes(todo, out, settings, workers, reporter, ranks)) as outcomes,
            ):
                for task, outcome in outcomes:
                    _file(task, outcome, store, result, reporter)
                    bar.advance(frames=result.frames, failed=len(result.failed))
        except KeyboardInterrupt as error:
            text = f"interrupted: {result.done} of {len(todo)} videos were extracted and are kept"
            raise Interrupted(text, "run the same command again to go on") from error
        finally:
            store.close()
    result.seconds = time.monotonic() - begin
    return result


def _refuse_pictures(videos: Iterable[Source], settings: ExtractConfig) -> None:
    folder = next((video.path for video in videos if video.pictures), None)
    if folder and KINDS[settings.store].reads_videos:
        raise UsageError(
            f"{printable(folder)} is a folder of pictures, and a store of kind {settings.store} reads video files",
            "--store files links the pictures where they fit, --store packed copies them",
        )


def _outcomes(
    todo: list[Source], out: Path, settings: ExtractConfig, workers: int, reporter: Reporter, ranks: Ranks
) -> Generator[tuple[VideoTask, object], None, None]:
    """What becomes of the videos, of this process and of the others, as it comes."""
    tasks = _tasks(ranks.share(todo), out, settings, ranks)
    others = len(todo) - len(tasks)
    for task, outcome in run_tasks(store_video, tasks, workers, reporter.warn):
        yield task, outcome
        for posted in ranks.posted(others, ready=True):
            others -= 1
            yield posted
    yield from ranks.posted(others, ready=False)


def _help(out: Path, settings: ExtractConfig, workers: int, ranks: Ranks) -> None:
    """Do this process's share of the videos, and tell the first process, which files them, what became of each."""
    tasks = _tasks(ranks.share(ranks.agreed(list)), out, settings, ranks)
    with closing(run_tasks(store_video, tasks, workers)) as outcomes:
        for outcome in outcomes:
            ranks.post(outcome)


def _tasks(todo: Sequence[Source], out: Path, settings: ExtractConfig, ranks: Ranks) -> list[VideoTask]:
    # Short names of our own: a video's name may be as long as the file system allows. The process number keeps apart a
    # worker that outlives its killed parent for a moment.
    folders = (out / PARTIAL / f"{ranks.rank}-{os.getpid()}-{number}" for number in range(len(todo)))
    return [VideoTask(source, folder, settings) for source, folder in zip(todo, folders, strict=False)]


def _file(task: VideoTask, outcome: object, store: StoreWriter, result: ExtractResult, reporter: Reporter) -> None:
    """Put one outcome where it belongs: the store, or the list of failures."""
    if isinstance(outcome, Stored):
        record = outcome.record
        try:
            store.add(record, task.folder)
        except OSError as error:
            raise _refused(store, error) from error
        result.done, result.frames = result.done + 1, result.frames + record.frames
        reporter.detail(f"{printable(record.id)}: {record.frames} frames of {record.width} x {record.height}")
        if task.source.span and (lost := task.source.span[1] - record.start - record.duration) > CLAMPED:
            reporter.warn(f"{printable(record.id)}: the video ends {lost:.1f} s before the segment does")
        if outcome.remark:
            reporter.warn(f"{printable(record.id)}: {outcome.remark}")
        return
    shutil.rmtree(task.folder, ignore_errors=True)
    if isinstance(outcome, OSError):
        raise _refused(store, outcome)
    reason = f"its worker process died ({outcome.cause})" if isinstance(outcome, Crashed) else str(outcome)
    reason += f" ({task.source.at})" if task.source.at else ""
    result.failed.append((task.source.path, reason))
    reporter.warn(f"{printable(task.source.path)}: {reason}")
    store.add_failure(task.source, reason)


def _refused(store: StoreWriter, error: OSError) -> DataError:
    return DataError(f"{store.root} takes no more: {error.strerror}", "free some space and run the same again")


def store_video(task: VideoTask) -> Stored | str | OSError:
    """Decode one video into `task.folder`: the work of a worker process.

    Returns:
        What was stored; or the reason why the video cannot be read; or the error of a disk that takes no more.
    """
    try:
        return _store(task)
    except DataError as error:
        return reason_of(error, task.source.path)
    except OSError as error:
        if error.errno in FULL:
            return error
        is_source = error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(task.source.path)
        if is_source:  # gone, since it was listed
            return f"it cannot be read ({error.strerror})"
        return f"its frames cannot be written ({error.strerror})"
    except MemoryError:
        return "not enough memory for its pictures"


def _store(task: VideoTask) -> Stored:
    source, settings = task.source, task.settings
    clip = ClipFrames(source, settings)
    full_width, full_height, rate = clip.measure()
    size, time = state_of(source.path)  # before decoding: a change meanwhile is to be noticed
    content = content_of(source.path)
    shutil.rmtree(task.folder, ignore_errors=True)
    task.folder.mkdir(parents=True)
    KINDS[settings.store].collect(clip, task.folder)
    chosen, times = clip.chosen, clip.chosen.times
    width, height = scaled_size(full_width, full_height, settings.short_side or None)
    fps = (chosen.count - 1) / chosen.last if chosen.count > 1 else rate
    record = Record(
        id=source.id,
        label=source.label,
        source=str(source.path),
        source_width=full_width,
        source_height=full_height,
        source_fps=round(fps, 6),
        source_frames=chosen.count,
        width=width,
        height=height,
        fps=round((len(times) - 1) / times[-1] if len(times) > 1 else fps, 6),
        frames=len(times),
        duration=round(chosen.last + 1 / fps, 6),
        start=clip.stretch[0],
        source_size=size,
        source_time=time,
        source_content=content,
    )
    return Stored(record, read_pictures(source.path).remark() if source.pictures else "")
