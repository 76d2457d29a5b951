"""`fsar init`: write the project file of a folder."""

import os
from pathlib import Path
from typing import Annotated

import typer

from fsar_cli.cli.options import Json, Preset
from fsar_cli.cli.output import ConsoleReporter, print_json, stdout
from fsar_cli.errors import UsageError


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Project folder; made where it is missing.")] = Path(),
    preset: Preset = None,
    videos: Annotated[Path, typer.Option(help="Class/video tree (default: DIR/videos).")] = Path(),
    name: Annotated[str, typer.Option(help="Name of the data set (default: the preset's, else the folder's).")] = "",
    force: Annotated[bool, typer.Option(help="Replace an existing fsar.yaml.")] = False,
    as_json: Json = False,
) -> None:
    """Write a commented fsar.yaml, so that the other commands need no flags here."""
    from fsar_cli.engine.project import next_steps, project_file, short_name
    from fsar_cli.files import write_whole
    from fsar_cli.settings import PROJECT_FILE, read_preset

    path = folder / PROJECT_FILE
    if path.exists() and not force:
        raise UsageError(f"{path} exists", "--force replaces it; `fsar config show` prints what it sets")
    if not name and not (preset and "data.name" in read_preset(preset)):
        name = short_name(folder.resolve().name)
    place = folder / "videos" if videos == Path() else videos
    text = project_file(name, _seen_from(place, folder), preset)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    steps = next_steps(folder, name or str(read_preset(str(preset))["data.name"]), place, preset)
    if as_json:
        return print_json({"file": str(path), "next": steps})
    ConsoleReporter().log(f"wrote {path}; next:")
    for step in steps:
        stdout.print(f"  {step}")


def _seen_from(videos: Path, folder: Path) -> Path:
    return videos if videos.is_absolute() else Path(os.path.relpath(videos, folder))
