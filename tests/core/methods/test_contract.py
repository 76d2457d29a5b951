"""The contract of every method, with and without key regions: encode each video once, match many episodes."""

from functools import cache
from itertools import product

import pytest
import torch
from core_parts import (
    FRAMES,
    SIDE,
    SIZE,
    random_clips,
    random_index,
    relative_error,
    seeded,
    small_config,
    split_episode,
)
from torch import Tensor

from fsar_cli.config import Config, ModelConfig
from fsar_cli.core.build import build_method
from fsar_cli.core.features import FrameFeatures
from fsar_cli.core.method import Encoded, FewShotMethod, Scores
from fsar_cli.core.methods import METHODS

WAY, SHOT, QUERIES = 3, 2, 4
VIDEOS = 11
TOLERANCE = 1e-4  # of the largest logit: sums in another order

# A method by its label: `trx`, `trx+region`, `keyregion`, `keyregion-noregion`; where nothing is said: the default.
LABELS = {ModelConfig(method=m, region={"enabled": r}).label: (m, r) for m in METHODS for r in (False, True, None)}

pytestmark = [pytest.mark.parametrize("name", list(LABELS)), pytest.mark.usefixtures("tiny")]


def config(name: str, **changes: object) -> Config:
    method, region = LABELS[name]
    few_steps = {"model.ata.steps": 3}
    return small_config(**few_steps | {"model.method": method, "model.region.enabled": region} | changes)


def has_regions(name: str) -> bool:
    return name == "keyregion" or name.endswith("+region")


@cache
def trained_like(name: str) -> FewShotMethod:
    """The method with every parameter nudged, so that none is still at a zero it was initialised with."""
    method = build_method(config(name))
    generator = seeded(7)
    with torch.no_grad():
        for parameter in method.parameters():
            spread = parameter.std() if parameter.numel() > 1 else torch.tensor(1.0)
            parameter += 0.1 * (spread + 0.1) * torch.randn(parameter.shape, generator=generator)
    return method.eval()


@cache
def make_bank(name: str) -> Encoded:
    with torch.no_grad():
        return trained_like(name).encode(random_clips(VIDEOS, FRAMES, SIZE))


def match(name: str, support: Tensor, query: Tensor) -> Tensor:
    bank = make_bank(name)
    with torch.no_grad():
        return trained_like(name).match(bank.take(support), bank.take(query)).logits


def test_encode_keeps_one_axis_of_videos_and_match_scores_every_query(name: str) -> None:
    bank = make_bank(name)
    assert bank.shape == (VIDEOS,)
    for episodes, way, shot, queries in ((2, WAY, SHOT, QUERIES), (1, 2, 1, 1), (1, 5, 1, 2), (1, 2, 4, 3)):
        support, query = random_index(episodes, way, shot, queries, VIDEOS)
        scores = trained_like(name).match(bank.take(support), bank.take(query))
        assert isinstance(scores, Scores)
        for tensor in (scores.logits, *scores.parts.values()):
            assert tensor.shape == (episodes, queries, way)
            assert tensor.isfinite().all()
        assert scores.logits.std() > 0


def test_the_method_is_the_one_asked_for_and_names_its_paper(name: str) -> None:
    assert type(trained_like(name)) is METHODS[LABELS[name][0]]
    assert trained_like(name).paper[-4:].isdigit()


def test_with_regions_a_frame_has_global_and_local_features_and_a_box(name: str) -> None:
    with_regions = has_regions(name)
    clips = random_clips(VIDEOS, FRAMES, SIZE)
    features = trained_like(name).features
    frames, backbones = features(clips).frames, features.backbones()
    assert len(backbones) == 1 + with_regions
    assert frames.shape == (VIDEOS, FRAMES, sum(backbone.dim for backbone in backbones))
    expected = features.global_backbone(clips).mean((3, 4))
    assert relative_error(frames[..., : backbones[0].dim], expected) < TOLERANCE
    assert ("boxes" in make_bank(name)) == with_regions
    if with_regions:
        sides = make_bank(name)["boxes"][..., 2:] - make_bank(name)["boxes"][..., :2]
        torch.testing.assert_close(sides, torch.full_like(sides, SIDE / SIZE))


