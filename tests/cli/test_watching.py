"""`fsar scan` of live sources: what is seen, told and written, and that it ends at once when told to."""

import csv
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from own_videos import action_film, as_it_happens, enrolled
from rich.console import Console
from streams import free_port, has_rtsp, http_server, paced, rtsp_server, transport_chunks

from fsar_cli.cli.watching import view_of
from fsar_cli.data.video.live import source as live_source
from fsar_cli.data.video.live.board import StreamState
from fsar_cli.recognise.events import Event
from fsar_cli.recognise.outputs import NamedEvent

WRITTEN = {".lock", "events.csv", "events.json", "events.jsonl", "scan.json"}
PASSWORD = "hunter2"
QUICK = 10.0  # times as fast as it happened


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    action_film(root / "film.mp4")
    action_film(root / "short.mp4", 7.0, first=70)  # `push it` from the first second to the sixth
    return root


@pytest.fixture(scope="module")
def chunks(own: Path) -> list:
    return transport_chunks(own / "film.mp4")


@pytest.fixture
def support(own: Path, fsar) -> Path:
    return enrolled(fsar, own)


@pytest.fixture
def scan(support: Path, fsar, monkeypatch):
    """`fsar scan` by that support file, in this process."""
    monkeypatch.setattr(live_source, "BACK_OFF", (0.1,))

    def run(*arguments: object, code: int = 0):
        done = fsar("scan", *arguments, "--support", support, "--device", "cpu")
        assert done.code == code, done.err
        return done

    return run


@contextmanager
def process(support: Path, *arguments: object, **streams: object) -> Iterator[subprocess.Popen]:
    """`fsar scan`, as a shell starts it, in the working folder."""
    command = [sys.executable, "-m", "fsar_cli", "scan", *map(str, arguments), "--support", support, "--device", "cpu"]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(command, env=environment | {"PYTHONPATH": root, "TERM": "xterm-256color"}, **streams) as run:
        try:
            yield run
        finally:
            run.kill()


def until(holds: Callable[[], bool], seconds: float = 40.0) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)


def events_in(file: Path) -> list[dict]:
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def document(folder: Path) -> dict:
    return json.loads((folder / "scan.json").read_text())


def with_login(address: str) -> str:
    return address.replace("http://", f"http://guard:{PASSWORD}@") + f"?token={PASSWORD}"


