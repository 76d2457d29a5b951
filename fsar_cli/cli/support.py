"""`fsar support make | add | remove`: examples and normal footage become a support file, and it grows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import ConfigFile, Device, Json, Preset, Quiet, Set, Verbose
from fsar_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from fsar_cli.engine.model import Model
    from fsar_cli.recognise.recognizer import Recognizer
    from fsar_cli.recognise.support import SupportSet

app = typer.Typer(
    help="Own classes from a few clips: make, show, add, remove, check.", no_args_is_help=True, rich_markup_mode=None
)
SupportPath = Annotated[Path, typer.Option("--support", metavar="FILE", help="Support file.")]
RunNow = Annotated[Path | None, typer.Option("--run", help="Where the encoder's run is now, if it was moved.")]
WeightsNow = Annotated[
    Path | None, typer.Option("--weights", help="Where the encoder's weights are now, if they were moved.")
]
Runtime = Annotated[str, typer.Option("--runtime", metavar="torch|onnx", help="What runs the network.")]
OnnxFile = Annotated[
    Path | None, typer.Option("--onnx", help="File of `fsar export` for --runtime onnx (default: SUPPORT.onnx).")
]
Examples = Annotated[
    list[Path],
    typer.Argument(
        metavar="EXAMPLES...",
        help="Folders CLASS/clip.mp4, a CSV video,start,end,class, or JSON of ActivityNet or Label Studio.",
    ),
]


@app.callback()
def support() -> None:
    """Own classes from a few clips."""


@app.command("make")
def make(
    examples: Examples,
    normal: Annotated[
        list[Path] | None,
        typer.Option(help="Footage that shows none of the classes, of the same camera if you can; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Support file to write.")] = Path("support.fsar"),
    run: Annotated[
        Path | None, typer.Option(help="Encode by this run (default: the newest, if there are any).")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Encode by a frozen backbone, and match by this method.")] = None,
    backbone: Annotated[str | None, typer.Option(help="The frozen backbone, such as mvit_v2_s.")] = None,
    weights: Annotated[str | None, typer.Option(help="Its weights: a word, or a file.")] = None,
    window: Annotated[
        float | None, typer.Option(help="Seconds of a window (default: the middle length of the examples).")
    ] = None,
    stride: Annotated[float, typer.Option(help="Seconds from window to window.")] = 1.0,
    force: Annotated[bool, typer.Option("--force", help="Replace a support file.")] = False,
    device: Device = "auto",
    preset: Preset = None,
    config: ConfigFile = None,
    assignments: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Enrol examples, so that `fsar classify` and `fsar scan` recognise their classes.

    The encoder is a run, or a frozen backbone; with neither, and no run under runs/, the preset own-cpu or own-gpu.

    --normal makes `unknown` work: part of it whitens the features of a frozen backbone and says what normal looks like,
    the other part calibrates. A folder stands for all videos in it.

    --json: file, classes {class: examples}, normal {sources, whitened, silent, hours}, window, stride, encoder, failed
    {name: reason}, recall {found, of}, auroc, calibration.
    """
    from fsar_cli.cli.output import ConsoleReporter
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.recognise.encoder import Encoder
    from fsar_cli.recognise.enrolment import enrol, extended
    from fsar_cli.recognise.examples import NORMAL, find_examples, find_footage
    from fsar_cli.recognise.recognizer import Recognizer

    reporter = ConsoleReporter(quiet or as_json, verbose)
    if out.exists() and not force:
        raise UsageError(f"{out} is there already", "--force replaces it, `fsar support add` extends it")
    if out.is_dir():
        raise UsageError(f"{out} is a folder", "--out names the support file")
    found = find_examples(examples, reporter)
    clips, calm = [c for c in found if c.cls != NORMAL], [c for c in found if c.cls == NORMAL]
    footage = find_footage([*(normal or []), *(clip.path for clip in calm if clip.end is None)])
    target = resolve_device(device, reporter)
    frozen = {"model.method": method, "model.backbone": backbone, "model.weights": weights}
    model = _model(run, frozen, preset, config, assignments, target.type, bool(footage), reporter)
    encoder = Encoder(model.load(), model.config, target)
    with changing(out):
        made, failed = enrol(model, encoder, clips, footage, window=window, stride=stride, reporter=reporter)
        if parts := [clip for clip in calm if clip.end is not None]:  # of videos that show more: one window each
            made, lost = extended(encoder, made, [], parts, reporter)
            failed |= lost
        out.parent.mkdir(parents=True, exist_ok=True)
        made.write(out)
    _tell(Recognizer(made, encoder), out, failed, as_json)
    _lost(failed)


