"""Options that several commands share, written once."""

from pathlib import Path
from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and warnings.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More lines on stderr.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:I.")]
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
Preset = Annotated[str | None, typer.Option("--preset", "-p", help="Start from a shipped preset.")]