def test_sigterm_ends_at_once_with_all_written_and_no_password_anywhere(support, chunks, tmp_path, fsar) -> None:
    with http_server(lambda _: paced(chunks, QUICK), login=f"guard:{PASSWORD}") as address:
        arguments = (with_login(address), "--out", "o", "--report", "--clips")
        with process(support, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            until(lambda: len(events_in(tmp_path / "o" / "events.jsonl")) >= 3)
            run.send_signal(signal.SIGTERM)
            started = time.monotonic()
            out, err = run.communicate(timeout=20)
            assert time.monotonic() - started < 15.0 and run.returncode == 0, err
    folder = tmp_path / "o"
    assert {path.name for path in folder.iterdir()} == WRITTEN | {"clips", "report.html", "windows"}
    assert "push it" in out and "http://***@127.0.0.1" in out and document(folder)["complete"] is True
    with (folder / "events.csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["push it", "kick"]
    assert [line["state"] for line in events_in(folder / "events.jsonl")] == ["open", "closed"] * 2
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in kept and PASSWORD not in out + err


def test_ctrl_c_on_a_terminal_gives_the_cursor_back_and_lines_go_where_they_are_wanted(
    support, chunks, tmp_path, fsar
) -> None:
    main, side = pty.openpty()
    os.set_blocking(main, False)
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = b""

    def look() -> bool:
        nonlocal shown
        with suppress(OSError):
            shown += os.read(main, 1 << 20)
        return len(events_in(tmp_path / "lines")) >= 2

    with http_server(lambda _: paced(chunks, QUICK)) as address, (tmp_path / "lines").open("w") as lines:
        arguments = (f"{address}?n=[red]", "--out", "o", "--jsonl")
        with process(support, *arguments, stdout=lines, stderr=side, stdin=side) as run:
            until(look)
            run.send_signal(signal.SIGINT)
            until(lambda: look() and run.poll() is not None, 6.0)
            look()
            assert run.returncode == 0
    os.close(main), os.close(side)
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h") == 1 and b"n=[red]" in shown
    assert b'"schema"' not in shown and "Traceback" not in shown.decode(errors="replace")
    assert events_in(tmp_path / "lines") == events_in(tmp_path / "o" / "events.jsonl")
    assert {path.name for path in (tmp_path / "o").iterdir()} == WRITTEN


def test_two_sources_are_watched_at_once_and_json_is_one_document(scan, own, chunks, tmp_path) -> None:
    with (
        http_server(lambda _: paced(chunks, QUICK)) as one,
        http_server(lambda _: paced(chunks, QUICK), length=sum(len(data) for _, data in chunks)) as two,
    ):
        found = scan(one, two, one, "--seconds", 6, "--max-reconnects", 0, "--json", "--report", "--out", "o", code=3)
    streams = found.json["streams"]
    assert [stream["source"] for stream in streams] == [one, two] and found.json == found.json | document_of(tmp_path)
    assert streams[0]["failed"] and streams[1]["failed"] is None and streams[1]["state"] == "ended"
    for stream in streams:
        assert as_it_happens([event for event in found.json["events"] if event["video"] == stream["source"]])
    assert (tmp_path / "o" / "report.html").exists() and "1 of 2 sources failed" in found.err


def document_of(tmp_path: Path) -> dict:
    kept = document(tmp_path / "o")
    return {key: kept[key] for key in kept if key not in ("sources", "complete")}


def test_seconds_are_kept_to_and_lines_are_all_that_is_on_stdout(scan, chunks, tmp_path) -> None:
    with http_server(lambda _: paced(chunks, QUICK)) as address:
        started = time.monotonic()
        done = scan(address, "--seconds", 1.4, "--jsonl", "--quiet", "--out", "o")
        assert time.monotonic() - started < 25.0
    said = [json.loads(line) for line in done.out.splitlines()]
    assert [line["state"] for line in said] == ["open", "closed"] and said[0]["id"] == said[1]["id"]
    assert done.out == (tmp_path / "o" / "events.jsonl").read_text() and done.err == ""


def test_a_server_that_goes_away_is_given_up_with_everything_written(scan, chunks, tmp_path) -> None:
    connections = []

    def programme(number: int) -> Iterator[bytes]:
        connections.append(number)
        yield from paced(chunks, 8.0) if number == 0 else ()

    with http_server(programme) as address:
        done = scan(address, "--max-reconnects", 1, "--out", "o", "--clips", code=3)
    assert "given up after 1 try" in done.err and len(connections) == 2
    assert as_it_happens([event for event in events_in(tmp_path / "o" / "events.jsonl") if event["state"] == "closed"])
    assert document(tmp_path / "o")["streams"][0]["failed"] and len(list((tmp_path / "o" / "clips").iterdir())) == 2


def test_watching_again_adds_to_lines_and_clips_and_leaves_other_results_alone(scan, own, tmp_path) -> None:
    port, chunks = free_port(), transport_chunks(own / "short.mp4")
    for times in (1, 2):
        with http_server(lambda _: paced(chunks, 10.0), port=port) as address:
            scan(address, "--max-reconnects", 0, "--out", "o", "--clips", code=3)
        assert len(events_in(tmp_path / "o" / "events.jsonl")) == 2 * times
        assert len(list((tmp_path / "o" / "clips").iterdir())) == times
    assert "holds results of" in scan("http://127.0.0.1:1/other", "--out", "o", code=2).err
    assert "holds results of" in scan(own / "film.mp4", "--out", "o", code=2).err
    scan(own / "film.mp4", "--out", "f")
    assert "holds results of" in scan("http://127.0.0.1:1/other", "--out", "f", code=2).err


def test_a_first_connection_that_is_refused_is_an_error_without_a_password(scan, tmp_path) -> None:
    started = time.monotonic()
    done = scan(f"rtsp://guard:{PASSWORD}@127.0.0.1:{free_port()}/live", "--out", "o", code=3)
    assert "rtsp://***@127.0.0.1" in done.err and PASSWORD not in done.err and time.monotonic() - started < 20.0
    assert PASSWORD not in (tmp_path / "o" / "scan.json").read_text() and document(tmp_path / "o")["complete"] is False
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "live source"], 5.0)


