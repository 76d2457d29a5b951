"""Whitening by the train split: what is fitted for whom, a whitening for each group, runs, and what results say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_project import bank_of, lively, reader_of, sampler_of, small

from fsar_cli.core.method import Encoded
from fsar_cli.core.preparation import whitening_matrix
from fsar_cli.data.episodes import EpisodeList
from fsar_cli.data.splits import Splits
from fsar_cli.engine import bank as bank_module
from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.evaluate import evaluate
from fsar_cli.engine.model import Model
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.engine.whitening import whitened_by, whitening_of
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import Cache

CPU = torch.device("cpu")
WHITE = {"model.method": "prototype", "model.match.metric": "cosine", "model.match.whiten": "train"}


@pytest.fixture
def grouped(project, tmp_path):
    """The project's split file with groups: clip v of every class is of group v."""
    splits = Splits.read(project / "splits.csv")
    rows = tuple((split, replace(video, group=f"g{video.id[-1]}")) for split, video in splits.rows)
    Splits(rows).write(tmp_path / "grouped.csv")
    return tmp_path / "grouped.csv"


def vectors_of(method, config, split, keep=lambda video: True):
    """Float64 [V,D] clip means of a split, its classes, and its groups."""
    videos = [video for video in Splits.read(config.data.splits).videos(split) if keep(video)]
    bank = bank_of(method, config, tuple(video.id for video in videos))
    return bank.encoded["video"].double(), [video.cls for video in videos], [video.group for video in videos]


def plain(config):
    """A method with lively batch statistics that prepares nothing, and its configuration."""
    off = config.model.match.model_copy(update={"whiten": "none"})
    config = config.model_copy(update={"model": config.model.model_copy(update={"match": off})})
    return lively(config), config


def cosine_answers(white: torch.Tensor, episodes: EpisodeList) -> np.ndarray:
    """[E,N*Q] the nearest class mean, an episode at a time."""
    answers = []
    for support, query in zip(episodes.drawn.support, episodes.drawn.query, strict=True):
        means = torch.nn.functional.normalize(white[support].mean(1), dim=-1)
        answers.append((torch.nn.functional.normalize(white[query.reshape(-1)], dim=-1) @ means.T).argmax(-1))
    return np.stack(answers)


def test_a_method_without_training_is_whitened_by_the_train_split(project):
    config = small(project, **WHITE)
    method, (bare, off) = lively(config), plain(config)
    normal, classes, _ = vectors_of(bare, off, "train")
    tested, _, _ = vectors_of(bare, off, "test")
    mean, matrix = whitening_matrix(normal.unsqueeze(1), classes, 1.0)
    result = evaluate(method, config, CPU)
    for shot in result.shots:
        episodes = EpisodeList(sampler_of(config, shot=shot.shot), 40)
        expected = cosine_answers((tested - mean) @ matrix, episodes)
        assert (shot.right == (expected == np.arange(3))).mean() > 0.99  # all but ties of rounding
    assert not method.preparation.fitted, "the method is left as it was"
    assert any((a.right != b.right).any() for a, b in zip(result.shots, evaluate(bare, off, CPU).shots, strict=True))


def test_each_query_is_answered_without_the_normal_clips_of_its_group(project, grouped):
    config = small(project, **WHITE, **{"data.splits": grouped, "model.match.whiten_groups": "disjoint"})
    method, (bare, off) = lively(config), plain(config)
    tested, _, groups = vectors_of(bare, off, "test")
    result = evaluate(method, config, CPU)
    for shot in result.shots:
        episodes = EpisodeList(sampler_of(config, shot=shot.shot), 40)
        of_query = np.array(groups)[episodes.drawn.query.reshape(40, -1)]
        expected = np.empty_like(of_query, dtype=int)
        for group in set(groups):
            normal, classes, _ = vectors_of(bare, off, "train", lambda video: video.group != group)  # noqa: B023
            mean, matrix = whitening_matrix(normal.unsqueeze(1), classes, 1.0)
            answers = cosine_answers((tested - mean) @ matrix, episodes)
            expected[of_query == group] = answers[of_query == group]
        assert (shot.right == (expected == np.arange(3))).mean() > 0.99
        assert shot.confusion.sum() == shot.right.size and shot.digest == episodes.digest


