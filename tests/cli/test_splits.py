"""`fsar splits`: what is printed, written and refused."""

from pathlib import Path

import pytest
from trees import act_tree, touch

from fsar_cli.data.splits import Splits


@pytest.fixture
def videos(tmp_path) -> Path:
    return act_tree(tmp_path / "videos")


def test_list_names_protocols_and_styles(fsar):
    result = fsar("splits", "list")
    assert result.code == 0
    for text in ("hmdb51-arn", "31 / 4280", "10 / 1194", "10 / 1292", "ucf101-arn", "64 / 67013", "cmn"):
        assert text in result.out
    lines = {line.split()[1]: line for line in result.out.splitlines() if "│" in line}
    assert "needed" in lines["kinetics100-cmn"] and "needed" not in lines["hmdb51-arn"]
    document = fsar("splits", "list", "--json").json
    assert document["schema"] == 1
    entries = {entry["name"]: entry for entry in document["protocols"]}
    assert entries["ucf101-arn"]["test"] == {"classes": 21, "videos": 2745}
    assert {name for name, entry in entries.items() if entry["needs_lists"]} == {
        "kinetics100-cmn",
        "ssv2-cmn",
        "ssv2-otam",
    }


def test_show_a_protocol_and_the_lists_it_is_mixed_up_with(fsar):
    result = fsar("splits", "show", "hmdb51-arn")
    assert result.code == 0
    assert "fencing 116" in " ".join(result.out.split()) and "SHA-256 e2ce039f" in result.out
    document = fsar("splits", "show", "hmdb51-arn", "--json").json
    assert document["classes"]["test"]["run"] == 232 and len(document["lists"]["val"]["sha256"]) == 64
    result = fsar("splits", "show", "kinetics100-cmn")
    assert "277 of 10,000 clips differ" in result.out and "23b5ef3e" in result.out
    document = fsar("splits", "show", "kinetics100-cmn", "--json").json
    assert document["needs_lists"] is True and document["variants"][0]["name"] == "hyrsm"


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
    touch(tmp_path / "videos", "pick, drop/1.avi", "pick/1.avi", "drop/1.avi")
    assert fsar("splits", "make", "arn", "--train", "pick, drop", "--test", "pick,drop").code == 0
    assert Splits.read(tmp_path / "splits.csv").classes("train") == ("pick, drop",)


def test_the_frames_folder_is_used_where_there_are_no_videos(fsar, tmp_path):
    touch(tmp_path / "frames", "a/1/00000001.jpg", "b/1/00000001.jpg")
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
    names = ("fencing/x_fencing_f_cm_np1_ba_bad_1.avi", "Kick Ball/x_Kick_Ball_f_cm_np1_ba_bad_1.avi")
    touch(tmp_path / "videos", *names)
    refused = fsar("splits", "make", "hmdb51-arn")
    assert refused.code == 3 and "--allow-missing" in refused.err
    assert not (tmp_path / "splits.csv").exists()
    allowed = fsar("splits", "make", "hmdb51-arn", "--allow-missing")
    assert allowed.code == 0
    assert "test: fencing has 1 of 116 videos" in allowed.err and "no folder for the class 'pick'" in allowed.err
    report = fsar("splits", "make", "hmdb51-arn", "--allow-missing", "--force", "--json", "--quiet").json["report"]
    assert sum(entry["missing"] for entry in report["classes"]) == 4280 + 1194 + 1292 - 2


@pytest.mark.parametrize("text", ["3/1", "a/b/c", "0"])
def test_wrong_class_counts_are_refused(fsar, videos, text):
    result = fsar("splits", "make", "arn", f"--classes={text}")
    assert result.code == 2 and f"not '{text}'" in result.err


def test_no_data(fsar):
    assert fsar("splits", "make", "arn").code == 3


def grow_flat(shared: Path, root: Path) -> list[str]:
    """Every 20th clip of a list as an empty file in one folder; the lines these stand for."""
    files = sorted((shared / "reference/splits/ssv2_CMN").iterdir())
    lines = [line for path in files for line in path.read_text().splitlines()[::20]]
    touch(root, *(f"{line.split('/')[1]}.webm" for line in lines))
    return lines


