"""The forms of annotations in JSON.

    {"Abuse/a.mp4": [{"start": 8, "end": 10}, ...], ...}                                            a video's segments
    {"database": {"a": {"annotations": [{"segment": [8, 10], "label": "kick"}, ...]}, ...}}         ActivityNet, truth
    {"results": {"a": [{"segment": [8, 10], "label": "kick", "score": 0.9}, ...], ...}, ...}        ActivityNet, found
    [{"data": {"video": "/data/upload/3/1234abcd-a.mp4"}, "annotations": [{"result": [...]}]}]      Label Studio, JSON
    [{"video": "...", "actions": [{"ranges": [...], "timelinelabels": ["kick"]}], ...}, ...]        the same, JSON-MIN

Label Studio's timeline counts the frames of its own player: from 1, both ends of a range in it, so many a second as the
tag `Video` was told (`frameRate`), 24 where it was not. An export holds that number only where each task brings it, as
in `frameRate="$fps"`. Cancelled annotations, predictions and boxes are passed over.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import parse_qs, unquote, urlsplit

from fsar_cli.data.annotations.annotated import Kind
from fsar_cli.data.annotations.rows import FORMS, AnnotationRow, NotAnnotations
from fsar_cli.data.annotations.times import seconds
from fsar_cli.data.naming import bare, fold
from fsar_cli.errors import DataError

PLAYER_RATE = 24
"""Frames a second by which Label Studio counts where it is told nothing."""
RATES = ("fps", "framerate", "framespersecond")
"""Folded names under which a task, or a result, says its frames a second."""
VIDEOS = ("video", "videourl", "videopath")
"""Folded names under which a task has its video, whatever its ending."""
LABELS = "timelinelabels"
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")

Object = list[tuple[str, Any]]
"""A JSON object as pairs: in a dict, of two entries of one name the first would be lost."""
Values = dict[str, Any]


def read_json(file: Path, text: str) -> Iterator[AnnotationRow]:
    """The rows of a JSON file. Raises DataError: it is no JSON. NotAnnotations: none of the forms."""
    try:
        content = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON ({error})", "get the file again, or repair it there") from error
    if isinstance(content, list) and content and all(map(_is_object, content)):
        yield from _label_studio(file, content)
        return
    if not (_is_object(content) or content == []):
        raise NotAnnotations(f"{file} is not a JSON object of videos", f"read are {FORMS}")
    top = dict(content)
    if _holds_videos(top, "database"):
        yield from _of_database(top["database"])
    elif _holds_videos(top, "results"):
        yield from _of_results(top["results"])
    else:
        for video, segments in content:
            yield _of_video(video, segments)


def _is_object(value: object) -> TypeGuard[Object]:
    return isinstance(value, list) and bool(value) and all(isinstance(pair, tuple) for pair in value)


def _holds_videos(top: Values, key: str) -> bool:
    """Whether ActivityNet's videos are under a key; an empty object reads like a video's empty list of segments."""
    return _is_object(top.get(key)) or (top.get(key) == [] and "version" in top)


def _of_video(video: str, segments: object) -> AnnotationRow:
    if not isinstance(segments, list) or any(isinstance(segment, tuple) for segment in segments):
        return AnnotationRow("", video, fault="its value is not a list of segments")
    times, faults = [], []
    for segment in segments:
        values = dict(segment) if _is_object(segment) else {}
        if {"start", "end"} <= values.keys():
            times.append((values["start"], values["end"]))
        else:
            faults.append(f"a segment without start and end: {json.dumps(values or segment)}")
    return AnnotationRow("", video, times=tuple(times), fault="; ".join(faults))


def _of_database(videos: Object) -> Iterator[AnnotationRow]:
    for video, entry in videos:
        values = dict(entry) if _is_object(entry) else {}
        yield from _of_activitynet(video, values.get("annotations"))


def _of_results(videos: Object) -> Iterator[AnnotationRow]:
    for video, segments in videos:
        yield from _of_activitynet(video, segments)


def _of_activitynet(video: str, annotations: object) -> Iterator[AnnotationRow]:
    if not annotations or not isinstance(annotations, list) or _is_object(annotations):
        yield AnnotationRow("", video, fault="" if annotations == [] else "it has no list of annotations")
        return
    for number, each in enumerate(annotations, 1):
        values = dict(each) if _is_object(each) else {}
        label, times = values.get("label"), values.get("segment")
        cls = label if isinstance(label, str) else ""
        is_pair = isinstance(times, list) and len(times) == 2 and not _is_object(times)
        fault = "" if is_pair else f"its segment is not [start, end]: {json.dumps(times)}"
        pairs = ((times[0], times[1]),) if times and is_pair else ()
        yield AnnotationRow(f"annotation {number}: ", video, cls, pairs, fault, own=True)


def _label_studio(file: Path, objects: list[Object]) -> Iterator[AnnotationRow]:
    tasks = [dict(task) for task in objects]
    if all({"data", "annotations"} <= task.keys() for task in tasks):
        for number, task in enumerate(tasks, 1):
            data = dict(task["data"]) if _is_object(task["data"]) else {}
            yield from _of_task(f"task {task.get('id', number)}", data, _results(task["annotations"]))
    elif any(_ranges(task) for task in tasks):
        ids = Counter(str(task.get("id")) for task in tasks)
        for number, task in enumerate(tasks, 1):
            several = "id" in task and ids[str(task["id"])] > 1
            yield from _of_task(f"task {task.get('id', number)}", task, [(several, _ranges(task))])
    else:
        message = f"{file} is a JSON list, but not of Label Studio's tasks with timeline labels"
        raise NotAnnotations(message, f"read are {FORMS}")


def _results(annotations: object) -> list[tuple[bool, list[Values]]]:
    """(whether it is one of several, values with ranges) of each annotation that was not cancelled."""
    each = [dict(item) for item in annotations if _is_object(item)] if isinstance(annotations, list) else []
    each = [annotation for annotation in each if not annotation.get("was_cancelled")]
    several = sum(bool(annotation.get("result")) for annotation in each) > 1
    return [(several, _timelines(annotation.get("result"))) for annotation in each]


def _timelines(results: object) -> list[Values]:
    """The values of an annotation's results that are timeline labels, with what a result says of its rate."""
    items = [dict(item) for item in results if _is_object(item)] if isinstance(results, list) else []
    items = [item for item in items if str(item.get("type")).lower() == LABELS and _is_object(item.get("value"))]
    return [item | dict(item["value"]) for item in items]


