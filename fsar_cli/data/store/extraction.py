"""Videos -> frame store: a whole extraction, which can be stopped and resumed at any point.

A worker leaves what the store keeps of a video in OUT/.partial/<short name>; this process then moves that into its
place and appends the manifest's row. A video is done when both exist, so a killed run repeats no finished video and
keeps no half one.
"""

import os
import shutil
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from fsar_cli.data.store.filling import PARTIAL, StoreWriter, locked
from fsar_cli.data.store.records import Record, Settings
from fsar_cli.data.store.sources import Source
from fsar_cli.data.store.storing import Job, store_video
from fsar_cli.data.store.workers import Crashed, run_tasks
from fsar_cli.data.video import printable
from fsar_cli.errors import DataError, Interrupted
from fsar_cli.reporting import SILENT, Reporter

CLAMPED = 1.0
"""A segment that ends so many seconds after its video is worth a word: annotations are in whole seconds."""


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
    with locked(out):
        store = StoreWriter(out, settings, overwrite)
        todo = store.begin(list(videos))
        jobs = _jobs(todo, out, settings)
        result = ExtractResult(skipped=store.skipped)
        try:
            with (
                reporter.track("extract", len(todo), "videos") as task,
                closing(run_tasks(store_video, jobs, workers)) as outcomes,
            ):
                for job, outcome in outcomes:
                    _file(job, outcome, store, result, reporter)
                    task.advance(frames=result.frames, failed=len(result.failed))
        except KeyboardInterrupt as error:
            text = f"interrupted: {result.done} of {len(todo)} videos were extracted and are kept"
            raise Interrupted(text, "run the same command again to go on") from error
        finally:
            store.close()
    result.seconds = time.monotonic() - begin
    return result


def _jobs(todo: list[Source], out: Path, settings: Settings) -> list[Job]:
    # Short names of our own: a video's name may be as long as the file system allows. The process number keeps apart a
    # worker that outlives its killed parent for a moment.
    folders = (out / PARTIAL / f"{os.getpid()}-{number}" for number in range(len(todo)))
    return [Job(source, folder, settings) for source, folder in zip(todo, folders, strict=False)]


def _file(job: Job, outcome: object, store: StoreWriter, result: ExtractResult, reporter: Reporter) -> None:
    """Put one outcome where it belongs: the store, or the list of failures."""
    if isinstance(outcome, Record):
        try:
            store.add(outcome, job.folder)
        except OSError as error:
            raise _refused(store, error) from error
        result.done, result.frames = result.done + 1, result.frames + outcome.frames
        reporter.detail(f"{printable(outcome.id)}: {outcome.frames} frames of {outcome.width} x {outcome.height}")
        if job.source.span and (lost := job.source.span[1] - outcome.start - outcome.duration) > CLAMPED:
            reporter.warn(f"{printable(outcome.id)}: the video ends {lost:.1f} s before the segment does")
        return
    shutil.rmtree(job.folder, ignore_errors=True)
    if isinstance(outcome, OSError):
        raise _refused(store, outcome)
    reason = f"its worker process died ({outcome.cause})" if isinstance(outcome, Crashed) else str(outcome)
    result.failed.append((job.source.path, reason))
    reporter.warn(f"{printable(job.source.path)}: {reason}")
    store.add_failure(job.source, reason)


def _refused(store: StoreWriter, error: OSError) -> DataError:
    return DataError(f"{store.root} takes no more: {error.strerror}", "free some space and run the same again")
