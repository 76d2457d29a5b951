"""`fsar splits check`: what it prints, writes and refuses."""

import csv
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from trees import act_tree, touch
from videos import make_video

from fsar_cli.data.splits import Splits, Video

FSAR = [sys.executable, "-c", "from fsar_cli.cli.app import main; main()", "splits", "check"]
COUNTS = ("wanted", "found", "missing", "ambiguous", "undecodable", "short", "spelling", "usable")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def videos(tmp_path) -> Path:
    return act_tree(tmp_path / "videos")


@pytest.fixture
def file(fsar, videos) -> Path:
    fsar("splits", "make", "arn", "--train", "act 0,act 1,act 2", "--test", "act 3,act 4,act 5")
    return videos.parent / "splits.csv"


def test_a_complete_tree(fsar, file):
    result = fsar("splits", "check", "--way", "3")
    assert (result.code, result.err) == (0, "")
    assert "test: 3-way 5-shot, 1 query a class: can be drawn" in result.out
    assert "not looked at: whether they decode and how long they are (--decode)" in result.out
    document = fsar("splits", "check", "--way", "3", "--json").json
    assert (document["ok"], document["listed"], document["found"], document["unlisted"]) == (True, 72, 72, 0)
    assert (document["undecodable"], document["short"], document["problems"]) == (None, None, [])
    assert [split["touched"] for split in document["splits"]] == [0, 0]


def test_missing_videos_are_told_everywhere(fsar, file, videos):
    (videos / "act 3/clip[0]_seq00.avi").unlink()
    (videos / "act 3/another.avi").touch()
    result = fsar("splits", "check", "--way", "3", "--csv", "out/problems.csv")
    assert result.code == 3
    assert "act 3/clip[0]_seq00" in result.out and "1 videos of videos are not in the split file" in result.out
    assert "error: of 72 listed videos in videos: 1 missing\n  complete the data" in result.err
    with open("out/problems.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [
        {"split": "test", "class": "act 3", "video": "act 3/clip[0]_seq00", "problem": "missing", "detail": ""}
    ]
    document = fsar("splits", "check", "--way", "3", "--json")
    assert document.code == 3 and document.json["problems"] == rows
    (entry,) = [entry for entry in document.json["classes"] if entry["missing"]]
    assert [entry[key] for key in COUNTS] == [12, 11, 1, 0, None, None, 0, 11]


def test_what_it_means_for_the_accuracy(fsar, file, videos):
    for v in range(3):
        (videos / f"act 3/clip[{v}]_seq{v:02d}.avi").unlink()
    result = fsar("splits", "check", "--way", "2", "--shot", "1")
    assert "test, beside the split file: 3 of 36 videos missing or unusable (8.3 %)" in result.out
    share = 1 - (1 - 3 / 36) ** 4
    assert f"about {100 * share:.1f} % of the 2-way 1-shot episodes hold one of them; at the very worst" in result.out
    splits = fsar("splits", "check", "--way", "2", "--shot", "1", "--json").json["splits"]
    assert [split["touched"] for split in splits] == [0, pytest.approx(share)]


def test_a_published_protocol_is_what_it_is_compared_with(fsar, tmp_path):
    for name in ("fencing", "kick", "kick_ball", "pick", "pour"):
        touch(tmp_path / "videos" / name, *(f"x{v}_{name}_f_cm_np1_ba_bad_1.avi" for v in range(30)))
    assert fsar("splits", "make", "hmdb51-arn", "--allow-missing").code == 0
    result = fsar("splits", "check")
    assert result.code == 0  # every listed video is there
    assert "test, beside hmdb51-arn: 1142 of 1292 videos missing or unusable (88.4 %)" in result.out
    assert "about 100.0 % of the 5-way 5-shot episodes hold one of them" in result.out
    (entry,) = [e for e in fsar("splits", "check", "--json").json["classes"] if e["class"] == "run"]
    assert (entry["published"], entry["wanted"]) == (232, 0)