def _model(
    run: Path | None, frozen: dict[str, str | None], preset: str | None, config: Path | None,
    assignments: list[str] | None, device: str, normal: bool, reporter,
) -> "Model":  # fmt: skip
    """The encoder that is asked for: a run, or a frozen backbone that is whitened where there is normal footage."""
    from fsar_cli.cli.source import check_given, resolve_method
    from fsar_cli.core.build import remark_on_weights
    from fsar_cli.engine.model import Model
    from fsar_cli.engine.runs import RUNS
    from fsar_cli.settings import resolve

    given = [name for name, value in {**frozen, "--preset": preset, "--config": config}.items() if value is not None]
    if run is not None and given:
        raise UsageError("--run and a frozen backbone exclude each other", "leave one of the two out")
    if run is not None or (not given and any(RUNS.glob("*/config.yaml"))):
        return resolve_method(run, False, None, None, {}, assignments, reporter)
    if preset is None and config is None:
        preset = "own-gpu" if device == "cuda" else "own-cpu"
        reporter.log(f"encoder: preset {preset}" + (", changed by flags" if given else ""))
    flags = {**frozen, "model.freeze_backbone": True}
    check_given(flags, assignments, preset)
    settings = resolve(preset, config, flags, assignments).config
    whiten = "train" if normal and settings.model.match.whiten != "none" else "none"
    match = settings.model.match.model_copy(update={"whiten": whiten})
    weights = settings.model.weights
    if Path(weights).exists():
        weights = str(Path(weights).absolute())
    chosen = settings.model.model_copy(update={"match": match, "weights": weights})
    if remark := remark_on_weights(chosen):
        reporter.log(remark)
    return Model(settings.model_copy(update={"model": chosen}))


@contextmanager
def changing(file: Path) -> Iterator[None]:
    """Keep a support file to this process from before it is read, so that no change to it is lost.

    Raises:
        UsageError: another process is at it.
    """
    from fsar_cli.files import lock

    if not file.is_file():  # which who reads it says
        yield
        return
    busy = f"another process is changing {file}", "wait for it, and run the same again"
    with lock(file.with_name(f".{file.name[:60]}.lock"), busy):
        yield


@app.command("add")
def add(
    examples: Examples,
    support: SupportPath = Path("support.fsar"),
    run: RunNow = None,
    weights: WeightsNow = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Add examples, or what a review said: confirmed and changed events are examples, rejected ones are normal.

    --json: as `fsar support make`.
    """
    from fsar_cli.cli.output import ConsoleReporter
    from fsar_cli.recognise.enrolment import extended
    from fsar_cli.recognise.examples import NORMAL, find_examples, not_yet
    from fsar_cli.recognise.recognizer import Recognizer

    reporter = ConsoleReporter(quiet or as_json, verbose)
    found = find_examples(examples, reporter)
    with changing(support):
        old = Recognizer.load(support, device, run=run, weights=weights, reporter=reporter)
        clips = not_yet([clip for clip in found if clip.cls != NORMAL], old.support)
        calm = [clip for clip in found if clip.cls == NORMAL]
        if not clips and not calm:
            raise DataError(f"all of {len(found)} examples are in {support} already", "nothing was changed")
        grown, failed = extended(old.encoder, old.support, clips, calm, reporter)
        grown.write(support)
    _tell(Recognizer(grown, old.encoder), support, failed, as_json)
    _lost(failed)


@app.command("remove")
def remove(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="CLASS/CLIP, or CLASS for all of its examples.")
    ],
    support: SupportPath = Path("support.fsar"),
    run: RunNow = None,
    weights: WeightsNow = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take examples out.

    --json: as `fsar support make`.
    """
    from fsar_cli.cli.output import ConsoleReporter
    from fsar_cli.errors import did_you_mean
    from fsar_cli.recognise.enrolment import without
    from fsar_cli.recognise.recognizer import Recognizer

    reporter = ConsoleReporter(quiet or as_json, verbose)
    with changing(support):
        old = Recognizer.load(support, device, run=run, weights=weights, reporter=reporter)
        known = {example.name for example in old.examples} | set(old.classes)
        if wrong := [name for name in names if name not in known]:
            hint = did_you_mean(wrong[0], known) or "`fsar support show` lists all"
            raise UsageError(f"{support} has no example '{wrong[0]}'", hint)
        gone = [example.name for example in old.examples if example.name in names or example.cls in names]
        smaller = without(old.encoder, old.support, gone)
        smaller.write(support)
    _tell(Recognizer(smaller, old.encoder), support, {}, as_json)


def _tell(recognizer: "Recognizer", file: Path, failed: dict[str, str], as_json: bool) -> None:
    """What a support file holds now, and what it can be expected to do."""
    from fsar_cli.cli.output import print_json, stdout
    from fsar_cli.recognise.summary import document, facts

    if as_json:
        print_json({"command": "support", "file": str(file), **document(recognizer), "failed": failed})
        return
    stdout.print(f"{file}: {_counts(recognizer.support)}")
    for _, line in facts(recognizer):
        stdout.print(line)


def _counts(support: "SupportSet") -> str:
    sizes = {name: sum(example.cls == name for example in support.examples) for name in support.classes}
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def _lost(failed: dict[str, str]) -> None:
    """Exit code 3 where something could not be read."""
    if failed:
        name, reason = next(iter(failed.items()))
        raise DataError(f"{len(failed)} could not be read, such as {name}: {reason}", "all others are enrolled")
