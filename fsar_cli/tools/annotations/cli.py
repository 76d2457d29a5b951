"""`fsar annotations`: what temporal annotations hold, and what the cleaning dropped or altered."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli import options
from fsar_cli.cli.output import print_json, stdout, table
from fsar_cli.errors import UsageError

if TYPE_CHECKING:
    from fsar_cli.data.annotations.annotated import AnnotationFinding, Annotations
    from fsar_cli.data.annotations.times import Segment

NAMED = 12
"""Findings of a kind that the screen shows; --csv and --json hold all."""
NO_CLASS = "(the video's folder)"
"""In place of a class that is not written."""
COLUMNS = ("kind", "dropped", "video", "file", "text")


def annotations(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH...",
            help="JSON, CSV, TSV or txt files, or folders of them, such as UCF Crime v2's. Left out: data.annotations.",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write all findings to a CSV file.")] = None,
    json: options.Json = False,
    config: options.ConfigFile = None,
    assignments: options.Set = None,
) -> None:
    """Show the classes of temporal annotations, and every row that the cleaning dropped or altered, by kind.

    Read are JSON {"Class/video.mp4": [{"start": 8, "end": 10}]}, of ActivityNet and of Label Studio's timelines; tables
    (CSV, TSV) with the columns video, start, end and optionally class, in seconds or clock times; UCF Crime v2's own
    CSV; and the txt of UCF Crime's test set, in frames.
    """
    from fsar_cli.data.annotations.segments import read_annotations
    from fsar_cli.settings import resolve

    configured = resolve(path=config, assignments=assignments).config.data.annotations
    paths = paths or ([configured] if configured else [])
    if not paths:
        raise UsageError("no annotations are named", "give files or folders, or set data.annotations in fsar.yaml")
    cleaned = read_annotations(paths)
    if csv:
        _write(csv, cleaned.findings)
    if json:
        print_json(_document(cleaned))
    else:
        _show(cleaned, csv)


def _classes(cleaned: "Annotations") -> dict[str, list[tuple["Segment", ...]]]:
    """The segments of each video, by class."""
    classes: dict[str, list[tuple[Segment, ...]]] = {}
    for video, segments in cleaned.videos.items():
        classes.setdefault(video.cls or NO_CLASS, []).append(segments)
    return classes


def _counts(videos: list[tuple["Segment", ...]]) -> tuple[int, int, float]:
    """Videos, segments and seconds."""
    spans = [segment for segments in videos for segment in segments]
    return len(videos), len(spans), round(sum(span.end - span.start for span in spans), 3)


def _kinds(cleaned: "Annotations") -> dict[tuple[str, bool], list["AnnotationFinding"]]:
    kinds: dict[tuple[str, bool], list[AnnotationFinding]] = {}
    for finding in cleaned.findings:
        kinds.setdefault((finding.kind, finding.dropped), []).append(finding)
    return kinds


def _document(cleaned: "Annotations") -> dict:
    from dataclasses import asdict

    keys = ("videos", "segments", "seconds")
    classes = {name: dict(zip(keys, _counts(videos), strict=True)) for name, videos in _classes(cleaned).items()}
    total = dict(zip(keys, _counts(list(cleaned.videos.values())), strict=True))
    videos = {video: [[span.start, span.end] for span in segments] for video, segments in cleaned.by_id().items()}
    return {"total": total, "classes": classes, "findings": [asdict(f) for f in cleaned.findings], "videos": videos}


def _show(cleaned: "Annotations", csv: Path | None) -> None:
    rows = [[name, *_cells(videos)] for name, videos in _classes(cleaned).items()]
    rows.append([f"{len(rows)} classes", *_cells(list(cleaned.videos.values()))])
    stdout.print(table("", ["class", "videos", "segments", "seconds"], rows, right=("videos", "segments", "seconds")))
    for (kind, dropped), findings in _kinds(cleaned).items():
        stdout.print(f"{kind}: {len(findings)}{', dropped' if dropped else ''}", style="bold")
        for finding in findings[:NAMED]:
            stdout.print(f"  {finding}")
        if len(findings) > NAMED:
            where = f"in {csv}" if csv else "with --csv FILE or --json"
            stdout.print(f"  and {len(findings) - NAMED} more, {where}")
    if not cleaned.findings:
        stdout.print("nothing was dropped or altered")


def _cells(videos: list[tuple["Segment", ...]]) -> tuple[str, ...]:
    count, segments, seconds = _counts(videos)
    return str(count), str(segments), f"{seconds:.0f}"


def _write(file: Path, findings: tuple["AnnotationFinding", ...]) -> None:
    from fsar_cli.files import write_rows

    rows = ([f.kind, "dropped" if f.dropped else "", f.video, f.file, f.text] for f in findings)
    write_rows(file, COLUMNS, rows)
