"""`fsar support make | show | add | remove`: from clips to a support file, in all the forms that clips have."""

import json
import os
import re
from pathlib import Path

import pytest
from own_videos import PLACES, SMALL, encoder_of, example_tree, small_support, tiny
from safetensors import safe_open
from small_project import small
from videos import make_video

from fsar_cli.config import dump
from fsar_cli.recognise import sheet
from fsar_cli.recognise.supportfile import read_support

SETTINGS = (*PLACES, *(part for value in SMALL for part in ("--set", value)))
ODD = ("run, [fast] {x}", "wave ü 視頻")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ex/CLASS/N.mp4 with names of all kinds, more/third/0.mp4, and quiet.mp4 of nothing."""
    root = tmp_path_factory.mktemp("own [videos], ü")
    example_tree(root / "ex", ODD)
    example_tree(root / "more", ("third",), each=1, frames=15)
    make_video(root / "quiet.mp4", frames=200, fps=10, content="noise")
    return root


def make(fsar, *arguments: object, code: int = 0):
    done = fsar("support", "make", *arguments, *SETTINGS)
    assert done.code == code, done.err
    return done


@pytest.fixture
def made(fsar, videos: Path, tmp_path: Path) -> Path:
    make(fsar, videos / "ex", "--normal", videos / "quiet.mp4", "--window", 1, "--stride", 0.5)
    return tmp_path / "support.fsar"


def test_a_support_file_is_made_shown_extended_and_made_smaller(fsar, made: Path, videos: Path, tmp_path: Path) -> None:
    held = read_support(made)
    assert held.classes == ODD and len(held.silent.times) > 5 and set(held.prepared) == {"frames_mean", "frames_matrix"}
    shown = fsar("support", "show", "--json").json
    assert shown["command"] == "support show" and shown["normal"]["silent"] == len(held.silent.times)
    assert [e["name"] for e in shown["examples"]] == [f"{name}/{i}" for name in ODD for i in (0, 1)]
    assert "config" not in shown["encoder"] and Path(shown["picture"]).read_bytes().startswith(b"\x89PNG")
    added = fsar("support", "add", videos / "more", "--device", "cpu", "--json")
    assert added.code == 0 and added.json["classes"] == {ODD[0]: 2, ODD[1]: 2, "third": 1}
    assert len(read_support(made).examples) == 5
    removed = fsar("support", "remove", f"{ODD[0]}/1", "third", "--device", "cpu", "--json")
    assert removed.code == 0 and removed.json["classes"] == {ODD[0]: 1, ODD[1]: 2}
    assert [e.name for e in read_support(made).examples] == [f"{ODD[0]}/0", f"{ODD[1]}/0", f"{ODD[1]}/1"]


def test_words_and_json_say_the_same(fsar, videos: Path, tmp_path: Path) -> None:
    plain = ("--normal", videos / "quiet.mp4", "--window", 1, "--stride", 0.5)
    words = make(fsar, videos / "ex", *plain, "--out", "a b/[x].fsar").out
    document = make(fsar, videos / "ex", *plain, "--json", "--out", "b.fsar").json
    assert document["command"] == "support" and document["file"] == "b.fsar" and document["failed"] == {}
    assert document["window"] == 1.0 and document["stride"] == 0.5
    assert document["encoder"] == {
        "run": None,
        "method": "prototype",
        "backbone": "mobilenet_v3_small",
        "weights": "none",
    }
    assert f"{ODD[0]} 2, {ODD[1]} 2" in words and "windows of 1 s every 0.5 s" in words
    assert re.search(rf"\b{document['normal']['silent']} (others|normal windows?) calibrate", words)
    assert f"{document['recognised']['right']} of 4 examples are recognised" in words
    assert (tmp_path / "a b" / "[x].fsar").is_file()


def test_without_normal_footage_nothing_is_whitened_and_that_is_said(fsar, videos: Path, tmp_path: Path) -> None:
    out = make(fsar, videos / "ex").out
    held = read_support(tmp_path / "support.fsar")
    assert "no normal footage" in out and "not calibrated" in out
    assert held.normal is held.silent is held.document.normal is None and not held.prepared


def test_a_class_called_normal_is_footage_whole_or_in_parts(fsar, videos: Path, tmp_path: Path) -> None:
    rows = [f'"{videos}/ex/{name}/{i}.mp4",,,"{name}"' for name in ODD for i in (0, 1)]
    quiet = f'"{videos}/quiet.mp4"'
    (tmp_path / "a.csv").write_text("\n".join(["video,start,end,class", *rows, f"{quiet},,,normal"]))
    document = make(fsar, "a.csv", "--json", "--window", 1).json
    assert set(document["classes"]) == set(ODD) and document["normal"]["whitened"] > 0
    (tmp_path / "b.csv").write_text("\n".join(["video,start,end,class", *rows, f"{quiet},2,4,normal"]))
    document = make(fsar, "b.csv", "--json", "--out", "b.fsar").json
    assert document["normal"] is None and len(read_support(tmp_path / "b.fsar").normal) == 1


def test_a_review_adds_parts_of_videos_and_rejected_events(fsar, made: Path, videos: Path, tmp_path: Path) -> None:
    before = read_support(made)
    quiet = videos / "quiet.mp4"
    (tmp_path / "review.csv").write_text(
        f'video,start,end,class,score\n"{quiet}",1,2,"{ODD[0]}",0.3\n"{quiet}",5,6,normal,0.2\n'
    )
    assert fsar("support", "add", "review.csv", "--device", "cpu").code == 0
    after = read_support(made)
    assert len(after.examples) == 5 and len(after.normal) == len(before.normal) + 1
    assert after.examples[-1].name == f"{ODD[0]}/quiet@1-2" and after.examples[-1].end == 2.0


def test_examples_that_are_there_already_change_nothing(fsar, made: Path, videos: Path) -> None:
    held = made.read_bytes()
    done = fsar("support", "add", videos / "ex", "--device", "cpu")
    assert done.code == 3 and "all of 4 examples are in support.fsar already" in done.err
    assert made.read_bytes() == held


def test_what_cannot_be_read_is_named_and_the_rest_is_enrolled(fsar, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "ex/kick").mkdir(parents=True)
    (tmp_path / "ex/kick/good.mp4").write_bytes((videos / "ex" / ODD[0] / "0.mp4").read_bytes())
    (tmp_path / "ex/kick/bad [1].mp4").write_bytes(b"no video")
    done = make(fsar, "ex", "--json", code=3)
    assert list(done.json["failed"]) == ["kick/bad [1]"] and done.json["classes"] == {"kick": 1}
    assert "kick/bad [1]" in done.err and "all others are enrolled" in done.err
    (tmp_path / "ex/kick/good.mp4").unlink()
    done = fsar("support", "make", "ex", "--out", "b.fsar", *SETTINGS)
    assert done.code == 3 and "no example of kick can be read" in done.err and not (tmp_path / "b.fsar").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing"], 3, "no examples at missing"),
        (["quiet.mp4"], 2, "its class is not known"),
        (["ex", "--normal", "missing.mp4"], 3, "no video at missing.mp4"),
        (["ex", "--window", "1", "--stride", "2"], 2, "cannot be laid"),
        (["ex", "--window", "nan"], 2, "cannot be laid"),
        (["ex", "--stride", "0"], 2, "cannot be laid"),
        (["ex", "--run", "somewhere"], 2, "exclude each other"),
        (["ex", "--method", "nonsense"], 2, "unknown method 'nonsense'"),
        (["ex", "--out", "."], 2, "is there already"),
        (["ex", "--out", ".", "--force"], 2, "is a folder"),
        (["odd"], 2, "no class can be called 'unknown'"),
        (["onlynormal"], 3, "no examples of any class"),
    ],
)
def test_what_cannot_be_meant_is_refused(fsar, videos: Path, tmp_path: Path, arguments, code: int, words: str) -> None:
    (tmp_path / "ex").symlink_to(videos / "ex")
    (tmp_path / "quiet.mp4").symlink_to(videos / "quiet.mp4")
    for place in ("odd/unknown", "onlynormal/normal"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.mp4").write_bytes((videos / "ex" / ODD[0] / "0.mp4").read_bytes())
    done = fsar("support", "make", *arguments, *SETTINGS)
    assert done.code == code and words in done.err and done.out == "", done.err


def test_a_file_that_is_there_is_replaced_by_force_alone(fsar, made: Path, videos: Path) -> None:
    held = made.read_bytes()
    done = make(fsar, videos / "ex", code=2)
    assert "--force replaces it" in done.err and made.read_bytes() == held
    make(fsar, videos / "ex", "--force")
    assert made.read_bytes() != held


def test_names_that_are_not_enrolled_are_told_with_a_near_one(fsar, made: Path) -> None:
    done = fsar("support", "remove", f"{ODD[0]}/2", "--device", "cpu")
    assert done.code == 2 and "has no example" in done.err and f"did you mean '{ODD[0]}/" in done.err
    done = fsar("support", "remove", *ODD, "--device", "cpu")
    assert done.code == 2 and "no example would be left" in done.err


def test_files_that_are_none_are_told_by_all_commands(fsar, tmp_path: Path, videos: Path) -> None:
    (tmp_path / "bad.fsar").write_bytes(b"what is this?")
    commands = (("support", "show"), ("support", "add", videos / "ex"), ("support", "remove", "a"))
    for command in commands:
        for name, words in (("bad.fsar", "is no support file, or is damaged"), ("none.fsar", "no support file at")):
            done = fsar(*command, "--support", name)
            assert done.code == 3 and words in done.err and done.out == ""


def test_the_header_is_plain_json_that_others_can_read(made: Path) -> None:
    with safe_open(made, framework="np") as file:
        document = json.loads(file.metadata()["fsar"])
    assert document["format"] == 1 and document["examples"][0]["cls"] == ODD[0]
    assert document["encoder"]["run"] is None and "mobilenet_v3_small" in document["encoder"]["config"]


def test_a_sheet_of_many_classes_stays_a_picture(monkeypatch) -> None:
    monkeypatch.setattr(sheet, "MOST_CLASSES", 6)
    encoder = encoder_of(tiny())
    held = small_support(encoder, (3, 2))
    many = [held.examples[0].model_copy(update={"cls": f"${i}_{{", "name": f"${i}_{{/a"}) for i in range(300)]
    document = held.document.model_copy(update={"examples": tuple(many)})
    picture = sheet.example_sheet(type(held)(document, held.described, held.thumbnails * 60), "a $title_")
    assert 100 < picture.shape[0] < 3000 and picture.shape[2] == 3


def test_a_run_encodes_and_may_be_moved(fsar, project: Path, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "fsar.yaml").write_text(dump(small(project, **{"train.iterations": 2, "train.val_every": 0})))
    run = Path(fsar("train", "--json").json["run"])
    document = fsar("support", "make", videos / "ex", "--normal", videos / "quiet.mp4", "--json").json
    assert document["encoder"]["run"] == str(run.resolve()) and document["encoder"]["method"] == "keyregion"
    assert document["normal"]["whitened"] == 0 and not read_support(tmp_path / "support.fsar").prepared
    clip = videos / "ex" / ODD[0] / "0.mp4"
    before = fsar("classify", clip, "--device", "cpu", "--json")
    assert before.code == 0, before.err
    moved = run.rename(tmp_path / "moved run")
    lost = fsar("classify", clip, "--device", "cpu")
    assert lost.code == 3 and "which is not there" in lost.err and "--run names where it is now" in lost.err
    after = fsar("classify", clip, "--device", "cpu", "--run", moved, "--json")
    assert after.json == before.json


def test_names_that_are_no_text_are_enrolled_too(fsar, videos: Path, tmp_path: Path) -> None:
    odd = tmp_path / "ex/kick" / os.fsdecode(b"caf\xe9.mp4")
    odd.parent.mkdir(parents=True)
    try:
        odd.write_bytes((videos / "ex" / ODD[0] / "0.mp4").read_bytes())
    except OSError:
        pytest.skip("names here are text")
    assert make(fsar, "ex", "--normal", "ex", "--json", "--set", "model.match.whiten=none").json["classes"] == {
        "kick": 1
    }
    assert fsar("support", "show").code == 0 and fsar("support", "show", "--json").code == 0
    assert fsar("support", "add", "ex", "--device", "cpu").code == 3  # it is there already
    answers = fsar("classify", "ex", "--device", "cpu", "--csv", "a.csv", "--json")
    assert answers.code == 0 and answers.json["clips"][0]["because"] == "kick/caf\ufffd"
    assert fsar("classify", "ex", "--device", "cpu").code == 0
