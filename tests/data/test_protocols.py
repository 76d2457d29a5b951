"""The shipped protocols against the lists as their authors publish them."""

import hashlib
import re
from collections import Counter

import pytest

from fsar_cli.data.naming import fold
from fsar_cli.data.splits.protocols import SPLITS, STYLES, folder, protocol, protocols
from fsar_cli.errors import UsageError

PUBLISHED = {
    "hmdb51-arn": {"train": (31, 4280), "val": (10, 1194), "test": (10, 1292)},
    "ucf101-arn": {"train": (70, 9154), "val": (10, 1421), "test": (21, 2745)},
}


def test_every_yaml_file_is_a_protocol_of_its_own_name():
    assert sorted(protocols()) == sorted(path.stem for path in folder().glob("*.yaml")) == sorted(PUBLISHED)
    for name, entry in protocols().items():
        assert entry.name == name
        assert entry.style in STYLES
        assert entry.citation and entry.licence and entry.groups_note


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name):
    entry = protocol(name)
    assert {split: (len(entry.classes[split]), entry.videos(split)) for split in SPLITS} == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_class_names_stay_apart_when_folded_and_splits_share_none(name):
    names = [cls for classes in protocol(name).classes.values() for cls in classes]
    assert len({fold(cls) for cls in names}) == len(names)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_list_has_this_hash_and_these_clips(shared, name, split):
    entry = protocol(name)
    published = shared / "reference" / entry.files[split].path
    content = published.read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry.files[split].sha256
    videos = content.decode().split()
    assert len(videos) == entry.files[split].videos
    assert Counter(video.split("/")[0] for video in videos) == dict(entry.classes[split])


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
        ("draw_sword/Blade_II_draw_sword_u_cm_np1_fr_med_3", "Blade_II"),
        ("Draw Sword/Blade_II_draw_sword_u_cm_np1_fr_med_3.avi", "Blade_II"),
        ("fencing/Hamlet__the_Fencing_Scene_fencing_f_cm_np2_le_med_0", "Hamlet__the_Fencing_Scene"),
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
    assert "hmdb51-arn, ucf101-arn" in far.value.hint
