"""`fsar extract-frames`: videos -> frame store."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli import options
from fsar_cli.cli.output import print_json, reporter_of, stdout
from fsar_cli.errors import DataError, UsageError, counted

if TYPE_CHECKING:
    from fsar_cli.config import ExtractConfig
    from fsar_cli.data.store.choosing import ChosenClips
    from fsar_cli.data.store.extraction import ExtractResult
    from fsar_cli.reporting import Reporter


def extract_frames(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="VIDEOS... OUT",
            help="Folders class/video, lists (.csv with path and class, .txt) or video files; last, where two or more "
            "are given, the frame store. Left out: data.videos and data.frames of the configuration.",
            show_default=False,
        ),
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option(help="Pixels of the frames' shorter side; 0 keeps the size (default: clip.short_side)."),
    ] = None,
    quality: Annotated[int | None, typer.Option(help="JPEG quality, 1 to 100.")] = None,
    fps: Annotated[float | None, typer.Option(help="Store at most so many frames a second.")] = None,
    every: Annotated[int | None, typer.Option(metavar="N", help="Store every N-th frame.")] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Temporal annotations, a file or a folder: cut clips (default: data.annotations)."),
    ] = None,
    clips: Annotated[
        str | None,
        typer.Option(
            metavar="segment|longest|whole",
            help="What of an annotated video is a clip: each segment, the longest one, or all.",
        ),
    ] = None,
    splits: Annotated[
        Path | None, typer.Option(help="Extract only what this split file lists (`fsar splits make`).")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="files|packed|videos", help="Keep a JPEG a frame, a few tar files, or leave pictures in the videos."
        ),
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(metavar="N", help="Store at most N frames a video, evenly spread.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; 0 works in this one. Default: one a core, at most 8.", min=0, max=256),
    ] = None,
    picture_fps: Annotated[
        float | None, typer.Option(metavar="FPS", help="Frames a second of folders of pictures (default: 25).")
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove clips whose video is gone.")] = False,
    by_content: Annotated[
        bool, typer.Option("--by-content", help="Read videos whole to see whether they changed: not by size and time.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove what OUT holds and extract anew.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.ConfigFile = None,
    assignments: options.Set = None,
) -> None:
    """Decode videos into a frame store: OUT/class/video/00000001.jpg and OUT/manifest.csv.

    Run again, it fetches what is missing and what has changed, so it can be stopped at any time. A video whose size or
    time is another is read, and extracted anew if its content is another, too; one that is gone is named.

    Frames that other tools wrote are taken over: VIDEOS/class/video/00000001.jpg, or img_00001.png, or one folder more
    or less. JPEGs are linked; they keep their size unless --short-side says another.

    Annotations cut clips from long videos by time, without decoding what lies before them.

    Under torchrun several processes, which all see OUT, divide the videos.

    How frames are stored is the section `extract` of the configuration, which each flag overrides.

    A video that cannot be read is named with its reason and listed in OUT/failed.csv; the others finish (exit code 3).
    """
    from fsar_cli.data.store.choosing import choose_clips
    from fsar_cli.data.store.extraction import extract
    from fsar_cli.files import cores
    from fsar_cli.ranks import joined
    from fsar_cli.settings import resolve

    given = {"short_side": short_side, "quality": quality, "fps": fps, "every": every, "max_frames": max_frames}
    given |= {"clips": clips, "store": store, "picture_fps": picture_fps}
    flags = {f"extract.{name}": value for name, value in given.items()}
    resolved = resolve(path=config, flags={**flags, "data.annotations": annotations}, assignments=assignments).config
    data, settings = resolved.data, resolved.stored
    if clips and not data.annotations:
        raise UsageError(f"--clips {clips} needs annotations", "name them with --annotations or data.annotations")
    *videos, out = paths if paths and len(paths) > 1 else [*(paths or [data.videos]), data.frames]
    with joined() as ranks:
        reporter = reporter_of(ranks, quiet, verbose)
        chosen = ranks.agreed(lambda: choose_clips(videos, data.annotations, settings.clips, splits))
        _tell(chosen, out, reporter, verbose)
        if resolved.extract.short_side is None and all(source.pictures for source in chosen.sources):
            settings = settings.model_copy(update={"short_side": 0})  # so that they can be linked
        workers = min(8, max(1, cores() // ranks.here)) if workers is None else workers
        result = extract(chosen.sources, out, settings, workers, reporter, overwrite, prune, by_content, ranks)
    if ranks.first:
        _show(result, out, settings, json, chosen.document())


def _tell(chosen: "ChosenClips", out: Path, reporter: "Reporter", verbose: bool) -> None:
    """What will be extracted and what will not."""
    sources = chosen.sources
    videos, classes = {source.path for source in sources}, {source.label for source in sources}
    clips = f"{counted(len(sources), 'clip')} of " if any(source.span for source in sources) else ""
    reporter.log(f"{clips}{counted(len(videos), 'video')} in {counted(len(classes), 'class')} -> {out}")
    for line in chosen.lines(sys.maxsize) if verbose else chosen.lines():
        reporter.log(line)


def _show(result: "ExtractResult", out: Path, settings: "ExtractConfig", json: bool, gaps: dict) -> None:
    """Print the result; raise DataError where videos failed."""
    from fsar_cli.data.store.records import settings_document
    from fsar_cli.data.video import printable

    rate = result.frames / result.seconds if result.frames else 0.0
    noun = "video" if settings.clips == "whole" else "clip"
    if json:
        failed = [{"path": printable(path), "reason": reason} for path, reason in result.failed]
        counts = {"done": result.done, "skipped": result.skipped, "failed": failed, "frames": result.frames}
        changes = {name: getattr(result.changes, name) for name in ("replaced", "gone", "renamed")}
        times = {"seconds": round(result.seconds, 3), "frames_per_second": round(rate, 1)}
        print_json(
            {"out": printable(out), "settings": settings_document(settings), **counts, **changes, **times}
            | {"left_out": gaps}
        )
    else:
        there = f", {len(result.changes.replaced)} of them replaced" if result.changes.replaced else ""
        there += f", {result.skipped} were there already" if result.skipped else ""
        speed = f" in {result.seconds:.1f} s, {rate:.0f} frames/s" if result.frames else ""
        stdout.print(
            f"{counted(result.done, noun)}, {counted(result.frames, 'frame')}{speed}{there}: {printable(out)}",
        )
    if result.failed:
        total = result.done + len(result.failed) + result.skipped
        raise DataError(
            f"{len(result.failed)} of {counted(total, noun)} could not be extracted",
            f"reasons: {printable(out / 'failed.csv')}; repair or remove them and run again",
        )