def test_another_spelling_counts_as_found_and_has_a_remedy(fsar, file, videos):
    (videos / "act 3").rename(videos / "Act_3")
    result = fsar("splits", "check", "--way", "3", "--csv", "problems.csv")
    assert result.code == 3
    assert "12 under another spelling" in result.err
    assert "`fsar splits make splits.csv --root videos --out NEW`" in result.err
    assert "test: 3-way 5-shot, 1 query a class: can be drawn" in result.out
    assert "beside" not in result.out
    with open("problems.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["problem"] for row in rows} == {"spelling"}
    assert {row["video"]: row["detail"] for row in rows}["act 3/clip[2]_seq02"] == "Act_3/clip[2]_seq02"


def test_videos_found_by_their_names_alone_are_a_warning(fsar, file, videos):
    for number, folder in enumerate(sorted(videos.iterdir())):
        for path in folder.iterdir():
            path.rename(folder / f"{number}{path.name}")
        folder.rename(videos / f"other{number}")
    result = fsar("splits", "check", "--way", "3")
    assert "none of the classes has a folder of its name" in result.err and "72 missing" in result.err


def test_the_csv_gives_odd_names_back(fsar, tmp_path):
    odd = ["comma, quote \" and 'tick'", "two\nlines", "carriage\rreturn\r\n", " [bold]x[/bold] ", "=1+1;é\t%20"]
    rows = [("test", Video(name, f"{name}/{name}")) for name in odd]
    Splits(tuple(rows)).write(tmp_path / "odd.csv")
    touch(tmp_path, "videos/run/a.avi")
    result = fsar("splits", "check", "odd.csv", "--csv", "problems.csv", "--json")
    assert result.code == 3
    with open("problems.csv", newline="", encoding="utf-8") as stream:
        read = list(csv.DictReader(stream))
    assert {(row["class"], row["video"]) for row in read} == {(name, f"{name}/{name}") for name in odd}
    assert result.json["problems"] == read
    assert fsar("splits", "check", "odd.csv").code == 3  # and the table does not take them for markup


def test_brackets_in_paths_are_no_markup(fsar, file, videos):
    videos.rename("[bold]v")
    (Path("[bold]v") / "act 3/another.avi").touch()
    result = fsar("splits", "check", "--way", "3", "--root", "[bold]v")
    assert result.code == 0
    assert "splits.csv in [bold]v" in result.out and "1 videos of [bold]v are not in" in result.out


def test_what_can_be_drawn(fsar, videos):
    fsar("splits", "make", "arn", "--classes", "3/0/3", "--group-by", r"seq(\d+)")
    good = fsar("splits", "check", "--way", "3", "--shot", "5", "--queries", "1", "--group-disjoint")
    assert good.code == 0 and "1 query a class, other groups than the support's: can be drawn" in good.out
    bad = fsar("splits", "check", "--way", "3", "--shot", "12", "--queries", "1")
    assert bad.code == 3 and "need 13 videos of each class" in bad.err and "shot up to 11 with 1 query" in bad.err


def test_a_list_made_on_windows_is_the_same_list(fsar, file, videos):
    windows = file.with_name("windows.csv")
    windows.write_text("\r\n".join(row.replace("/", "\\") for row in file.read_text().splitlines() if row[0] != "#"))
    here = fsar("splits", "check", file, "--root", videos, "--json").json
    there = fsar("splits", "check", windows, "--root", videos, "--json").json
    assert here.pop("file") != there.pop("file") and here == there


def test_an_edited_file_is_told(fsar, file):
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    assert "was changed after it was made" in fsar("splits", "check", "--way", "3").err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.csv"], 3, "cannot read the split file absent.csv"),
        (["splits.csv", "--root", "absent"], 3, "no folder absent"),
        (["splits.csv", "--way", "3", "--csv", "videos"], 3, "videos: Is a directory"),
        (["splits.csv", "--config", "absent.yaml"], 2, "cannot read the configuration absent.yaml"),
    ],
)
def test_refusals(fsar, file, arguments, code, message):
    result = fsar("splits", "check", *arguments)
    assert (result.code, result.out) == (code, "") and message in result.err


