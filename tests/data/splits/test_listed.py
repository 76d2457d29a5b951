"""Listed videos looked up in trees of other shapes, spellings and gaps; split files carried to another tree."""

import pytest
from trees import tree_of

from fsar_cli.data.splits import Splits, Video
from fsar_cli.data.splits.lists import find_lists
from fsar_cli.data.splits.making import make, remake
from fsar_cli.data.splits.protocols import SPLITS, protocol
from fsar_cli.errors import DataError, UsageError

from .test_lists import CONTENT, TOY, write


@pytest.fixture
def lists(tmp_path):
    return find_lists(TOY, [write(tmp_path / "lists", CONTENT)])


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    known = {"toy-cmn": TOY}
    monkeypatch.setattr("fsar_cli.data.splits.making.protocols", lambda: known)
    monkeypatch.setattr("fsar_cli.data.splits.making.protocol", known.get)


def test_the_split_file_names_the_protocol_its_lists_and_the_videos_of_the_tree(lists):
    tree = tree_of(["Run_Fast/1", "Run_Fast/2", "Run_Fast/3", "kick it/3", "kick it/4 (1)", "walk/1"])
    made = make("toy-cmn", tree, published=lists)
    assert [(split, video.cls, video.id) for split, video in made.splits.rows] == [
        ("train", "run fast", "Run_Fast/1"),
        ("train", "run fast", "Run_Fast/2"),
        ("test", "kick (it)", "kick it/3"),
        ("test", "kick (it)", "kick it/4 (1)"),
    ]
    assert not made.by_name_alone
    assert made.splits.header["protocol"] == "toy-cmn" and made.unused == ("walk",)
    assert made.splits.header["lists"] == ", ".join(f"{split} {sha}" for split, sha in lists.hashes.items())
    assert [(e.cls, e.folder, e.wanted, e.found) for e in made.classes] == [
        ("run fast", "Run_Fast", 2, 2),
        ("kick (it)", "kick it", 2, 2),
    ]


def test_a_flat_tree_holds_the_classes_of_the_lists(lists):
    made = make("toy-cmn", tree_of([f"videos/{i}" for i in range(9)]), published=lists)
    assert made.by_name_alone
    assert [video for _, video in made.splits.rows] == [
        Video("run fast", "videos/1"),
        Video("run fast", "videos/2"),
        Video("kick (it)", "videos/3"),
        Video("kick (it)", "videos/4"),
    ]


def test_missing_and_ambiguous_videos_stop_with_examples_or_are_reported(lists):
    tree = tree_of(["run fast/1", "kick (it)/3.avi", "kick (it)/3.mp4", "kick (it)/4"])
    with pytest.raises(DataError, match=r"1 videos are missing and 1 videos could be one of several files: ") as error:
        make("toy-cmn", tree, published=lists)
    for part in ("run fast (1 of 2), kick (it) (1 of 2)", "run fast/2", "could be kick (it)/3.avi, kick (it)/3.mp4"):
        assert part in error.value.message
    with pytest.raises(DataError, match=r"^1 videos could be one of several files: too few videos of kick"):
        make("toy-cmn", tree_of([*tree.ids, "run fast/2"]), published=lists)
    made = make("toy-cmn", tree, published=lists, allow_missing=True)
    assert [(e.found, e.missing, e.ambiguous) for e in made.classes] == [(1, 1, 0), (1, 0, 1)]
    assert {video.id for _, video in made.splits.rows} == {"run fast/1", "kick (it)/4"}


def test_a_tree_without_one_listed_video_is_refused(lists):
    with pytest.raises(
        DataError, match=r"no video of toy-cmn is in videos, which has 1 classes, 1 videos.*\(such as x/y"
    ):
        make("toy-cmn", tree_of(["x/y"]), published=lists, allow_missing=True)


def test_a_listed_protocol_is_not_made_without_lists():
    with pytest.raises(UsageError, match="made from its published lists"):
        make("toy-cmn", tree_of(["x/y"]))


def test_every_published_protocol_on_a_tree_with_gaps_counts_them(shared, monkeypatch):
    monkeypatch.undo()
    chosen = protocol("kinetics100-cmn")
    lists = find_lists(chosen, [shared / "reference/splits"])
    clips = [f"{cls}/{video}" for split in SPLITS for cls, video in lists.lines[split]]
    # Every tenth is gone; every seventh is there as another clip; the rest lose stamps and change spelling.
    there = [clip for i, clip in enumerate(clips) if i % 10]
    other = {clip: f"{clip[:-14]}_000990_000999" for i, clip in enumerate(there) if i % 7 == 0}
    tree = tree_of(other.get(clip, clip[: -len("_000000_000000")]).replace(" ", "_") for clip in there)
    made = make("kinetics100-cmn", tree, published=lists, allow_missing=True)
    assert sum(entry.found for entry in made.classes) == len(there) - len(other) == len(made.splits.rows)
    assert sum(entry.missing for entry in made.classes) == len(clips) - len(there) + len(other)
    assert not any(entry.ambiguous for entry in made.classes)
    assert any("another clip of that video" in example for entry in made.classes for example in entry.examples)
    assert made.splits.classes("test") == tuple(sorted(chosen.classes["test"]))


SPLIT_FILE = Splits(
    (
        ("train", Video("run", "run/1", "film a")),
        ("train", Video("run", "run/2, [x]", "film b")),
        ("test", Video("kick (it)", "Kick It/3", "")),
    ),
    {"protocol": "none", "style": "arn", "seed": "3", "group-by": "g(.)", "tree": "old"},
)


def test_a_split_file_is_carried_to_another_tree_with_its_classes_and_groups():
    made = remake(SPLIT_FILE, tree_of(["RUN/1", "RUN/2_[x]", "kick_(it)/3", "kick_(it)/4"]))
    assert [(split, video) for split, video in made.splits.rows] == [
        ("train", Video("run", "RUN/1", "film a")),
        ("train", Video("run", "RUN/2_[x]", "film b")),
        ("test", Video("kick (it)", "kick_(it)/3", "")),
    ]
    header = made.splits.header
    assert (header["seed"], header["group-by"], header["made-from"]) == ("3", "g(.)", SPLIT_FILE.digest)
    assert header["tree"].startswith("2 classes, 4 videos")


def test_on_its_own_tree_a_split_file_stays_as_it_is():
    made = remake(SPLIT_FILE, tree_of(video.id for _, video in SPLIT_FILE.rows))
    assert made.splits.digest == SPLIT_FILE.digest


def test_groups_of_a_split_file_can_be_replaced():
    tree = tree_of(video.id for _, video in SPLIT_FILE.rows)
    assert [v.group for _, v in remake(SPLIT_FILE, tree, group_by=r"/(\d)").splits.rows] == ["1", "2", "3"]
    plain = remake(SPLIT_FILE, tree, group_by="")
    assert {v.group for _, v in plain.splits.rows} == {""} and plain.splits.header["group-by"] == "none"


def test_a_split_file_with_videos_that_are_gone():
    with pytest.raises(DataError, match="2 videos are missing: no folder for kick"):
        remake(SPLIT_FILE, tree_of(["run/1"]))
    assert len(remake(SPLIT_FILE, tree_of(["run/1"]), allow_missing=True).splits.rows) == 1
    with pytest.raises(DataError, match=r"no video of mine\.csv is in videos"):
        remake(SPLIT_FILE, tree_of(["jump/7"]), name="mine.csv", allow_missing=True)
