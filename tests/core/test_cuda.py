"""The core on a GPU: the numbers and gradients of the CPU, predictions in bfloat16, generators on the device."""

import pytest
import torch
from core_parts import random_clips, random_index, relative_error, seeded, small_config, split_episode
from torch import Tensor

from fsar_cli.core.build import build_method
from fsar_cli.core.method import FewShotMethod
from fsar_cli.core.methods import METHODS
from fsar_cli.core.regions import KeyRegionSelector, crop_regions

pytestmark = pytest.mark.cuda

WAY, SHOT, QUERIES = 3, 2, 4
VIDEOS = WAY * SHOT + QUERIES
LABELS = torch.tensor([[0, 1, 2, 0]])
TOLERANCE = 1e-3  # of the largest number, after a whole network in another order of sums


CLASSES = torch.tensor([[4, 0, 2]])  # of the episode's classes among the training classes
regions = pytest.mark.parametrize("region", [None, True], ids=["", "region"])


def both(name: str, device: torch.device, **changes: object) -> tuple[FewShotMethod, FewShotMethod]:
    """The same method on the CPU and on the device, on a real network whose features keep their scale untrained."""
    sizes = {"clip.size": 64, "model.region.side": 32, "model.region.gain": 0.02, "model.backbone": "resnet18"}
    classes = {"model.classes": 5} if METHODS[name].classifies else {}
    settings = small_config(**sizes | classes | {"model.method": name} | changes)
    return build_method(settings), build_method(settings).to(device)


def train_episode(method: FewShotMethod, clips: Tensor, generator: torch.Generator | None = None) -> Tensor:
    support, query = split_episode(method.encode(clips, generator), WAY, SHOT)
    device = clips.device
    return method.loss(method.match(support, query), LABELS.to(device), "sum", CLASSES.to(device))


@regions
@pytest.mark.parametrize("name", list(METHODS))
def test_encode_and_match_give_the_numbers_of_the_cpu(name: str, region: bool | None, cuda: torch.device) -> None:
    cpu, gpu = (m.eval() for m in both(name, cuda, **{"model.region.enabled": region}))
    clips, (support, query) = random_clips(VIDEOS, size=64), random_index(2, WAY, SHOT, QUERIES, VIDEOS)
    with torch.no_grad():
        expected, found = cpu.encode(clips), gpu.encode(clips.to(cuda))
        for key, value in expected.tensors.items():
            assert found[key].device.type == cuda.type
            assert relative_error(found[key].float(), value.double()) < TOLERANCE, key
        logits = cpu.match(expected.take(support), expected.take(query)).logits
        on_device = gpu.match(found.take(support.to(cuda)), found.take(query.to(cuda))).logits
    assert relative_error(on_device, logits) < TOLERANCE


@regions
@pytest.mark.parametrize("name", list(METHODS))
def test_loss_and_gradients_are_those_of_the_cpu(name: str, region: bool | None, cuda: torch.device) -> None:
    """In evaluation mode, where both see the same statistics and no dropout."""
    cpu, gpu = (m.eval() for m in both(name, cuda, **{"model.region.enabled": region}))
    clips = random_clips(VIDEOS, size=64)
    expected, found = train_episode(cpu, clips), train_episode(gpu, clips.to(cuda))
    assert relative_error(found, expected) < TOLERANCE
    expected.backward()
    found.backward()
    gradients = {n: p.grad for n, p in gpu.named_parameters() if p.grad is not None}
    for key, parameter in cpu.named_parameters():
        assert (parameter.grad is None) == (key not in gradients), key
        if parameter.grad is not None:
            assert relative_error(gradients[key], parameter.grad) < 20 * TOLERANCE, key


@pytest.mark.parametrize("name", list(METHODS))
def test_bfloat16_autocast_keeps_clear_predictions_and_trains(name: str, cuda: torch.device) -> None:
    _, method = both(name, cuda)
    clips, (support, query) = random_clips(VIDEOS, size=64).to(cuda), random_index(4, WAY, SHOT, QUERIES, VIDEOS)
    method.eval()
    logits = []
    for enabled in (False, True):
        with torch.no_grad(), torch.autocast(cuda.type, dtype=torch.bfloat16, enabled=enabled):
            bank = method.encode(clips)
            scores = method.match(bank.take(support.to(cuda)), bank.take(query.to(cuda)))
        assert scores.logits.dtype == torch.float32
        logits.append(scores.logits)
    best = logits[0].topk(2, dim=-1).values
    clear = best[..., 0] - best[..., 1] > 0.3 * logits[0].std()
    assert clear.any()
    assert torch.equal(logits[1].argmax(-1)[clear], logits[0].argmax(-1)[clear])
    method.train()
    with torch.autocast(cuda.type, dtype=torch.bfloat16):
        loss = train_episode(method, clips, torch.Generator(cuda).manual_seed(0))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", list(METHODS))
def test_training_follows_a_generator_on_the_device_alone(name: str, cuda: torch.device) -> None:
    _, method = both(name, cuda, **{"model.match.dropout": 0.2, "model.region.random_probability": 0.5})
    clips, losses = random_clips(VIDEOS, size=64).to(cuda), []
    for ambient in (1, 2):
        torch.manual_seed(ambient)
        losses.append(train_episode(method, clips, torch.Generator(cuda).manual_seed(3)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # some CUDA sums have no fixed order


@pytest.mark.parametrize("autocast", [False, True])
def test_regions_and_crops_are_exact_whatever_the_matrix_precision(autocast: bool, cuda: torch.device) -> None:
    torch.set_float32_matmul_precision("high")  # TF32; the fixture restores it
    cells, frames = torch.rand(8, 7, 7, generator=seeded(1)) / 10, torch.rand(8, 3, 224, 224, generator=seeded(2))
    select = KeyRegionSelector(224, 128)
    expected = select(cells)
    with torch.autocast(cuda.type, dtype=torch.bfloat16, enabled=autocast):
        found = select(cells.to(cuda))
        crops = crop_regions(frames.to(cuda), expected.centres.to(cuda), 128)
    assert torch.allclose(found.centres.cpu(), expected.centres, atol=1e-4)
    assert torch.equal(found.saturated.cpu(), expected.saturated)
    assert torch.allclose(crops.cpu(), crop_regions(frames, expected.centres, 128), atol=1e-4)


def test_uniform_random_regions_are_drawn_on_the_device(cuda: torch.device) -> None:
    regions = KeyRegionSelector(224, 128).uniform((5, 8), cuda, torch.Generator(cuda).manual_seed(0))
    assert regions.centres.device.type == cuda.type
    assert regions.centres.min() >= 64 and regions.centres.max() <= 160
