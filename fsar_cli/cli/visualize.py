"""`fsar visualize-regions`: where the method looks in a video."""

from pathlib import Path
from typing import Annotated

import typer

from fsar_cli.cli.options import ConfigFile, Device, Force, Json, Preset, Quiet, Set, Untrained, Verbose


def visualize_regions(
    video: Annotated[Path, typer.Argument(help="Any video file.")],
    run: Annotated[Path | None, typer.Option(help="Run folder (default: the newest under runs/).")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the pictures (default: regions/VIDEO).")] = None,
    force: Force = False,
    window: Annotated[float, typer.Option(help="Longest stretch of video seen as one clip, in seconds.")] = 10.0,
    sheets: Annotated[int, typer.Option(min=0, help="Stretches that get a contact sheet and heat maps.")] = 4,
    untrained: Untrained = False,
    device: Device = "auto",
    preset: Preset = None,
    config: ConfigFile = None,
    assignments: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw the key regions of VIDEO: overlay.mp4, contact-sheet.png, heat-maps.png and regions.json.

    Where regions/VIDEO holds those of another video of that name, the folder is called after this one's folder, too.
    """
    from fsar_cli.cli.output import ConsoleReporter, print_json, stdout
    from fsar_cli.cli.source import check_given, resolve_method
    from fsar_cli.data.video import probe
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.engine.outputs import result_folder
    from fsar_cli.engine.visualize import source_of, visualize
    from fsar_cli.errors import UsageError

    reporter = ConsoleReporter(quiet or as_json, verbose)
    check_given({}, assignments, preset)
    if not window > 0:
        raise UsageError(f"--window must be longer than 0 seconds, not {window}")
    target = resolve_device(device, reporter)
    probe(video)  # a bad file is named before a model is loaded
    source = resolve_method(run, untrained, preset, config, {}, assignments, reporter)
    default, beside, made_of = Path("regions") / video.stem, video.resolve().parent.name, source_of(video)
    with result_folder(default, out, "regions.json", made_of, reporter, force=force, prefix=beside) as folder:
        result = visualize(
            source.load(), source.config, video, folder, target, window=window, sheets=sheets, title=video.name,
            reporter=reporter,
        )  # fmt: skip
    if as_json:
        print_json({"command": "visualize-regions", **vars(result)})
        return
    for path in (result.overlay, *result.sheets, *result.heats, result.regions):
        stdout.print(str(path))
