"""Checking a split list against a tree: every listed video is accounted for, once."""

from dataclasses import replace

import numpy as np
import pytest
from trees import tree_of

from fsar_cli.data.checking.fit import check
from fsar_cli.data.checking.report import Check, Shape, VideoFacts
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.naming import match_videos
from fsar_cli.data.splits import Splits, Video
from fsar_cli.data.splits.protocols import SPLITS, protocol

SHAPE = Shape(way=2, shot=3, queries=2)
UNKNOWN = VideoFacts()
SIZES = {"train": {"run": 9, "walk": 8}, "test": {"fall, hard": 8, 'kick "it"': 7, "punch\nhim": 9}}


def list_of(sizes: dict[str, dict[str, int]], **header: str) -> Splits:
    rows = [
        (split, Video(cls, f"{cls}/v{v:03d}"))
        for split, classes in sizes.items()
        for cls, number in classes.items()
        for v in range(number)
    ]
    return Splits(tuple(rows), header)


SPLIT_LIST = list_of(SIZES)
IDS = [video.id for _, video in SPLIT_LIST.rows]


def run(splits: Splits, ids: list[str], shape: Shape = SHAPE, facts: VideoFacts = UNKNOWN) -> Check:
    tree = tree_of(ids)
    matches = match_videos([video.id for _, video in splits.rows], tree.ids)
    return check(splits, tree, matches, dict.fromkeys(SPLITS, shape), facts)


def told(report: Check) -> dict[str, list[tuple[str, str]]]:
    """{problem: [(video, detail)]}."""
    lists: dict[str, list[tuple[str, str]]] = {}
    for entry in report.problems:
        lists.setdefault(entry.problem, []).append((entry.video, entry.detail))
    return lists


def test_a_complete_tree_has_no_problem():
    report = run(SPLIT_LIST, [*IDS, "run/another", "sit/1"])
    assert report.ok and not report.problems
    assert (report.listed, report.unlisted) == (len(IDS), 2)
    assert [(e.cls, e.wanted, e.found, e.usable, e.enough) for e in report.classes] == [
        (cls, number, number, number, True) for split in ("train", "test") for cls, number in SIZES[split].items()
    ]
    assert all(entry.undecodable is None and entry.short is None for entry in report.classes)  # nobody looked
    assert [(e.split, e.problem, e.lacking, e.extra, e.whole) for e in report.splits] == [
        ("train", "", 0, 0, 17),
        ("test", "", 0, 0, 24),
    ]
    assert [line.touched for line in report.splits] == [0, 0]


def test_every_problem_is_told_apart():
    ids = [video for video in IDS if video not in ("run/v000", "run/v001", "run/v002", "walk/v005")]
    ids += ["run/V_000.mp4", "run/v002.avi", "run/v002.mp4"]
    frames = dict.fromkeys(ids, 30) | {"run/v004": 7, "run/V_000.mp4": 1, "run/v005": 8}
    bad = {"run/v003": "is empty (0 bytes)", "run/v004": "is cut off"}
    report = run(SPLIT_LIST, ids, facts=VideoFacts(8, frames, bad))
    assert told(report) == {
        "missing": [("run/v001", ""), ("walk/v005", "")],
        "ambiguous": [("run/v002", "run/v002.avi or run/v002.mp4")],
        "undecodable": [("run/v003", "is empty (0 bytes)"), ("run/v004", "is cut off")],  # too short besides
        "short": [("run/v000", "1 frame of 8")],
        "spelling": [("run/v000", "run/V_000.mp4")],
    }
    entry = next(entry for entry in report.classes if entry.cls == "run")
    assert (entry.wanted, entry.found, entry.missing, entry.ambiguous) == (9, 7, 1, 1)
    assert (entry.undecodable, entry.short, entry.spelling, entry.usable, entry.enough) == (2, 1, 1, 4, False)
    assert report.splits[0].lacking == 6 and report.unlisted == 2
    assert "run (4)" in report.splits[0].problem and not report.splits[1].problem


def test_another_clip_of_the_same_video_is_named():
    splits = Splits((("test", Video("run", "run/-abcdefghij_000086_000096")),))
    report = run(splits, ["run/-abcdefghij_000010_000020", "run/v1"])
    assert told(report)["missing"][0][1] == "another clip of it: run/-abcdefghij_000010_000020"


@pytest.mark.parametrize("kind", ["missing", "ambiguous", "undecodable", "spelling"])
def test_one_problem_is_enough_not_to_be_ok(kind):
    ids = [video for video in IDS if video != "run/v000" or kind == "undecodable"]
    ids += {"ambiguous": ["run/v000.avi", "run/v000.mp4"], "spelling": ["run/V000"]}.get(kind, [])
    report = run(SPLIT_LIST, ids, facts=VideoFacts(8, {}, {"run/v000": "broken"} if kind == "undecodable" else {}))
    assert set(told(report)) == {kind}
    assert not report.ok and not any(entry.problem for entry in report.splits)


def test_short_videos_are_left_out_of_draws_and_fail_only_where_they_are_needed():
    short = VideoFacts(8, dict.fromkeys(IDS, 8) | {"run/v000": 7})
    assert run(SPLIT_LIST, IDS, facts=short).ok
    shorter = VideoFacts(8, dict.fromkeys(IDS, 8) | {f"run/v{v:03d}": 7 for v in range(5)})
    report = run(SPLIT_LIST, IDS, facts=shorter)
    assert not report.ok and "run (4)" in report.splits[0].problem
    assert report.splits[0].lacking == 5


