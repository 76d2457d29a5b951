"""Which test classes the weights have seen: names alike and not, counts of the protocols, three states, all outputs."""

import csv
import json
from pathlib import Path

import pytest
import torch
import torchvision
import yaml
from small_project import small

from fsar_cli.config import dump
from fsar_cli.core.build import build_method
from fsar_cli.engine.checkpoint import save_weights
from fsar_cli.engine.pretraining import Pretraining, pretraining_of, remarks, spellings
from fsar_cli.engine.runs import create_run
from fsar_cli.settings import resolve

SPLITS = Path(__file__).resolve().parents[2] / "splits"
NOT_NEW = "Other words for an action are not found: a class without † is not shown to be new."
UNKNOWN = "What the pretraining of other.pth has seen is not known: NAME.classes.txt beside a file can list that."


def model(**values: object):
    return resolve(base={f"model.{key}": value for key, value in values.items()}, environ={}).config.model


def seen(tested: list[str], listed: list[str], folder: Path) -> dict[str, str]:
    (folder / "w.classes.txt").write_text("\n".join(listed), encoding="utf-8")
    return dict(pretraining_of([model(weights=str(folder / "w.pth"))], tested).seen)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PushUps", "push up"), ("pushup", "push up"), ("pullup", "pull ups"), ("SkyDiving", "skydiving"),
        ("CliffDiving", "diving cliff"), ("RopeClimbing", "climbing a rope"), ("smoke", "Smoking"), ("run", "running"),
        ("shake_hands", "shaking hands"), ("climb-stairs", "climbing stairs"), ("PlayingViolin", "playing violin"),
        ("hurling_sport", "hurling (sport)"), ("Hurling", "hurling (sport)"), ("kiss", "kissing"), ("roll", "rolling"),
        ("washing dishes", "wash dish"), ("A", "a"), ("!", "!"), ("Drücken", "drücken"), ("singing", "sing"),
    ],
)  # fmt: skip
def test_names_that_are_alike(one: str, other: str, tmp_path: Path) -> None:
    assert seen([one], [other], tmp_path) == {one: other}
    assert seen([other], [one], tmp_path) == {other: one}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sword", "sword fighting"), ("kick_ball", "kicking soccer ball"), ("Fighting", "sword fighting"),
        ("Shooting", "shooting basketball"), ("ride_horse", "riding or walking with horse"), ("sing", "s"),
        ("pushing something from left to right", "pushing something from right to left"), ("car", "care"),
        ("st", "sting"), ("dress", "dres"), ("clip 1 11", "clip 11 1"), ("JumpRope", "skipping rope"),
        ("push", "push up"), ("की", "का"), ("A", "the"), ("(kick)", "(throw)"), ("!", "?"),
    ],
)  # fmt: skip
def test_names_that_are_not(one: str, other: str, tmp_path: Path) -> None:
    assert seen([one], [other], tmp_path) == seen([other], [one], tmp_path) == {}


def test_a_long_name_takes_no_long_time_and_is_found_as_it_is(tmp_path: Path) -> None:
    name = " ".join(["passing things"] * 30)
    assert len(spellings(name)) <= 1000 and seen([name.title()], [name], tmp_path)


def test_the_own_spelling_goes_before_others(tmp_path: Path) -> None:
    assert seen(["dive"], ["diving", "dive"], tmp_path) == {"dive": "dive"}


PROTOCOLS = {
    "kinetics100-cmn": (24, 24, None),
    "hmdb51-arn": (2, 10, {"pushup": "push up", "smoke": "smoking"}),
    "ucf101-arn": (4, 21, {
        "CleanAndJerk": "clean and jerk", "CliffDiving": "diving cliff", "SkyDiving": "skydiving",
        "Skiing": "skiing (not slalom or crosscountry)"}),
    "ucf-crime-v2": (0, 15, {}), "ssv2-cmn": (0, 24, {}), "ssv2-otam": (0, 24, {}),
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_kinetics_400_holds_of_the_protocols(protocol: str) -> None:
    tested = list(yaml.safe_load((SPLITS / f"{protocol}.yaml").read_text(encoding="utf-8"))["classes"]["test"])
    count, classes, names = PROTOCOLS[protocol]
    found = pretraining_of([model(backbone="r2plus1d_18", weights="kinetics400")], tested)
    assert (len(found.seen), found.tested) == (count, classes)
    assert names is None or dict(found.seen) == names
    assert all(spellings(a)[0] == spellings(b)[0] for a, b in found.seen.items()) or names is not None


def test_the_three_states_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "mine.classes.txt").write_text("kicking\nfalling\n")
    mine, other = str(tmp_path / "mine.pth"), str(tmp_path / "other.pth")
    some = pretraining_of([model(weights=mine)], ["kick", "push"])
    assert some.words == (
        "† 1 of 2 test classes are among those of the pretraining (mine.classes.txt): kick (as kicking); on these it "
        f"is no few-shot accuracy. {NOT_NEW}"
    )
    none = pretraining_of([model(weights=mine)], ["push"])
    assert none.words == (
        f"By name, none of 1 test classes is among those of the pretraining (mine.classes.txt). {NOT_NEW}"
    )
    unknown = pretraining_of([model(weights=other)], ["kick", "push"])
    assert unknown.words == UNKNOWN and not unknown.known
    assert [p.state("kick") for p in (some, none, unknown)] == ["seen", "not found", "not known"]
    assert (some.mark("kick"), some.mark("push"), unknown.mark("kick")) == ("kick †", "push", "kick")
    assert some.document() == {"source": "mine.classes.txt", "known": True, "actions": 2, "unlisted": [],
                               "classes_seen": [{"class": "kick", "as": "kicking"}]}  # fmt: skip
    assert unknown.document()["unlisted"] == ["other.pth"] and not Pretraining().document()["known"]
    for weights in ("imagenet", "none"):
        clean = pretraining_of([model(weights=weights)], ["kick"])
        assert clean.known and clean.words == "", "nothing to say where no action was seen"