@pytest.mark.parametrize("name", ["bimhm", "otam", "trx"])
def test_groups_change_nothing_where_no_normal_clip_is_of_them(project, tmp_path, name):
    """Then every whitening is the one by all: the two ways through the engine must agree, queries of any number."""
    rows = tuple(
        (split, replace(video, group=f"{split}{video.id[-1]}"))
        for split, video in Splits.read(project / "splits.csv").rows
    )
    Splits(rows).write(tmp_path / "apart.csv")
    values = {**WHITE, "model.method": name, "data.splits": tmp_path / "apart.csv", "eval.queries": 2}
    both = [small(project, **values, **{"model.match.whiten_groups": groups}) for groups in ("all", "disjoint")]
    whole, apart = (evaluate(lively(config), config, CPU) for config in both)
    for one, other in zip(whole.shots, apart.shots, strict=True):
        np.testing.assert_array_equal(one.right, other.right)
        np.testing.assert_array_equal(one.confusion, other.confusion)
        assert one.parts == other.parts and one.digest == other.digest


def test_what_is_kept_knows_the_whitening(project, grouped, tmp_path):
    cache, results = Cache(tmp_path / "features"), Cache(tmp_path / "results")

    def again(**changes):
        config = small(project, **(WHITE | {"data.splits": grouped} | changes))
        return evaluate(lively(config), config, CPU, cache=cache, results=results)

    first, second = again(), again()
    assert (first.known, second.known) == ((), (1, 2)) and not first.cached
    for one, other in zip(first.shots, second.shots, strict=True):
        np.testing.assert_array_equal(one.right, other.right)
    for change in ({"model.match.root": True}, {"model.match.whiten_shrinkage": 3.0}, {"model.match.whiten": "none"},
                   {"model.match.whiten_groups": "disjoint"}, {"model.match.metric": "euclidean"}):  # fmt: skip
        changed = again(**change)
        assert changed.known == () and changed.cached, f"{change}: matched anew, on features that are known"
    moved = replace(Splits.read(grouped), rows=Splits.read(grouped).rows[1:])  # one normal clip fewer
    moved.write(tmp_path / "fewer.csv")
    assert again(**{"data.splits": tmp_path / "fewer.csv"}).known == ()


def test_a_run_keeps_the_whitening_its_head_was_trained_behind(project, tmp_path):
    config = small(project, **(WHITE | {"model.method": "trx", "train.views": 2, "model.match.root": True}))
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)
    matrix = trainer.method.preparation.frames_matrix.clone()
    assert trainer.run().iterations == 6 and matrix.any()
    method = load_method(Run(tmp_path / "run"))
    assert method.preparation.fitted and torch.equal(method.preparation.frames_matrix, matrix)
    assert whitening_of(method, config).normal == ()
    first, second = (evaluate(load_method(Run(tmp_path / "run")), config, CPU) for _ in range(2))
    np.testing.assert_array_equal(first.shots[1].right, second.shots[1].right)


def test_a_resumed_run_is_the_run_that_was_never_stopped(project, tmp_path):
    config = small(project, **(WHITE | {"model.method": "trx", "train.views": 2, "train.val_every": 0}))
    whole = Trainer(config, create_run(config, tmp_path / "whole"), CPU)
    whole.run()
    short = config.model_copy(update={"train": config.train.model_copy(update={"iterations": 2})})
    Trainer(short, create_run(config, tmp_path / "parts"), CPU).run()
    second = Trainer(config, Run(tmp_path / "parts"), CPU, pretrained=False)
    second.resume()
    second.run()
    pairs = zip(whole.method.state_dict().items(), second.method.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for (_, a), b in pairs)


def test_backbones_that_are_trained_are_refused(project, tmp_path):
    config = small(project, **(WHITE | {"model.method": "trx"}))
    with pytest.raises(UsageError, match=r"whiten is fitted once, to features that are not trained") as caught:
        Trainer(config, lambda: create_run(config, tmp_path / "run"), CPU)
    assert "--freeze-backbone" in caught.value.hint and not (tmp_path / "run").exists()


def test_without_normal_clips_or_groups_it_says_so(project, tmp_path):
    splits = Splits.read(project / "splits.csv")
    Splits(tuple(row for row in splits.rows if row[0] == "test")).write(tmp_path / "test.csv")
    config = small(project, **WHITE, **{"data.splits": tmp_path / "test.csv"})
    with pytest.raises(DataError, match=r"has no train split: there are no normal clips to whiten by"):
        evaluate(lively(config), config, CPU)
    config = small(project, **WHITE, **{"model.match.whiten_groups": "disjoint"})
    with pytest.raises(DataError, match=r"is disjoint, and .* has no groups of train and test videos"):
        evaluate(lively(config), config, CPU)


def test_a_group_that_has_all_normal_clips_leaves_nothing(project, tmp_path):
    rows = tuple((s, replace(v, group="one" if s == "train" else f"one{v.id[-1]}"[:3])) for s, v in
                 Splits.read(project / "splits.csv").rows)  # fmt: skip
    Splits(rows).write(tmp_path / "one.csv")
    config = small(project, **WHITE, **{"data.splits": tmp_path / "one.csv", "model.match.whiten_groups": "disjoint"})
    with pytest.raises(DataError, match="nothing to whiten a query of the group 'one' by"):
        evaluate(lively(config), config, CPU)


