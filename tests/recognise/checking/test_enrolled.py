"""`fsar support check FILE`: the examples of a support file, by what it holds of them."""

import shutil
from pathlib import Path

import pytest
from own_videos import SETTINGS, encoder_of, example_tree, small_support, tiny

from fsar_cli.errors import DataError
from fsar_cli.recognise.checking.check import check_enrolled


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    example_tree(root / "ex", each=4)
    shutil.copy(root / "ex" / "kick" / "1.mp4", root / "ex" / "kick" / "1 [copy].mp4")
    shutil.copy(root / "ex" / "push it" / "2.mp4", root / "ex" / "kick" / "wrong.mp4")
    return root


@pytest.fixture
def support(own: Path, fsar) -> Path:
    if not (path := own / "s.fsar").exists():
        assert fsar("support", "make", own / "ex", "--out", path, *SETTINGS).code == 0
    return path


def test_copies_and_wrong_names_are_found_without_the_encoder(fsar, support: Path, own: Path, tmp_path: Path) -> None:
    done = fsar("support", "check", support, "--json")
    flags = {clip["video"]: {flag["kind"] for flag in clip["flags"]} for clip in done.json["videos"]}
    assert done.code == 0 and done.json["clips"] == 10 and done.json["file"] == str(support)
    assert "duplicate" in flags["kick/1"] & flags["kick/1 [copy]"] and "duplicate" in flags["kick/wrong"]
    worst = done.json["videos"][0]
    assert worst["video"] == "kick/wrong" and worst["margin"] < 0 and worst["nearest"] == "push it"
    assert not list(tmp_path.iterdir())  # nothing is written


def test_words_name_the_same_clips(fsar, support: Path) -> None:
    done = fsar("support", "check", support)
    assert done.code == 0 and "kick/1 [copy]" in done.out and "10 examples of 2 classes" in done.out
    assert "which has another class" in done.out and done.err == ""


def test_what_is_of_runs_and_folders_is_refused(fsar, support: Path) -> None:
    for option in (("--draws", 5), ("--run", "r"), ("--out", "o"), ("--set", "clip.size=32")):
        done = fsar("support", "check", support, *option)
        assert done.code == 2 and f"{option[0]} says nothing of a support file" in done.err


def test_a_file_that_is_none_is_a_sentence(fsar, own: Path) -> None:
    done = fsar("support", "check", own / "ex" / "kick" / "0.mp4")
    assert done.code == 3 and "is no support file" in done.err


def test_one_class_cannot_be_checked_and_lonely_examples_have_no_margin() -> None:
    encoder = encoder_of(tiny())
    report = check_enrolled(small_support(encoder, sizes=(3, 1)))
    lonely = next(clip for clip in report.clips if clip.cls == "push it")
    assert lonely.margin is None and lonely.nearest == "kick" and len(report.clips) == 4
    with pytest.raises(DataError, match="all examples are of the class kick"):
        check_enrolled(small_support(encoder, sizes=(3, 0)))
