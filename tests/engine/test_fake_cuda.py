"""A run on a GPU that is not there (`fake_cuda`): training steps that never wait, the bank, matching, layouts.

What cannot run so: backward, optimisers and the scaling of losses (autograd and fused optimisers ask the driver);
means of regions and accuracies, which are numbers on the host; fitting of whitening, whose classes are counted;
what is written to disk or compiled; loader processes. They run in `test_cuda`, on a real GPU.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from core_parts import small_config, tiny_backbone
from fake_cuda import CUDA, GpuGenerator, gpu

from fsar_cli.config import Config
from fsar_cli.core import build, preparation
from fsar_cli.core.build import build_method
from fsar_cli.core.method import BOXES, FewShotMethod
from fsar_cli.core.methods import METHODS
from fsar_cli.data.clips import EpisodeBatch
from fsar_cli.data.episodes import Episodes
from fsar_cli.data.splits import Video
from fsar_cli.data.transforms import Crop, UncutClips, to_float
from fsar_cli.engine.bank import Bank, embedded, encode_videos, in_encoding_type
from fsar_cli.engine.device import folded, place, send
from fsar_cli.engine.frozen import DescribedEpisode, FrozenFeatures
from fsar_cli.engine.matching import Matcher, answers
from fsar_cli.engine.motion import RegionMeter
from fsar_cli.engine.steps import episode_loss, step_seed
from fsar_cli.engine.whitening import Whitening
from fsar_cli.errors import DataError
from fsar_cli.recipes import IMAGENET
from fsar_cli.reporting import SILENT

# Folding copies the trunk, and a copy asks where its numbers lie.
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
WAY, SHOT, QUERIES = 3, 2, 1
VIDEOS = tuple(f"video {i}" for i in range(WAY * (SHOT + QUERIES)))
regions = pytest.mark.parametrize("region", [False, True], ids=["", "region"])


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny trunk, and no means of regions: they are numbers."""
    monkeypatch.setattr(build, "build_backbone", tiny_backbone)
    monkeypatch.setattr(RegionMeter, "result", lambda _: None)


def config_of(name: str, region: bool = True, **changes: object) -> Config:
    values = {
        "model.method": name, "model.region.enabled": region, "model.match.dropout": 0.1, "model.ata.steps": 2,
        "model.region.random_probability": 0.5, "model.normalize": True, "clip.short_side": 36, "train.views": 2,
        "train.workers": 0,
    }  # fmt: skip
    return small_config(**values | changes)


class Reader:
    """Black clips of any video."""

    def __init__(self, config: Config) -> None:
        self.clip = config.clip

    def evaluation(self, video: str, view: int = 0, views: int = 1) -> np.ndarray:
        return np.zeros((self.clip.frames, self.clip.size, self.clip.size, 3), np.uint8)

    def training(self, video: str, rng: np.random.Generator) -> np.ndarray:
        return self.evaluation(video)


class Sampler:
    """Always the same episode."""

    way, shot, queries, videos = WAY, SHOT, QUERIES, VIDEOS

    def __call__(self, index: int) -> SimpleNamespace:
        episode = self.batch(index, 1)
        return SimpleNamespace(classes=episode.classes[0], support=episode.support[0], query=episode.query[0])

    def batch(self, start: int, count: int) -> Episodes:
        order = np.arange(len(VIDEOS)).reshape(1, WAY, SHOT + QUERIES).repeat(count, 0)
        return Episodes(np.arange(WAY)[None].repeat(count, 0), order[..., :SHOT], order[..., SHOT:])


def batch_of(config: Config) -> EpisodeBatch:
    """As a loader gives it: uncut clips of two sizes on the CPU, every other mirrored."""
    side, frames = config.clip.size, config.clip.frames
    shapes = [(frames, side + 4, side + 8 * (i % 2), 3) for i in range(len(VIDEOS))]
    clips = [(np.zeros(shape, np.uint8), Crop(0, 2, side, bool(i % 2))) for i, shape in enumerate(shapes)]
    return EpisodeBatch(7, UncutClips.pack(clips), WAY, SHOT, torch.tensor([4, 0, 2]))


