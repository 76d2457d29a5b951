"""Options that several commands share, written once."""

from pathlib import Path
from typing import Annotated

import typer


def _device(name: str) -> str:
    from fsar_cli.engine.device import check_device

    return check_device(name)  # what is said is judged before any file or device is looked for


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and warnings.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More lines on stderr.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Device = Annotated[str, typer.Option("--device", callback=_device, help="auto, cpu, cuda or cuda:I.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override one configuration value.")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file (default: ./fsar.yaml where there is one).")
]
Region = Annotated[
    bool | None,
    typer.Option("--region/--no-region", help="Add the key region's features, to any method (default: to keyregion)."),
]
Frames = Annotated[Path | None, typer.Option(help="Frame store (default: the run's, or data.frames).")]
SplitFile = Annotated[Path | None, typer.Option(help="Split file (default: the run's, or data.splits).")]
Shots = Annotated[list[int] | None, typer.Option("--shots", help="Support clips per class; repeatable.")]
Way = Annotated[int | None, typer.Option(help="Classes per episode.")]
Queries = Annotated[int | None, typer.Option(help="Queries per class.")]
Episodes = Annotated[int | None, typer.Option(help="Random episodes.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the episodes.")]
Split = Annotated[str | None, typer.Option(help="Split to draw from.")]
Dataset = Annotated[
    str | None, typer.Option(help="Another data set: a folder with an fsar.yaml, or its name (see FSAR_DATA).")
]
GroupDisjoint = Annotated[
    bool | None, typer.Option("--group-disjoint/--any-group", help="Support and queries from different groups.")
]
Untrained = Annotated[bool, typer.Option("--untrained", help="No run: the configured method with its initial weights.")]
AcceptOverlap = Annotated[
    bool,
    typer.Option("--accept-overlap", help="Test also on classes the run was trained or selected on; results say so."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what the folder holds of another input.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor keep features and results (FSAR_CACHE).")]
Preset = Annotated[str | None, typer.Option("--preset", "-p", help="Start from a shipped preset.")]