def test_decode_finds_the_bad_and_the_short(fsar, tree, tmp_path):
    shutil.copytree(tree, tmp_path / "videos")
    (tmp_path / "videos/kick/kick_1.mp4").write_bytes(b"nothing")
    assert fsar("splits", "make", "arn", "--train", "climb,fall", "--test", "kick,wave").code == 0
    options = ("splits", "check", "--way", "2", "--shot", "1", "--queries", "1", "--decode", "--workers", "0")
    result = fsar(*options, "--frames", "14", "--json")
    assert result.code == 3 and "1 undecodable" in result.err
    assert (result.json["undecodable"], result.json["short"], result.json["frames"]) == (1, 4, 14)
    problems = {row["video"]: (row["problem"], row["detail"]) for row in result.json["problems"]}
    assert problems["kick/kick_1"][0] == "undecodable" and "not a readable video" in problems["kick/kick_1"][1]
    # 12 to 17 frames: the first of every class, and of those with an even count
    assert problems["climb/climb_0"] == ("short", "12 frames of 14")
    again = fsar(*options)
    assert "12 of 12 videos were decoded before" in again.err
    assert "need" not in again.err and "too short" in again.out and "not looked at" not in again.out
    quiet = fsar(*options, "-q")
    assert quiet.err.splitlines()[0].startswith("error: of 12 listed videos")


