"""Configuration -> method: every option does what it says and nothing else, every row of Tables 2 and 3 trains."""

from functools import cache
from typing import Any

import pytest
import torch
from core_parts import FRAMES, SIZE, random_clips, relative_error, seeded, small_config, split_episode, tiny_backbone
from torch import Tensor

from fsar_cli.config import KEYS, Config
from fsar_cli.core import build
from fsar_cli.core.build import build_method, normalization, remark_on_weights, seen_by_weights
from fsar_cli.core.method import FewShotMethod
from fsar_cli.errors import UsageError
from fsar_cli.recipes import IMAGENET

WAY, SHOT, QUERIES = 3, 2, 4
LABELS = torch.tensor([[0, 1, 2, 0]])
CLIPS = random_clips(WAY * SHOT + QUERIES)


def episode_loss(method: FewShotMethod, seed: int = 0) -> Tensor:
    support, query = split_episode(method.encode(CLIPS, seeded(seed)), WAY, SHOT)
    return method.loss(method.match(support, query), LABELS, classes=torch.arange(WAY).unsqueeze(0))


def observe(method: FewShotMethod) -> dict[str, Any]:
    """What an option could change: parameters, cells and boxes, prediction, training loss and its gradients."""
    seen: dict[str, Any] = {"parameters": sorted((n, tuple(p.shape)) for n, p in method.named_parameters())}
    saved = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    method.eval()
    with torch.no_grad():
        found = method.features(CLIPS)
        support, query = split_episode(method.encode(CLIPS), WAY, SHOT)
        seen |= {"cells": found.cells, "boxes": found.regions and found.regions.boxes}
        seen["logits"] = method.match(support, query).logits
    method.train()
    method.zero_grad()
    loss = episode_loss(method)
    loss.backward()
    seen["loss"] = loss.detach()
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    seen["global gradient"] = gradients.get("features.global_backbone.trunk.0.weight")
    seen["local gradient"] = gradients.get("features.local_backbone.trunk.0.weight")
    seen["relation gradient"] = gradients.get("features.relation.motion.reduce.weight")
    seen["statistics"] = method.state_dict()["features.global_backbone.trunk.1.running_mean"].clone()
    method.load_state_dict(saved)
    return seen