def bank_of(method: FewShotMethod, config: Config, **options: object) -> Bank:
    return encode_videos(method, Reader(config), VIDEOS, CUDA, config, **options)


# Training


@regions
@pytest.mark.parametrize("name", list(METHODS))
def test_the_loss_of_an_episode_is_float32_on_the_gpu_and_nothing_waits(name: str, region: bool) -> None:
    config = config_of(name, region, **{"model.region.random_probability": 1.0})
    method, batch = build_method(config), batch_of(config)
    with gpu() as there:
        with there.waiting():
            place(method, CUDA, True).train()
            to_float(batch.pin_memory().clips.to(CUDA).cut(), IMAGENET)  # sends what it normalises by, once
        generator = GpuGenerator().manual_seed(step_seed(0, batch.index))
        loss, accuracy, seen = episode_loss(method, batch.pin_memory(), config, CUDA, generator)
    assert {(x.dtype, x.device, x.shape) for x in (loss, accuracy)} == {(torch.float32, CUDA, ())}
    assert loss.requires_grad
    assert [(len(clips), len(encoded)) for clips, encoded in seen] == [(WAY * SHOT,) * 2, (WAY * QUERIES,) * 2]
    assert all(clips.device == CUDA and (BOXES in encoded) == region for clips, encoded in seen)


def test_a_step_waits_once_for_what_clips_are_normalised_by_and_never_again() -> None:
    with gpu(waits=True) as there:
        clips = torch.zeros(2, 4, 8, 8, 3, dtype=torch.uint8, device=CUDA)
        counts = [there.copies for _ in range(3) if to_float(clips, IMAGENET).device == CUDA]
    assert counts == [2, 2, 2]


@pytest.mark.parametrize("name", ["keyregion", "arn", "ata"])
def test_described_episodes_go_to_the_gpu_without_waiting(name: str) -> None:
    config = config_of(name)
    method = build_method(config)
    with gpu(waits=True) as there:
        frozen = FrozenFeatures(method, Reader(config), Sampler(), CUDA, config, SILENT, None)
        assert {x.device.type for x in frozen.features.tensors.values()} == {"cpu"}
        there.waits = False
        method.train()
        episode = frozen(3)
        loss, _, seen = episode_loss(method, episode, config, CUDA, GpuGenerator())
    assert isinstance(episode, DescribedEpisode) and episode.support.shape == (WAY, SHOT)
    assert (loss.dtype, loss.device, seen) == (torch.float32, CUDA, [])


def test_what_is_sent_is_not_waited_for() -> None:
    with gpu():
        assert send(torch.zeros(3), CUDA).device == CUDA


# The bank


@regions
@pytest.mark.parametrize("name", ["keyregion", "otam", "sloshnet"])
def test_a_bank_is_encoded_in_float16_and_kept_and_matched_in_float32(name: str, region: bool) -> None:
    config = config_of(name, region)
    method, types = build_method(config), set()
    method.features.register_forward_hook(lambda _, __, made: types.add(made.frames.dtype))
    with gpu(waits=True):
        bank = bank_of(method.eval(), config)
        episodes = SimpleNamespace(sampler=Sampler(), take=lambda rows: Sampler().batch(0, len(rows)))
        asked = np.ones((5, WAY * QUERIES), bool)
        drawn = list(answers(method, bank, episodes, np.arange(5), asked, batch=2))
    floating = [x for x in bank.encoded.tensors.values() if x.is_floating_point()]
    assert types == {torch.float16} and bank.device == CUDA
    assert {(x.dtype, x.device) for x in floating} == {(torch.float32, CUDA)}
    assert (bank.boxes is not None) == region
    assert [len(part.rows) for part in drawn] == [2, 2, 1]
    for part in drawn:
        for scores in part.scores.everything().values():
            assert (scores.dtype, scores.device) == (torch.float32, CUDA)
            assert scores.shape == (len(part.rows), WAY * QUERIES, WAY)


