"""`fsar scan` of files: events in every form that is promised, whatever the files, the folder and the disk do."""

import csv
import errno
import json
import os
import re
import resource
import sys
from pathlib import Path

import pytest
from own_videos import HAPPENS, action_film, as_it_happens, enrolled
from videos import make_video, packets

from fsar_cli.data.video import probe
from fsar_cli.recognise.recognizer import Recognizer

ODD = ("a [red].mp4", 'it\'s "b" {x}.mp4', "c\nd.mp4")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film, and what is needed to scan it."""
    root = tmp_path_factory.mktemp("own")
    action_film(root / "film.mp4")
    make_video(root / "calm.mp4", frames=60, fps=10, content="noise", first=2000)
    return root


@pytest.fixture
def scan(own: Path, fsar, tmp_path: Path):
    """`fsar scan` with that support file in a folder with a link to the film."""
    support = enrolled(fsar, own)
    (tmp_path / "film.mp4").symlink_to(own / "film.mp4")

    def run(*arguments: object, code: int = 0, support: Path = support):
        done = fsar("scan", *arguments, "--support", support, "--device", "cpu")
        assert done.code == code, done.err
        return done

    return run


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "events.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def document(folder: Path) -> dict:
    return json.loads((folder / "scan.json").read_text(encoding="utf-8"))


def cut_off(path: Path, frames: int) -> Path:
    """A film whose file ends within a frame."""
    action_film(path)
    place, size = packets(path)[frames]
    path.write_bytes(path.read_bytes()[: place + size // 2])
    return path


def test_all_outputs_tell_of_the_same_events(scan, tmp_path: Path) -> None:
    done = scan("film.mp4", "--json")
    found, folder = done.json, tmp_path / "scans" / "film"
    assert found["command"] == "scan" and done.err == "" and as_it_happens(found["events"])
    assert [event["state"] for event in found["events"]] == ["closed", "closed"]
    assert [(row["class"], float(row["start"]), float(row["end"])) for row in rows(folder)] == [
        (event["class"], event["start"], event["end"]) for event in found["events"]
    ]
    said = lines((folder / "events.jsonl").read_text())
    assert [line["state"] for line in said] == ["open", "closed"] * 2 and said[1::2] == found["events"]
    results = json.loads((folder / "events.json").read_text())["results"][str(tmp_path / "film.mp4")]
    assert [event["label"] for event in results] == [event["class"] for event in found["events"]]
    assert (folder / "film.vtt").read_text().count("-->") == 2
    kept = document(folder)
    assert kept.pop("sources") == [str(tmp_path / "film.mp4")] and kept.pop("complete") is True
    assert kept == {key: value for key, value in found.items() if key != "command"}
    assert found["videos"][0]["windows"] == len((folder / "windows" / "0001.jsonl").read_text().splitlines()) - 2
    assert not [name for name in os.listdir(folder) if name.startswith(".fsar-")]


def test_the_help_names_all_that_json_holds(scan, fsar) -> None:
    text = " ".join(fsar("scan", "--help").out.split())
    document = scan("film.mp4", "--json").json
    for key in {*document, *document["videos"][0]} - {"schema", "command"}:
        assert re.search(rf"\b{key}\b", text.partition("--json:")[2]), key


def test_lines_come_as_events_happen_and_nothing_else_is_on_stdout(scan, tmp_path: Path) -> None:
    done = scan("film.mp4", "--jsonl", "--quiet")
    said = lines(done.out)
    assert [(line["class"], line["state"]) for line in said] == [
        (cls, state) for cls, *_ in HAPPENS for state in ("open", "closed")
    ]
    assert said[0]["id"] == said[1]["id"] != said[2]["id"] and said[0]["end"] < said[1]["end"] and done.err == ""
    assert done.out == (tmp_path / "scans" / "film" / "events.jsonl").read_text()


def test_words_say_how_many_events_and_what_they_rest_on(scan) -> None:
    done = scan("film.mp4", "--quiet")
    assert "2 events in 0:00:30" in done.out and "false alarm" in done.out and done.err == ""


def test_names_of_any_kind_and_one_stem_in_two_folders(scan, own: Path, tmp_path: Path) -> None:
    for name in (*ODD, "sub/a [red].mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).symlink_to(own / ("calm.mp4" if "b" in Path(name).name else "film.mp4"))
    document = scan("in", "--json", "--clips", "--report", "--out", "r [blue]").json
    counts = {Path(video["path"]).relative_to(tmp_path / "in").as_posix(): video["events"]
              for video in document["videos"]}  # fmt: skip
    assert counts == {ODD[0]: 2, ODD[1]: 0, ODD[2]: 2, "sub/a [red].mp4": 2}
    folder = tmp_path / "r [blue]"
    assert {path.name for path in folder.glob("*.vtt")} == {
        "0001-a [red].vtt", "0004-a [red].vtt", "it's \"b\" {x}.vtt", "c\nd.vtt"
    }  # fmt: skip
    assert len(list((folder / "clips").iterdir())) == 6 and len(rows(folder)) == 6
    assert {row["video"] for row in rows(folder)} <= {video["path"] for video in document["videos"]}


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_no_text(scan, own: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.mp4")
    (tmp_path / name).symlink_to(own / "film.mp4")
    done = scan(name, own / "calm.mp4", "--report", "--clips", "--out", "o")
    assert "\ufffd\ufffd.mp4" in done.out and "\ufffd\ufffd.mp4" in (tmp_path / "o" / "report.html").read_text()
    assert document(tmp_path / "o")["sources"][0] == str(tmp_path / name) and len(rows(tmp_path / "o")) == 2


def test_a_file_that_breaks_off_keeps_its_events_and_the_others_finish(scan, tmp_path: Path) -> None:
    cut_off(tmp_path / "cut.mkv", 130)  # within an event
    (tmp_path / "words.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    done = scan("words.mp4", "cut.mkv", "empty.mp4", "film.mp4", "--json", "--clips", "--report", code=3)
    videos = {Path(video["path"]).name: video for video in done.json["videos"]}
    assert {name: video["events"] for name, video in videos.items()} == {
        "words.mp4": 0, "cut.mkv": 1, "empty.mp4": 0, "film.mp4": 2
    }  # fmt: skip
    assert [name for name, video in videos.items() if video["failed"]] == ["words.mp4", "cut.mkv", "empty.mp4"]
    assert done.json["events"][0]["cut"] is True and as_it_happens(done.json["events"][1:])
    assert "3 of 4 videos could not be read to the end" in done.err
    clips = sorted((tmp_path / "scans" / "words" / "clips").iterdir())
    assert len(clips) == 3 and probe(clips[0]).duration > 4  # up to the damage


def test_where_nothing_happens_nothing_is_found(scan, own: Path, tmp_path: Path) -> None:
    done = scan(own / "calm.mp4", "--report", "--clips")
    assert "0 events" in done.out and rows(tmp_path / "scans" / "calm") == []
    assert (tmp_path / "scans" / "calm" / "report.html").exists()


def test_a_video_shorter_than_a_window_is_one_window(scan, tmp_path: Path) -> None:
    make_video(tmp_path / "short.mp4", frames=3, fps=10)
    found = scan("short.mp4", "--json", "--report", "--agree", "1/1").json
    assert found["videos"][0]["windows"] == 1 and found["videos"][0]["seconds"] <= 1
    assert len(found["events"]) == 1


def test_variable_frame_rates_change_no_times(scan, tmp_path: Path) -> None:
    action_film(tmp_path / "v.mp4", pts=[100 * i + (i * 37 % 60) for i in range(300)])
    assert as_it_happens(scan("v.mp4", "--json").json["events"])


def test_a_turned_phone_video_is_seen_and_cut_upright(scan, tmp_path: Path) -> None:
    action_film(tmp_path / "phone.mp4", width=48, height=64, rotation=90)
    found = scan("phone.mp4", "--json", "--clips", "--report").json
    assert as_it_happens(found["events"])
    info = probe(sorted((tmp_path / "scans" / "phone" / "clips").iterdir())[0])
    assert (info.width, info.height) == (48, 64)
    boxes = [box for event in found["events"] for _, box in event["track"]]
    assert all(y1 - y0 < 0.8 and 0.05 < y0 < y1 < 0.95 for _, y0, _, y1 in boxes)  # the middle square of a tall picture


def test_the_truth_is_compared_by_name_and_whole_videos_count(scan, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("video,start,end,class\nfilm,8,13,push it\nfilm.mp4,18,22,kick\nfilm,1,2,jump\n")
    done = scan("film.mp4", "--truth", "t.csv", "--json")
    assert done.json["truth"] == document(tmp_path / "scans" / "film")["truth"]
    words = scan("film.mp4", "--truth", "t.csv", "--report").out
    assert "2 of 2" in words and "jump" in words
    (tmp_path / "w.csv").write_text("video,start,end,class\nfilm.mp4,,,kick\n")
    assert "0 of 1" in scan("film.mp4", "--truth", "w.csv").out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("video,start,end,class\nother.mp4,1,2,kick\n", "the truth is of other.mp4"),
        ("video,start,end,class\nfilm.mp4,2,1,kick\n", "start"),
        ("video,start,end,class\nfilm.mp4,x,1,kick\n", "x"),
        ("a,b\n1,2\n", "video"),
    ],
)
def test_a_truth_that_is_of_no_use_is_told_before_the_scan(scan, tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert expected in scan("film.mp4", "--truth", "t.csv", code=3).err and not (tmp_path / "scans").exists()


def keys(folder: Path) -> list[str]:
    """The videos as the page's review names them."""
    island = re.search(r"<script[^>]*application/json[^>]*>(.*?)</script>", (folder / "report.html").read_text(), re.S)
    return [video["key"] for video in json.loads(island[1])["videos"]]


