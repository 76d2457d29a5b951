"""Videos -> frame store: the work on one video, and a whole extraction that can be stopped and resumed at any point.

A video is decoded into OUT/.partial/<short name>; the parent process then moves the folder into its place and appends
the manifest's row. A video is done when both exist, so a killed run repeats no finished video and keeps no half one.
"""

import csv
import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from fsar_cli.data.frames import (
    ANEW,
    MANIFEST,
    SECONDS,
    SETTINGS,
    Record,
    Settings,
    frame_name,
    read_manifest,
    read_settings,
    write_manifest,
    write_settings,
)
from fsar_cli.data.sources import Source
from fsar_cli.data.thinning import Thinning
from fsar_cli.data.video import iter_frames, printable, probe
from fsar_cli.data.workers import Crashed, run_tasks
from fsar_cli.errors import DataError, Interrupted, UsageError
from fsar_cli.reporting import SILENT, Reporter

try:
    import fcntl
except ImportError:  # Windows: two extractions into one store are then not kept apart
    fcntl = None

PARTIAL, LOCK, FAILED = ".partial", ".lock", "failed.csv"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass
class ExtractResult:
    """What an extraction did."""

    done: int = 0
    """Videos extracted now."""
    skipped: int = 0
    """Videos that were there already."""
    failed: list[tuple[Path, str]] = field(default_factory=list)
    """Videos that could not be read, with the reason."""
    frames: int = 0
    """Frames stored now."""
    seconds: float = 0.0
    """Wall time."""


@dataclass(frozen=True)
class Job:
    """One video's work, as it travels to a worker process."""

    source: Source
    folder: Path
    settings: Settings


def extract_one(job: Job) -> Record | str | OSError:
    """Decode one video into `job.folder`.

    Returns:
        The manifest's row; or the reason why the video cannot be read; or the error of a disk that takes no more.
    """
    path = job.source.path
    try:
        return _extract(job)
    except DataError as error:
        return error.message.removeprefix(f"{printable(path)}: ")
    except OSError as error:
        return error if error.errno in FULL else f"its frames cannot be written ({error.strerror})"
    except MemoryError:
        return "not enough memory for its pictures"


def _extract(job: Job) -> Record:
    settings, folder, path = job.settings, job.folder, job.source.path
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    info = probe(path)
    thinning = Thinning(settings.fps, settings.every, settings.max_frames)
    clock, times, files, picture = _Clock(thinning), [], [], None
    for seconds, picture in iter_frames(path, settings.short_side, clock, threads=1):
        for position in reversed(thinning.given_up):
            files.pop(position).unlink()
            del times[position]
        thinning.given_up = []
        files.append(folder / frame_name(clock.count - 1))
        times.append(seconds)
        Image.fromarray(picture).save(files[-1], quality=settings.quality)
    for index, file in enumerate(files):
        file.rename(folder / frame_name(index))  # only ever to a lower number, which is free
    (folder / SECONDS).write_text("".join(f"{second!r}\n" for second in times), encoding="utf-8")
    fps = clock.fps or info.fps
    return Record(
        id=job.source.id,
        label=job.source.label,
        source=str(path),
        source_width=info.width,
        source_height=info.height,
        source_fps=round(fps, 6),
        source_frames=clock.count,
        width=picture.shape[1],
        height=picture.shape[0],
        fps=round((len(times) - 1) / times[-1] if len(times) > 1 else fps, 6),
        frames=len(times),
        duration=round(clock.last + 1 / fps, 6),
    )


class _Clock:
    """Counts all frames and notes the time of the last while `thinning` chooses among them."""

    def __init__(self, thinning: Thinning) -> None:
        self._thinning, self.count, self.last = thinning, 0, 0.0

    def __call__(self, index: int, seconds: float) -> bool:
        self.count, self.last = index + 1, seconds
        return self._thinning(index, seconds)

    @property
    def fps(self) -> float | None:
        return (self.count - 1) / self.last if self.count > 1 else None


def extract(
    videos: Iterable[Source],
    out: Path,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    workers: int = 0,
    reporter: Reporter = SILENT,
    overwrite: bool = False,
) -> ExtractResult:
    """Extract the videos that the store lacks; a video that cannot be read is noted and the others go on.

    Args:
        workers: processes; 0 works in this one.
        overwrite: first remove what the store holds. Needed to change the settings.

    Raises:
        UsageError: other settings than the store's, a folder that is no store, or another extraction at work in it.
        DataError: the disk is full. Interrupted: Ctrl-C; nothing half-written is left.
    """
    begin = time.monotonic()
    with _locked(out):
        store = _Store(out, settings, overwrite)
        todo = store.missing(list(videos))
        result = ExtractResult(skipped=store.skipped)
        try:
            with reporter.track("extract", len(todo), "videos") as task:
                for source, outcome in _outcomes(todo, out, settings, workers):
                    store.take(source, outcome, result, reporter)
                    task.advance(frames=result.frames, failed=len(result.failed))
        except KeyboardInterrupt as error:
            text = f"interrupted: {result.done} of {len(todo)} videos were extracted and are kept"
            raise Interrupted(text, "run the same command again to go on") from error
        finally:
            store.close()
    result.seconds = time.monotonic() - begin
    return result


