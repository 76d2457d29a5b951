"""`fsar scan`: where and when the enrolled classes happen in long videos and live streams."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import Device, Force, Json, Quiet, Verbose
from fsar_cli.cli.support import OnnxFile, RunNow, Runtime, SupportPath, WeightsNow
from fsar_cli.errors import DataError, Interrupted, UsageError

if TYPE_CHECKING:
    from fsar_cli.recognise.events import EventRule
    from fsar_cli.recognise.outputs import NamedEvent
    from fsar_cli.recognise.recognizer import Recognizer
    from fsar_cli.recognise.scan import ScanResult
    from fsar_cli.recognise.truth import TruthReport


def scan(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Video files, or folders of them.")],
    support: SupportPath = Path("support.fsar"),
    run: RunNow = None,
    weights: WeightsNow = None,
    false_alarms: Annotated[
        str, typer.Option(metavar="N/h", help="False alarms to keep to: 1/h, 0.5/h, 2/day.")
    ] = "1/h",
    agree: Annotated[str, typer.Option(metavar="M/N", help="Windows that must agree, of the last so many.")] = "2/2",
    shortest: Annotated[float, typer.Option(min=0, help="Seconds; shorter events are passed over.")] = 0.0,
    longest: Annotated[float, typer.Option(min=1, help="Seconds; longer events are cut.")] = 60.0,
    merge: Annotated[float, typer.Option(min=0, help="Seconds; nearer events of a class are one.")] = 1.0,
    truth: Annotated[
        Path | None, typer.Option(help="What really happens: CSV video,start,end,class, or JSON of ActivityNet.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Write a page to look at and to review.")] = False,
    clips: Annotated[bool, typer.Option("--clips", help="Write a short video of each event.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier scan stopped.")] = False,
    lines: Annotated[bool, typer.Option("--jsonl", help="A line of JSON on stdout for each event.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the results (default: scans/NAME).")] = None,
    force: Force = False,
    runtime: Runtime = "torch",
    onnx: OnnxFile = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find events: start, end, class, score and key region.

    Writes events.jsonl as events happen, then events.csv, events.json (ActivityNet), a WebVTT file a video, scan.json;
    with --report a page, with --clips a video an event.

    --truth: recall and precision at tIoU 0.5, misses and false alarms an hour, with intervals.

    Exit code 3, after all others, where a video cannot be read to its end.

    --json: folder, support, calibration, videos [path, seconds, windows, events, failed], events, speed (seconds of
    video a second), truth.
    """
    from fsar_cli.cli.output import ConsoleReporter, print_json
    from fsar_cli.data.annotations.labelled import labelled_segments
    from fsar_cli.engine.outputs import result_folder
    from fsar_cli.recognise.examples import find_footage
    from fsar_cli.recognise.recognizer import Recognizer
    from fsar_cli.recognise.scan import file_digest, scan_files, write_clips, write_scan
    from fsar_cli.recognise.truth import compare_scan

    if lines and as_json:
        raise UsageError("--json and --jsonl exclude each other", "leave one of the two out")
    rate, rule = parse_rate(false_alarms), _rule(agree, shortest, longest, merge)
    reporter = ConsoleReporter(quiet or as_json, verbose)
    videos = find_footage([Path(source) for source in sources])
    real = None if truth is None else labelled_segments(truth)
    recognizer = Recognizer.load(
        support, device, run=run, weights=weights, runtime=runtime, onnx=onnx, reporter=reporter
    )
    level = recognizer.alarm_level(rate, rule)
    source = {"videos": [str(video) for video in videos]}
    default = Path("scans") / videos[0].stem
    with result_folder(default, out, "scan.json", source, reporter, force=force, prefix=videos[0].parent.name) as place:
        try:
            result = scan_files(
                recognizer, videos, place, level, made_with=file_digest(support), resume=resume,
                say=_say_line if lines else lambda event: None, reporter=reporter,
            )  # fmt: skip
        except KeyboardInterrupt:
            raise Interrupted("stopped", "the same command with --resume goes on where it stopped") from None
        against = None if real is None else compare_scan(result, real, truth.parent, recognizer.classes)
        if clips:
            write_clips(result, reporter)
        write_scan(recognizer, result, support, against, page=report, reporter=reporter)
    if as_json:
        from fsar_cli.recognise.scan import document

        print_json({"command": "scan", **document(recognizer, result, support, against)})
    elif not lines:
        _show(recognizer, result, against)
    if failed := [video for video in result.videos if video.failed]:
        raise DataError(f"{len(failed)} of {len(videos)} videos could not be read to the end: {failed[0].failed}")


def parse_rate(text: str) -> float:
    """`1/h`, `0.5/hour`, `2/day` -> an hour. Raises UsageError."""
    number, _, unit = text.partition("/")
    hours = {"h": 1.0, "hour": 1.0, "d": 24.0, "day": 24.0, "min": 1 / 60, "week": 168.0}.get(unit.strip())
    try:
        rate = float(number) / hours
    except (TypeError, ValueError):
        rate = 0.0
    if not 0 < rate < 3600:
        raise UsageError(f"--false-alarms must be like 1/h, 0.5/h or 2/day, not '{text}'")
    return rate


def _rule(agree: str, shortest: float, longest: float, merge: float) -> "EventRule":
    from fsar_cli.recognise.events import EventRule

    m, _, n = agree.partition("/")
    if not (m.isdigit() and n.isdigit() and 1 <= int(m) <= int(n) <= 100):
        raise UsageError(f"--agree must be M/N with 1 <= M <= N, such as 2/2, not '{agree}'")
    if shortest > longest:
        raise UsageError(f"--shortest {shortest:g} is above --longest {longest:g}")
    return EventRule(0.0, 0.0, int(m), int(n), shortest, longest, merge)


def _say_line(event: "NamedEvent") -> None:
    import json
    import sys

    from fsar_cli.recognise.outputs import event_document

    sys.stdout.write(json.dumps(event_document(event), allow_nan=False) + "\n")
    sys.stdout.flush()


def _show(recognizer: "Recognizer", result: "ScanResult", against: "TruthReport | None") -> None:
    from fsar_cli.cli.output import stdout, table
    from fsar_cli.recognise.summary import level_sentences

    many = len(result.videos) > 1
    rows = [
        [*([Path(e.video).name] if many else []), _clock(e.event.start), _clock(e.event.end), e.event.cls,
         f"{e.event.score:.3f}", "-" if e.rank is None else f"{e.rank:.4f}", e.because]
        for e in result.events
    ]  # fmt: skip
    columns = [*(["video"] if many else []), "start", "end", "class", "score", "rank", "because"]
    if rows:
        stdout.print(table("", columns, rows, right=("start", "end", "score", "rank")))
    seconds = sum(video.seconds for video in result.videos)
    speed = f", {result.speed:.1f} times real time" if result.speed else ""
    stdout.print(f"{len(rows)} events in {_clock(seconds)} of video{speed}: {result.folder}")
    for line in [*level_sentences(recognizer, result.level), *(against.lines() if against else [])]:
        stdout.print(line)
    if (page := result.folder / "report.html").exists():
        stdout.print(f"page: {page}")


def _clock(seconds: float) -> str:
    """H:MM:SS.s"""
    tenths = round(10 * seconds)
    hours, rest = divmod(tenths, 36_000)
    return f"{hours}:{rest // 600:02d}:{rest % 600 / 10:04.1f}"