def _ranges(task: Values) -> list[Values]:
    """The values with ranges of a task of JSON-MIN, under whatever name its control has."""
    lists = (value for value in task.values() if isinstance(value, list))
    items = (dict(item) for value in lists for item in value if _is_object(item))
    return [item for item in items if "ranges" in item and LABELS in item]


def _of_task(task: str, data: Values, annotations: list[tuple[bool, list[Values]]]) -> Iterator[AnnotationRow]:
    video, fault = _video_of(data)
    if fault or not any(values for _, values in annotations):
        yield AnnotationRow(f"{task}: ", video, fault=fault)
        return
    for several, values in annotations:
        notes: list[tuple[Kind, str]] = []
        if several:
            notes.append(("repeated", f"{task} was annotated more than once: all of it counts"))
        for value in values:
            yield from _of_timeline(task, video, value, _rate_of(value) or _rate_of(data), notes)


def _of_timeline(
    task: str, video: str, value: Values, rate: float | None, notes: list[tuple[Kind, str]]
) -> Iterator[AnnotationRow]:
    """The rows of one region: a label and a range each."""
    if rate is None:
        text = f"the export does not say how many frames a second its player counted: taken is {PLAYER_RATE}"
        notes = [*notes, ("time", text)]
    labels = value[LABELS] if isinstance(value.get(LABELS), list) else []
    ranges = value["ranges"] if isinstance(value.get("ranges"), list) else []
    row = partial(AnnotationRow, rate=rate or PLAYER_RATE, own=True, first=1, notes=tuple(notes))
    for label in [label for label in labels if isinstance(label, str)] or [""]:
        for span in ranges or [None]:
            ends = dict(span) if _is_object(span) else {}
            if {"start", "end"} <= ends.keys():
                at = f"{task}, frames {ends['start']}-{ends['end']}: "
                yield row(at, video, label, ((ends["start"], ends["end"]),))
            else:
                yield row(f"{task}: ", video, label, fault="a label without a range of frames")


def _rate_of(values: Values) -> float | None:
    """Frames a second by a task's data or a result."""
    rates = (seconds(value, 1) for key, value in values.items() if fold(key) in RATES)
    return next((rate for rate in rates if 0 < rate <= 1000), None)


def _video_of(data: Values) -> tuple[str, str]:
    """(name of a task's video, why there is none)."""
    texts = {key: _plain(value) for key, value in data.items() if isinstance(value, str)}
    named = {key: text for key, text in texts.items() if fold(key) in VIDEOS and text}
    chosen = named or {key: text for key, text in texts.items() if bare(text) != text}
    names = sorted(set(chosen.values()))
    if len(names) == 1:
        return names[0], ""
    return "", f"it has several videos: {', '.join(names)}" if names else "it names no video"


def _plain(address: str) -> str:
    """The path of a file that an address of Label Studio means: without server, project and what an upload adds."""
    try:
        parts = urlsplit(address)
        local = parse_qs(parts.query, errors="surrogateescape").get("d")
    except ValueError:
        return address
    if parts.path.rstrip("/").endswith("/data/local-files") and local:
        return local[0]
    if parts.path.startswith("/data/upload/") or ("://" in address and "/data/upload/" in parts.path):
        return _UPLOAD.sub("", unquote(parts.path, errors="surrogateescape").rpartition("/")[2])
    if "://" in address:
        return unquote(parts.path, errors="surrogateescape").lstrip("/")
    return address
