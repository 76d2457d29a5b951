"""Making split lists from protocols and by style."""

import re
from pathlib import Path

import pytest
from trees import tree_of

from fsar_cli.data.splits.making import make
from fsar_cli.data.splits.protocols import SPLITS, protocol
from fsar_cli.data.splits.styles import RATIOS, share_out
from fsar_cli.data.splits.tree import Tree
from fsar_cli.errors import DataError, UsageError


def sized(sizes: dict[str, int]) -> Tree:
    return tree_of(f"{cls}/v{i:04d}" for cls, number in sizes.items() for i in range(number))


SMALL = sized({f"class {i:02d}": 6 + i for i in range(12)})


def hmdb(change=lambda name: name, drop: int = 0) -> Tree:
    sizes = {name: n for split in protocol("hmdb51-arn").classes.values() for name, n in split.items()}
    return sized({change(name): n for name, n in list(sizes.items())[drop:]})


def published_tree(shared: Path) -> Tree:
    lists = protocol("hmdb51-arn").files.values()
    videos = [video for entry in lists for video in (shared / "reference" / entry.path).read_text().splitlines()]
    return tree_of(videos)


def test_protocol_on_a_complete_tree_is_the_published_split_and_brings_its_groups(shared):
    tree = published_tree(shared)
    made = make("hmdb51-arn", tree, group_by="")
    assert {video.group for _, video in made.splits.rows} == {""}
    for split in SPLITS:
        published = (shared / "reference" / protocol("hmdb51-arn").files[split].path).read_text().splitlines()
        assert sorted(published) == sorted(video.id for video in made.splits.videos(split))
    assert not any(entry.missing for entry in made.classes) and not made.unused
    assert "\n" not in made.splits.header["tree"]
    grouped = make("hmdb51-arn", tree)
    assert grouped.ungrouped == 0 and len({video.group for video in grouped.splits.videos("test")}) == 354


@pytest.mark.parametrize("change", [str.upper, lambda n: n.replace("_", " "), lambda n: n.replace("_", "-").title()])
def test_protocol_classes_are_found_under_other_spellings(change):
    tree = hmdb(change)
    tree.classes["juggle"] = ("juggle/1",)
    made = make("hmdb51-arn", tree, group_by="")
    assert made.unused == ("juggle",)
    assert made.splits.counts() == {"train": (31, 4280), "val": (10, 1194), "test": (10, 1292)}
    assert made.splits.classes("val")[-1] == "swing_baseball"
    assert made.splits.videos("val", "swing_baseball")[0].id == f"{change('swing_baseball')}/v0000"


def test_missing_classes_and_videos_stop_or_are_reported():
    tree = hmdb(drop=1)
    tree.classes["catch"] = tree.classes["catch"][:100]
    with pytest.raises(DataError, match=r"109 videos are missing: no folder for brush_hair; too few videos of catch"):
        make("hmdb51-arn", tree, group_by="")
    made = make("hmdb51-arn", tree, group_by="", allow_missing=True)
    assert {entry.cls: entry.missing for entry in made.classes if entry.missing} == {"brush_hair": 107, "catch": 2}
    assert made.splits.counts()["train"] == (30, 4280 - 109)


def test_a_tree_without_any_protocol_class_is_refused():
    with pytest.raises(DataError, match="no class of ucf101-arn is in videos, which has class 00, class 01"):
        make("ucf101-arn", SMALL, allow_missing=True)


@pytest.mark.parametrize(("rule", "hint"), [("hmdb51", "hmdb51-arn"), ("zzzz", "arn, cmn")])
def test_unknown_rules_get_suggestions(rule, hint):
    with pytest.raises(UsageError, match=f"unknown protocol '{rule}'") as error:
        make(rule, SMALL)
    assert hint in error.value.hint


def test_protocol_refuses_options_of_the_styles():
    with pytest.raises(UsageError, match="the protocol 'hmdb51-arn' fixes the classes"):
        make("hmdb51-arn", hmdb(), counts=(3, 1, 1))