def test_one_of_two_that_is_refused_leaves_no_thread_behind(scan, chunks) -> None:
    with http_server(lambda _: paced(chunks)) as good:
        scan(good, f"http://127.0.0.1:{free_port()}/live", "--out", "o", code=3)
        until(lambda: not [thread for thread in threading.enumerate() if thread.name == "live source"], 5.0)


@pytest.mark.slow
@pytest.mark.skipif(not has_rtsp(), reason="GStreamer's RTSP server is not installed")
def test_an_rtsp_camera_with_a_login(scan, own, tmp_path) -> None:
    with rtsp_server(own / "short.mp4", login=f"guard:{PASSWORD}", method="digest") as port:
        done = scan(f"rtsp://guard:{PASSWORD}@127.0.0.1:{port}/live", "--seconds", 8, "--out", "o", "--report")
    assert [e["class"] for e in document(tmp_path / "o")["events"]] == [
        "push it"
    ] and PASSWORD not in done.out + done.err
    kept = b"".join(path.read_bytes() for path in (tmp_path / "o").rglob("*") if path.is_file())
    assert PASSWORD.encode() not in kept


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("FILM", "rtsp://camera/x"), "files and live sources are not scanned together"),
        (("rtsp://camera/x", "--truth", "t.csv"), "--truth goes with files alone"),
        (("rtsp://camera/x", "--resume"), "--resume goes with files alone"),
        (("rtsp://camera/x", "--seconds", "nan"), "greater than or equal to 1"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(scan, own, tmp_path, arguments, expected) -> None:
    done = scan(*(str(own / "film.mp4") if word == "FILM" else word for word in arguments), code=2)
    assert expected in done.err and done.out == "" and not list(tmp_path.iterdir())


class Still:
    """A source that is being watched, at one moment."""

    def __init__(self, name: str, **figures: object) -> None:
        usual = {"state": "live", "frames": 9, "rate": 24.9, "lag": 0.04, "drops": {}, "missed": 0.0, "reconnects": 0}
        self.name, self.state = name, StreamState(**(usual | {"last_error": ""} | figures))
        self.windows, self.passed_over, self.events = 1234, 56, []
        event = Event(8.0, 9.0, "push [bold]it[/]", 0.9, 0, wall=1e9)
        self.last = [NamedEvent(name, event, 0.01, "push it/[0]")]


@pytest.mark.parametrize("columns", [12, 80, 200])
def test_the_view_fits_any_terminal_and_shows_names_as_they_are(columns: int) -> None:
    watched = [Still("rtsp://***@door/[red]x"), Still("camera:0", drops={"slow reader": 7}, missed=61.0, reconnects=2)]
    console = Console(width=columns, record=True, file=open(os.devnull, "w"), markup=False)  # noqa: SIM115
    console.print(view_of(watched))
    text = console.export_text()
    assert all(len(line.rstrip()) <= columns for line in text.splitlines())
    joined = re.sub(r"[\s│]", "", text)
    assert all(word in joined for word in ("live", "1234", "24.9"))
    if columns >= 80:
        assert "[red]" in joined and "push [bold]it[/]" in text and "window" in text
    if columns == 200:
        assert "56 passed over, 7 slow reader, 61 s, 2 reconnects" in text
