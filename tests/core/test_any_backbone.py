"""One contract for networks of images and of video: three methods on four kinds of backbone, with key regions."""

from copy import deepcopy
from functools import cache, partial

import pytest
import torch
import torchvision
from core_parts import random_clips, relative_error, seeded
from torch import Tensor
from torchvision.models.video.mvit import MSBlockConfig, MViT

from fsar_cli.core.backbones import video
from fsar_cli.core.build import build_method
from fsar_cli.core.method import BOXES, FRAMES, Encoded, FewShotMethod
from fsar_cli.core.regions import Regions
from fsar_cli.settings import resolve

METHODS = ("prototype", "trx", "keyregion")
FRAMES_AND_STEPS = {"mobilenet_v3_small": (4, 4), "mc3_18": (4, 4), "mvit_v2_s": (8, 4), "i3d": (16, 2)}
SIDE, REGION = 64, 32


def small_mvit(name: str, make, **options):
    """torchvision's MViT for clips of 8 frames of 64 px, with two blocks, of which the second halves the map."""
    if not name.startswith("mvit"):
        return make(name, **options)
    pools = {"kernel_q": [3, 3, 3], "kernel_kv": [3, 3, 3], "stride_kv": [1, 2, 2]}
    blocks = [
        MSBlockConfig(1, 16, 16, stride_q=[1, 1, 1], **pools),
        MSBlockConfig(2, 16, 32, stride_q=[1, 2, 2], **pools),
    ]
    like_v2 = {"residual_pool": True, "residual_with_cls_embed": False, "rel_pos_embed": True, "proj_after_attn": True}
    return MViT((64, 64), 8, blocks, num_classes=5, **like_v2)


@pytest.fixture(params=FRAMES_AND_STEPS)
def backbone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    make = torchvision.models.get_model
    if request.param.startswith("mvit"):
        monkeypatch.setattr(torchvision.models, "get_model", partial(small_mvit, make=make))
        monkeypatch.setattr(video, "FRAMES", 8)
        monkeypatch.setattr(video, "SIDE", SIDE)
    return request.param


def built(method: str, backbone: str) -> FewShotMethod:
    """A copy: making one takes seconds."""
    return deepcopy(_built(method, backbone))


@cache
def _built(method: str, backbone: str) -> FewShotMethod:
    flags = {
        "model.backbone": backbone, "model.weights": "none", "model.method": method, "model.region.enabled": True,
        "clip.frames": FRAMES_AND_STEPS[backbone][0], "clip.size": SIDE, "clip.short_side": SIDE,
        "model.region.side": REGION, "model.region.random_probability": 0.0, "model.region.gain": 1e-3,
        "model.match.cardinalities": (2,), "model.match.key_dim": 12, "model.match.dropout": 0.0,
        "model.region.stop_gradient": False,
    }  # fmt: skip
    return lively(build_method(resolve(flags=flags, environ={}).config))


def lively(method: FewShotMethod) -> FewShotMethod:
    """With the batch statistics of some clips: those of initialisation make deep features vanish."""
    for module in method.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        method.train().encode(clips_of(method, 3, seed=9), seeded(0))
    return method.eval()


def clips_of(method: FewShotMethod, videos: int, seed: int = 0) -> Tensor:
    backbone = method.features.backbones()[0]
    return random_clips(videos, getattr(backbone, "step", 1) * method.features.steps, SIDE, seed)


@pytest.mark.parametrize("name", METHODS)
def test_steps_are_what_a_method_sees_and_no_clip_sees_another(name: str, backbone: str) -> None:
    method = built(name, backbone)
    steps, clips = FRAMES_AND_STEPS[backbone][1], clips_of(method, 3)
    with torch.no_grad():
        described, encoded = method.describe(clips), method.encode(clips)
        alone = Encoded.cat([method.encode(clip.unsqueeze(0)) for clip in clips])
    assert method.features.steps == steps
    assert described[FRAMES].shape == (3, steps, method.features.dim) and encoded[BOXES].shape == (3, steps, 4)
    for key, tensor in encoded.tensors.items():
        assert relative_error(alone[key].float(), tensor.float()) < 1e-4, key
    assert not torch.allclose(described[FRAMES][0], described[FRAMES][1])


@pytest.mark.parametrize("name", METHODS)
def test_scores_follow_the_order_of_queries_and_classes(name: str, backbone: str) -> None:
    method = built(name, backbone)
    with torch.no_grad():
        encoded = method.encode(clips_of(method, 6))
        support, query = torch.tensor([[[0, 1], [2, 3]]]), torch.tensor([[4, 5]])
        scores = method.match(encoded.take(support), encoded.take(query)).logits
        turned = method.match(encoded.take(support.flip(1, 2)), encoded.take(query.flip(1))).logits
    assert scores.shape == (1, 2, 2) and relative_error(turned.flip(1, 2), scores) < 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_gradients_reach_both_backbones_and_the_relation_through_the_crop(name: str, backbone: str) -> None:
    method = built(name, backbone).train()
    encoded = method.encode(clips_of(method, 3))
    scores = method.match(encoded.take(torch.tensor([[[0], [1]]])), encoded.take(torch.tensor([[2]])))
    method.loss(scores, torch.tensor([[0]])).backward()
    for part in (method.features.relation, *method.features.backbones()):
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert gradients and all(bool(g.isfinite().all()) for g in gradients)
        assert max(float(g.abs().max()) for g in gradients) > 0, type(part).__name__


@pytest.mark.parametrize("axis", [0, 1])
def test_the_slope_of_the_tube_is_that_of_moving_its_centre(backbone: str, axis: int) -> None:
    """Central differences in float64: a step's centre moves, all its frames with it."""
    method = built("prototype", backbone).double()
    features, clips = method.features, clips_of(method, 1).double()
    steps = features.steps
    centres = torch.full((1, steps, 2), 30.3, dtype=torch.float64, requires_grad=True)

    def local(where: Tensor) -> Tensor:
        maps = features._local(clips, Regions(where, None, None), REGION)
        return (maps.flatten() * torch.linspace(-1, 2, maps.numel())).sum()  # a sum of squares says little behind norms

    moved = torch.zeros_like(centres)
    moved[0, steps // 2, axis] = 1e-7
    with torch.no_grad():
        slope = (local(centres + moved) - local(centres - moved)) / 2e-7
    local(centres).backward()
    assert float(centres.grad[0, steps // 2, axis]) == pytest.approx(float(slope), rel=1e-2)


def test_that_regions_are_resized_is_said(backbone: str) -> None:
    remark = built("trx", backbone).features.remark
    expected = "key regions of 32 px are resized to the 64 px that their network takes"
    assert remark == (expected if backbone.startswith("mvit") else "")