def test_a_frame_store_knows_what_is_short(fsar, tree, tmp_path):
    assert fsar("extract-frames", tree, "frames", "--short-side", "36", "--workers", "0").code == 0
    assert fsar("splits", "make", "arn", "--train", "climb,fall", "--test", "kick,wave").code == 0
    options = ("splits", "check", "--way", "2", "--shot", "1", "--queries", "1")
    result = fsar(*options, "--frames", "13", "--json")
    assert result.code == 0  # two or three videos are left in every class
    assert (result.json["kind"], result.json["short"], result.json["undecodable"]) == ("frames", 2, None)
    assert [(row["video"], row["detail"]) for row in result.json["problems"]] == [
        ("climb/climb_0", "12 frames of 13"),
        ("kick/kick_0", "12 frames of 13"),
    ]
    longer = fsar(*options, "--frames", "15")
    assert longer.code == 3 and "too few: climb (1)" in longer.err and "whether they decode (--decode)" in longer.out
    (tmp_path / "frames/fall/fall_0/00000001.jpg").write_bytes(b"")
    decoded = fsar(*options, "--decode", "--workers", "0")
    assert decoded.code == 3 and "decode: 12/12" in decoded.err and "1 undecodable" in decoded.err


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> Path:
    """Four short videos, then four that take a while, and their split file."""
    root = tmp_path_factory.mktemp("long [x]")
    short = make_video(root / "short.mp4", frames=8).read_bytes()
    slow = make_video(root / "slow.mp4", 900, 320, 240, content="motion", options={"preset": "ultrafast"}).read_bytes()
    (root / "videos/a").mkdir(parents=True)
    (root / "videos/b").mkdir()
    for v in range(4):
        (root / f"videos/a/{v}.mp4").write_bytes(short)
        (root / f"videos/b/{v}.mp4").write_bytes(slow)
    Splits(tuple(("test", Video(c, f"{c}/{v}")) for c in "ab" for v in range(4))).write(root / "splits.csv")
    return root


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on(fsar, long, cache, number, monkeypatch):
    options = ["--decode", "--way", "2", "--shot", "1", "--workers"]
    command = [*FSAR, *options, "2"]
    process = Popen(command, cwd=long, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(rows := [r for f in cache.glob("fsar/decoded/*.jsonl") for r in f.read_text().splitlines()]) < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to the workers as well
    else:
        process.kill()
    out, err = process.communicate(timeout=60)
    assert out == ""
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert re.search(
            r"error: interrupted: \d+ of 8 videos were decoded\n  the same command goes on from there", err
        )
        assert "Traceback" not in err
    monkeypatch.chdir(long)
    again = fsar("splits", "check", *options, "0")
    assert again.code == 0, again.err
    before = int(re.search(r"(\d+) of 8 videos were decoded before", again.err)[1])
    assert len(rows) <= before < 8
    assert f"decode: {8 - before}/{8 - before}" in again.err


def test_one_content_in_two_splits_is_refused_and_listed_until_it_is_allowed(fsar, videos):
    (videos / "act 0/clip[0]_seq00.avi").write_bytes(b"the same")
    os.link(videos / "act 0/clip[0]_seq00.avi", videos / "act 3/twin.avi")
    make = ("splits", "make", "arn", "--train", "act 0,act 1,act 2", "--test", "act 3,act 4,act 5")
    refused = fsar(*make)
    assert refused.code == 3 and "train act 0/clip[0]_seq00 = test act 3/twin" in refused.err
    assert not Path("splits.csv").exists()
    made = fsar(*make, "--allow-duplicates")
    assert made.code == 0 and "warning: 1 video of the same content in two splits" in made.err
    check = fsar("splits", "check", "--way", "3")
    assert check.code == 0 and "test: act 3/twin: duplicate (train act 0/clip[0]_seq00)" in check.out
    Path("splits.csv").write_text(Path("splits.csv").read_text().replace("# duplicates: allowed\n", ""))
    check = fsar("splits", "check", "--way", "3")
    assert check.code == 3 and "of 73 listed videos in videos: 2 in another split, too" in check.err
    assert "keep one of each duplicate" in check.err


def test_a_video_that_changed_since_it_was_extracted_is_refused_and_one_that_is_gone_named(fsar, tmp_path):
    for number, name in enumerate(f"{cls}/{v}" for cls in "abcd" for v in range(2)):
        make_video(tmp_path / f"videos/{name}.mp4", frames=3, first=50 * number)
    assert fsar("extract-frames", "videos", "frames", "--workers", 0).code == 0
    fsar("splits", "make", "arn", "--train", "a,b", "--test", "c,d", "--root", "frames")
    episodes = ("--way", 2, "--shot", 1, "--queries", 1, "--frames", 1)
    check = ("splits", "check", "--root", "frames", *episodes, "--json")
    os.utime("videos/a/0.mp4")
    Path("videos/b/1.mp4").unlink()
    before = fsar(*check)
    assert (before.code, before.json["changed"], before.json["gone"]) == (0, 0, 1)
    make_video(tmp_path / "videos/a/0.mp4", frames=4)
    after = fsar(*check)
    assert after.code == 3 and after.json["changed"] == 1
    assert "1 changed since\n  `fsar extract-frames` extracts anew what changed" in after.err


def test_frames_of_another_tool_are_refused_alike_everywhere(fsar, tmp_path):
    touch(tmp_path / "trx", *(f"{cls}/{v}/0000000{n}.jpg" for cls in "abcd" for v in range(10) for n in (1, 2)))
    (tmp_path / "fsar.yaml").write_text("data: {frames: trx}\nmodel: {weights: none}\n")
    made = fsar("splits", "make", "arn", "--root", "trx", "--train", "a,b", "--test", "c,d")
    assert made.code == 0 and "warning: trx holds folders of pictures, but is not a frame store" in made.err
    for command in (
        ["splits", "check", "--way", 2],
        ["train", "--way", 2],
        ["eval", "--untrained", "--way", 2],
        ["doctor"],
    ):
        result = fsar(*command)
        said = " ".join((result.out + result.err).replace("│", " ").split())
        assert result.code == 3 or command == ["doctor"]
        assert "trx holds folders of pictures, but is not a frame store" in said
        assert "`fsar extract-frames trx NEW`" in said
