"""Evaluation: batching changes nothing, and the figures are those of an episode-by-episode loop."""

import json
import math
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from small_project import Listener, bank_of, lively, reader_of, sampler_of, small

from fsar_cli.core.build import build_method
from fsar_cli.core.method import Encoded, FewShotMethod, Scores
from fsar_cli.data.transforms import to_float
from fsar_cli.engine import matching
from fsar_cli.engine.bank import Bank
from fsar_cli.engine.evaluate import evaluate, evaluate_bank, write_results
from fsar_cli.engine.results import mean_and_ci
from fsar_cli.errors import DataError
from fsar_cli.files import Cache
from fsar_cli.reporting import Silent

CPU = torch.device("cpu")


def logits_episode_by_episode(method, config, sampler, episodes) -> torch.Tensor:
    """The obvious way: every episode reads and encodes its own videos and is matched alone."""
    reader = reader_of(config)

    def encode(ids):
        clips = torch.from_numpy(np.stack([reader.evaluation(sampler.videos[i]) for i in ids.reshape(-1)]))
        return method.encode(to_float(clips, None)).reshape(1, *ids.shape)

    found = []
    for index in range(episodes):
        episode = sampler(index)
        with torch.no_grad():
            scores = method.match(encode(episode.support), encode(episode.query.reshape(-1)))
        found.append(scores.logits[0])
    return torch.stack(found)


@pytest.mark.parametrize("name", ["keyregion", "otam", "prototype"])
def test_encoding_once_and_matching_in_batches_equals_episode_by_episode(project, name):
    config = small(project, **{"model.method": name})
    method, sampler = lively(config), sampler_of(config)
    slow = logits_episode_by_episode(method, config, sampler, 6)
    bank, drawn = bank_of(method, config, sampler.videos), sampler.batch(0, 6)
    with torch.no_grad():
        fast = method.match(
            bank.encoded.take(torch.from_numpy(drawn.support)),
            bank.encoded.take(torch.from_numpy(drawn.query).flatten(1)),
        ).logits
    torch.testing.assert_close(fast, slow, atol=1e-5 * float(slow.abs().max()), rtol=0)
    result = evaluate_bank(method, bank, sampler, 6)
    truth = np.arange(3)
    np.testing.assert_allclose(result.accuracies, (slow.argmax(-1).numpy() == truth).mean(1))


def test_the_number_of_episodes_a_call_changes_nothing(project):
    config = small(project, **{"model.method": "trx"})
    method, sampler = lively(config), sampler_of(config, queries=2)
    bank = bank_of(method, config, sampler.videos)
    expected = evaluate_bank(method, bank, sampler, 30)
    for batch in (1, 7, 1000):
        reporter = Watched()
        result = evaluate_bank(method, bank, sampler, 30, batch=batch, reporter=reporter)
        np.testing.assert_array_equal(result.right, expected.right)
        np.testing.assert_array_equal(result.confusion, expected.confusion)
        assert result.right.shape == (30, 6)
        assert result.digest == sampler.digest(30), "drawn once, digested on the way"
        assert reporter.shown[-1] == pytest.approx(result.accuracy[0]), "the running figure ends at the result"


class Watched(Silent):
    """Remembers the accuracy shown beside the bar."""

    def __init__(self) -> None:
        self.shown: list[float] = []

    @contextmanager
    def track(self, label, total, unit=""):
        yield self

    def advance(self, steps=1, **metrics):
        self.shown.append(metrics["accuracy"])


class Oracle(FewShotMethod):
    """Knows the class of every video; mistakes class 0 for class 1 when both are there."""

    def match(self, support, query, classes=None, pairs=None):
        labels, asked = support["label"][:, :, 0], query["label"].clone()  # [E,N], [E,Q]
        asked[(asked == 0) & (labels == 1).any(1, keepdim=True)] = 1
        return Scores((asked.unsqueeze(2) == labels.unsqueeze(1)).float())


def test_accuracy_confusion_and_interval_are_those_of_known_answers(project):
    config = small(project)
    sampler = sampler_of(config, way=2, queries=2)
    bank = Bank(sampler.videos, Encoded({"label": torch.from_numpy(sampler.labels)}), None, None)
    result = evaluate_bank(Oracle(torch.nn.Identity()), bank, sampler, 300)
    drawn = sampler.batch(0, 300).classes
    mistaken = ((drawn == 0).any(1) & (drawn == 1).any(1)).astype(float)
    np.testing.assert_allclose(result.accuracies, 1 - mistaken / 2)
    expected = np.zeros((3, 3), dtype=int)
    for classes, wrong in zip(drawn, mistaken, strict=True):
        for c in classes:
            expected[c, 1 if c == 0 and wrong else c] += 2
    np.testing.assert_array_equal(result.confusion, expected)
    values = list(result.accuracies)
    mean = sum(values) / 300
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / 299)
    assert result.accuracy == pytest.approx((mean, 1.96 * deviation / math.sqrt(300)))
    per_class = result.per_class()
    assert per_class[result.classes[1]] == 1
    assert per_class[result.classes[0]] == pytest.approx(expected[0, 0] / expected[0].sum())
    assert result.confusions()[result.classes[0]].startswith(result.classes[1])


def test_mean_and_ci_of_a_constant_has_no_width():
    assert mean_and_ci(np.full(5, 0.4)) == (pytest.approx(0.4), 0)