def test_results_say_what_they_were_whitened_by(project, grouped):
    config = small(project, **WHITE, **{"data.splits": grouped})
    by = Model(config).whitened_by()
    assert by.document() == {
        "clips": 12,
        "classes": 3,
        "disjoint": False,
        "test_groups": 4,
        "shared_groups": 4,
        "tested_clips": 0,
    }
    assert "which show 4 of the 4 groups of the test videos: much of the gain comes from there" in by.words
    assert Model(small(project)).whitened_by() is None
    bare = Model(small(project, **WHITE)).whitened_by()
    assert bare.document()["shared_groups"] is None and "without groups of both it is not known" in bare.words
    splits = Splits.read(grouped)
    none = whitened_by(config, [replace(v, group="other") for v in splits.videos("train")], splits.videos("test"))
    assert none.words.endswith("none is of a group of the test videos")
    disjoint = config.model.match.model_copy(update={"whiten_groups": "disjoint"})
    config = config.model_copy(update={"model": config.model.model_copy(update={"match": disjoint})})
    assert "each query without those of its own group (4 of the 4 groups of the test videos have any)" in (
        Model(config).whitened_by().words
    )


def test_normal_clips_that_are_tested_and_groups_of_other_data_are_said(project, grouped, tmp_path):
    config = small(project, **WHITE, **{"data.splits": grouped, "eval.split": "train"})
    assert "12 of which are tested: this is no result for new videos" in Model(config).whitened_by().words
    splits = Splits.read(grouped)
    other = whitened_by(config, splits.videos("train"), splits.videos("test"), same_data=False)
    assert other.document()["shared_groups"] is None and "it is not known whether" in other.words
    config = small(project, **(WHITE | {"model.method": "trx", "train.views": 2, "data.splits": grouped}))
    run = create_run(config, tmp_path / "run")
    Trainer(config, run, CPU).run()
    assert Model(config, run).whitened_by().shared == 4
    moved = config.data.model_copy(update={"name": "other", "frames": tmp_path / "elsewhere"})
    assert Model(config.model_copy(update={"data": moved}), run).whitened_by().shared is None


@pytest.mark.parametrize("groups", ["all", "disjoint"])
def test_buffers_that_were_moved_in_inference_are_fitted_all_the_same(project, grouped, monkeypatch, groups):
    """As `.to("cuda")` does where clips are described: what it makes there is no tensor to write into outside."""
    config = small(project, **WHITE, **{"data.splits": grouped, "model.match.whiten_groups": groups})
    expected = evaluate(lively(config), config, CPU).shots
    place = bank_module.place

    def moved(method, device, channels_last):
        method.preparation._apply(torch.clone)
        return place(method, device, channels_last)

    monkeypatch.setattr(bank_module, "place", moved)
    for one, other in zip(expected, evaluate(lively(config), config, CPU).shots, strict=True):
        np.testing.assert_array_equal(one.right, other.right)


def test_nothing_is_encoded_where_there_is_nothing_to_train(project, tmp_path, monkeypatch):
    monkeypatch.setattr("fsar_cli.engine.whitening.describe_clips", None)
    config = small(project, **WHITE, **{"model.freeze_backbone": True})
    with pytest.raises(DataError, match="nothing to train"):
        Trainer(config, lambda: create_run(config, tmp_path / "run"), CPU)


def test_support_sets_are_checked_whitened(project):
    from fsar_cli.recognise.checking.check import check
    from fsar_cli.recognise.checking.pool import pool_of_split

    config = small(project, **WHITE)
    report = check(lively(config), config, pool_of_split(config), CPU, draws=5)
    assert len(report.clips) == 12 and all(clip.margin is not None for clip in report.clips)


def test_the_bank_holds_what_the_whitened_method_encodes(project):
    config = small(project, **(WHITE | {"model.method": "bimhm"}))
    method, reader = lively(config), reader_of(config)
    videos = tuple(video.id for video in Splits.read(config.data.splits).videos("test"))
    whitening = whitening_of(method, config)
    bank = whitening.encode(reader, videos, CPU)
    with whitening.fitted(), torch.no_grad():
        described = bank_of(*plain(config), videos).encoded
        expected = method.embed(method.prepare(Encoded({"frames": described["frames"]})))["frames"]
    torch.testing.assert_close(bank.encoded["frames"], expected, rtol=1e-4, atol=1e-4)