@pytest.mark.parametrize("episodes", [1, 1000])
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.pair_tensors])
def test_episodes_are_matched_on_the_gpu_with_a_table_of_pairs_and_without(name: str, episodes: int) -> None:
    config = config_of(name, False)
    method = build_method(config)
    with gpu(waits=True):
        bank = bank_of(method, config)
        matcher = Matcher(method.eval(), bank, Sampler(), episodes)
        scores = matcher(Sampler().batch(0, 2))
    assert bool(matcher.table) == (episodes > 1)
    assert {(t.dtype, t.device) for t in matcher.table.values()} <= {(torch.float32, CUDA)}
    assert (scores.logits.dtype, scores.logits.shape) == (torch.float32, (2, WAY * QUERIES, WAY))


def test_a_bank_on_the_host_is_matched_on_the_gpu() -> None:
    config = config_of("trx")
    method = build_method(config)
    with gpu(waits=True):
        bank = bank_of(method, config)
        bank.encoded = bank.encoded.to("cpu")
        scores = Matcher(method.eval(), bank, Sampler(), 1, CUDA)(Sampler().batch(0, 2))
    assert scores.logits.device == CUDA


def test_what_float16_does_not_hold_is_computed_in_float32_and_refused_by_name_where_that_does_not() -> None:
    config, types = config_of("trx"), []
    method = build_method(config)
    method.features.register_forward_hook(lambda _, __, made: types.append(made.frames.dtype))
    with gpu(waits=True, answers=False), pytest.raises(DataError, match="'video 0' is encoded in numbers that are NaN"):
        bank_of(method, config)
    assert types == [torch.float16, torch.float32]


def test_views_are_averaged_on_the_gpu() -> None:
    config = config_of("keyregion", **{"eval.views": 3})
    method = build_method(config)
    with gpu(waits=True):
        assert bank_of(method, config).encoded.shape == (len(VIDEOS),)


# Layouts, folding, whitening, regions


@pytest.mark.parametrize("last", [True, False])
def test_folded_norms_and_layouts_stay_on_the_gpu(last: bool) -> None:
    config = config_of("trx")
    method = build_method(config).eval()
    with gpu(waits=True), torch.inference_mode():
        place(method, CUDA, last)
        weight = next(p for p in method.features.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1)
        clips = to_float(torch.zeros(2, 4, 32, 32, 3, dtype=torch.uint8, device=CUDA), None)
        with folded(method):
            assert all(backbone.folded is not None for backbone in method.features.backbones())
            found = in_encoding_type(lambda: method.describe(clips), CUDA, config)
        again = embedded(method, found.to("cpu"), CUDA, SILENT)
    assert weight.device == CUDA
    assert weight.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    assert {x.device for x in again.tensors.values()} == {CUDA}


def test_a_whitening_fitted_on_the_host_whitens_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("prototype", False, **{"model.match.whiten": "train", "model.match.root": True})
    method = build_method(config)
    wide = method.features.dim
    fitted = torch.zeros(wide, dtype=torch.float64), torch.eye(wide, dtype=torch.float64)
    monkeypatch.setattr(preparation, "whitening_matrix", lambda *_: fitted)
    videos = tuple(Video(f"{i}", "train", "wave") for i in range(2))
    whitening = Whitening(method, config, videos, vectors={"frames": torch.zeros(2, 4, wide)})
    with gpu(waits=True), torch.inference_mode():
        place(method, CUDA, True)
        with whitening.fitted():
            bank = bank_of(method, config)
            assert method.preparation.frames_matrix.device == CUDA
    assert bank.device == CUDA


def test_the_figures_of_regions_are_measured_on_the_gpu_and_kept_on_the_host() -> None:
    meter = RegionMeter()
    with gpu(waits=True):
        clips = torch.zeros(2, 4, 32, 32, 3, dtype=torch.uint8, device=CUDA)
        boxes, saturated = torch.empty(2, 4, 4, device=CUDA), torch.empty(2, 4, dtype=torch.bool, device=CUDA)
        meter.add(clips, boxes, saturated)
        columns = {name: parts[0] for name, parts in meter._columns.items()}
    assert set(columns) >= {"motion_region", "saturated", "offset"}
    assert {(x.device.type, x.shape) for x in columns.values()} == {("cpu", (2,))}
