"""Live sources become events: the same as of the file they show, up to what is missed, which is said."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event as Flag

import pytest
from own_videos import BRIGHT, BRIGHT_SECONDS, BrightnessRecognizer, bright_film
from streams import free_port, http_server, mute_server, paced, transport_chunks

from fsar_cli.data.video import probe
from fsar_cli.data.video.live import source as live_source
from fsar_cli.errors import DataError
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.events import EventRule, events_of
from fsar_cli.recognise.watch import watch
from fsar_cli.recognise.watched import WatchedSource, shown_names
from fsar_cli.recognise.windowlog import read_windows
from fsar_cli.recognise.windows import windows_of_file

RULE = EventRule(threshold=0.4, release=0.3, agree=2, among=2, merge=0.0)
LEVEL = AlarmLevel(RULE, 1.0, 0, 1.0)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds, bright from the third to the fifth."""
    return bright_film(tmp_path_factory.mktemp("a b [c]") / "film.mp4")


@pytest.fixture(scope="module")
def chunks(film: Path) -> list:
    return transport_chunks(film)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_source, "BACK_OFF", (0.1,))


def watched(address: str, folder: Path, recognizer: BrightnessRecognizer | None = None, **options) -> WatchedSource:
    recognizer = recognizer or BrightnessRecognizer()
    return watch(recognizer, [address], folder, LEVEL, **{"stop": Flag(), "max_reconnects": 0} | options)[0]


def of_file(film: Path) -> list:
    recognizer = BrightnessRecognizer()
    windows = recognizer.scored(list(windows_of_file(film, recognizer.grid, recognizer.encoder.config.clip)))
    return events_of(windows, recognizer.classes, RULE, recognizer.grid.stride)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_stream_gives_the_events_of_its_file(film, chunks, tmp_path) -> None:
    with http_server(lambda number: paced(chunks, 2.0)) as address:
        found = watched(address, tmp_path, windows=True)
    bright = [event for event in of_file(film) if event.cls == "bright"]
    events = [named.event for named in found.events if named.event.cls == "bright"]
    assert [(e.cls, pytest.approx(e.start, abs=1e-3), pytest.approx(e.end, abs=1e-3)) for e in events] == [
        (e.cls, e.start, e.end) for e in bright
    ]
    assert len(bright) == 1 and abs(bright[0].start - BRIGHT[0]) < 0.5 and abs(bright[0].end - BRIGHT[1]) < 0.5
    assert found.passed_over == 0 and found.windows == len(list(read_windows(tmp_path / "windows" / "0001.jsonl")))
    assert [line["state"] for line in lines(tmp_path) if line["class"] == "bright"] == ["open", "closed"]
    assert all(line["wall"] for line in lines(tmp_path))


def test_slow_scoring_passes_windows_over_and_counts_them(chunks, tmp_path) -> None:
    with http_server(lambda number: paced(chunks)) as address:
        found = watched(address, tmp_path, BrightnessRecognizer(slow=0.45))
    whole = (BRIGHT_SECONDS - 0.8) / 0.2
    assert found.passed_over > 10
    assert abs(found.windows + found.passed_over - whole) <= 3
    assert "bright" in {named.event.cls for named in found.events}


def test_a_cut_ends_events_and_is_no_event_itself(chunks, tmp_path) -> None:
    middle = next(i for i, (seconds, _) in enumerate(chunks) if seconds > 4.0)

    def programme(number: int) -> Iterator[bytes]:
        yield from paced(chunks[:middle] if number == 0 else chunks, 4.0)

    with http_server(programme) as address:
        found = watched(address, tmp_path, max_reconnects=1, seconds=6.0)
    events = [named.event for named in found.events if named.event.cls == "bright"]
    assert len(events) >= 2 and events[0].cut  # one before the cut, one behind it
    assert found.state.reconnects >= 1 and len(found.gaps) >= 1
    gap = found.gaps[0]
    assert all(event.end <= gap[0] + 0.2 or event.start >= gap[1] - 0.2 for event in events)


def test_clips_begin_before_their_events(chunks, tmp_path) -> None:
    with http_server(lambda number: paced(chunks, 2.0)) as address:
        found = watched(address, tmp_path, clips=True)
    clips = sorted((tmp_path / "clips").glob("*.mp4"))
    assert len(clips) == len(found.events)
    bright = next(named.event for named in found.events if named.event.cls == "bright")
    clip = next(path for path in clips if "bright" in path.name)
    assert probe(clip).duration == pytest.approx(bright.seconds + 3.0, abs=0.6)


def test_it_stops_when_told_and_leaves_whole_files(chunks, tmp_path) -> None:
    stop = Flag()
    threading.Timer(3.0, stop.set).start()
    with http_server(lambda number: paced(chunks)) as address:
        started = time.monotonic()
        found = watched(address, tmp_path, stop=stop)
        assert time.monotonic() - started < 15.0
    assert found.windows > 5 and (tmp_path / "events.jsonl").read_bytes().endswith((b"\n", b""))
    assert not [thread for thread in threading.enumerate() if thread.name == "collector" and thread.is_alive()]


def test_it_stops_when_told_while_nobody_answers(tmp_path) -> None:
    stop, started = Flag(), time.monotonic()
    threading.Timer(0.5, stop.set).start()
    with mute_server() as port:
        addresses = [f"http://127.0.0.1:{port}/a", f"rtsp://127.0.0.1:{port}/b"]
        found = watch(BrightnessRecognizer(), addresses, tmp_path, LEVEL, stop=stop)
    assert time.monotonic() - started < 9.0 and [each.windows for each in found] == [0, 0]
    assert not [thread for thread in threading.enumerate() if thread.name == "live source"]


def test_nobody_there_is_an_error_without_a_password(tmp_path) -> None:
    with pytest.raises(DataError) as error:
        watched(f"http://guard:secret@127.0.0.1:{free_port()}/live", tmp_path)
    assert "secret" not in error.value.message + error.value.hint and "127.0.0.1" in error.value.message


def test_a_source_that_fails_leaves_the_others_be(chunks, tmp_path) -> None:
    middle = next(i for i, (seconds, _) in enumerate(chunks) if seconds > 2.0)
    recognizer = BrightnessRecognizer()
    with (
        http_server(lambda n: paced(chunks, 2.0)) as good,
        http_server(lambda n: paced(chunks[:middle] if n == 0 else [], 2.0)) as bad,
    ):
        found = watch(recognizer, [good, bad], tmp_path, LEVEL, stop=Flag(), max_reconnects=0)
    assert "bright" in {named.event.cls for named in found[0].events}
    assert found[1].failed and found[1].windows > 0


def test_sources_that_differ_by_their_secrets_alone_have_names_of_their_own() -> None:
    names = shown_names(["http://a:b@nvr/x", "http://c:d@nvr/x", "http://nvr/y?token=1", "camera:0"])
    assert names == ["http://***@nvr/x (1)", "http://***@nvr/x (2)", "http://nvr/y?token=***", "camera:0"]