def test_a_listed_protocol_from_the_lists_on_disk_to_peers_lists(fsar, shared, tmp_path):
    lines = grow_flat(shared, tmp_path / "my videos [x]")
    options = ("--root", tmp_path / "my videos [x]", "--lists", shared / "reference/splits/ssv2_CMN")
    refused = fsar("splits", "make", "ssv2-cmn", *options)
    assert refused.code == 3 and "--allow-missing" in refused.err and not (tmp_path / "splits.csv").exists()
    made = fsar("splits", "make", "ssv2-cmn", *options, "--allow-missing", "--json")
    assert made.code == 0 and "found by their own names alone" in made.err
    assert sum(entry["found"] for entry in made.json["report"]["classes"]) == len(lines)
    splits = Splits.read(tmp_path / "splits.csv")
    assert sorted(f"{v.cls}/{v.id.split('/')[1]}" for _, v in splits.rows) == sorted(lines)
    exported = fsar("splits", "export", "--form", "trx", "--out", "peers", "--json")
    assert exported.code == 0 and exported.json["lists"]["val"]["file"] == "peers/vallist03.txt"
    written = [line for path in (tmp_path / "peers").iterdir() for line in path.read_text().splitlines()]
    assert sorted(written) == sorted(lines)
    again = fsar("splits", "export", "--out", "peers")
    assert again.code == 2 and "--force" in again.err
    assert fsar("splits", "export", "--out", "peers", "--force").code == 0


def test_hyrsm_lists_are_refused_for_cmn_unless_asked(fsar, shared, tmp_path):
    touch(tmp_path / "videos", "air_drumming/-VtLx-mcPds.mp4")
    options = ("--lists", shared / "reference/splits/hyrsm_kinetics100", "--allow-missing")
    refused = fsar("splits", "make", "kinetics100-cmn", *options)
    assert refused.code == 3 and "HyRSM's lists: 277 of 10,000 clips differ" in refused.err
    taken = fsar("splits", "make", "kinetics100-cmn", *options, "--accept-lists")
    assert taken.code == 0 and "this is kinetics100-cmn+hyrsm" in taken.err
    assert "# protocol: kinetics100-cmn+hyrsm" in (tmp_path / "splits.csv").read_text()


OTHER = str.maketrans({"[": "_", "]": ""})


def test_a_split_file_is_made_again_on_another_tree(fsar, videos, tmp_path):
    fsar("splits", "make", "arn", "--group-by", r"seq(\d+)")
    names = [f"{path.parent.name.upper()}/{path.stem.translate(OTHER)}.MKV" for path in videos.glob("*/*")]
    other = touch(tmp_path / "elsewhere", *names)
    again = fsar("splits", "make", "splits.csv", "--root", other, "--out", "there.csv")
    assert again.code == 0
    here, there = Splits.read(tmp_path / "splits.csv"), Splits.read(tmp_path / "there.csv")
    assert [(split, v.cls, v.group) for split, v in here.rows] == [(split, v.cls, v.group) for split, v in there.rows]
    assert there.videos("train")[0].id == here.videos("train")[0].id.replace("act", "ACT").translate(OTHER)
    for option in (("--per-class", "3"), ("--lists", "."), ("--classes", "1/1/1"), ("--test", "act 1")):
        refused = fsar("splits", "make", "splits.csv", "--root", other, "--out", "x.csv", *option)
        assert refused.code == 2 and "fixes the classes" in refused.err


def test_lists_of_other_code_are_made_a_split_file_of_the_tree(fsar, videos, tmp_path):
    fsar("splits", "make", "arn", "--classes", "3/1/2")
    fsar("splits", "export", "--out", "lists")
    again = fsar("splits", "make", "lists", "--out", "again.csv")
    assert again.code == 0
    assert Splits.read(tmp_path / "again.csv").rows == Splits.read(tmp_path / "splits.csv").rows
    one = fsar("splits", "make", "lists/vallist03.txt", "--out", "one.csv")
    assert one.code == 2 and "lists/vallist03.txt is a list of one split\n  name the folder that holds" in one.err
    none = fsar("splits", "make", "videos", "--out", "one.csv")
    assert none.code == 3 and "no split lists in the folder videos" in none.err


def test_lists_belong_to_protocols(fsar, videos):
    result = fsar("splits", "make", "arn", "--lists", ".")
    assert result.code == 2 and "--lists are a published protocol's; 'arn' is none" in result.err


def test_a_data_set_of_several_protocols_needs_the_name_of_one(fsar, videos, tmp_path):
    (tmp_path / "fsar.yaml").write_text("data: {name: ssv2}\n")
    result = fsar("splits", "make")
    assert result.code == 2 and "ssv2 has several protocols: ssv2-cmn, ssv2-otam" in result.err


def test_cmn_style_names_what_it_leaves_out(fsar, videos):
    touch(videos, "rare/1.avi")
    result = fsar("splits", "make", "cmn", "--per-class", "12")
    assert result.code == 0 and "left out, too few videos: rare (1)" in result.err