def test_weights_of_the_local_backbone_count_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "mine.classes.txt").write_text("kicking")
    paths = {"weights": str(tmp_path / "other.pth"), "local_weights": str(tmp_path / "mine.pth")}
    both = pretraining_of([model(method="keyregion", **paths)], ["kick"])
    assert dict(both.seen) == {"kick": "kicking"} and not both.known
    assert both.words.startswith("† 1 of 1") and both.words.endswith(UNKNOWN)
    assert not pretraining_of([model(method="trx", **paths)], ["kick"]).seen


def test_the_same_words_are_said_once() -> None:
    one, none = Pretraining(2, "x", 1, {"kick": "kick"}), Pretraining(2)
    assert list(remarks([("a", one.words), ("b", one.words)])) == [one.words]
    assert list(remarks([("a", one.words), ("b", none.words), ("c", one.words)])) == [f"a, c: {one.words}"]
    assert list(remarks([("a", none.words)])) == []


@pytest.fixture
def weights(project, fsar, tmp_path) -> Path:
    """w.pth in the current folder, which has seen kick and throw of the test classes, and is what fsar.yaml names."""
    torch.save(torchvision.models.mobilenet_v3_small(weights=None).state_dict(), tmp_path / "w.pth")
    (tmp_path / "w.classes.txt").write_text("kicking\nThrows\nsleeping\n")
    changes = {
        "model.weights": str(tmp_path / "w.pth"),
        "model.normalize": False,
        "eval.episodes": 10,
        "eval.shots": (1,),
    }
    (tmp_path / "fsar.yaml").write_text(dump(small(project, **changes)))
    return tmp_path / "w.pth"


@pytest.fixture
def run(weights, project) -> Path:
    """A run that started from them."""
    config = small(project, **{"model.weights": str(weights), "eval.episodes": 10, "eval.shots": (1,)})
    run = create_run(config, weights.parent / "run")
    save_weights(build_method(config, pretrained=False), run.model_file)
    return run.path


SEEN = "† 2 of 3 test classes are among those of the pretraining (w.classes.txt): kick (as kicking), throw (as Throws)"


def test_eval_marks_classes_in_table_json_and_files(run, fsar, tmp_path):
    shown = fsar("eval", "run", "--out", "e")
    assert shown.code == 0, shown.err
    assert f"{SEEN}; on these it is no few-shot accuracy. {NOT_NEW}" in shown.out
    assert "kick †" in shown.out and "throw †" in shown.out and "push †" not in shown.out
    printed = fsar("eval", "--untrained", "--out", "e", "--force", "--json").json
    names = [{"class": "kick", "as": "kicking"}, {"class": "throw", "as": "Throws"}]
    expected = {"source": "w.classes.txt", "known": True, "actions": 3, "classes_seen": names, "unlisted": []}
    assert printed["pretraining"] == json.loads((tmp_path / "e/result.json").read_text())["pretraining"] == expected
    assert "†" not in (tmp_path / "e/confusion-3w1s.csv").read_text(), "names in files are those of the split file"


def test_of_a_run_whose_weights_are_gone_it_is_not_known(run, weights, fsar):
    weights.unlink()
    weights.with_name("w.classes.txt").unlink()
    shown = fsar("eval", "run", "--out", "e")
    assert "†" not in shown.out and "What the pretraining of w.pth has seen is not known" in shown.out


def test_compare_marks_who_has_seen_what(run, fsar, tmp_path):
    found = fsar("compare", "a=run", "--untrained", "clean=prototype,model.weights=none", "--out", "c")
    assert found.code == 0, found.err
    page = (tmp_path / "c/compare.md").read_text()
    for text in (found.out, page):
        assert "a †" in text and "clean †" not in text and "kick †" in text and "push †" not in text
        assert f"a: {SEEN}" in text
    document = json.loads((tmp_path / "c/compare.json").read_text())
    assert [len(one["pretraining"]["classes_seen"]) for one in document["compared"]] == [2, 0]
    assert all("†" not in name for name in document["per_class"]["1"])
    with (tmp_path / "c/classes.csv").open(newline="") as file:
        rows = {(row["class"], row["name"]): row["pretraining"] for row in csv.DictReader(file)}
    assert rows["kick", "a"] == "seen" and rows["push", "a"] == rows["kick", "clean"] == "not found"
