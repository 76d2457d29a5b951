"""Support files, logs and results of any bytes: a value, or a refusal in a line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hostile import (
    ODD_NAMES,
    changed,
    check,
    file_of,
    inputs,
    json_text,
    lawful,
    names,
    place,
    seeds_of,
    support_set,
    tried,
    values,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save

from fsar_cli.data.annotations.labelled import labelled_segments
from fsar_cli.recognise.events import Event
from fsar_cli.recognise.outputs import EventLog, NamedEvent, file_word, write_csv
from fsar_cli.recognise.results import begin_results, subtitle_names
from fsar_cli.recognise.windowlog import read_windows

WINDOW = {
    "start": 0.0,
    "end": 2.0,
    "scores": [0.5, 1],
    "nearest": 1,
    "breaks": False,
    "track": [[0.1, [0.1, 0.2, 0.3, 0.4]]],
}
HEAD = b'{"schema": 1, "video": "a"}\n'
KEPT = {
    "a head that holds scores": b'{"schema": 1, "scores": [1]}\n',
    "a window with words for times": json_text(WINDOW | {"start": "a"}),
    "a window with NaN": json_text(WINDOW | {"scores": [float("nan")]}),
    "a window beyond all numbers": json_text(WINDOW | {"end": 10**400}),
    "a track of three numbers": json_text(WINDOW | {"track": [[0.1, [1, 2]]]}),
    "a track that is none": json_text(WINDOW | {"track": 5}),
    "a line that is too deep": b"[" * 100_000,
    "an end that is none": b'{"ended": [1]}',
}


@pytest.mark.parametrize("name", ["support", "window-log"])
def test_what_is_valid_keeps_the_law(name: str) -> None:
    for data in seeds_of(name):
        check(name, data)


@pytest.mark.parametrize("name", KEPT)
def test_a_log_that_once_broke_it_keeps_the_law(name: str, tmp_path: Path) -> None:
    check("window-log", HEAD + KEPT[name] + b"\n")
    check("window-log", KEPT[name] + b"\n")
    path = file_of(HEAD + json_text(WINDOW) + b"\n" + KEPT[name] + b"\n", "a", tmp_path)
    assert len(list(read_windows(path))) == 1


@pytest.mark.parametrize("name", ["support", "window-log"])
@tried(100)
@given(data=st.data())
def test_any_bytes_are_read_or_refused_in_a_line(name: str, data: st.DataObject) -> None:
    check(name, data.draw(inputs(name)))


@tried(150)
@given(changed([WINDOW]).map(json_text))
def test_windows_with_other_values_are_read_or_end_the_log(line: bytes) -> None:
    check("window-log", HEAD + line + b"\n" + json_text(WINDOW) + b"\n")


@tried(150)
@given(st.data())
def test_a_support_file_of_another_header_or_other_tensors_is_read_or_refused(data: st.DataObject) -> None:
    with place() as folder:
        path = file_of(seeds_of("support")[0], "a", folder)
        with safe_open(path, framework="pt") as file:
            document = json.loads(file.metadata()["fsar"])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if data.draw(st.booleans()):
        document = data.draw(changed([document]))
    else:
        name = data.draw(st.sampled_from(sorted(tensors)))
        shape = data.draw(st.lists(st.integers(0, 3), max_size=3))
        kind = data.draw(st.sampled_from([torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool]))
        tensors[data.draw(st.just(name) | st.just(f"{name}.x") | names().filter(lambda text: "\ud800" not in text))] = (
            torch.full(shape, data.draw(st.sampled_from([0, 1]))).to(kind)
        )
    try:
        whole = save(tensors, {"fsar": json.dumps(document)})
    except (UnicodeEncodeError, TypeError):
        assume(False)
    check("support", whole)


@tried(100)
@given(st.sampled_from(["cls", "name", "source", "group"]), names())
def test_a_support_file_holds_any_name_or_refuses_it(key: str, name: str) -> None:
    support = support_set()
    example = support.document.examples[0].model_copy(update={key: name})
    document = support.document.model_copy(update={"examples": (example, *support.document.examples[1:])})
    with place() as folder:
        try:
            replace(support, document=document).write(folder / "a.fsar")
        except ValueError:  # half a sign, or classes that the scores are not of
            return
        check("support", (folder / "a.fsar").read_bytes())


@tried(150)
@given(st.lists(st.tuples(names(), names(), st.floats(0, 1e6), st.floats(0.1, 1e4)), min_size=1, max_size=4))
def test_events_are_read_again_as_truth_whatever_their_names(rows: list[tuple[str, str, float, float]]) -> None:
    for row in rows:
        for name in row[:2]:
            assume(name.strip() == name and name and "\0" not in name)
            assume(not any("\ud800" <= sign < "\udc80" or "\udcff" < sign <= "\udfff" for sign in name))
    events = [NamedEvent(video, Event(start, start + long, cls, 0.5, 0), None, "x") for video, cls, start, long in rows]
    with place() as folder:
        write_csv(folder / "events.csv", events)
        found = lawful(lambda: labelled_segments(folder / "events.csv"))
    assert [(s.video, s.cls) for s in found] == [(e.video, e.event.cls) for e in events]
    assert all(abs(s.start - e.event.start) < 1e-3 for s, e in zip(found, events, strict=True))


@tried(100)
@given(names())
def test_a_file_named_after_a_class_stays_in_its_folder(name: str) -> None:
    word = file_word(name)
    assert "/" not in word and "\\" not in word and "\0" not in word and ".." not in word
    assume(not any("\ud800" <= sign < "\udc80" or "\udcff" < sign <= "\udfff" for sign in name))
    (subtitles,) = subtitle_names([Path(name.replace("\0", "")).stem])
    assert "/" not in subtitles and len(subtitles.encode("utf-8", "surrogateescape")) <= 255


@tried(100)
@given(
    st.one_of(changed([{"sources": ["/v/a.mp4", "rtsp://c"], "complete": True}]).map(json_text), st.binary(max_size=30))
)
def test_results_of_anybody_are_replaced_and_nothing_beside_them(document: bytes) -> None:
    with place() as folder:
        file_of(document, "scan.json", folder)
        file_of(b"kept", "other/a.vtt", folder)
        lawful(lambda: begin_results(folder, ["/v/b.mp4"]), len(document))
        assert (folder / "other/a.vtt").read_bytes() == b"kept"


@pytest.mark.parametrize("source", [*ODD_NAMES, "../other/a"])
def test_a_source_of_an_odd_name_removes_nothing_elsewhere(source: str) -> None:
    with place() as folder:
        file_of(json_text({"sources": [source]}), "scan.json", folder)
        kept = file_of(b"kept", "other/a.vtt", folder)
        lawful(lambda: begin_results(folder, []))
        assert kept.exists()


@tried(100)
@given(st.one_of(values().map(json_text), st.binary(max_size=30), st.just(b"[" * 99_999)))
def test_a_log_of_events_is_gone_on_with_or_refused(line: bytes) -> None:
    with place() as folder:
        file_of(b'{"schema": 1, "video": "a"}\n' + line, "events.jsonl", folder)

        def go_on() -> None:
            with EventLog(folder / "events.jsonl"):
                pass

        lawful(go_on, len(line))