@pytest.mark.parametrize("total", [1, 2, 6, 101])
@pytest.mark.parametrize("style", RATIOS)
def test_share_out_is_complete_near_the_ratio_and_never_without_test(style, total):
    sizes = share_out(total, RATIOS[style])
    assert sum(sizes) == total and min(sizes) >= 0 and sizes[2] >= 1
    for size, part in zip(sizes, RATIOS[style], strict=True):
        assert abs(size - total * part / sum(RATIOS[style])) <= 1
    assert share_out(sum(RATIOS[style]), RATIOS[style]) == RATIOS[style]


@pytest.mark.parametrize("rule", ["arn", "cmn"])
def test_a_seed_gives_the_same_bytes_and_another_another_split(rule):
    texts = [make(rule, SMALL, seed=seed, per_class=5).splits.text() for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


def test_arn_takes_every_video_of_every_class():
    made = make("arn", SMALL)
    assert {video.id for _, video in made.splits.rows} == SMALL.ids
    assert [len(made.splits.classes(split)) for split in SPLITS] == list(share_out(12, RATIOS["arn"]))


@pytest.mark.parametrize(("counts", "sizes"), [((5, 0, 3), (5, 0, 3)), ((10,), share_out(10, RATIOS["arn"]))])
def test_classes_by_count(counts, sizes):
    made = make("arn", SMALL, counts=counts)
    assert tuple(len(made.splits.classes(split)) for split in SPLITS) == sizes
    assert len(made.unused) == 12 - sum(sizes)


def test_classes_by_name():
    made = make("arn", SMALL, lists={"train": ["Class_00"], "test": ["class 03", "class 01"]})
    assert made.splits.classes("train") == ("class 00",)
    assert made.splits.classes("val") == ()
    assert made.splits.classes("test") == ("class 01", "class 03")
    assert "seed" not in made.splits.header


def test_wrong_class_lists_are_refused():
    with pytest.raises(DataError, match="no class 'class_77' in videos"):
        make("arn", SMALL, lists={"test": ["class_77"]})
    with pytest.raises(DataError, match="the class 'class 01' is in two splits"):
        make("arn", SMALL, lists={"train": ["class 01"], "test": ["class_01"]})
    with pytest.raises(UsageError, match="both by count and by name"):
        make("arn", SMALL, lists={"test": ["class 01"]}, counts=(1, 1, 1))


def test_cmn_draws_so_many_videos_of_classes_that_have_them_and_names_the_others():
    made = make("cmn", SMALL, per_class=10, seed=4)
    sizes = {cls: len(made.splits.videos(split, cls)) for split in SPLITS for cls in made.splits.classes(split)}
    assert sizes == dict.fromkeys([f"class {i:02d}" for i in range(4, 12)], 10)
    assert made.left_out == {f"class {i:02d}": 6 + i for i in range(4)} and made.unused == ()
    assert make("arn", SMALL).left_out == {}


def test_cmn_takes_at_most_a_hundred_classes():
    made = make("cmn", sized({f"k{i}": 101 for i in range(101)}))
    assert made.splits.counts() == {"train": (64, 6400), "val": (12, 1200), "test": (24, 2400)}


def test_draw_of_a_class_does_not_depend_on_the_others():
    lists = {"test": ["class 11", "class 10"]}
    both = make("cmn", SMALL, per_class=5, lists=lists).splits.videos("test", "class 11")
    alone = make("cmn", SMALL, per_class=5, lists={"test": ["class 11"]}).splits.videos("test", "class 11")
    assert both == alone


def test_too_few_videos_say_what_would_do():
    with pytest.raises(DataError, match="0 of the 12 classes in videos have 100 videos or more") as error:
        make("cmn", SMALL)
    assert "--per-class 6 leaves 12 classes" in error.value.hint
    with pytest.raises(DataError, match=r"12 of the 12 classes .*; 14 classes are needed") as error:
        make("arn", SMALL, counts=(10, 2, 2))
    assert error.value.hint == "ask for 12 classes or fewer in all"
    made = make("cmn", SMALL, allow_missing=True)
    assert {video.id for _, video in made.splits.rows} == SMALL.ids
    assert all(entry.missing == 100 - entry.found for entry in made.classes)


def test_groups_by_expression():
    made = make("arn", SMALL, group_by=r"v\d\d\d(\d)")
    assert {video.group for _, video in made.splits.rows} == set("0123456789")
    assert {v.group for _, v in make("arn", SMALL, group_by=r"v000[0-4]").splits.rows} >= {"v0000", ""}
    assert make("arn", SMALL, group_by=r"v000[0-4]").ungrouped == len(SMALL.ids) - 12 * 5
    assert made.splits.header["group-by"] == r"v\d\d\d(\d)"


@pytest.mark.parametrize(("pattern", "message"), [("se(q", "is not a regular expression"), ("seq", "fits none of the")])
def test_wrong_group_expressions_are_refused(pattern, message):
    with pytest.raises(UsageError, match=f"--group-by '{re.escape(pattern)}' {message}"):
        make("arn", SMALL, group_by=pattern)


UT = Tree(
    Path("ut"),
    "videos",
    {c: tuple(f"{c}/set{1 + s // 11}_{k:02d}_seq{s:02d}" for s in range(1, 21)) for k, c in enumerate(("hug", "kick"))},
)


def test_the_sequence_of_ut_interaction_is_one_pair_of_actors_in_all_classes():
    rows = make("arn", UT, group_by="ut").splits.rows
    assert {video.group for _, video in rows} == {f"seq{s:02d}" for s in range(1, 21)}
    assert make("arn", UT, group_by="UT-Interaction").splits.rows == rows


def test_ucf_crime_has_a_test_split_of_all_its_videos_however_many_segments_they_have():
    sizes = protocol("ucf-crime-v2").classes["test"]
    clips = {
        cls: tuple(f"{cls}/{cls}{n:03d}_x264_{s:06d}_{s + 9:06d}" for n in range(size) for s in range(0, 30, 10))
        for cls, size in sizes.items()
    }
    made = make("ucf-crime-v2", Tree(Path("frames"), "frames", clips | {"walk": ("walk/d",)}))
    assert made.unused == ("walk",) and made.splits.names == ("test",)
    assert {entry.cls: (entry.wanted, entry.found) for entry in made.classes} == {c: (n, n) for c, n in sizes.items()}
    assert made.splits.counts() == {"test": (15, 3 * 1193)}
    assert len({video.group for _, video in made.splits.rows}) == 1193
    clips["Fighting"] = clips["Fighting"][3:]
    with pytest.raises(DataError, match=r"1 videos are missing: too few videos of Fighting \(82 of 83\)"):
        make("ucf-crime-v2", Tree(Path("frames"), "frames", clips))


def test_a_data_set_gives_its_group_rule_to_any_style(shared):
    tree, rule = published_tree(shared), protocol("hmdb51-arn").groups
    by_rule, *by_name = (make("cmn", tree, per_class=20, group_by=name) for name in (rule, "HMDB51", "hmdb51-arn"))
    assert all(video.group for _, video in by_rule.splits.rows)
    assert [(made.ungrouped, made.splits.text()) for made in by_name] == [(0, by_rule.splits.text())] * 2


def test_a_data_set_without_groups_says_so():
    with pytest.raises(UsageError, match="ssv2 has no group rule"):
        make("arn", SMALL, group_by="ssv2")
    with pytest.raises(UsageError, match="fits none of the") as error:
        make("arn", SMALL, group_by="hmdb")
    assert "hmdb51, " in error.value.hint and ", ut;" in error.value.hint


@pytest.mark.parametrize("rule", ["arn", "cmn"])
def test_a_seed_below_zero_is_refused(rule):
    with pytest.raises(UsageError, match="the seed must be 0 or more, not -1"):
        make(rule, SMALL, seed=-1)
