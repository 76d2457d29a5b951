"""A run keeps what it was trained on; whatever touches it compares, and refuses a test that is none."""

from dataclasses import replace

import pytest
import torch
from small_project import CLASSES, Listener, small

from fsar_cli.core.build import build_method
from fsar_cli.data.splits import Splits, Video
from fsar_cli.engine.checkpoint import save_weights
from fsar_cli.engine.model import Model
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.engine.trained_on import check_unchanged, keep_splits
from fsar_cli.errors import DataError

CPU = torch.device("cpu")


def changed(splits: Splits, change) -> Splits:
    """The split file with each row through `change`; None drops it."""
    return Splits(tuple(row for split, video in splits.rows if (row := change(split, video))))


def swapped(one: str, other: str):
    """Classes of two splits take each other's place."""
    roles = {one: other, other: one}
    return lambda split, video: (roles.get(split, split), video)


def renamed(old: str, new: str):
    return lambda split, video: (split, replace(video, cls=new) if video.cls == old else video)


def moved(ids: tuple[str, ...], split: str, cls: str):
    """Videos that were trained on stand under another class in another split."""
    return lambda s, video: (split, Video(cls, video.id)) if video.id in ids else (s, video)


@pytest.fixture
def config(project, tmp_path):
    config = small(project, **{"data.splits": tmp_path / "splits.csv", "eval.way": 2, "train.val_every": 2})
    Splits.read(project / "splits.csv").write(config.data.splits)
    return config


@pytest.fixture
def run(config, tmp_path):
    """A run that says what it was trained on, and has weights."""
    run = create_run(config, tmp_path / "run")
    keep_splits(run, config, Splits.read(config.data.splits))
    save_weights(build_method(config), run.model_file)
    return run


def write(config, change) -> Splits:
    splits = changed(Splits.read(config.data.splits), change)
    splits.write(config.data.splits)
    return splits


CLIMB = tuple(f"climb/climb_{i}" for i in range(4))
OVERLAPS = {
    "training classes are tested": (swapped("train", "test"), "was trained on climb, fall, wave"),
    "validation classes are tested": (swapped("val", "test"), "was selected on jump, sit"),
    "the same class in other letters": (renamed("kick", "CLIMB"), r"was trained on CLIMB \(as climb\)"),
    "trained videos under another class": (moved(CLIMB, "test", "scale"), r"was trained on scale \(as climb\)"),
}


@pytest.mark.parametrize("kind", OVERLAPS)
def test_a_test_on_what_was_learnt_is_refused_and_accepted_only_by_name(kind, config, run):
    change, words = OVERLAPS[kind]
    write(config, change)
    model = Model(config, run)
    with pytest.raises(DataError, match=words) as caught:
        model.check_novelty(False, Listener())
    assert "--accept-overlap" in caught.value.hint
    said = Listener()
    novelty = model.check_novelty(True, said)
    assert "which it is tested on" in said.warnings[0]
    assert novelty.document()["overlap"] and novelty.words.startswith("not new to the run")


def test_a_look_at_the_training_split_by_its_name_is_no_test_and_says_so(config, run):
    said = Listener()
    split = config.model_copy(update={"eval": config.eval.model_copy(update={"split": "train"})})
    novelty = Model(split, run).check_novelty(False, said)
    assert [known["class"] for known in novelty.document()["overlap"]] == list(CLASSES["train"])
    assert said.warnings


def test_new_classes_and_an_unchanged_file_leave_no_word(config, run):
    said = Listener()
    novelty = Model(config, run).check_novelty(False, said)
    assert (said.warnings, novelty.words) == ([], "")
    assert novelty.document()["overlap"] == []
    assert novelty.tested == novelty.trained


def test_a_file_that_changed_without_overlap_is_named_and_both_digests_are_kept(config, run):
    write(config, renamed("kick", "boot"))
    said = Listener()
    novelty = Model(config, run).check_novelty(False, said)
    assert "has changed since" in said.warnings[0] and "(boot)" in said.warnings[0]
    assert novelty.tested != novelty.trained


def test_a_run_of_before_says_that_it_cannot_be_told(config, run):
    run.splits_file.unlink()
    said = Listener()
    assert Model(config, run).check_novelty(False, said).document()["overlap"] is None
    assert "cannot be checked" in said.said[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (renamed("climb", "scale"), r"train: 1 class gone \(climb\), 1 class new \(scale\)"),
        (renamed("sit", "rest"), r"val: 1 class gone \(sit\), 1 class new \(rest\)"),
        (lambda split, video: None if video.id == "fall/fall_0" else (split, video), "train: 1 video gone"),
    ],
)
def test_going_on_with_other_training_videos_is_refused(change, words, config, run):
    with pytest.raises(DataError, match=words) as caught:
        check_unchanged(run, config, write(config, change), Listener())
    assert str(run.splits_file) in caught.value.hint


def test_going_on_with_other_test_videos_is_said(config, run):
    said = Listener()
    check_unchanged(run, config, write(config, renamed("kick", "boot")), said)
    assert "has changed since" in said.warnings[0] and "not for training" in said.warnings[0]


def test_training_keeps_the_file_it_learns_from_and_resuming_reads_it(config, tmp_path):
    run = create_run(config, tmp_path / "other")
    Trainer(config, run, CPU).run()
    kept = Splits.read(run.splits_file)
    assert kept.digest == Splits.read(config.data.splits).digest
    assert kept.header["learnt-from"] == "train, val"
    write(config, swapped("train", "test"))
    with pytest.raises(DataError, match=r"is not what .* was trained on"):
        Trainer(config, run, CPU, pretrained=False)