def test_what_the_review_says_is_known_to_the_next_scan(scan, fsar, own: Path, tmp_path: Path) -> None:
    support = tmp_path / "s.fsar"
    support.write_bytes((own / "support.fsar").read_bytes())
    push, kick = scan("film.mp4", "--report", "--json", support=support).json["events"]
    video = keys(tmp_path / "scans" / "film")[0]
    with (tmp_path / "review.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("video", "start", "end", "class", "verdict"))
        writer.writerow((video, push["start"], push["end"], "normal", "rejected"))
        writer.writerow((video, kick["start"], kick["end"], "kick", "confirmed"))
    added = fsar("support", "add", "review.csv", "--support", support, "--device", "cpu", "--json")
    assert added.code == 0 and added.json["classes"] == {"kick": 4, "push it": 3}
    events = scan("film.mp4", "--resume", "--json", support=support).json["events"]
    assert [event["class"] for event in events] == ["kick"] and "film" in events[0]["because"]


def test_results_of_another_scan_are_not_mixed_with(scan, own: Path, tmp_path: Path) -> None:
    scan("film.mp4", "--out", "o", "--clips", "--report")
    done = scan(own / "calm.mp4", "--out", "o", code=2)
    assert "holds results of" in done.err and "film.mp4" in done.err and len(rows(tmp_path / "o")) == 2
    scan(own / "calm.mp4", "--out", "o", "--force")
    assert {path.name for path in (tmp_path / "o").glob("*.vtt")} == {"calm.vtt"} and rows(tmp_path / "o") == []
    assert list((tmp_path / "o" / "clips").iterdir()) == [] and not (tmp_path / "o" / "report.html").exists()


def test_a_scan_that_was_stopped_keeps_its_folder(scan, own: Path, tmp_path: Path, monkeypatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "film.mp4").symlink_to(own / "calm.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(Recognizer, "windows", stopped)
        assert "--resume" in scan("film.mp4", code=130).err
    scan("b/film.mp4")
    assert document(tmp_path / "scans" / "b-film")["complete"] and not document(tmp_path / "scans" / "film")["complete"]


def test_what_is_no_scan_of_ours_is_left_alone(scan, tmp_path: Path) -> None:
    for name in ("mine.vtt", "clips/mine.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    scan("film.mp4", "--out", ".", "--clips")
    scan("film.mp4", "--out", ".")
    assert (tmp_path / "mine.vtt").read_text() == (tmp_path / "clips" / "mine.mp4").read_text() == "mine"
    assert len(list((tmp_path / "clips").iterdir())) == 1


def test_a_folder_that_is_scanned_again_is_not_scanned_with_its_results(scan, own: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert [v["path"] for v in scan(".", "--clips", "--report", "--json").json["videos"]] == [
            str(tmp_path / "film.mp4")
        ]
    clips = scan(tmp_path / "scans" / "film" / "clips", "--json").json["videos"]
    assert len(clips) == 2  # where they are meant


def test_windows_are_gone_on_from_under_other_rules_but_not_of_other_things(
    scan, own: Path, tmp_path: Path, monkeypatch
) -> None:
    support = tmp_path / "s.fsar"
    support.write_bytes((own / "support.fsar").read_bytes())
    done = scan("film.mp4", "--resume", "--json", support=support)  # of nothing
    assert as_it_happens(done.json["events"])
    with monkeypatch.context() as patch:
        patch.setattr(Recognizer, "windows", None)  # none is scored again
        again = scan("film.mp4", "--resume", "--json", "--agree", "2/3", "--false-alarms", "5/h", support=support).json
    assert len(again["events"]) == 2 and again["speed"] is None and again["rule"]["among"] == 3
    scored = []
    windows = Recognizer.windows
    monkeypatch.setattr(Recognizer, "windows", lambda *given: scored.append(given) or windows(*given))
    scan("film.mp4", "--resume", "--device", "cpu", support=own / "support.fsar")  # the same content
    assert not scored
    (tmp_path / "film.mp4").unlink()
    (tmp_path / "film.mp4").symlink_to(own / "calm.mp4")
    assert scan("film.mp4", "--resume", "--json", support=support).json["events"] == [] and len(scored) == 1


def test_that_there_is_nothing_to_go_on_from_is_said(scan) -> None:
    assert "film.mp4: no windows of it by this support file to go on from" in scan("film.mp4", "--resume").err


def test_a_full_disk_is_a_sentence(scan, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = scan("film.mp4", code=3)
    assert "scan.json: No space left on device" in done.err and "free some disk" in done.err


def test_a_disk_that_fills_in_the_middle_leaves_what_can_be_gone_on_from(scan, tmp_path: Path) -> None:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, most[1]))
    try:
        done = scan("film.mp4", "--out", "o", code=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert "0001.jsonl: File too large" in done.err and document(tmp_path / "o")["complete"] is False
    assert as_it_happens(scan("film.mp4", "--out", "o", "--resume", "--json").json["events"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_a_sentence(scan, tmp_path: Path) -> None:
    (tmp_path / "o").mkdir(mode=0o500)
    assert "Permission denied" in scan("film.mp4", "--out", "o", code=3).err


def test_a_file_in_the_place_of_the_folder_is_a_sentence(scan, tmp_path: Path) -> None:
    (tmp_path / "o").write_text("mine")
    assert "o: File exists" in scan("film.mp4", "--out", "o", code=3).err


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        (("--agree", "0/2"), "1 <= M <= N"),
        (("--agree", "3/2"), "1 <= M <= N"),
        (("--agree", "x"), "1 <= M <= N"),
        (("--agree", "²/2"), "1 <= M <= N"),
        (("--false-alarms", "0/h"), "1/h, 0.5/h or 2/day"),
        (("--false-alarms", "-1/h"), "1/h, 0.5/h or 2/day"),
        (("--false-alarms", "1/year"), "1/h, 0.5/h or 2/day"),
        (("--false-alarms", "nan/h"), "1/h, 0.5/h or 2/day"),
        (("--false-alarms", "1"), "1/h, 0.5/h or 2/day"),
        (("--shortest", "9", "--longest", "8"), "--longest 8"),
        (("--longest", "inf"), "--longest 3600"),
        (("--merge", "inf"), "--merge 3600"),
        (("--shortest", "nan"), "greater than or equal to 0"),
        (("--json", "--jsonl"), "exclude each other"),
        (("--seconds", "5"), "--seconds goes with live sources alone"),
        (("--max-reconnects", "0"), "--max-reconnects goes with live sources alone"),
    ],
)
def test_wrong_values_say_what_is_allowed(scan, tmp_path: Path, options: tuple[str, ...], allowed: str) -> None:
    done = scan("film.mp4", *options, code=2)
    assert allowed in done.err and done.out == "" and not (tmp_path / "scans").exists()


@pytest.mark.parametrize("address", ["rstp://guard:secret@camera/x", "http:/guard:secret@camera", "ftp://a:secret@b"])
def test_an_address_that_is_none_is_told_without_its_password(scan, address: str) -> None:
    done = scan(address, code=2)
    assert "is no live source, and no file" in done.err and "rtsp://..." in done.err and "secret" not in done.err
