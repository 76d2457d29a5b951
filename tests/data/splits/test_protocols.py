"""The shipped protocols against the lists as their authors publish them."""

import hashlib
import re
from collections import Counter

import pytest

from fsar_cli.data.naming import fold
from fsar_cli.data.splits import protocols as protocol_file
from fsar_cli.data.splits.protocols import CLIPS, SPLITS, STYLES, folder, protocol, protocols, protocols_of
from fsar_cli.data.splits.published import read_list
from fsar_cli.errors import UsageError

PUBLISHED = {
    "hmdb51-arn": {"train": (31, 4280), "val": (10, 1194), "test": (10, 1292)},
    "ucf101-arn": {"train": (70, 9154), "val": (10, 1421), "test": (21, 2745)},
    "kinetics100-cmn": {"train": (64, 6400), "val": (12, 1200), "test": (24, 2400)},
    "ssv2-cmn": {"train": (64, 6400), "val": (12, 1200), "test": (24, 2400)},
    "ssv2-otam": {"train": (64, 67013), "val": (12, 1926), "test": (24, 2857)},
    "ucf-crime-v2": {"test": (15, 1193)},
}
LISTS = {
    "hmdb51-arn": "hmdb_ARN",
    "ucf101-arn": "ucf_ARN",
    "kinetics100-cmn": "kinetics_CMN",
    "ssv2-cmn": "ssv2_CMN",
    "ssv2-otam": "ssv2_OTAM",
}


def test_every_yaml_file_is_a_protocol_of_its_own_name():
    assert sorted(protocols()) == sorted(path.stem for path in folder().glob("*.yaml")) == sorted(PUBLISHED)
    for name, entry in protocols().items():
        assert entry.name == name
        assert entry.style in STYLES or entry.clips != "all"
        assert entry.citation and entry.licence and entry.groups_note and entry.clips in CLIPS
        assert entry.needs_lists == (entry.name.partition("-")[0] in ("kinetics100", "ssv2"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name):
    entry = protocol(name)
    assert {split: (len(entry.classes[split]), entry.videos(split)) for split in entry.splits} == PUBLISHED[name]
    assert [entry.videos(split) for split in SPLITS if split not in entry.splits] == [0] * (3 - len(entry.splits))


@pytest.mark.parametrize("name", PUBLISHED)
def test_class_names_stay_apart_when_folded_and_splits_share_none(name):
    names = [cls for classes in protocol(name).classes.values() for cls in classes]
    assert len({fold(cls) for cls in names}) == len(names)


@pytest.mark.parametrize("name", LISTS)
def test_published_lists_have_these_hashes_and_these_clips(shared, name):
    entry = protocol(name)
    for split in SPLITS:
        content = next((shared / "reference/splits" / LISTS[name]).glob(f"{split}*")).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry.files[split].sha256
        videos = read_list(content, split)
        assert [f"{cls}/{video}" for cls, video in videos] == content.decode().splitlines()
        assert len(videos) == entry.files[split].videos
        assert Counter(cls for cls, _ in videos) == dict(entry.classes[split])


def test_kinetics_clips_come_from_a_video_each_as_its_note_says(shared):
    lists = (shared / "reference/splits/kinetics_CMN").iterdir()
    videos = [line.split("/")[1][:11] for path in lists for line in path.read_text().splitlines()]
    assert len(set(videos)) == len(videos) == 10_000


@pytest.mark.parametrize(("name", "groups", "together"), [("hmdb51-arn", 354, 1126), ("ucf101-arn", 525, 2745)])
def test_group_rule_fits_every_published_clip(shared, name, groups, together):
    entry = protocol(name)
    rule = re.compile(entry.groups)
    for split in SPLITS:
        videos = (shared / "reference" / entry.files[split].path).read_text().split()
        pairs = [(video.split("/")[0], rule.search(video)[1]) for video in videos]
    sizes = Counter(pairs)
    assert len({group for _, group in pairs}) == groups
    assert sum(sizes[pair] > 1 for pair in pairs) == together


@pytest.mark.parametrize(
    ("video", "film"),
    [
        ("Draw Sword/Blade_II_draw_sword_u_cm_np1_fr_med_3.avi", "Blade_II"),
        ("climb_stairs/a_climb_b_climb_stairs_f_cm_np1_ba_goo_12", "a_climb_b"),
    ],
)
def test_source_film_is_read_without_the_action(video, film):
    assert re.search(protocol("hmdb51-arn").groups, video)[1] == film


def test_address_names_file_and_commit():
    entry = protocol("ucf101-arn")
    assert entry.address("val").endswith(f"/blob/{entry.commit}/splits/ucf_ARN/vallist03.txt")


def test_unknown_name_gets_a_suggestion_or_the_list():
    with pytest.raises(UsageError, match="unknown protocol 'hmdb51_arn'") as close:
        protocol("hmdb51_arn")
    assert close.value.hint == "did you mean 'hmdb51-arn'?"
    with pytest.raises(UsageError) as far:
        protocol("zzz")
    assert "hmdb51-arn, kinetics100-cmn, ssv2-cmn, ssv2-otam" in far.value.hint


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("UCF 101", ("ucf101-arn",)),
        ("Kinetics-100", ("kinetics100-cmn",)),
        ("ssv2", ("ssv2-cmn", "ssv2-otam")),
        ("ssv2_otam", ("ssv2-otam",)),
        ("data", ()),
    ],
)
def test_protocols_of_a_data_set(dataset, names):
    assert protocols_of(dataset) == names


def test_the_address_of_annotations_is_the_page_that_links_to_their_archive():
    chosen = protocol("ucf-crime-v2")
    page, path = chosen.address("test").split(", in its archive ")
    assert page == f"{chosen.repository}/blob/{chosen.commit}/README.md" and path == chosen.files["test"].path


def test_another_word_for_the_clips_is_refused():
    text = (folder() / "hmdb51-arn.yaml").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=f"videos: some, allowed: {', '.join(CLIPS)}"):
        protocol_file._parse(f"{text}\nvideos: some\n")


def test_a_split_that_a_protocol_lacks_has_no_videos():
    assert protocol("ucf-crime-v2").videos("train") == 0
