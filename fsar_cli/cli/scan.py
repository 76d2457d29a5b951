"""`fsar scan`: where and when the enrolled classes happen in long videos and live streams."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fsar_cli.cli.options import Device, Force, Json, Quiet, Verbose
from fsar_cli.cli.support import OnnxFile, RunNow, Runtime, SupportPath, WeightsNow
from fsar_cli.cli.watching import Output, clock, terminated, watch_sources
from fsar_cli.errors import DataError, Interrupted, UsageError, counted

if TYPE_CHECKING:
    from fsar_cli.data.annotations.labelled import LabelledSegment
    from fsar_cli.ranks import Ranks
    from fsar_cli.recognise.calibration import AlarmLevel
    from fsar_cli.recognise.events import EventRule
    from fsar_cli.recognise.recognizer import Recognizer
    from fsar_cli.recognise.scan import ScanResult
    from fsar_cli.recognise.truth_report import TruthReport

_ADDRESS = re.compile(r"\w[\w+.-]*:/")


def scan(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Video files, or folders of them; or live sources: rtsp://..., http://..., camera:0.",
        ),
    ],
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
    seconds: Annotated[float | None, typer.Option(min=1, help="Live: stop after so long.")] = None,
    max_reconnects: Annotated[
        int | None, typer.Option(min=0, help="Live: tries in a row, after which a source is given up (default: none).")
    ] = None,
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

    Writes events.jsonl as events happen, then events.csv, events.json (ActivityNet), a WebVTT file a video, scan.json
    (complete: false until all is written); with --report a page, with --clips a video an event. Videos that scans wrote
    into a folder are not scanned with it.

    Live sources are watched until Ctrl-C or SIGTERM, which end with everything written; lost connections are made
    again. What was missed, and why, is counted. Into a folder of the same sources events.jsonl and clips are added.

    Under torchrun several processes, which all see the folder, divide the windows of files.

    --resume goes on from the windows of the same video by the same support file; --agree, --false-alarms and the like
    may be others.

    --truth: recall and precision at tIoU 0.5, misses and false alarms an hour, with intervals.

    Exit code 3, after all others, where a video cannot be read to its end or a live source failed.

    --json: folder, support, classes, calibration [threshold, release, asked, kept, alarms, hours, most], rule,
    videos [path, seconds, windows, events, failed], events [as a line of --jsonl], speed (seconds of video a second),
    truth. Of live sources, instead of videos, speed and truth: streams [source, windows, passed_over, events, failed,
    state, frames, drops {cause: frames}, missed (seconds), reconnects, last_error]. null: not known.

    --jsonl: video, state (open or closed), id, start, end, class, score, rank, because, cut, wall, track.
    """
    from fsar_cli.cli.output import reporter_of
    from fsar_cli.data.annotations.labelled import labelled_segments
    from fsar_cli.data.video.live import is_live
    from fsar_cli.engine.device import resolve_device
    from fsar_cli.ranks import joined
    from fsar_cli.recognise.examples import find_footage
    from fsar_cli.recognise.recognizer import Recognizer
    from fsar_cli.recognise.results import truth_of

    if lines and as_json:
        raise UsageError("--json and --jsonl exclude each other", "leave one of the two out")
    live = [source for source in dict.fromkeys(sources) if is_live(source)]
    _check_kind(live, sources, {"--truth": truth, "--resume": resume or None},
                {"--seconds": seconds, "--max-reconnects": max_reconnects})  # fmt: skip
    rate, rule = parse_rate(false_alarms), _rule(agree, shortest, longest, merge)
    output = Output(out, force, report, clips, lines, as_json)
    with joined() as ranks:
        if live and not ranks.alone:
            hint = "start `fsar scan` for each with its own --out, and not under torchrun"
            raise UsageError("live sources are watched by one process", hint)
        reporter = reporter_of(ranks, quiet or as_json, verbose)
        videos = [] if live else ranks.agreed(lambda: find_footage([Path(source) for source in sources]))
        real = None if truth is None else truth_of(labelled_segments(truth, reporter), videos, reporter)
        target = resolve_device(device, reporter, ranks)
        places = {"run": run, "weights": weights, "runtime": runtime, "onnx": onnx}
        recognizer = Recognizer.load(support, str(target), **places, reporter=reporter)
        level = recognizer.alarm_level(rate, rule)
        if live:
            watch_sources(recognizer, live, level, support, output, seconds, max_reconnects, reporter)
        elif ranks.first:
            _scan_files(recognizer, videos, level, support, output, real, resume, reporter, ranks)
        else:
            _help(recognizer, videos, level, ranks)