def _outcomes(todo: list[Source], out: Path, settings: Settings, workers: int):
    """(source, outcome of `extract_one` or Crashed) in the order of completion."""
    # Short names of our own: a video's name may be as long as the file system allows. The process number keeps apart a
    # worker that outlives its killed parent for a moment.
    folders = (out / PARTIAL / f"{os.getpid()}-{number}" for number in range(len(todo)))
    jobs = [Job(source, folder, settings) for source, folder in zip(todo, folders, strict=True)]
    for job, outcome in run_tasks(extract_one, jobs, min(workers, len(jobs))):
        if isinstance(outcome, Record):
            outcome = (outcome, job.folder)
        else:
            shutil.rmtree(job.folder, ignore_errors=True)
        yield job.source, outcome


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep a second extraction out of the store; the lock dies with the process."""
    try:
        strange = out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / LOCK).exists()))
        if strange and not (out / SETTINGS).exists():
            raise UsageError(
                f"{out} is not a frame store and not an empty folder",
                "OUT is the last argument; name a new folder or one that extract-frames made",
            )
        out.mkdir(parents=True, exist_ok=True)
        with (out / LOCK).open("w") as file:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise UsageError(f"another extraction is at work in {out}", "wait for it, or choose another folder") from error


class _Store:
    """The parent's side of the store: what is there, and the one place that adds to it."""

    def __init__(self, root: Path, settings: Settings, overwrite: bool) -> None:
        self._root, self.skipped = root, 0
        shutil.rmtree(root / PARTIAL, ignore_errors=True)
        if overwrite:
            self._clear()
        old = read_settings(root)
        if old not in (None, settings):
            raise UsageError(f"{root} was made with {_difference(old, settings)}", ANEW)
        self._records = {r.id: r for r in read_manifest(root) if self._whole(r)}
        write_settings(root, settings)
        write_manifest(root, self._records.values())  # also repairs a last row that was left unfinished
        self._manifest = (root / MANIFEST).open("a", encoding="utf-8", errors="surrogateescape", newline="")
        self._failed = None

    def _whole(self, record: Record) -> bool:
        return (self._root / record.id / frame_name(record.frames - 1)).is_file()

    def _clear(self) -> None:
        for record in read_manifest(self._root):
            shutil.rmtree(self._root / record.id, ignore_errors=True)
        for name in (MANIFEST, SETTINGS):
            (self._root / name).unlink(missing_ok=True)

    def missing(self, videos: list[Source]) -> list[Source]:
        """The videos that are still to be extracted. Raises UsageError where a video is there under another id."""
        by_source = {record.source: record.id for record in self._records.values()}
        for video in videos:
            old = by_source.get(str(video.path), video.id)
            if old != video.id:
                raise UsageError(f"{printable(video.path)} is in {self._root} as '{old}', and is now '{video.id}'", ANEW)
        todo = [video for video in videos if video.id not in self._records]
        self.skipped = len(videos) - len(todo)
        (self._root / FAILED).unlink(missing_ok=True)
        return todo

    def take(self, source: Source, outcome: object, result: ExtractResult, reporter: Reporter) -> None:
        """File one outcome: the folder into its place and a row, or a line in failed.csv. Raises DataError: disk full."""
        if isinstance(outcome, OSError):
            raise DataError(f"{self._root} takes no more: {outcome.strerror}", "free some space and run again")
        if isinstance(outcome, tuple):
            self._add(*outcome)
            result.done, result.frames = result.done + 1, result.frames + outcome[0].frames
            return
        reason = str(outcome) if not isinstance(outcome, Crashed) else f"its worker process died ({outcome.cause})"
        result.failed.append((source.path, reason))
        reporter.warn(f"{printable(source.path)}: {reason}")
        self._note_failure(source, reason)

    def _add(self, record: Record, folder: Path) -> None:
        place = self._root / record.id
        shutil.rmtree(place, ignore_errors=True)  # left by a run that was killed between the move and the row
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder, place)
        csv.writer(self._manifest, lineterminator="\n").writerow(_row(record))
        self._manifest.flush()

    def _note_failure(self, source: Source, reason: str) -> None:
        if self._failed is None:
            self._failed = (self._root / FAILED).open("w", encoding="utf-8", errors="surrogateescape", newline="")
            csv.writer(self._failed, lineterminator="\n").writerow(["video", "path", "reason"])
        csv.writer(self._failed, lineterminator="\n").writerow([source.id, source.path, reason])
        self._failed.flush()

    def close(self) -> None:
        """Close the tables and remove what was not finished."""
        self._manifest.close()
        if self._failed is not None:
            self._failed.close()
        shutil.rmtree(self._root / PARTIAL, ignore_errors=True)
