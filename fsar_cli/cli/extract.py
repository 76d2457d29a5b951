"""`fsar extract-frames`: videos -> frame store."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli import options
from fsar_cli.cli.output import ConsoleReporter, print_json, stdout
from fsar_cli.errors import DataError, UsageError, counted, did_you_mean

if TYPE_CHECKING:
    from fsar_cli.data.store.planning import Chosen

CLIPS = ("segment", "longest", "whole")
STORES = ("files", "packed", "videos")


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
        typer.Option(help="Pixels of the frames' shorter side; 0 keeps the size. Default: clip.short_side.", min=0),
    ] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality, 1 to 100.")] = 90,
    fps: Annotated[float | None, typer.Option(help="Store at most so many frames a second.")] = None,
    every: Annotated[int, typer.Option(metavar="N", help="Store every N-th frame.")] = 1,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Temporal annotations, a file or a folder: cut clips. Default: data.annotations."),
    ] = None,
    clips: Annotated[
        str | None,
        typer.Option(
            metavar="segment|longest|whole",
            help="What of an annotated video is a clip: each segment, the longest one, or all. Default: data.clips.",
        ),
    ] = None,
    splits: Annotated[
        Path | None, typer.Option(help="Extract only what this split file lists (`fsar splits make`).")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="files|packed|videos",
            help="Keep a JPEG a frame, a few tar files, or leave pictures in the videos. Default: data.store.",
        ),
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(metavar="N", help="Store at most N frames a video, evenly spread.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; 0 works in this one. Default: one a core, at most 8.", min=0, max=256),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove what OUT holds and extract anew.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    config: options.ConfigFile = None,
    assignments: options.Set = None,
) -> None:
    """Decode videos into a frame store: OUT/class/video/00000001.jpg and OUT/manifest.csv.

    Run again, it fetches only what is missing, so it can be stopped at any time.

    Annotations cut clips from long videos by time, without decoding what lies before them.

    A video that cannot be read is named with its reason and listed in OUT/failed.csv; the others finish (exit code 3).
    """
    from fsar_cli.data.store.extraction import extract
    from fsar_cli.data.store.planning import choose_clips
    from fsar_cli.data.store.records import Settings
    from fsar_cli.settings import resolve

    resolved = resolve(path=config, assignments=assignments).config
    *videos, out = paths if paths and len(paths) > 1 else [*(paths or [resolved.data.videos]), resolved.data.frames]
    side = resolved.clip.short_side if short_side is None else short_side or None
    annotations = annotations or resolved.data.annotations
    clips = _choice("--clips", clips, CLIPS)
    if clips and not annotations:
        raise UsageError(f"--clips {clips} needs annotations", "name them with --annotations or data.annotations")
    cutting = (clips or resolved.data.clips) if annotations else "whole"
    kind = _choice("--store", store, STORES) or resolved.data.store
    settings = Settings(side, quality, fps, every, max_frames, cutting, kind)
    reporter = ConsoleReporter(quiet, verbose)
    chosen = choose_clips(videos, annotations, cutting, splits)
    _tell(chosen, out, reporter)
    result = extract(chosen.sources, out, settings, _cores() if workers is None else workers, reporter, overwrite)
    _show(result, out, settings, json, chosen.document())


def _choice(option: str, value: str | None, allowed: tuple[str, ...]) -> str | None:
    if value not in (None, *allowed):
        raise UsageError(f"{option} is {' or '.join(allowed)}, not '{value}'", did_you_mean(value, allowed))
    return value


def _tell(chosen: "Chosen", out: Path, reporter: ConsoleReporter) -> None:
    """What will be extracted and what will not."""
    sources = chosen.sources
    videos, classes = {source.path for source in sources}, {source.label for source in sources}
    clips = f"{counted(len(sources), 'clip')} of " if any(source.span for source in sources) else ""
    reporter.log(f"{clips}{counted(len(videos), 'video')} in {counted(len(classes), 'class')} -> {out}")
    for line in chosen.lines(sys.maxsize) if reporter.verbose else chosen.lines():
        reporter.log(line)


def _cores() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, 8)


def _show(result, out: Path, settings, json: bool, gaps: dict) -> None:
    """Print the result; raise DataError where videos failed."""
    from dataclasses import asdict

    from fsar_cli.data.video import printable

    rate = result.frames / result.seconds if result.frames else 0.0
    noun = "video" if settings.clips == "whole" else "clip"
    if json:
        failed = [{"path": printable(path), "reason": reason} for path, reason in result.failed]
        counts = {"done": result.done, "skipped": result.skipped, "failed": failed, "frames": result.frames}
        times = {"seconds": round(result.seconds, 3), "frames_per_second": round(rate, 1)}
        print_json({"out": printable(out), "settings": asdict(settings), **counts, **times, "left_out": gaps})
    else:
        there = f", {result.skipped} were there already" if result.skipped else ""
        speed = f" in {result.seconds:.1f} s, {rate:.0f} frames/s" if result.frames else ""
        stdout.print(
            f"{counted(result.done, noun)}, {counted(result.frames, 'frame')}{speed}{there}: {printable(out)}",
            markup=False,
        )
    if result.failed:
        total = result.done + len(result.failed) + result.skipped
        raise DataError(
            f"{len(result.failed)} of {counted(total, noun)} could not be extracted",
            f"reasons: {printable(out / 'failed.csv')}; repair or remove them and run again",
        )
