"""What a scan of files leaves behind, once it is over.

FOLDER/events.csv, events.json (ActivityNet), NAME.vtt, clips/0001-CLASS.mp4, report.html with media/, scan.json
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from fsar_cli.data.annotations.labelled import LabelledSegment, of_videos
from fsar_cli.data.naming import is_storable
from fsar_cli.data.video import printable
from fsar_cli.engine.outputs import remove_others
from fsar_cli.errors import DataError, counted, listed
from fsar_cli.files import write_whole
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.eventclip import write_event_clip
from fsar_cli.recognise.outputs import event_document, file_word, write_activitynet, write_csv, write_vtt
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.recognise.report.report import Example, ReportData, ReportVideo, write_report
from fsar_cli.recognise.scan import ScanResult
from fsar_cli.recognise.summary import facts, level_document
from fsar_cli.recognise.truth import compare_events
from fsar_cli.recognise.truth_report import TruthReport
from fsar_cli.recognise.watch import window_log
from fsar_cli.recognise.watched import WatchedSource
from fsar_cli.recognise.windowlog import read_windows
from fsar_cli.reporting import SILENT, Reporter

LONGEST_STEM = 240  # bytes of the name of subtitles, without its ending


def document(
    recognizer: Recognizer, result: ScanResult, support: Path, against: TruthReport | None
) -> dict[str, object]:
    """A scan as plain values for JSON; null: not known."""
    return {
        "folder": str(result.folder), "support": str(support.absolute()), "classes": list(recognizer.classes),
        "videos": [
            {"path": str(video.path), "seconds": video.seconds, "windows": video.windows,
             "events": len(video.events), "failed": video.failed or None}
            for video in result.videos
        ],
        "calibration": level_document(recognizer, result.level),
        "rule": vars(result.level.rule),
        "events": [event_document(event) for event in result.events],
        "speed": result.speed,
        "truth": None if against is None else against.document(),
    }  # fmt: skip


def write_scan(
    recognizer: Recognizer, result: ScanResult, support: Path, against: TruthReport | None, *, page: bool = False,
    reporter: Reporter = SILENT,
) -> None:  # fmt: skip
    """Tables, the report if one is asked for, and scan.json, which is the last to be written."""
    _write_events(result)
    target = result.folder / "report.html"
    target.unlink(missing_ok=True)
    if page:
        title = f"Scan of {', '.join(printable(video.path.name) for video in result.videos)}"
        videos = _of_files(result)
        write_report(_page(recognizer, result.level, title, videos, against), result.folder, reporter)
    _write_document(result.folder, {"sources": [str(video.path) for video in result.videos], "complete": True,
                                    **document(recognizer, result, support, against)})  # fmt: skip


def begin_results(folder: Path, sources: Sequence[str], keep_clips: bool = False) -> None:
    """Say what a folder is about to hold, and remove what an earlier scan wrote at its end.

    Until the new results are there, scan.json says `complete: false`; so a scan that was killed leaves no other's.

    Args:
        sources: absolute paths, or addresses as they may be shown.
    """
    if old := _sources_of(folder / "scan.json"):  # else the folder may be another's
        subtitles = subtitle_names([Path(source).stem for source in old])
        for name in ("events.csv", "events.json", "report.html", *subtitles):
            (folder / name).unlink(missing_ok=True)
        if not keep_clips:
            remove_others(folder / "clips", set(), "[0-9][0-9][0-9][0-9]-*.mp4")
    _write_document(folder, {"sources": list(sources), "complete": False})


def _sources_of(document: Path) -> list[str]:
    try:
        stated = json.loads(document.read_bytes()).get("sources")
    except (OSError, ValueError, AttributeError, RecursionError):
        return []
    named = [source for source in stated if isinstance(source, str)] if isinstance(stated, list) else []
    return [source for source in named if is_storable(source)]


def _write_document(folder: Path, plain: dict[str, object]) -> None:
    write_whole(folder / "scan.json", json.dumps({"schema": 1, **plain}, indent=1, allow_nan=False) + "\n")


def truth_of(
    segments: Sequence[LabelledSegment], videos: Sequence[Path], reporter: Reporter = SILENT
) -> list[LabelledSegment]:
    """What truly happens in the videos of a scan, under their absolute paths.

    Raises:
        DataError: none of the videos that are named is scanned, or a name means several.
    """
    names = [str(video.absolute()) for video in videos]
    kept, others = of_videos(segments, names)
    if not kept:
        raise DataError(
            f"the truth is of {listed(others) or 'no video'}, and to scan are {listed(names)}",
            "name videos as they are scanned, or by their file's name alone",
        )
    if others:
        reporter.warn(f"the truth names {counted(len(others), 'video')} that are not scanned: {listed(others)}")
    return kept


def compare_scan(result: ScanResult, truth: Sequence[LabelledSegment], classes: Sequence[str]) -> TruthReport:
    """A scan against what truly happens in its videos (`truth_of`)."""
    lengths = {str(video.path): video.seconds for video in result.videos}
    return compare_events(result.events, truth, sum(lengths.values()) / 3600, classes=classes, durations=lengths)


def _page(recognizer: Recognizer, level: AlarmLevel, title: str, videos: Sequence[ReportVideo],
          against: TruthReport | None = None) -> ReportData:  # fmt: skip
    support, encoder = recognizer.support, recognizer.encoder
    normal = "none" if support.document.normal is None else ", ".join(support.document.normal.sources)
    who = support.document.encoder.run or f"{encoder.config.model.backbone} ({encoder.config.model.weights}), frozen"
    return ReportData(
        title=title,
        classes=recognizer.classes,
        threshold=level.rule.threshold,
        examples=[
            Example(example.name, example.cls, jpeg, example.group)
            for example, jpeg in zip(support.examples, support.thumbnails, strict=True)
        ],
        videos=videos,
        facts=[
            ("Encoder", f"{encoder.config.model.label} on {who}"),
            ("Normal videos", normal),
            *facts(recognizer, level),
        ],
        truth=against.figures() if against else [],
    )


def _of_files(result: ScanResult) -> list[ReportVideo]:
    return [
        ReportVideo(printable(video.path), video.path, list(read_windows(video.log)), [e.event for e in video.events],
                    crop=video.crop)
        for video in result.videos if not (video.failed and not video.windows)
    ]  # fmt: skip


def watch_document(
    recognizer: Recognizer, watched: Sequence[WatchedSource], folder: Path, level: AlarmLevel, support: Path
) -> dict[str, object]:
    """What was watched, as plain values for JSON; null: not known."""
    return {
        "folder": str(folder), "support": str(support.absolute()), "classes": list(recognizer.classes),
        "streams": [
            {"source": each.name, "windows": each.windows, "passed_over": each.passed_over,
             "events": len(each.events), "failed": each.failed or None,
             **{key: value for key, value in vars(each.state).items() if key not in ("rate", "lag")}}  # of now alone
            for each in watched
        ],
        "calibration": level_document(recognizer, level),
        "rule": vars(level.rule),
        "events": [event_document(event) for each in watched for event in each.events],
    }  # fmt: skip


def write_watch(
    recognizer: Recognizer, watched: Sequence[WatchedSource], folder: Path, level: AlarmLevel, support: Path, *,
    page: bool = False, reporter: Reporter = SILENT,
) -> None:  # fmt: skip
    """Tables, the report if one is asked for (of streams there is no video), and scan.json."""
    events = [event for each in watched for event in each.events]
    write_csv(folder / "events.csv", events)
    write_activitynet(folder / "events.json", events, [each.name for each in watched])
    if page:
        videos = [
            ReportVideo(each.name, None, list(read_windows(window_log(folder, number))),
                        [event.event for event in each.events], each.crop, list(each.gaps))
            for number, each in enumerate(watched, 1)
        ]  # fmt: skip
        title = f"Scan of {', '.join(each.name for each in watched)}"
        write_report(_page(recognizer, level, title, videos), folder, reporter)
    _write_document(folder, {"sources": [each.name for each in watched], "complete": True,
                             **watch_document(recognizer, watched, folder, level, support)})  # fmt: skip


def _write_events(result: ScanResult) -> None:
    events, folder = result.events, result.folder
    write_csv(folder / "events.csv", events)
    write_activitynet(folder / "events.json", events, [str(video.path) for video in result.videos])
    names = subtitle_names([video.path.stem for video in result.videos])
    for video, name in zip(result.videos, names, strict=True):
        write_vtt(folder / name, [event.event for event in video.events])


def subtitle_names(stems: Sequence[str]) -> list[str]:
    """NAME.vtt of each video, as far as file systems take it; a number before those that others have, too."""
    stems = [os.fsencode(stem)[:LONGEST_STEM].decode(errors="ignore") if len(os.fsencode(stem)) > LONGEST_STEM else stem
             for stem in stems]  # fmt: skip
    return [f"{stem}.vtt" if stems.count(stem) == 1 else f"{number:04d}-{stem}.vtt"
            for number, stem in enumerate(stems, 1)]  # fmt: skip


def write_clips(result: ScanResult, reporter: Reporter = SILENT) -> list[Path]:
    """A short video of each event, its region drawn: clips/0001-CLASS.mp4, ..."""
    events, written = result.events, []
    (result.folder / "clips").mkdir(exist_ok=True)
    with reporter.track("clips", len(events), "clips") as task:
        for number, named in enumerate(events, 1):
            out = result.folder / "clips" / f"{number:04d}-{file_word(named.event.cls)}.mp4"
            try:
                write_event_clip(Path(named.video), named.event, out)
                written.append(out)
            except DataError as error:
                reporter.warn(f"no clip of an event: {error.message}")
            task.advance()
    return written
