"""Every method on a GPU that is not there (`fake_cuda`): devices, number types, and nothing that waits.

What needs numbers is in `test_cuda`, on a real GPU: results, gradients, speed.
"""

from functools import partial
from pathlib import Path

import pytest
import torch
from core_parts import FRAMES, SIZE, seeded, small_config
from fake_cuda import CUDA, GpuGenerator, gpu
from torch import Tensor, nn

from fsar_cli.core import method as contract
from fsar_cli.core.build import build_method
from fsar_cli.core.method import BOXES, Encoded, FewShotMethod, Scores
from fsar_cli.core.methods import METHODS
from fsar_cli.core.methods.prototype import Prototype

WAY, SHOT, QUERIES = 3, 2, 2
VIDEOS = WAY * SHOT + QUERIES
regions = pytest.mark.parametrize("region", [False, True], ids=["", "region"])
methods = pytest.mark.parametrize("name", list(METHODS))
HALF = partial(torch.autocast, "cuda", dtype=torch.float16)
TRAINING = {"model.match.dropout": 0.1, "model.region.random_probability": 1.0, "model.ata.steps": 2}


def built(name: str, region: bool, **changes: object) -> FewShotMethod:
    return build_method(small_config(**TRAINING | {"model.method": name, "model.region.enabled": region} | changes))


def clips_of(method: FewShotMethod, size: int = SIZE) -> Tensor:
    steps = getattr(method.features.backbones()[0], "step", 1) * method.features.steps
    return torch.empty(VIDEOS, steps, 3, size, size, device=CUDA)


def trained(method: FewShotMethod) -> tuple[Scores, Tensor]:
    """Scores and loss of a training step in bfloat16, on the GPU without waiting."""
    with gpu() as there:
        clips, classes = clips_of(there.put(method).train()), torch.arange(WAY, device=CUDA).unsqueeze(0)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            encoded = method.encode(clips, GpuGenerator())
            scores = method.match(*episode_of(encoded), classes)
        return scores, method.loss(scores, classes[:, :QUERIES], "sum", classes)


def encoded_and_matched(method: FewShotMethod) -> tuple[Encoded, Scores]:
    """What evaluation makes, in float16, without waiting either."""
    with gpu() as there, torch.no_grad(), HALF():
        encoded = method.encode(clips_of(there.put(method).eval()))
        return encoded, method.match(*episode_of(encoded))


def episode_of(encoded: Encoded) -> tuple[Encoded, Encoded]:
    """The first videos are the support."""
    index = torch.arange(VIDEOS, device=CUDA)
    support, query = index[: WAY * SHOT].view(1, WAY, SHOT), index[WAY * SHOT :].view(1, QUERIES)
    return encoded.take(support), encoded.take(query)


def require(scores: Scores, *others: Tensor) -> None:
    """Scores [1,Q,N], and whatever else, are of float32 on the GPU."""
    tensors = (*scores.everything().values(), *scores.extras.values(), *others)
    assert {(x.dtype, x.device.type) for x in tensors} == {(torch.float32, "cuda")}
    assert {tuple(x.shape) for x in scores.everything().values()} == {(1, QUERIES, WAY)}


# Methods: how they train is in `engine/test_fake_cuda`


@methods
@regions
@pytest.mark.usefixtures("tiny")
def test_it_encodes_and_matches_in_float16_to_scores_of_float32(name: str, region: bool) -> None:
    encoded, scores = encoded_and_matched(built(name, region))
    require(scores)
    assert {x.device.type for x in encoded.tensors.values()} == {"cuda"}
    assert not scores.extras and (BOXES in encoded) == region


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.pair_tensors])
def test_distances_of_pairs_stay_on_the_gpu_in_float32(name: str) -> None:
    method = built(name, False).eval()
    with gpu() as there, HALF():
        encoded = there.put(method).encode(clips_of(method))
        found = method.pairs(encoded, encoded)
    for distance in found.values():
        assert (distance.device, distance.dtype, distance.shape) == (CUDA, torch.float32, (VIDEOS, VIDEOS))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "choice",
    [
        {"selector": "adafocus"}, {"random_kind": "uniform_centre"}, {"source": "difference"}, {"side": (16, 20)},
        {"weights": "l1", "gain": "learnt"}, {"weights": "softmax", "clamp": "tanh"}, {"clamp": "straight_through"},
        {"random_probability": 0.0, "stop_gradient": False},
    ],
    ids=str,
)  # fmt: skip
def test_regions_of_every_kind_are_chosen_on_the_gpu_in_float32(choice: dict[str, object]) -> None:
    changes = {f"model.region.{key}": value for key, value in choice.items()}
    made, method = [], built("prototype", True, **changes)
    method.features.register_forward_hook(lambda _, __, features: made.append(features.regions))
    require(*trained(method))
    assert {(x.dtype, x.device) for x in (made[0].boxes, made[0].centres)} == {(torch.float32, CUDA)}


@pytest.mark.usefixtures("tiny")
def test_checkpoints_and_micro_batches_do_not_wait() -> None:
    method = built("prototype", True)
    method.micro_batch = 3
    for backbone in method.features.backbones():
        backbone.checkpointing = True
    require(*trained(method))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["prototype", "strm", "arn"])
def test_rooted_and_whitened_features_are_of_float32(name: str) -> None:
    method = built(name, True, **{"model.match.root": True, "model.match.whiten": "train"})
    with gpu() as there, HALF():
        described = there.put(method).eval().describe(clips_of(method))
        prepared = method.prepare(described)
    assert {prepared[kept].dtype for kept in method.kept_features} == {torch.float32}