def test_a_class_that_is_gone_is_not_counted_among_those_one_can_draw():
    ids = [video for video in IDS if not video.startswith("punch")]
    report = run(SPLIT_LIST, ids)
    assert (report.splits[1].classes, report.splits[1].left, report.splits[1].problem) == (3, 2, "")
    assert "split 'test' has 2" in run(SPLIT_LIST, ids, Shape(3, 1, 1)).splits[1].problem


def published(change=lambda split, cls, number: number, **header: str) -> Splits:
    classes = protocol("hmdb51-arn").classes
    sizes = {s: {c: change(s, c, n) for c, n in classes[s].items() if change(s, c, n)} for s in SPLITS}
    return list_of(sizes, protocol="hmdb51-arn", **header)


def fewer(split: str, cls: str, number: int) -> int:
    if cls == "pick":
        return 0
    return number - 6 if cls == "fencing" else number + 3 if cls == "run" else number


def test_a_file_that_follows_a_protocol_is_compared_with_the_protocol():
    splits = published(fewer)
    ids = [video.id for _, video in splits.rows]
    report = run(splits, [video for video in ids if video != "kick/v000"], Shape(5, 5, 1))
    test = protocol("hmdb51-arn").classes["test"]
    (entry,) = [entry for entry in report.splits if entry.split == "test"]
    assert (entry.protocol, entry.whole) == ("hmdb51-arn", 1292)
    assert (entry.lacking, entry.extra) == (test["pick"] + 6 + ("kick" in test), 3)
    (gone,) = [e for e in report.classes if e.cls == "pick"]
    assert (gone.published, gone.wanted, gone.enough) == (test["pick"], 0, False)
    assert entry.touched == pytest.approx(1 - (1 - (entry.lacking + 3) / (1292 + 3)) ** 30)


def test_a_complete_protocol_lacks_nothing():
    splits = published()
    report = run(splits, [video.id for _, video in splits.rows], Shape(5, 5, 1))
    assert report.ok and [(e.lacking, e.extra, e.touched) for e in report.splits] == [(0, 0, 0)] * 3


@pytest.mark.parametrize("header", [{"protocol": "hmdb51-arn+mine"}, {}, {"protocol": "hmdb51-arn", "of": "segments"}])
def test_other_files_are_compared_with_themselves(header, monkeypatch):
    if "of" in header:  # its counts are of annotated videos, not of their segments
        annotated = replace(protocol("hmdb51-arn"), clips="annotated")
        monkeypatch.setattr("fsar_cli.data.checking.fit.protocols", lambda: {"hmdb51-arn": annotated})
    splits = Splits(published(fewer).rows, header)
    report = run(splits, [video.id for _, video in splits.rows], Shape(5, 5, 1))
    assert all((e.protocol, e.lacking, e.extra) == (None, 0, 0) for e in report.splits)
    assert all(entry.published is None for entry in report.classes)


def test_the_share_of_touched_episodes_is_about_that_of_sampled_ones():
    gone = {f"c{c}/v{v:03d}" for c in range(12) for v in range(c % 4)}
    splits = list_of({"test": {f"c{c}": 40 for c in range(12)}})
    ids = [video.id for _, video in splits.rows]
    report = run(splits, [video for video in ids if video not in gone], Shape(5, 2, 1))
    sampler = EpisodeSampler(splits, "test", way=5, shot=2, queries=1)
    drawn = sampler.batch(0, 4000)
    missing = np.array([video in gone for video in sampler.videos])
    held = (missing[drawn.support].any(axis=(1, 2)) | missing[drawn.query].any(axis=(1, 2))).mean()
    assert 0.3 < held < 0.6 and report.splits[0].touched == pytest.approx(held, abs=0.03)


def test_changed_gone_and_doubled_videos_are_named_and_stay_in_episodes():
    stale, twins = {"run/v000": "changed", "run/v001": "gone"}, {"run/v002": "test kick/v000"}
    report = run(SPLIT_LIST, IDS, facts=VideoFacts(stale=stale, twins=twins))
    assert told(report) == {
        "changed": [("run/v000", "since its frames were extracted")],
        "gone": [("run/v001", "since its frames were extracted")],
        "duplicate": [("run/v002", "test kick/v000")],
    }
    assert report.splits[0].lacking == 0 and not report.ok


def test_only_what_is_gone_is_harmless_and_a_double_where_the_list_accepts_it():
    gone, twins = VideoFacts(stale={"run/v001": "gone"}), VideoFacts(twins={"run/v002": "test kick/v000"})
    accepting = list_of(SIZES, duplicates="allowed")
    assert run(SPLIT_LIST, IDS, facts=gone).ok and run(accepting, IDS, facts=twins).ok
    assert not run(SPLIT_LIST, IDS, facts=twins).ok


def test_an_episode_is_told_in_words():
    assert str(Shape(5, 1, 1)) == "5-way 1-shot, 1 query a class"
    assert str(Shape(2, 3, 2, True)) == "2-way 3-shot, 2 queries a class, other groups than the support's"
