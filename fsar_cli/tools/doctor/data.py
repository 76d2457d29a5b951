"""The part of `fsar doctor` that looks at the data an fsar.yaml names."""

from itertools import islice
from pathlib import Path

from fsar_cli.config import DataConfig
from fsar_cli.data.splits import Splits
from fsar_cli.data.splits.tree import Tree, scan_tree
from fsar_cli.data.store.changes import stale
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.linked import AGAIN
from fsar_cli.data.store.records import read_settings
from fsar_cli.errors import FsarError
from fsar_cli.settings import PROJECT_FILE, resolve
from fsar_cli.tools.doctor.doctor import Finding

DATA = 3


def check_project() -> list[Finding]:
    """Findings about the folder's fsar.yaml and the data it names; one line where there is none."""
    if not Path(PROJECT_FILE).is_file():
        return [Finding("project", "ok", f"no {PROJECT_FILE} here; `fsar init` writes one")]
    try:
        data = resolve().config.data
    except FsarError as error:
        return [Finding("project", "problem", error.message, error.hint, exit_code=error.exit_code)]
    videos, frames = _tree(data.videos), _tree(data.frames)
    return [_videos(data, videos, frames), _frames(data, frames), _splits(data, frames)]


def _tree(root: Path) -> Tree | FsarError:
    try:
        return scan_tree(root)
    except FsarError as error:
        return error


def _unlinked(root: Path) -> list[str] | None:
    """Clips that cannot be read, as their video is away or has changed; None where the store has its own pictures."""
    try:
        settings = read_settings(root)
        return FrameStore(root).absent() if settings and settings.store == "videos" else None
    except FsarError:
        return None  # what is wrong comes up as the store's finding


def _videos(data: DataConfig, videos: Tree | FsarError, frames: Tree | FsarError) -> Finding:
    if isinstance(videos, Tree):
        return Finding("videos", "ok", f"{data.videos}: {len(videos.classes)} classes, {len(videos.ids)} videos")
    if isinstance(frames, Tree) and _unlinked(data.frames) is None:
        return Finding("videos", "ok", f"{videos.message}; not needed any more, the frames are there")
    if isinstance(frames, Tree):
        return Finding("videos", "ok", f"{videos.message}; {data.frames} reads them where they were indexed")
    return Finding("videos", "problem", videos.message, videos.hint, exit_code=DATA)


def _frames(data: DataConfig, frames: Tree | FsarError) -> Finding:
    if not data.frames.is_dir():
        remedy = "`fsar extract-frames` makes them from the videos; if they are elsewhere, set data.frames in fsar.yaml"
        return Finding("frames", "warning", f"{data.frames} does not exist", remedy)
    try:
        store = FrameStore(data.frames)
    except FsarError as error:
        return Finding("frames", "problem", error.message, error.hint, exit_code=DATA)
    if isinstance(frames, FsarError):
        return Finding("frames", "warning", frames.message, "`fsar extract-frames` makes them from the videos")
    if away := _unlinked(data.frames):
        text = f"{data.frames}: {len(away)} of {len(frames.ids)} videos are away or have changed, such as '{away[0]}'"
        return Finding("frames", "problem", text, f"{AGAIN}; --prune removes what is gone", exit_code=DATA)
    if old := stale(data.frames, by_content=False):
        some = ", ".join(f"'{name}' ({what})" for name, what in islice(old.items(), 3))
        text = f"{data.frames}: of {len(store)} clips {len(old)} are of videos of another size or time, or gone: {some}"
        remedy = "`fsar extract-frames` extracts anew what changed, with --prune it removes what is gone"
        return Finding("frames", "warning", text, remedy)
    return Finding("frames", "ok", f"{data.frames}: {len(frames.classes)} classes, {len(frames.ids)} videos")


def _splits(data: DataConfig, frames: Tree | FsarError) -> Finding:
    if not data.splits.exists():
        return Finding("splits", "warning", f"no split file {data.splits}", "`fsar splits make` writes it")
    try:
        splits = Splits.read(data.splits)
    except FsarError as error:
        return Finding("splits", "problem", error.message, error.hint, exit_code=DATA)
    counts = ", ".join(f"{name} {n} of {classes} classes" for name, (classes, n) in splits.counts().items())
    text = f"{data.splits}: {counts}"
    missing = sum(video.id not in frames.ids for _, video in splits.rows) if isinstance(frames, Tree) else 0
    if missing:
        remedy = f"`fsar extract-frames` adds them; `fsar splits check --root {data.frames}` names them"
        return Finding("splits", "warning", f"{text}; {missing} of them have no frames yet", remedy)
    return Finding("splits", "ok", text)
