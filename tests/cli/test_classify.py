"""`fsar classify`: the class of short videos, or `unknown`, in words, JSON and a table."""

import csv
from pathlib import Path

import pytest
from own_videos import PLACES, SMALL, example_tree
from videos import make_video

from fsar_cli.data.video import probe

SETTINGS = (*PLACES, *(part for value in SMALL for part in ("--set", value)))
ODD = ("run, [fast] {x}", "wave ü 視頻")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of two classes and footage of nothing."""
    root = tmp_path_factory.mktemp("own")
    example_tree(root / "ex", ODD, each=3)
    make_video(root / "quiet.mp4", frames=300, fps=10, content="noise")
    return root


@pytest.fixture
def support(own: Path, fsar) -> Path:
    """A support file, made once."""
    path = own / "support.fsar"
    if not path.exists():
        done = fsar("support", "make", own / "ex", "--normal", own / "quiet.mp4", "--window", 1, "--stride", 0.5,
                    "--out", path, *SETTINGS)  # fmt: skip
        assert done.code == 0, done.err
    return path


def classify(fsar, *arguments: object, code: int = 0):
    done = fsar("classify", *arguments, "--device", "cpu")
    assert done.code == code, done.err
    return done


def test_words_json_and_table_say_the_same(fsar, own: Path, support: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").symlink_to(own / "ex")
    document = classify(fsar, "clips", "--support", support, "--wrong", 0.3, "--csv", "answers.csv", "--json").json
    assert document["command"] == "classify" and document["classes"] == list(ODD) and document["failed"] == {}
    assert len(document["clips"]) == 6 and document["calibrated"] is True
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    out = classify(fsar, "clips", "--support", support, "--wrong", 0.3).out
    assert document["basis"] in out
    for clip, row in zip(document["clips"], rows, strict=True):
        assert Path(clip["clip"]).is_file() and row["clip"] == clip["clip"] and row["class"] == clip["class"]
        assert clip["best"] == max(clip["scores"], key=clip["scores"].get) and clip["because"].startswith(clip["best"])
        assert clip["class"] in (clip["best"], "unknown") and f"{clip['score']:.3f}" == row["score"]
        assert (clip["class"] != "unknown") == (clip["score"] >= document["threshold"]) == (clip["rank"] <= 0.3)
        assert clip["scores"][clip["best"]] == clip["score"] and set(clip["scores"]) == set(ODD)
        assert all(0 <= v <= 1 for _, box in clip["track"] for v in box) and len(clip["track"]) == 4
        assert row["because"] in out


def test_a_broken_clip_is_named_behind_the_good_ones(fsar, own: Path, support: Path, tmp_path: Path) -> None:
    (tmp_path / "bad [1].mp4").write_bytes(b"no video")
    good = own / "ex" / ODD[0] / "0.mp4"
    done = classify(fsar, "bad [1].mp4", good, "--support", support, "--json", code=3)
    assert [clip["clip"] for clip in done.json["clips"]] == [str(good)]
    assert list(done.json["failed"]) == [str(tmp_path / "bad [1].mp4")]
    assert "1 of 2 clips cannot be read, such as bad [1].mp4" in done.err
    alone = classify(fsar, "bad [1].mp4", "--support", support, code=3)
    assert alone.out == "" and "bad [1].mp4" in alone.err


def test_nothing_normal_is_taken_for_a_class_where_none_may(fsar, own: Path, support: Path) -> None:
    document = classify(fsar, own / "quiet.mp4", "--support", support, "--wrong", 0.001, "--json").json
    assert document["calibrated"] is False and "allow" in document["basis"]
    assert document["clips"][0]["class"] == "unknown"


@pytest.mark.parametrize("wrong", ["0", "1", "-0.1", "nan", "2"])
def test_a_share_is_above_0_and_below_1(fsar, own: Path, support: Path, wrong: str) -> None:
    done = classify(fsar, own / "quiet.mp4", "--support", support, "--wrong", wrong, code=2)
    assert "--wrong must be above 0 and below 1" in done.err and done.out == ""


def test_without_a_support_file_it_is_said_how_one_is_made(fsar, own: Path) -> None:
    done = classify(fsar, own / "quiet.mp4", code=3)
    assert "no support file at support.fsar" in done.err and "fsar support make" in done.err


def test_clips_that_are_not_there_are_told_first(fsar, own: Path, support: Path, tmp_path: Path) -> None:
    assert "no video at none.mp4" in classify(fsar, "none.mp4", "--support", support, code=3).err
    (tmp_path / "empty").mkdir()
    assert "no videos in empty" in classify(fsar, "empty", "--support", support, code=3).err


def test_without_normal_footage_unknown_rests_on_the_examples_and_that_is_said(fsar, own: Path, tmp_path) -> None:
    assert fsar("support", "make", own / "ex", *SETTINGS).code == 0
    document = classify(fsar, own / "quiet.mp4", "--json").json
    assert document["calibrated"] is False and document["clips"][0]["rank"] is None
    assert "without normal footage" in document["basis"]


def test_one_example_a_class_has_no_threshold_which_json_can_say(fsar, own: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "ex" / name).mkdir(parents=True)
        source = own / "ex" / ODD[name == "b"] / "0.mp4"
        (tmp_path / "ex" / name / "x.mp4").write_bytes(source.read_bytes())
    assert fsar("support", "make", "ex", *SETTINGS).code == 0
    document = classify(fsar, own / "quiet.mp4", "--json").json
    assert document["threshold"] is None and document["clips"][0]["class"] in "ab"


def test_clips_are_drawn_where_that_is_asked_for(fsar, own: Path, support: Path, tmp_path: Path) -> None:
    classify(fsar, own / "ex", "--support", support, "--drawn", "a b/drawn")
    drawn = sorted((tmp_path / "a b" / "drawn").glob("*.mp4"))
    assert [path.name[:4] for path in drawn] == [f"{number:03d}-" for number in range(1, 7)]
    assert probe(drawn[0]).frames == probe(own / "ex" / ODD[0] / "0.mp4").frames