def differences(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    def differs(a: Any, b: Any) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return a.shape != b.shape or relative_error(a, b) > 1e-5
        return (a is None) != (b is None) or (not isinstance(a, Tensor) and a != b)

    return {name for name in first if differs(first[name], second[name])}


@cache
def small_method(under: tuple[tuple[str, Any], ...]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and observation of the small method with some settings."""
    method = build_method(small_config(**dict(under)))
    return method.state_dict(), observe(method)


def changed_by(option: dict[str, Any], under: dict[str, Any]) -> set[str]:
    """What differs between the small method and the same with one option, where they share their weights."""
    given, expected = small_method(tuple(under.items()))
    changed = build_method(small_config(**under | option))
    own = changed.state_dict()
    changed.load_state_dict(own | {n: t for n, t in given.items() if n in own and t.shape == own[n].shape})
    return differences(expected, observe(changed))


GRADIENTS = {"global gradient", "local gradient", "relation gradient"}
LOSS = {"loss"} | GRADIENTS
LOGITS = LOSS | {"logits"}
BOXES = LOGITS | {"boxes"}
CELLS = BOXES | {"cells"}
SATURATING = {"model.region.gain": 5.0}
RANDOM = {"model.region.random_probability": 1.0}
OPTIONS: list[tuple[str, Any, set[str], dict[str, Any]]] = [
    # key, value, what it changes, under which other settings
    ("model.relation.temporal", False, CELLS | {"parameters"}, {}),
    ("model.relation.motion", False, CELLS | {"parameters"}, {}),
    ("model.relation.bias", True, CELLS | {"parameters"}, {}),
    ("model.relation.residual", True, CELLS, {}),
    ("model.region.enabled", False, CELLS | {"parameters"}, {}),
    ("model.region.side", 20, BOXES, {}),
    ("model.region.side", (16, 20), LOGITS, {}),
    ("model.region.side", (20, 16), BOXES, {}),
    ("model.region.selector", "adafocus", CELLS | {"parameters"}, {}),
    ("model.region.source", "difference", CELLS | {"parameters"}, {}),
    ("model.region.weights", "softmax", BOXES, {}),
    ("model.region.weights", "l1", BOXES, {}),
    ("model.region.gain", 0.4, BOXES, {}),
    ("model.region.gain", "learnt", {"parameters"}, {"model.region.gain": 1.0}),
    ("model.region.clamp", "tanh", BOXES, SATURATING),
    ("model.region.clamp", "straight_through", {"relation gradient"}, SATURATING),
    ("model.region.stop_gradient", False, {"global gradient"}, {}),
    ("model.region.random_probability", 1.0, LOSS, {}),
    ("model.region.random_kind", "uniform_centre", LOSS - {"relation gradient"}, RANDOM),
    ("model.match.cardinalities", (2,), LOGITS | {"parameters"}, {}),
    ("model.match.key_dim", 8, LOGITS | {"parameters"}, {}),
    ("model.match.dropout", 0.3, LOSS, {}),
    ("model.match.position_scale", 1.0, LOGITS, {}),
    ("model.match.heads", "joint", LOGITS | {"parameters"}, {}),
    ("model.match.temporal_weight", 0.0, LOGITS, {}),
    ("model.match.temporal_test_weight", 0.0, {"logits"}, {}),
    ("model.match.hausdorff", "mean", LOGITS, {}),
    ("model.match.hausdorff", "dim", LOGITS, {}),
    ("model.match.auxiliary", False, LOSS | {"parameters"}, {}),
    ("model.match.root", True, LOGITS, {}),
    ("model.match.metric", "cosine", {"loss", "logits", "global gradient"}, {"model.method": "prototype"}),
    ("model.arn.channels", 20, {"loss", "logits", "global gradient", "parameters"}, {"model.method": "arn"}),
    ("model.arn.alignment", 0.0, {"loss", "global gradient"}, {"model.method": "arn"}),
    ("model.ata.steps", 5, {"logits"}, {"model.method": "ata"}),
    ("model.ata.lr", 1e-2, {"logits"}, {"model.method": "ata"}),
    ("model.ata.dropout", 0.1, {"loss", "global gradient"}, {"model.method": "ata"}),
    ("model.classes", 9, {"loss", "global gradient", "parameters"}, {"model.method": "hyrsm"}),
    ("model.class_weight", 1.0, {"loss", "global gradient"}, {"model.method": "molo"}),
    ("model.freeze_backbone", True, LOSS | {"statistics"}, {}),
    ("model.freeze_batchnorm", True, LOSS | {"statistics"}, {}),
]
ELSEWHERE = {  # options of which networks come in, tested below; whitening has a file of its own
    "model.method",
    "model.backbone",
    "model.weights",
    "model.local_weights",
    "model.normalize",
    "model.match.whiten",
    "model.match.whiten_shrinkage",
    "model.match.whiten_groups",
}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("key", "value", "changes", "under"), OPTIONS, ids=[f"{o[0][6:]}={o[1]}" for o in OPTIONS])
def test_an_option_changes_what_it_says_and_nothing_else(
    key: str, value: Any, changes: set[str], under: dict[str, Any]
) -> None:
    assert changed_by({key: value}, under) == changes


def test_every_option_of_the_model_is_tested_here() -> None:
    assert {key for key in KEYS if key.startswith("model.")} == {option[0] for option in OPTIONS} | ELSEWHERE


# The networks that come in


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Records which backbones are built: name and weights."""
    calls: list[tuple[str, str]] = []

    def record(name: str, weights: str) -> Any:
        calls.append((name, weights))
        return tiny_backbone()

    monkeypatch.setattr(build, "build_backbone", record)
    return calls


def test_both_backbones_get_the_weights_unless_the_local_one_has_its_own(built: list[tuple[str, str]]) -> None:
    build_method(small_config(**{"model.backbone": "net", "model.weights": "a.pth"}))
    build_method(small_config(**{"model.backbone": "net", "model.weights": "a.pth", "model.local_weights": "b.pth"}))
    assert built == [("net", "a.pth"), ("net", "a.pth"), ("net", "a.pth"), ("net", "b.pth")]


def test_demo_weights_are_the_file_shipped_with_the_package(built: list[tuple[str, str]]) -> None:
    build_method(small_config(**{"model.weights": "demo"}))
    assert built[0] == ("resnet50", str(build.DEMO_WEIGHTS))


def test_a_build_for_a_checkpoint_reads_no_weights(built: list[tuple[str, str]]) -> None:
    build_method(small_config(**{"model.weights": "imagenet", "model.local_weights": "b.pth"}), pretrained=False)
    assert built == [("resnet50", "none"), ("resnet50", "none")]


@pytest.mark.parametrize(
    ("weights", "normalize", "expected"),
    [
        ("imagenet", None, True),
        ("none", None, False),
        ("x.pth", None, False),
        ("imagenet", False, False),
        ("x", True, True),
    ],
)
def test_frames_are_normalised_with_imagenet_weights_unless_said_otherwise(
    weights: str, normalize: bool | None, expected: bool
) -> None:
    found = normalization(small_config(**{"model.weights": weights, "model.normalize": normalize}).model)
    assert found == (IMAGENET if expected else None)


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown method 'keyregoin'") as caught:
        build_method(small_config(**{"model.method": "keyregoin"}))
    assert caught.value.hint == "did you mean 'keyregion'?"


def test_an_unlike_method_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        build_method(small_config(**{"model.method": "zzz"}))
    assert "keyregion" in caught.value.hint and "trx" in caught.value.hint


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("reduction", ["mean", "dim"])
def test_the_hausdorff_reduction_reaches_bimhm(reduction: str) -> None:
    changes = {"model.method": "bimhm", "model.match.hausdorff": reduction}
    plain, other = build_method(small_config(**{"model.method": "bimhm"})), build_method(small_config(**changes))
    ratio = observe(other)["logits"] / observe(plain)["logits"]
    expected = {"mean": 1 / FRAMES, "dim": 1 / plain.features.dim}[reduction]
    torch.testing.assert_close(ratio, torch.full_like(ratio, expected))


# Key regions for any method


@pytest.mark.usefixtures("tiny")
def test_settings_of_the_region_reach_it_under_any_method() -> None:
    changes = {"model.method": "otam", "model.region.enabled": True}
    assert changed_by({"model.region.side": 20}, changes) == BOXES
    assert changed_by({"model.region.source": "difference"}, changes) == CELLS | {"parameters"}


def test_a_region_as_large_as_the_crop_is_refused_where_there_is_one() -> None:
    small_config(**{"model.method": "trx", "model.region.side": SIZE})
    for changes in ({"model.method": "trx", "model.region.enabled": True}, {}):
        with pytest.raises(UsageError, match=f"model.region.side {SIZE} must be smaller than clip.size {SIZE}"):
            small_config(**changes | {"model.region.side": SIZE})


@pytest.mark.parametrize(
    ("method", "enabled", "label"),
    [
        ("trx", None, "trx"),
        ("trx", False, "trx"),
        ("trx", True, "trx+region"),
        ("keyregion", True, "keyregion"),
        ("keyregion", None, "keyregion"),
        ("keyregion", False, "keyregion-noregion"),
    ],
)
def test_the_label_names_regions_that_are_not_the_default(method: str, enabled: bool | None, label: str) -> None:
    model = small_config(**{"model.method": method, "model.region.enabled": enabled}).model
    assert model.label == label
    assert model.selects_regions is (label in ("keyregion", "trx+region"))


@pytest.mark.parametrize(("size", "side"), [(32, 16), (224, 16)])
def test_inputs_too_small_for_the_backbone_are_refused_before_any_work(size: int, side: int) -> None:
    changes = {"model.backbone": "squeezenet1_0", "clip.size": size, "model.region.side": side}
    with pytest.raises(UsageError, match=f"{side} x {side} pixels are too few for the backbone 'squeezenet1_0'"):
        build_method(small_config(**changes))


# Building


@pytest.mark.usefixtures("tiny")
def test_the_seed_decides_the_weights_and_the_global_random_state_stays() -> None:
    state = torch.get_rng_state()
    first, again, other = (build_method(small_config(), seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["heads.global.cards.card2.key.weight"], other["heads.global.cards.card2.key.weight"])


@pytest.mark.usefixtures("tiny")
def test_a_saved_state_gives_the_same_method_again() -> None:
    method, other = build_method(small_config(), seed=1), build_method(small_config(), seed=2)
    episode_loss(method)  # moves the batch statistics, which are part of the state
    other.load_state_dict(method.state_dict())
    assert differences(observe(method), observe(other)) == set()


@pytest.mark.usefixtures("tiny")
def test_weights_of_another_number_of_frames_do_not_load_nor_run() -> None:
    method = build_method(small_config())
    longer = build_method(small_config(**{"clip.frames": FRAMES + 2}))
    with pytest.raises(RuntimeError, match=r"relation\.temporal\.mix\.weight"):
        longer.load_state_dict(method.state_dict())
    with pytest.raises(UsageError, match="not 4"):
        longer.encode(CLIPS)


# Tables 2 and 3


def paper(**changes: Any) -> Config:
    """The paper's settings on small inputs, without dropout so that one step can be judged."""
    return small_config(**{"model.region.gain": 1.0, "model.region.random_probability": 0.5} | changes)


NO_RELATION = {"model.relation.temporal": False, "model.relation.motion": False}
BASELINE_LOSS = {"model.match.heads": "joint", "model.match.temporal_weight": 0.0}
NO_TRICKS = {
    "model.region.stop_gradient": False,
    "model.region.random_probability": 0.0,
    "model.match.auxiliary": False,
}
REGION = NO_RELATION | BASELINE_LOSS
ROWS = {
    "table 2, baseline": {"model.method": "trx"},
    "table 2, baseline as a setting": {"model.region.enabled": False} | BASELINE_LOSS,
    "table 2, + region": REGION,
    "table 2, + relation": BASELINE_LOSS,
    "table 2, + refined loss": {},
    "table 3, no trick": REGION | NO_TRICKS,
    "table 3, + stop gradient": REGION | NO_TRICKS | {"model.region.stop_gradient": True},
    "table 3, + extra losses": REGION | {"model.region.random_probability": 0.0},
    "table 3, + random region": REGION,
}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("row", ROWS)
def test_a_small_step_lowers_the_loss_of_its_episode_in_every_row_of_the_tables(row: str) -> None:
    method = build_method(paper(**ROWS[row]))
    assert method.training
    optimizer = torch.optim.SGD(method.parameters(), lr=1e-4)
    loss = episode_loss(method)
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert episode_loss(method) < loss


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("row", ROWS)
def test_every_parameter_learns_in_every_row_of_the_tables(row: str) -> None:
    """With regions that are neither random nor all saturated, which would rightly teach the relation nothing."""
    method = build_method(paper(**ROWS[row] | {"model.region.random_probability": 0.0, "model.region.gain": 0.2}))
    episode_loss(method).backward()
    idle = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("region", [False, True])
def test_the_baseline_as_a_setting_is_trx(region: bool) -> None:
    """With regions too, but for the auxiliary losses."""
    changes = {"model.region.enabled": region, "model.region.random_probability": 0.0}
    trx = build_method(paper(**changes | {"model.method": "trx"}))
    setting = build_method(paper(**changes | BASELINE_LOSS | {"model.match.auxiliary": False}))
    weights = {n.replace("head.", "heads.joint."): t for n, t in trx.state_dict().items()}
    setting.load_state_dict(weights)
    assert torch.allclose(observe(trx)["logits"], observe(setting)["logits"])
    assert torch.allclose(observe(trx)["loss"], observe(setting)["loss"])


@pytest.mark.usefixtures("tiny")
def test_the_whole_method_has_four_cross_transformers_two_of_them_for_training_only() -> None:
    method = build_method(small_config())
    assert set(method.heads) == set(method.auxiliary) == {"global", "local"}
    for training in (True, False):
        encoded = method.train(training).encode(CLIPS, seeded(0))
        support, query = split_episode(encoded, WAY, SHOT)
        assert any(n.startswith("auxiliary") for n in encoded.tensors) is training
        assert any(n.startswith("auxiliary") for n in method.match(support, query).parts) is training


@pytest.mark.usefixtures("tiny")
def test_the_loss_of_the_whole_method_is_equation_12_of_its_parts() -> None:
    method = build_method(small_config(**{"model.match.temporal_weight": 0.7}))
    support, query = split_episode(method.encode(CLIPS, seeded(0)), WAY, SHOT)
    scores = method.match(support, query)

    def entropy(name: str) -> float:
        rows = scores.parts[name][0].detach().double().log_softmax(-1)
        return -sum(float(rows[q, label]) for q, label in enumerate(LABELS[0].tolist()))

    refined = entropy("spatial") + 0.7 * entropy("temporal")
    expected = (refined + entropy("auxiliary_global") + entropy("auxiliary_local")) / 3
    assert method.loss(scores, LABELS).item() == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(scores.logits, scores.parts["spatial"] + 0.7 * scores.parts["temporal"])


def test_a_real_network_builds_at_the_papers_sizes() -> None:
    changes = {"model.backbone": "shufflenet_v2_x0_5", "clip.frames": 8, "clip.size": 224, "model.region.side": 128}
    method = build_method(small_config(**changes)).eval()
    found = method.features(random_clips(1, 8, 224))
    assert found.cells.shape == (1, 8, 7, 7) and found.frames.shape == (1, 8, 2048)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": "none"}, False),
        ({"weights": "demo"}, False),
        ({"weights": "mine.pt"}, True),
        ({"weights": "mine.pt", "normalize": True}, False),
        ({"weights": "mine.pt", "normalize": False}, False),
    ],
)
def test_only_weights_of_unknown_frames_are_remarked_on(changes: dict[str, object], said: bool) -> None:
    remark = remark_on_weights(small_config(**{f"model.{key}": value for key, value in changes.items()}).model)
    assert ("frames are not normalised for the weights of mine.pt" in remark) if said else remark == ""


def test_the_weights_of_the_local_backbone_have_seen_something_too() -> None:
    given = {"model.weights": "none", "model.local_weights": "elsewhere.pt"}
    both = seen_by_weights(small_config(**given).model)
    assert [(seen.classes, bool(seen.source)) for seen in both] == [((), False), (None, True)]
    assert len(seen_by_weights(small_config(**given | {"model.method": "trx"}).model)) == 1