def test_no_information_crosses_videos(name: str) -> None:
    clips, bank = random_clips(VIDEOS, FRAMES, SIZE), make_bank(name)
    with torch.no_grad():
        for v in (0, VIDEOS - 1):
            alone = trained_like(name).encode(clips[v : v + 1])
            for key, tensor in alone.tensors.items():
                assert relative_error(tensor[0].float(), bank[key][v].double()) < TOLERANCE, key


def test_a_batch_of_episodes_and_queries_is_each_query_alone(name: str) -> None:
    """So neither the order of episodes nor that of queries counts."""
    support, query = random_index(2, WAY, SHOT, QUERIES, VIDEOS)
    together = match(name, support, query)
    for e, q in product(range(2), range(QUERIES)):
        alone = match(name, support[e : e + 1], query[e : e + 1, q : q + 1])
        assert relative_error(alone[0, 0], together[e, q]) < TOLERANCE


def test_permuting_classes_permutes_the_logits(name: str) -> None:
    support, query = random_index(2, WAY, SHOT, QUERIES, VIDEOS)
    order = [2, 0, 1]
    assert relative_error(match(name, support[:, order], query), match(name, support, query)[..., order]) < TOLERANCE


def test_permuting_shots_changes_nothing(name: str) -> None:
    support, query = random_index(2, WAY, 3, 2, VIDEOS)
    assert relative_error(match(name, support[:, :, [2, 0, 1]], query), match(name, support, query)) < TOLERANCE


def test_distances_of_pairs_known_beforehand_change_nothing(name: str) -> None:
    """Computed once for all videos, without the tensors they were computed from."""
    method, bank = trained_like(name), make_bank(name)
    support, query = random_index(3, WAY, SHOT, QUERIES, VIDEOS)
    with torch.no_grad():
        table = method.pairs(bank, bank)
        pairs = {part: found[query[:, :, None, None], support[:, None]] for part, found in table.items()}
        rest = [key for key in bank.tensors if not table or key not in method.pair_tensors]
        left = bank.only(rest) if rest else Encoded({"position": torch.arange(VIDEOS)})
        scores = method.match(left.take(support), left.take(query), pairs=pairs or None)
        plain = method.match(bank.take(support), bank.take(query))
    assert bool(table) == bool(method.pair_tensors)
    assert all(found.shape == (VIDEOS, VIDEOS) for found in table.values())
    for part, expected in plain.everything().items():
        assert relative_error(scores.everything()[part], expected) < TOLERANCE


@pytest.mark.parametrize("shot", [1, 2])
def test_a_query_that_is_the_support_of_a_class_wins(name: str, shot: int) -> None:
    """All shots of class n are video n, which is also query n.

    Of features that differ clearly: OTAM's soft minimum also counts how many alignments are good, so that among frames
    nearly alike the stillest video wins.
    """
    method = trained_to_compare(name) if LABELS[name][0] in LEARN_TO_COMPARE else trained_like(name)
    with torch.no_grad():
        logits = match_with_itself(method, shot).logits
    assert logits.argmax(-1).tolist() == [[0, 1, 2, 3, 4]]


# What their comparison makes of two videos, equal or not, is up to training.
LEARN_TO_COMPARE = {"arn"}


def match_with_itself(method: FewShotMethod, shot: int, seed: int = 3) -> Scores:
    videos = torch.arange(5)
    maps = [torch.randn(5, FRAMES, b.dim, 4, 4, generator=seeded(seed)) for b in method.features.backbones()]
    found = FrameFeatures(torch.cat([m.sum((3, 4)) / 4 for m in maps], -1), *maps)  # of the frames: deviation 1
    bank = method.embed(Encoded(method.keep(found)), seeded(seed))
    return method.match(bank.take(videos.view(1, 5, 1).expand(1, 5, shot)), bank.take(videos.view(1, 5)))