# Backbones


def hf_folder(folder: Path) -> str:
    """A VideoMAE of 32 px and 4 frames."""
    transformers = pytest.importorskip("transformers", reason="no transformers: its tests skip")
    shape = {"patch_size": 16, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes = {"image_size": 32, "num_frames": 4, "intermediate_size": 32}
    transformers.VideoMAEConfig(**shape, **sizes).save_pretrained(folder)
    return f"hf:{folder}"


def timm_name(_: Path) -> str:
    pytest.importorskip("timm", reason="no timm: its tests skip")
    return "timm:test_vit"


# By kind: its name, frames, sides of clip and region (None: without), and methods.
KINDS = {
    "torchvision": (lambda _: "squeezenet1_1", FRAMES, 64, 32, ("sloshnet", "keyregion", "arn")),
    "timm": (timm_name, FRAMES, 32, 16, ("prototype", "otam", "arn")),
    "video": (lambda _: "mc3_18", FRAMES, 32, 16, ("sloshnet", "prototype", "arn")),
    "i3d": (lambda _: "i3d", 16, 32, None, ("prototype", "trx", "arn")),
    "hf": (hf_folder, 4, 32, 16, ("prototype", "tsn", "arn")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_backbone_trains_and_encodes(kind: str, tmp_path: Path) -> None:
    """Methods after the first have its features, so that the network is made and run once."""
    make, frames, size, side, (name, *others) = KINDS[kind]
    changes = {"model.backbone": make(tmp_path), "clip.frames": frames, "clip.size": size}
    changes |= {"model.region.side": side or 16, "model.match.cardinalities": (2,)}
    config, first = small_config(**TRAINING | changes), built(name, side is not None, **changes)
    heads = [first, *(METHODS[other].from_config(config, first.features) for other in others)]
    with gpu() as there:
        clips = clips_of(there.put(first), size)
        for training, dtype in ((True, torch.bfloat16), (False, torch.float16)):
            generator, _ = GpuGenerator(), first.train(training)
            with torch.set_grad_enabled(training), torch.autocast("cuda", dtype=dtype):
                features = first.features(clips, generator)
                for method in heads:
                    described = there.put(method).train(training).described(features)
                    encoded = method.embed(method.prepare(described), generator)
                    require(method.match(*episode_of(encoded)))
                    assert (BOXES in described) == (side is not None)


# What the harness is for


class Wrong(Prototype):
    """A method with a fault in what it makes of frames [B,T,D]."""

    def embed(self, described: Encoded, generator: torch.Generator | None = None) -> Encoded:
        return super().embed(Encoded({contract.FRAMES: self.fault(described[contract.FRAMES])}), generator)


def product_of_two_types(x: Tensor) -> Tensor:
    with torch.autocast("cuda", enabled=False):
        return x @ torch.empty(x.shape[-1], x.shape[-1], device=x.device)


FAULTS = {
    "a tensor of the CPU": (lambda x: x + torch.arange(x.shape[-1]), "at least two devices"),
    "weights of the CPU": (lambda x: nn.functional.linear(x, torch.empty(5, x.shape[-1], dtype=x.dtype)), "device"),
    "a number of the CPU sent": (lambda x: x * torch.tensor([0.5], device=x.device), "from cpu to cuda makes"),
    "positions on the CPU": (lambda x: x[:, torch.tensor([0, 1])], "from cpu to cuda makes"),
    "work on the CPU": (lambda x: x.cpu().sort(-1).values.to(x.device), "from cuda to cpu makes"),
    "a number read": (lambda x: x * x.sum().item(), "read on the host"),
    "a question asked": (lambda x: x * bool(x.isfinite().all()), "read on the host"),
    "a shape that depends on numbers": (lambda x: x[x > 0].sum() + x, "nonzero"),
    "a product of two types": (product_of_two_types, "mm of .*: a GPU takes one type"),
    "a product of whole numbers": (lambda x: x + (x.long() @ x.long().mT).sum(), "of whole numbers"),
    "an inverse of half precision": (lambda x: torch.linalg.pinv(x), "half precision|Half|BFloat16"),
    "a generator of the CPU": (lambda x: x + torch.rand(x.shape, device=x.device, generator=seeded(0)), "draws by cpu"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_method_with_a_planted_fault_fails(fault: str, tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, told = FAULTS[fault]
    monkeypatch.setitem(METHODS, "prototype", type("WrongOnce", (Wrong,), {"fault": staticmethod(wrong)}))
    method = built("prototype", False)
    with pytest.raises(Exception, match=told):
        trained(method)


@pytest.mark.usefixtures("tiny")
def test_the_same_method_without_a_fault_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "prototype", type("RightOnce", (Wrong,), {"fault": staticmethod(lambda x: x)}))
    require(*trained(built("prototype", False)))


def test_where_the_host_may_wait_its_waits_are_counted_and_questions_answered() -> None:
    for answer in (True, False):
        with gpu(waits=True, answers=answer) as there:
            x = torch.zeros(3).to(CUDA)
            assert bool(x.isfinite().all()) is answer and x.cpu().device.type == "cpu"
            with pytest.raises(AssertionError, match=r"a number of torch\.float32 is read"):
                x.sum().item()
            assert (there.copies, there.reads) == (2, 1)
