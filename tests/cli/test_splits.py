"""`fsar splits`: what is printed, written and refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from fsar_cli.data.splits import Splits


def grow(root: Path, classes: int = 6, videos: int = 12) -> Path:
    for c in range(classes):
        (root / f"act {c}").mkdir(parents=True)
        for v in range(videos):
            (root / f"act {c}" / f"clip[{v}]_seq{v:02d}.avi").touch()
    return root


@pytest.fixture
def videos(tmp_path) -> Path:
    return grow(tmp_path / "videos")


def test_list_names_protocols_and_styles(fsar):
    result = fsar("splits", "list")
    assert result.code == 0
    for text in ("hmdb51-arn", "31 / 4280", "10 / 1194", "10 / 1292", "ucf101-arn", "cmn"):
        assert text in result.out
    document = fsar("splits", "list", "--json").json
    assert document["schema"] == 1
    assert document["protocols"][1]["test"] == {"classes": 21, "videos": 2745}


def test_show_a_protocol(fsar):
    result = fsar("splits", "show", "hmdb51-arn")
    assert result.code == 0
    assert "fencing 116" in " ".join(result.out.split()) and "SHA-256 e2ce039f" in result.out
    document = fsar("splits", "show", "hmdb51-arn", "--json").json
    assert document["classes"]["test"]["run"] == 232 and len(document["lists"]["val"]["sha256"]) == 64


def test_show_an_unknown_protocol(fsar):
    result = fsar("splits", "show", "hmdb51")
    assert (result.code, result.out) == (2, "")
    assert "unknown protocol 'hmdb51'" in result.err and "did you mean 'hmdb51-arn'?" in result.err


def test_make_show_and_check_need_no_flags_beside_a_project_file(fsar, videos, tmp_path):
    (tmp_path / "fsar.yaml").write_text(
        "data: {splits: lists/mine.csv}\nepisode: {way: 2}\neval: {way: 2, shots: [1]}\n"
    )
    made = fsar("splits", "make", "--classes", "2/2/2", "--json")
    assert made.code == 0
    assert made.json["file"] == "lists/mine.csv"
    splits = Splits.read(tmp_path / "lists" / "mine.csv")
    assert made.json["digest"] == splits.digest
    assert splits.counts() == {"train": (2, 24), "val": (2, 24), "test": (2, 24)}
    shown = fsar("splits", "show", "--json")
    assert shown.json["splits"]["val"]["classes"] == list(splits.classes("val"))
    assert fsar("splits", "show").code == 0
    checked = fsar("splits", "check", "--json")
    assert checked.code == 0 and checked.json["ok"] is True
    shapes = {entry["split"]: entry["shape"] for entry in checked.json["splits"]}
    assert shapes["train"]["shot"] == 5 and shapes["test"] == {
        "way": 2,
        "shot": 1,
        "queries": 1,
        "group_disjoint": False,
    }


def test_make_takes_the_protocol_of_the_data_set_name(fsar, videos, tmp_path):
    (tmp_path / "fsar.yaml").write_text("data: {name: hmdb51}\n")
    result = fsar("splits", "make")
    assert result.code == 3
    assert "no class of hmdb51-arn is in videos" in result.err


def test_make_by_names_and_groups(fsar, videos, tmp_path):
    train = ("--train", "act 0,act_1", "--train", "ACT 2")
    options = ("--root", videos, *train, "--test", "act 4", "--group-by", r"seq(\d+)")
    result = fsar("splits", "make", "arn", *options)
    assert result.code == 0
    assert "not in the split: act 3, act 5" in result.err
    splits = Splits.read(tmp_path / "splits.csv")
    assert splits.classes("train") == ("act 0", "act 1", "act 2")
    assert {video.id: video.group for video in splits.videos("test", "act 4")}["act 4/clip[3]_seq03"] == "03"


def test_a_class_name_with_a_comma_is_one_name(fsar, tmp_path):
    for name in ("pick, drop", "pick", "drop"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / "1.avi").touch()
    assert fsar("splits", "make", "arn", "--train", "pick, drop", "--test", "pick,drop").code == 0
    assert Splits.read(tmp_path / "splits.csv").classes("train") == ("pick, drop",)


def test_the_frames_folder_is_used_where_there_are_no_videos(fsar, tmp_path):
    for name in ("a/1", "b/1"):
        (tmp_path / "frames" / name).mkdir(parents=True)
        (tmp_path / "frames" / name / "00000001.jpg").touch()
    result = fsar("splits", "make", "arn")
    assert result.code == 0 and "arn on frames (frames): 2 classes, 2 videos" in result.err


def test_an_existing_file_is_replaced_only_by_force(fsar, videos, tmp_path):
    assert fsar("splits", "make", "arn").code == 0
    before = (tmp_path / "splits.csv").read_bytes()
    refused = fsar("splits", "make", "arn", "--seed", "5")
    assert refused.code == 2 and "splits.csv exists" in refused.err and "--force" in refused.err
    assert (tmp_path / "splits.csv").read_bytes() == before
    assert fsar("splits", "make", "arn", "--seed", "5", "--force").code == 0
    assert (tmp_path / "splits.csv").read_bytes() != before


def test_missing_data_stop_and_can_be_allowed(fsar, tmp_path):
    for name in ("fencing", "Kick Ball"):
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / f"x_{name.replace(' ', '_')}_f_cm_np1_ba_bad_1.avi").touch()
    refused = fsar("splits", "make", "hmdb51-arn")
    assert refused.code == 3 and "--allow-missing" in refused.err
    assert not (tmp_path / "splits.csv").exists()
    allowed = fsar("splits", "make", "hmdb51-arn", "--allow-missing")
    assert allowed.code == 0
    assert "test: fencing has 1 of 116 videos" in allowed.err and "no folder for the class 'pick'" in allowed.err
    report = fsar("splits", "make", "hmdb51-arn", "--allow-missing", "--force", "--json", "--quiet").json["report"]
    assert sum(entry["missing"] for entry in report["classes"]) == 4280 + 1194 + 1292 - 2


def test_check_fails_on_missing_videos_and_says_which(fsar, videos, tmp_path):
    fsar("splits", "make", "arn", "--classes", "3/0/3")
    gone = videos / "act 0" / "clip[0]_seq00.avi"
    gone.unlink()
    result = fsar("splits", "check", "--way", "3")
    assert result.code == 3
    assert "act 0/clip[0]_seq00" in result.out
    assert "1 listed videos are missing in videos" in result.err
    document = fsar("splits", "check", "--way", "3", "--json").json
    assert [e["missing"] for e in document["classes"] if e["missing"]] == [["act 0/clip[0]_seq00"]]
    assert document["ok"] is False and document["classes"][0]["class"] == "act 0"


def test_check_says_what_can_be_drawn(fsar, videos):
    fsar("splits", "make", "arn", "--classes", "3/0/3", "--group-by", r"seq(\d+)")
    good = fsar("splits", "check", "--way", "3", "--shot", "5", "--queries", "1", "--group-disjoint")
    assert good.code == 0 and "3-way 5-shot, 1 query a class" in good.out and "can be drawn" in good.out
    bad = fsar("splits", "check", "--way", "3", "--shot", "12", "--queries", "1")
    assert bad.code == 3 and "need 13 videos of each class" in bad.err and "shot up to 11 with 1 queries" in bad.err


def test_check_tells_of_an_edited_file(fsar, videos, tmp_path):
    fsar("splits", "make", "arn", "--classes", "3/0/3")
    path = tmp_path / "splits.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert "was changed after it was made" in fsar("splits", "check", "--way", "3").err


@pytest.mark.parametrize("text", ["3/1", "a/b/c", "0", "1/2/3/4", "-1"])
def test_wrong_class_counts_are_refused(fsar, videos, text):
    result = fsar("splits", "make", "arn", f"--classes={text}")
    assert result.code == 2 and f"not '{text}'" in result.err


def test_no_data_and_no_file(fsar):
    assert fsar("splits", "make", "arn").code == 3
    check = fsar("splits", "check")
    assert check.code == 3 and "`fsar splits make` writes one" in check.err


def test_the_command_module_is_light():
    heavy = {"torch", "numpy", "pandas", "pydantic", "av", "PIL"}
    code = f"import sys, fsar_cli.cli.splits; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
