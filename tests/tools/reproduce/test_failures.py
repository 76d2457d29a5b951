"""What figures 8 and 9 say of failures, held against slow loops and cases whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_project import bank_of, lively, reader_of, sampler_of, small

from fsar_cli.data.episodes import EpisodeList
from fsar_cli.tools.reproduce.failures import Part, by_margin, by_size, gap_in_words, support_margins, target_sizes
from fsar_cli.tools.reproduce.tested import video_shares

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bank(project):
    """(method, bank, sampler, reader) of the small project, 3-way 2-shot."""
    config = small(project, **{"model.method": "otam"})
    sampler, method = sampler_of(config), lively(config)
    return method, bank_of(method, config, sampler.videos), sampler, reader_of(config)


def test_support_margins_are_those_of_each_support_clip_matched_alone(bank):
    method, encoded, sampler, _ = bank
    drawn = sampler.batch(0, 9)
    found = support_margins(method, encoded, sampler, drawn, CPU)
    every, own = [], []
    for support in torch.from_numpy(drawn.support):
        margins, logits = [], []
        for n in range(3):
            for k in range(2):
                query = encoded.encoded.take(support[n, k].view(1, 1))
                with torch.no_grad():
                    scores = method.match(encoded.encoded.take(support.unsqueeze(0)), query).logits[0, 0].double()
                margins.append(scores[n] - max(scores[m] for m in range(3) if m != n))
                logits.append(scores)
        own.append(torch.stack(margins).mean())
        every.append((torch.stack(logits) - torch.stack(logits).mean()).flatten())
    expected = torch.stack(own) / torch.cat(every).std(correction=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert len(set(found.round(6).tolist())) > 1


def test_a_support_whose_classes_show_the_same_clip_has_no_margin(bank):
    method, encoded, sampler, _ = bank
    drawn = sampler.batch(0, 4)
    drawn.support[0] = drawn.support[0, 0, 0]
    found = support_margins(method, encoded, sampler, drawn, CPU)
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert (found[1:] > 0).all(), "a clip resembles itself most"


def test_shares_of_videos_are_those_of_a_loop_over_queries(bank):
    _, encoded, sampler, _ = bank
    drawn = sampler.batch(0, 25)
    right = np.random.default_rng(0).random((25, 3)) < 0.4
    cell = SimpleNamespace(shot=2, ground=SimpleNamespace(lists={2: EpisodeList(sampler, 25)}))
    found = video_shares(SimpleNamespace(cell=cell, right=right, videos=(*encoded.videos, "never asked")))
    for video in range(len(encoded.videos)):
        answers = [right[e, n] for e in range(25) for n in range(3) if drawn.query[e, n, 0] == video]
        assert found[video] == pytest.approx(np.mean(answers)) if answers else np.isnan(found[video])
    assert np.isnan(found[-1])


def test_thirds_are_taken_within_each_class():
    labels = np.repeat([0, 1], 6)
    sizes = np.concatenate([np.arange(6) / 10, 5 + np.arange(6)])[::-1].copy()  # a class of small, one of large targets
    shares = (np.argsort(np.argsort(sizes)) % 6 >= 4).astype(float)  # of each class the largest two are recognised
    parts = by_size(sizes, shares, labels)
    assert [part.accuracy for part in parts] == [0, 0, 1]
    assert [part.videos for part in parts] == [4, 4, 4]
    shares[0] = np.nan
    assert sum(part.videos for part in by_size(sizes, shares, labels)) == 11, "what was never asked is left out"


def test_quarters_are_in_the_order_of_the_margins():
    margins = np.array([3.0, 0.0, 2.0, 1.0] * 5) + np.arange(20) / 1000
    parts = by_margin(margins, (margins > 1.9).astype(float))
    assert [part.accuracy for part in parts] == [0, 0, 1, 1]
    assert [part.videos for part in parts] == [5] * 4
    assert "+100.00 points, more than the choice of episodes" in gap_in_words(parts[0], parts[-1], "episodes")
    lone = Part("one", 1.0, 1, 0.5, None)
    assert gap_in_words(lone, parts[0], "videos") == "−50.00 points, of too few videos to tell"
    assert lone.cells() == ["one", "1.00", "1", "50.00"]


def test_sizes_are_those_of_the_boxes_inside_the_input_else_of_what_moves(bank):
    _, _, _, reader = bank
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [-1.0, 0.0, 0.25, 1.0]]).unsqueeze(1).expand(2, 4, 4)
    sizes, how = target_sizes(reader, ("a", "b"), boxes)
    assert sizes == pytest.approx([0.5, 0.5]) and "box" in how
    clips = {name: np.zeros((3, 20, 20, 3), np.uint8) for name in ("still", "square")}
    for t in range(3):
        clips["square"][t, :10, :10] = 200 * (t % 2)
    sizes, how = target_sizes(SimpleNamespace(evaluation=clips.get), ("still", "square"), None)
    assert sizes == pytest.approx([0, 0.5]) and "moves" in how
