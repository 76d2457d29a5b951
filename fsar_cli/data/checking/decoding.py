"""Which videos of a tree really decode, and how many frames they have: every one is tried, on worker processes.

- A tree of videos: each file is decoded from its first frame to its last. What came of it is kept (`verdicts`), so that
  a run that was stopped goes on where it was, and the next one decodes only what is new or changed.
- A frame store: each clip's times are read, its first, middle and last frame decode, and of a store of JPEG files none
  may be missing. That costs milliseconds a clip and depends on more files than could be kept track of: nothing is kept.
"""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fsar_cli.data.checking.report import VideoFacts
from fsar_cli.data.checking.verdicts import Verdict, Verdicts
from fsar_cli.data.splits.tree import Tree
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.loose import frame_name
from fsar_cli.data.store.records import MANIFEST, read_manifest
from fsar_cli.data.store.workers import Crashed, run_tasks
from fsar_cli.data.video import count_frames, printable, reason_of
from fsar_cli.errors import DataError, Interrupted
from fsar_cli.reporting import SILENT, Reporter


def look(
    tree: Tree, ids: Iterable[str], least: int, cache: Path | None, workers: int = 0, reporter: Reporter = SILENT
) -> VideoFacts:
    """What can be known of videos of a tree beyond their names; only with a `cache` are they decoded, see `decode`.

    A frame store has counted its frames; how long a video is only decoding tells.
    """
    counts = {record.id: record.frames for record in read_manifest(tree.root)} if tree.kind == "frames" else {}
    if cache is None:
        return VideoFacts(least, counts or None)
    verdicts = decode(tree, ids, cache, workers, reporter)
    counts |= {video: verdict.frames for video, verdict in verdicts.items() if not verdict.reason}
    return VideoFacts(least, counts, {video: verdict.reason for video, verdict in verdicts.items() if verdict.reason})


def decode(
    tree: Tree, ids: Iterable[str], cache: Path, workers: int = 0, reporter: Reporter = SILENT
) -> dict[str, Verdict]:
    """Try videos of a tree: {id: verdict}.

    Args:
        cache: folder in which the results for a tree of videos are kept; where it cannot be written they are not.
        workers: processes; 0 works in this one.

    Raises:
        DataError: a folder of pictures without the manifest of a frame store. Interrupted: Ctrl-C.
    """
    wanted = sorted(set(ids))
    verdicts: dict[str, Verdict] = {}
    try:
        if tree.kind == "frames":
            _try_clips(tree, wanted, verdicts, workers, reporter)
        else:
            with Verdicts(cache, tree.root, reporter) as kept:
                _try_files(tree, wanted, verdicts, kept, workers, reporter)
    except KeyboardInterrupt as error:
        going_on = "starts anew" if tree.kind == "frames" else "goes on from there"
        message = f"interrupted: {len(verdicts)} of {len(wanted)} videos were decoded"
        raise Interrupted(message, f"the same command {going_on}") from error
    return verdicts


def _try_files(
    tree: Tree, ids: Sequence[str], verdicts: dict[str, Verdict], kept: Verdicts, workers: int, reporter: Reporter
) -> None:
    """Add a verdict on each video to `verdicts`: the one that was kept, or what decoding it now comes to."""
    # Of one that is gone since the tree was listed, decoding says so.
    paths = {video: tree.files.get(video, tree.root / video) for video in ids}
    verdicts |= {video: verdict for video in ids if (verdict := kept.get(paths[video]))}
    if verdicts:
        reporter.log(f"{len(verdicts)} of {len(ids)} videos were decoded before: {printable(kept.file)}")
    jobs = {paths[video]: video for video in ids if video not in verdicts}
    with closing(_outcomes(decode_file, list(jobs), workers, reporter)) as outcomes:
        for path, verdict in outcomes:
            kept.add(path, verdict)
            verdicts[jobs[path]] = verdict


def decode_file(path: Path) -> Verdict:
    """Decode a video file to its end."""
    try:
        return Verdict(count_frames(path, threads=1))
    except DataError as error:
        # A file that cannot be opened may be opened tomorrow without having changed.
        lasting = not isinstance(error.__cause__, OSError)
        return Verdict(0, reason_of(error, path), lasting)
    except MemoryError:
        return Verdict(0, "its frames do not fit into memory", lasting=False)


@dataclass(frozen=True)
class _Clip:
    """A clip of a frame store, for a worker; `stamp` tells one state of its manifest from the next."""

    root: Path
    stamp: tuple[int, int]
    id: str


def _try_clips(tree: Tree, ids: Sequence[str], verdicts: dict[str, Verdict], workers: int, reporter: Reporter) -> None:
    store = FrameStore(tree.root)
    state = (store.root / MANIFEST).stat()
    jobs = [_Clip(tree.root, (state.st_mtime_ns, state.st_size), video) for video in ids]
    with closing(_outcomes(decode_clip, jobs, workers, reporter)) as outcomes:
        for clip, verdict in outcomes:
            verdicts[clip.id] = verdict


@lru_cache(maxsize=1)  # a worker reads the manifest once, not for every clip
def _store(root: Path, stamp: tuple[int, int]) -> FrameStore:
    return FrameStore(root)


def decode_clip(clip: _Clip) -> Verdict:
    """Try the frames of a clip in a frame store."""
    store = _store(clip.root, clip.stamp)
    try:
        frames = store.count(clip.id)
        store.seconds(clip.id)
        _refuse_gaps(store, clip.id, frames)
        store.read(clip.id, sorted({0, frames // 2, frames - 1}))
    except DataError as error:
        return Verdict(0, error.message)
    return Verdict(frames)


def _refuse_gaps(store: FrameStore, video: str, frames: int) -> None:
    folder = store.root / video
    if folder.is_dir():  # a store of JPEG files; other kinds keep no folder for a clip
        there = set(os.listdir(folder))
        gaps = [name for name in map(frame_name, range(frames)) if name not in there]
        if gaps:
            raise DataError(f"{len(gaps)} of its {frames} frames are missing, the first is {gaps[0]}")


def _outcomes(
    function: Callable[[Any], Verdict], jobs: Sequence[Any], workers: int, reporter: Reporter
) -> Generator[tuple[Any, Verdict], None, None]:
    """(job, verdict) as they come, with progress; a worker that dies is the verdict on what it held."""
    bad = 0
    with (
        reporter.track("decode", len(jobs), "videos") as task,
        closing(run_tasks(function, jobs, workers, reporter.warn)) as outcomes,
    ):
        for job, outcome in outcomes:
            if isinstance(outcome, Crashed):
                outcome = Verdict(0, f"its worker process died ({outcome.cause})", lasting=False)
            yield job, outcome
            bad += bool(outcome.reason)
            task.advance(undecodable=bad)
