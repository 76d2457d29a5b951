"""MoLo: motion, contrasts and losses against float64 loops; what is kept of a video; what only training has."""

import math

import pytest
import torch
import torch.nn.functional as F
from core_parts import random_clips, seeded, small_config
from oracles.matching import hausdorff_distance
from torch import Tensor

from fsar_cli.core.build import build_method
from fsar_cli.core.features import Features, FrameFeatures
from fsar_cli.core.method import Encoded
from fsar_cli.core.methods.molo import MoLo, MotionBranch, MotionDecoder, changes_of
from fsar_cli.errors import UsageError

T, D, WAY, SHOT, SIDE = 4, 16, 3, 2, 3


def method(classes: int | None = None, class_weight: float | None = None) -> MoLo:
    features = Features()
    features.steps = T
    features.dim = D
    torch.manual_seed(0)
    changes = {"clip.frames": T, "model.classes": classes, "model.class_weight": class_weight}
    built = MoLo.from_config(small_config(**changes), features)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    return built.double()


def described(count: int, seed: int = 0) -> Encoded:
    maps = torch.randn(count, T, D, SIDE, SIDE, generator=seeded(seed), dtype=torch.float64)
    changes = torch.randn(count, T - 1, 3, 8 * SIDE, 8 * SIDE, generator=seeded(seed + 1), dtype=torch.float64)
    return Encoded({"frames": maps.mean((3, 4)), "maps": maps, "changes": changes})


def padded(frames: Tensor, t: int) -> Tensor:
    """Frame t of [T,C,h,w], black beyond the ends, with a black border."""
    frame = frames[t] if 0 <= t < len(frames) else torch.zeros_like(frames[0])
    return F.pad(frame, (1, 1, 1, 1))