def test_results_are_written_as_json_and_csv(project, tmp_path):
    config = small(project)
    result = evaluate(build_method(config).eval(), config, CPU)
    write_results(result, config, tmp_path / "eval")
    document = json.loads((tmp_path / "eval" / "result.json").read_text())
    assert document["schema"] == 1
    one = document["results"][0]
    rows = pd.read_csv(tmp_path / "eval" / "episodes-3w1s.csv")
    assert (one["shot"], one["episodes"], len(rows)) == (1, 40, 40)
    assert one["accuracy"] == pytest.approx(rows["accuracy"].mean())
    assert set(one["parts"]) == {"spatial", "temporal"}
    confusion = pd.read_csv(tmp_path / "eval" / "confusion-3w2s.csv", index_col=0)
    assert confusion.to_numpy().sum() == 40 * 3
    assert result.bank.boxes.shape == (12, 4, 4)
    assert 0 <= document["regions"]["saturated"] <= 1


def test_the_digest_depends_on_the_episodes_alone(project):
    config = small(project)
    results = [
        evaluate(build_method(c).eval(), c, CPU).shots for c in (config, small(project, **{"model.method": "trx"}))
    ]
    other = evaluate(build_method(config).eval(), small(project, **{"eval.seed": 1}), CPU).shots
    assert [s.digest for s in results[0]] == [s.digest for s in results[1]]
    assert results[0][0].digest != other[0].digest


def test_what_was_evaluated_before_is_neither_encoded_nor_matched_again(project, tmp_path, monkeypatch):
    config = small(project)
    method, cache, results = lively(config), Cache(tmp_path / "features"), Cache(tmp_path / "results")

    def again(**changes):
        changed = small(project, **changes)
        return evaluate(method, changed, CPU, cache=cache, results=results)

    first = again()
    assert first.known == () and first.bank is not None
    more = again(**{"eval.shots": (2, 3)})
    assert more.known == (2,) and more.shots[0].seconds == first.shots[1].seconds
    monkeypatch.setattr(type(method), "match", None)
    monkeypatch.setattr("fsar_cli.engine.whitening.encode_videos", None)
    second = again()
    assert (second.known, second.bank, second.videos) == ((1, 2), None, first.videos)
    assert second.regions == first.regions
    for one, other in zip(first.shots, second.shots, strict=True):
        assert one.summary() == other.summary()
        np.testing.assert_array_equal(one.right, other.right)
    with pytest.raises(TypeError):
        again(**{"eval.seed": 1})


@pytest.mark.parametrize(("file", "content"), [("arrays.npz", b"PK"), ("figures.json", b"[]")])
def test_a_damaged_result_is_found_anew_and_one_that_cannot_be_kept_is_given(project, tmp_path, file, content):
    config, results, listener = small(project, **{"eval.shots": (1,)}), Cache(tmp_path / "results"), Listener()
    method = lively(config)
    first = evaluate(method, config, CPU, results=results)
    (path,) = results.folder.glob(f"*/{file}")
    path.write_bytes(content)
    results.drop, drop = lambda key: None, results.drop
    without = evaluate(method, config, CPU, results=results, reporter=listener)
    assert listener.warnings == [f"{tmp_path} keeps nothing (Permission denied): going on without a cache"]
    results.drop = drop
    again, third = (evaluate(method, config, CPU, results=results) for _ in range(2))
    assert (again.bank is None, third.bank is None) == (False, True)
    accuracies = [made.shots[0].accuracies for made in (first, without, again, third)]
    assert all(np.array_equal(accuracies[0], other) for other in accuracies)


def test_more_ways_than_classes_is_named(project):
    config = small(project, **{"eval.way": 4})
    with pytest.raises(DataError, match="test"):
        evaluate(build_method(config).eval(), config, CPU)


@pytest.mark.parametrize(("name", "shot"), [("keyregion", 1), ("keyregion", 2), ("otam", 2), ("bimhm", 2)])
def test_a_table_of_all_pairs_changes_nothing(project, monkeypatch, name, shot):
    config = small(project, **{"model.method": name})
    method, sampler = lively(config), sampler_of(config, shot=shot)
    bank = bank_of(method, config, sampler.videos)
    monkeypatch.setattr(matching, "PAIRS_WORTH_COMPUTING", 0.0)
    direct = matching.Matcher(method, bank, sampler, 40)
    monkeypatch.setattr(matching, "PAIRS_WORTH_COMPUTING", 1e9)
    monkeypatch.setattr(matching, "BYTES_PER_MATCH", {"cpu": 1})  # one video a block: the table is put together
    looked_up = matching.Matcher(method, bank, sampler, 40)
    assert not direct.table
    assert looked_up.table and all(part.shape == (len(bank.videos),) * 2 for part in looked_up.table.values())
    drawn = sampler.batch(0, 40)
    with torch.inference_mode():
        expected, found = direct(drawn).everything(), looked_up(drawn).everything()
    for name, values in expected.items():
        assert (found[name] - values).abs().max() <= 1e-5 * values.abs().max()
        assert values.std() > 0


class NoNumbers(FewShotMethod):
    """A method that encodes, or scores, in numbers that are none."""

    paper = "None, 2026"

    def __init__(self, encoded: float, scored: float) -> None:
        torch.nn.Module.__init__(self)
        self.encoded, self.scored = encoded, scored

    def match(self, support, query, classes=None, pairs=None) -> Scores:
        return Scores(torch.full((support.shape[0], query.shape[1], support.shape[1]), self.scored))


@pytest.mark.parametrize(
    ("encoded", "scored", "words"),
    [
        (float("nan"), float("nan"), "is encoded in numbers that are NaN or infinite"),
        (0.0, float("inf"), "the method scores videos with numbers that are NaN or infinite"),
    ],
)
def test_scores_that_are_no_numbers_are_no_answers(project, encoded, scored, words):
    sampler = sampler_of(small(project))
    rows = torch.full((len(sampler.videos), 3), encoded)
    bank = Bank(sampler.videos, Encoded({"rows": rows}), None, None, False)
    with pytest.raises(DataError, match=words):
        evaluate_bank(NoNumbers(encoded, scored), bank, sampler, 4)