def _check_kind(live: list[str], sources: list[str], of_files: dict, of_live: dict) -> None:
    """Files and live sources are not scanned together, and each has options of its own. Raises UsageError."""
    addresses = [found for source in sources if source not in live and (found := _ADDRESS.match(source))]
    if unknown := [found for found in addresses if not Path(found.string).exists()]:
        hint = "rtsp://..., rtsps://..., http://..., https://..., udp://..., rtmp://..., rtmps://... or camera:0"
        raise UsageError(f"'{unknown[0][0]}...' is no live source, and no file", hint)  # behind it may be a password
    if live and set(live) < set(sources):
        raise UsageError("files and live sources are not scanned together", "scan them one after the other")
    wrong = [name for name, value in (of_files if live else of_live).items() if value is not None]
    if wrong:
        raise UsageError(f"{wrong[0]} goes with {'files' if live else 'live sources'} alone", "leave it out")


def _scan_files(
    recognizer: "Recognizer", videos: list[Path], level: "AlarmLevel", support: Path, output: Output,
    real: "list[LabelledSegment] | None", resume: bool, reporter, ranks: "Ranks",
) -> None:  # fmt: skip
    from fsar_cli.cli.output import print_json
    from fsar_cli.engine.outputs import result_folder
    from fsar_cli.ranks import restarted
    from fsar_cli.recognise.results import begin_results, compare_scan, document, write_clips, write_scan
    from fsar_cli.recognise.scan import file_digest, scan_files

    source, default = {"sources": [str(video) for video in videos]}, Path("scans") / videos[0].stem
    folder, parent = output.folder, videos[0].parent.name
    with (
        result_folder(default, folder, "scan.json", source, reporter, force=output.force, prefix=parent) as place,
        terminated(),
    ):
        try:
            begin_results(place, source["sources"])
            resume, made_with = resume or restarted(), file_digest(support)
            ranks.agreed(lambda: (place, made_with, resume))
            result = scan_files(recognizer, videos, place, level, made_with=made_with, resume=resume,
                                say=output.say, reporter=reporter, ranks=ranks)  # fmt: skip
            against = None if real is None else compare_scan(result, real, recognizer.classes)
            if output.clips:
                write_clips(result, reporter)
            write_scan(recognizer, result, support, against, page=output.page, reporter=reporter)
        except KeyboardInterrupt:
            hint = "the same command with --resume goes on where it stopped"
            raise Interrupted(f"stopped; windows and events so far are in {place}", hint) from None
    if output.as_json:
        print_json({"command": "scan", **document(recognizer, result, support, against)})
    elif not output.lines:
        _show(recognizer, result, against)
    if failed := [video for video in result.videos if video.failed]:
        raise DataError(f"{len(failed)} of {len(videos)} videos could not be read to the end: {failed[0].failed}")


def _help(recognizer: "Recognizer", videos: list[Path], level: "AlarmLevel", ranks: "Ranks") -> None:
    """Do a process's share of the windows for the first one, which does all the rest."""
    from fsar_cli.recognise.scan import scan_files

    place, made_with, resume = ranks.agreed(lambda: None)
    scan_files(recognizer, videos, place, level, made_with=made_with, resume=resume, ranks=ranks)


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
    short = m.isdecimal() and n.isdecimal() and max(len(m), len(n)) <= 3
    if not (short and 1 <= int(m) <= int(n) <= 100):
        raise UsageError(f"--agree must be M/N with 1 <= M <= N, such as 2/2, not '{agree}'")
    if infinite := [name for name, value in (("--longest", longest), ("--merge", merge)) if not math.isfinite(value)]:
        raise UsageError(f"{infinite[0]} must be a number of seconds", f"give a large one, such as {infinite[0]} 3600")
    if shortest > longest:
        raise UsageError(f"--shortest {shortest:g} is above --longest {longest:g}")
    return EventRule(0.0, 0.0, int(m), int(n), shortest, longest, merge)


def _show(recognizer: "Recognizer", result: "ScanResult", against: "TruthReport | None") -> None:
    from fsar_cli.cli.output import stdout, table
    from fsar_cli.data.video import printable
    from fsar_cli.recognise.summary import level_facts

    many = len(result.videos) > 1
    rows = [
        [*([printable(Path(e.video).name)] if many else []), clock(e.event.start), clock(e.event.end), e.event.cls,
         f"{e.event.score:.3f}", "-" if e.rank is None else f"{e.rank:.4f}", e.because]
        for e in result.events
    ]  # fmt: skip
    columns = [*(["video"] if many else []), "start", "end", "class", "score", "rank", "because"]
    if rows:
        stdout.print(table("", columns, rows, right=("start", "end", "score", "rank")))
    seconds = sum(video.seconds for video in result.videos)
    speed = f", {result.speed:.1f} times real time" if result.speed else ""
    stdout.print(f"{counted(len(rows), 'event')} in {clock(seconds)} of video{speed}: {result.folder}")
    for line in [*(words for _, words in level_facts(recognizer, result.level)), *(against.lines() if against else [])]:
        stdout.print(line)
    if (page := result.folder / "report.html").exists():
        stdout.print(f"page: {page}")