@torch.no_grad()
def test_motion_is_the_shifted_map_minus_the_one_before():
    branch = MotionBranch(D).double()
    maps = described(2)["maps"]
    found = branch(maps)
    assert found.shape == (2, T - 1, D // 8, SIDE, SIDE)
    for b in range(2):
        reduced = torch.zeros(T, D // 8, SIDE, SIDE, dtype=torch.float64)
        for t in range(T):
            for c in range(D // 8):
                for y in range(SIDE):
                    for x in range(SIDE):
                        cut = torch.stack(
                            [padded(maps[b], t + s)[:, y : y + 3, x : x + 3] for s in (-1, 0, 1)], 1
                        )  # [D,3,3,3]
                        reduced[t, c, y, x] = (cut * branch.reduce.weight[c]).sum() + branch.reduce.bias[c]
        for t in range(T - 1):
            shifted = F.conv2d(reduced[t + 1].unsqueeze(0), branch.shift.weight, branch.shift.bias, padding=1)[0]
            torch.testing.assert_close(found[b, t], shifted - reduced[t])
    cells = torch.einsum("btchw,dc->btdhw", found, branch.widen.weight.flatten(1))
    expected = (cells + branch.widen.bias.view(-1, 1, 1)).relu().mean((3, 4))
    torch.testing.assert_close(branch.features(found), expected)


def test_changes_are_differences_of_frames_at_a_quarter_of_the_side():
    clips = torch.rand(2, 3, 3, 16, 16, generator=seeded(0))
    found = changes_of(clips)
    assert found.shape == (2, 2, 3, 4, 4)
    cell = clips[1, 2, 0, 4:8, 12:16].mean() - clips[1, 1, 0, 4:8, 12:16].mean()
    assert found[1, 1, 0, 1, 3].item() == pytest.approx(cell.item(), rel=1e-5)
    assert not changes_of(clips[:, :1].expand(-1, 3, -1, -1, -1)).any()  # a still video


@torch.no_grad()
def test_the_decoder_is_judged_by_its_squared_error_video_by_video():
    decoder, motion = MotionDecoder(2).double(), torch.randn(2, 3, 2, 4, 4, generator=seeded(1), dtype=torch.float64)
    drawn = decoder.layers(motion.flatten(0, 1)).unflatten(0, (2, 3))
    assert drawn.shape == (2, 3, 3, 32, 32)
    assert decoder.error(motion, drawn).max() == 0
    off = drawn + torch.tensor([1.0, 2.0]).view(2, 1, 1, 1, 1)
    torch.testing.assert_close(decoder.error(motion, off), torch.tensor([1.0, 4.0], dtype=torch.float64))
    # a backbone whose map is not a 32nd of the frame: compared at the size of the changes
    assert decoder.error(motion, torch.zeros(2, 3, 3, 28, 28, dtype=torch.float64)).shape == (2,)


def test_maps_are_kept_with_at_most_seven_cells_a_side_and_regions_beside_them():
    built = method()
    maps, local = torch.rand(2, T, 10, 9, 9), torch.rand(2, T, 6, 4, 4)
    kept = built.keep(FrameFeatures(torch.zeros(2, T, 16), maps, local))
    assert kept["maps"].shape == (2, T, 16, 7, 7)
    torch.testing.assert_close(kept["maps"][1, 2, :10], F.adaptive_avg_pool2d(maps[1, 2], 7))
    torch.testing.assert_close(kept["maps"][1, 2, 10:], F.adaptive_avg_pool2d(local[1, 2], 7))
    assert built.keep(FrameFeatures(torch.zeros(2, T, 10), maps[..., :5, :5]))["maps"].equal(maps[..., :5, :5])


@pytest.mark.usefixtures("tiny")
def test_changes_are_kept_in_evaluation_too_for_heads_trained_on_what_it_described():
    clips = random_clips(2)
    found = build_method(small_config(**{"model.method": "molo"})).eval().describe(clips)
    assert set(found.tensors) == {"frames", "maps", "changes"}
    assert torch.equal(found["changes"], changes_of(clips))


def slow_distance(frames: Tensor, token: Tensor) -> float:
    return sum(1 - F.cosine_similarity(frame, token, dim=0).item() for frame in frames)


def episode(built: MoLo, encoded: Encoded):
    support, query = torch.arange(6).view(1, WAY, SHOT), torch.tensor([[6, 7]])
    return built.match(encoded.take(support), encoded.take(query))


@torch.no_grad()
def test_scores_are_those_of_loops_over_queries_and_classes():
    built = method(classes=6).train()
    encoded = built.embed(described(8), seeded(0))
    scores = episode(built, encoded)
    assert encoded["frames"].shape == (8, T, D) and encoded["motion"].shape == (8, T - 1, D)
    for q in range(2):
        for n in range(WAY):
            video = {name: x[6 + q] for name, x in encoded.tensors.items()}
            mean = {name: x[2 * n : 2 * n + 2].mean(0) for name, x in encoded.tensors.items()}
            distance = {name: hausdorff_distance(video[name], mean[name]).item() for name in ("frames", "motion")}
            expected = {
                "logits": -(distance["frames"] + 0.3 * distance["motion"]),
                "frames": -distance["frames"],
                "motion": -distance["motion"],
            }
            for name in distance:
                scale = built.branches[name].scale.item()
                expected[f"{name}_to_query_token"] = -scale * slow_distance(mean[name], video[f"{name}_token"])
                expected[f"{name}_to_class_token"] = -scale * slow_distance(video[name], mean[f"{name}_token"])
            assert set(expected) == set(scores.everything())
            for name, value in expected.items():
                assert scores.everything()[name][0, q, n].item() == pytest.approx(value, rel=1e-6), name


def test_the_loss_is_the_sum_of_its_parts():
    built = method(classes=6, class_weight=0.25).train()
    encoded = built.embed(described(8), seeded(0))
    scores, labels, classes = episode(built, encoded), torch.tensor([[1, 2]]), torch.tensor([[4, 0, 5]])

    def entropy(logits: list[float], c: int) -> float:
        return math.log(sum(map(math.exp, logits))) - logits[c]

    expected = sum(entropy(scores.logits[0, q].tolist(), c) for q, c in enumerate([1, 2])) / 2
    for name, part in scores.parts.items():
        if name.endswith("_token"):
            expected += 0.05 * sum(entropy(part[0, q].tolist(), c) for q, c in enumerate([1, 2])) / 2
    truth = [4, 4, 0, 0, 5, 5, 0, 5]
    found = [entropy(row, c) for row, c in zip(encoded["class_scores"].tolist(), truth, strict=True)]
    expected += 0.25 * sum(found) / 8 + 0.1 * sum(encoded["reconstruction"].tolist()) / 8
    assert built.loss(scores, labels, "mean", classes).item() == pytest.approx(expected)
    assert built.loss(scores, labels, "sum", classes).item() == pytest.approx(2 * expected)


def test_all_tokens_of_both_branches_are_classified():
    """The classifier sees the mean over the token and the frames, plus that over the token and the motions."""
    built = method(classes=6).train()
    encoded = built.embed(described(3), seeded(0))
    mean = sum(
        (encoded[f"{name}_token"] + encoded[name].sum(1)) / (1 + encoded[name].shape[1])
        for name in ("frames", "motion")
    )
    torch.testing.assert_close(encoded["class_scores"], built.classifier(mean))


@torch.no_grad()
def test_evaluation_keeps_frames_and_motion_alone_and_needs_no_pixels():
    built = method(classes=6).eval()
    kept = described(8)
    encoded = built.embed(kept)
    assert set(encoded.tensors) == {"frames", "motion"}
    assert torch.equal(built.embed(kept.only(["frames", "maps"]))["motion"], encoded["motion"])
    scores = episode(built, encoded)
    assert set(scores.parts) == {"frames", "motion"} and scores.extras == {}


def test_clips_of_another_length_are_refused():
    wrong = torch.zeros(1, 5, D, SIDE, SIDE, dtype=torch.float64)
    with pytest.raises(UsageError, match="MoLo was built for clips of 4 frames, not 5"):
        method().embed(Encoded({"frames": wrong.mean((3, 4)), "maps": wrong}))


@torch.no_grad()
def test_a_branch_is_a_transformer_layer_over_token_and_frames():
    branch = method().eval().branches["frames"]
    frames = described(2)["frames"]
    x = torch.stack([torch.cat([branch.token.unsqueeze(0), video]) for video in frames]) + branch.positions.encoding
    seen = branch.layer.attention(x)
    units = branch.layer.widen(seen)
    units = units * (1 + torch.erf(units / math.sqrt(2))) / 2
    torch.testing.assert_close(branch(frames), (seen + branch.layer.narrow(units)).clamp_min(0))
