"""`fsar classify`: which of the enrolled classes a short video shows, or none of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import Device, Json, Quiet, Verbose
from fsar_cli.cli.support import OnnxFile, RunNow, Runtime, SupportPath, WeightsNow
from fsar_cli.errors import DataError, UsageError

if TYPE_CHECKING:
    from fsar_cli.recognise.recognizer import Answer

COLUMNS = ("clip", "class", "best", "score", "rank", "because")


def classify(
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP...", help="Short videos, or folders of them.")],
    support: SupportPath = Path("support.fsar"),
    run: RunNow = None,
    weights: WeightsNow = None,
    wrong: Annotated[
        float, typer.Option(help="Share of normal clips that may get a class instead of `unknown`.")
    ] = 0.05,
    csv: Annotated[Path | None, typer.Option(help="Also write a CSV of the answers.")] = None,
    drawn: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write each clip with its key region and class drawn.")
    ] = None,
    runtime: Runtime = "torch",
    onnx: OnnxFile = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say what short videos show: a class of the support file or `unknown`, and because of which example.

    rank: the share of normal windows that score as much; a clip above --wrong is `unknown`. Without normal footage in
    the support file `unknown` rests on the examples alone, which is said.

    Exit code 3, after all others, where a clip cannot be read.

    --json: support, classes, threshold, calibrated, basis (in words), clips [clip, class, best, score, scores {class:
    score}, rank, because, seconds, track [[seconds, [x0, y0, x1, y1]]] in [0,1] of the picture], failed {clip: reason}.
    """
    from fsar_cli.cli.output import ConsoleReporter, print_json, stdout, table
    from fsar_cli.recognise.examples import find_footage
    from fsar_cli.recognise.recognizer import Recognizer

    if not 0 < wrong < 1:
        raise UsageError(f"--wrong must be above 0 and below 1, not {wrong:g}")
    reporter = ConsoleReporter(quiet or as_json, verbose)
    found = find_footage(clips)
    recognizer = Recognizer.load(
        support, device, run=run, weights=weights, runtime=runtime, onnx=onnx, reporter=reporter
    )
    level, answers, failed = recognizer.clip_level(wrong), {}, {}
    with reporter.track("classifying", len(found), "clips") as task:
        for clip in found:
            try:
                answers[str(clip)] = recognizer.classify(clip, wrong=wrong)
            except DataError as error:
                failed[str(clip)] = error.message
            task.advance()
    rows = {_shown(clip): _cells(answer) for clip, answer in answers.items()}
    if csv is not None:
        from fsar_cli.files import write_rows

        write_rows(csv, COLUMNS, ([clip, *_cells(answer)] for clip, answer in answers.items()))
    if drawn is not None:
        _draw(answers, drawn, reporter)
    if as_json:
        plain = [{"clip": clip, **_document(answer)} for clip, answer in answers.items()]
        threshold = level.threshold if level.threshold > -float("inf") else None
        print_json({"command": "classify", "support": str(support), "classes": list(recognizer.classes),
                    "threshold": threshold, "calibrated": level.calibrated, "basis": level.words, "clips": plain,
                    "failed": failed})  # fmt: skip
    elif rows:
        lines = [[clip, *cells] for clip, cells in rows.items()]
        stdout.print(table("", list(COLUMNS), lines, right=("score", "rank")))
        stdout.print(level.words)
    if failed:
        clip, reason = next(iter(failed.items()))
        raise DataError(f"{len(failed)} of {len(found)} clips cannot be read, such as {_shown(clip)}: {reason}")


def _draw(answers: "dict[str, Answer]", folder: Path, reporter) -> None:
    """001-NAME.mp4, ... of all clips."""
    from fsar_cli.recognise.eventclip import write_event_clip
    from fsar_cli.recognise.events import Event

    folder.mkdir(parents=True, exist_ok=True)
    with reporter.track("drawing", len(answers), "clips") as task:
        for number, (clip, answer) in enumerate(answers.items(), 1):
            event = Event(0.0, answer.seconds, answer.cls, answer.score, 0, answer.track)
            write_event_clip(Path(clip), event, folder / f"{number:03d}-{Path(clip).stem}.mp4")
            task.advance()


def _shown(clip: str) -> str:
    """A path as short as it is unambiguous here."""
    path = Path(clip)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else clip


def _cells(answer: "Answer") -> list[str]:
    rank = "-" if answer.rank is None else f"{answer.rank:.3f}"
    return [answer.cls, answer.best, f"{answer.score:.3f}", rank, answer.because]


def _document(answer: "Answer") -> dict[str, object]:
    return {
        "class": answer.cls, "best": answer.best, "score": answer.score, "scores": answer.scores, "rank": answer.rank,
        "because": answer.because, "seconds": answer.seconds, "track": answer.track,
    }  # fmt: skip