@cache
def trained_to_compare(name: str) -> FewShotMethod:
    method = build_method(config(name))
    optimizer = torch.optim.Adam([p for n, p in method.named_parameters() if not n.startswith("features")], 3e-3)
    for step in range(40):
        optimizer.zero_grad()
        method.loss(match_with_itself(method, 1, seed=100 + step), torch.arange(5).view(1, 5)).backward()
        optimizer.step()
    return method.eval()


def test_evaluation_has_no_state_and_no_randomness(name: str) -> None:
    method, clips = trained_like(name), random_clips(2, FRAMES, SIZE)
    support, query = random_index(2, WAY, SHOT, QUERIES, VIDEOS)
    before, first = torch.get_rng_state(), match(name, support, query)
    match(name, support.flip(1), query.flip(1))
    assert torch.equal(match(name, support, query), first)
    with torch.no_grad():
        encoded = method.encode(clips)
        again = method.encode(clips)
    assert all(torch.equal(encoded[key], again[key]) for key in encoded.tensors)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("training", [True, False])
def test_still_and_empty_videos_give_numbers(name: str, training: bool) -> None:
    """A black and a white video both as support and as queries: finite logits, loss and gradients."""
    clips = random_clips(WAY + 2, FRAMES, SIZE)
    clips[0] = clips[-1] = 0
    clips[1] = clips[-2] = 1
    method = build_method(config(name)).train(training)
    support, query = split_episode(method.encode(clips, seeded(0)), WAY, 1)
    scores = method.match(support, query)
    loss = method.loss(scores, torch.tensor([[1, 0]]))
    loss.backward()
    assert scores.logits.isfinite().all() and loss.isfinite()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_bank_in_half_precision_keeps_clear_predictions(name: str, dtype: torch.dtype) -> None:
    bank, (support, query) = make_bank(name).to(dtype=dtype), random_index(4, WAY, SHOT, QUERIES, VIDEOS)
    with torch.no_grad():
        found = trained_like(name).match(bank.take(support), bank.take(query)).logits.float()
    expected = match(name, support, query)
    best = expected.topk(2, dim=-1).values
    clear = best[..., 0] - best[..., 1] > 0.05 * expected.std()
    assert found.isfinite().all() and clear.float().mean() > 0.5
    assert torch.equal(found.argmax(-1)[clear], expected.argmax(-1)[clear])


# Training


def train_episode(method: FewShotMethod, seed: int) -> Tensor:
    support, query = split_episode(method.encode(random_clips(8, FRAMES, SIZE), seeded(seed)), WAY, 2)
    scores = method.match(support, query)
    return method.loss(scores, torch.tensor([[0, 1]]), classes=torch.tensor([[4, 0, 2]]))


def test_every_parameter_learns(name: str) -> None:
    method = build_method(config(name))
    method.load_state_dict(trained_like(name).state_dict())
    train_episode(method, 0).backward()
    idle = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_training_follows_its_generator_alone(name: str) -> None:
    method = build_method(config(name, **{"model.match.dropout": 0.2, "model.region.random_probability": 0.5}))
    losses = []
    for ambient in (1, 2):
        torch.manual_seed(ambient)
        losses.append(train_episode(method, 3).item())
    assert losses[0] == losses[1]


def test_the_loss_sums_or_averages_over_queries(name: str) -> None:
    method = trained_like(name).train()
    support, query = split_episode(method.encode(random_clips(8, FRAMES, SIZE), seeded(0)), WAY, 2)
    scores, labels = method.match(support, query), torch.tensor([[0, 1]])
    method.eval()
    total, mean = (method.loss(scores, labels, reduction).item() for reduction in ("sum", "mean"))
    assert total == pytest.approx(2 * mean, rel=1e-5)


def test_a_small_step_lowers_the_loss_of_its_episode(name: str) -> None:
    method = build_method(config(name))
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1e-4)
    loss = train_episode(method, 0)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        assert train_episode(method, 0) < loss
