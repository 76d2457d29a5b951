"""Sampling, crops and clips: the indices of TRX's rule, the same crop for all frames, purity by seed."""

from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image
from videos import read_counter

from fsar_cli.config import ClipConfig, ExtractConfig
from fsar_cli.data.clips import AugmentedClips, ClipReader, EvaluationClips, TrainingEpisodes
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.sampling import even_indices, jittered_indices, rated_indices, reachable_indices
from fsar_cli.data.splits.making import make
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.sources import find_videos
from fsar_cli.data.transforms import (
    Crop,
    UncutClips,
    centre_crop,
    random_crop,
    to_float,
)
from fsar_cli.recipes import IMAGENET


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [0] * 8),
        (5, [0, 0, 1, 1, 2, 2, 3, 4]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (10, [0, 1, 2, 3, 5, 6, 7, 9]),  # 1..8 is too short, so the whole range
        (11, [1, 2, 3, 4, 5, 6, 7, 9]),
        (30, [1, 4, 8, 12, 16, 20, 24, 28]),
    ],
)
def test_even_indices_are_those_of_the_rule(count, expected):
    assert even_indices(count, 8).tolist() == expected


@pytest.mark.parametrize("count", [1, 9, 20, 400])
def test_jitter_moves_the_ends_by_at_most_five_frames_or_half_of_what_is_spare(count):
    rng = np.random.default_rng(0)
    drawn = np.stack([jittered_indices(count, 8, 5, rng) for _ in range(300)])
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert drawn.min() == 0
    assert drawn.max() == count - 1
    spare = min(5, max(count - 8, 0) // 2)
    assert drawn[:, 0].max() <= spare
    assert drawn[:, -1].min() >= count - 1 - spare
    assert len(np.unique(drawn[:, 0])) == spare + 1


@pytest.mark.parametrize("rate", [2.0, 5.0, 12.5])
@pytest.mark.parametrize("place", [0.0, 0.3, 1.0])
def test_rated_frames_are_those_nearest_to_times_of_equal_distance(rate, place):
    rng = np.random.default_rng(3)
    seconds = np.sort(rng.uniform(1, 9, 150))  # of no constant rate
    start = seconds[0] + place * (seconds[-1] - seconds[0] - 7 / rate)
    expected = [min(range(150), key=lambda i: abs(seconds[i] - (start + k / rate))) for k in range(8)]
    assert rated_indices(seconds, 8, rate, place).tolist() == expected


def test_rated_frames_of_a_constant_rate_are_every_so_many():
    seconds = np.arange(100) / 30
    assert rated_indices(seconds, 4, 10.0, 0.0).tolist() == [0, 3, 6, 9]
    assert rated_indices(seconds, 4, 10.0, 1.0).tolist() == [90, 93, 96, 99]
    assert rated_indices(seconds, 4, 10.0, 0.5).tolist() == [45, 48, 51, 54]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_video_that_is_too_short_for_the_rate_is_read_whole(count):
    indices = rated_indices(np.arange(count) / 30, 8, 2.0, 0.7)
    assert indices[0] == 0 and indices[-1] == count - 1 and (np.diff(indices) >= 0).all() and len(indices) == 8


def test_a_crop_takes_its_pixels_and_maps_back_to_the_source():
    frames = np.arange(2 * 6 * 9 * 3, dtype=np.uint8).reshape(2, 6, 9, 3)
    crop = Crop(x=3, y=1, side=4)
    np.testing.assert_array_equal(crop.apply(frames), frames[:, 1:5, 3:7])
    np.testing.assert_array_equal(Crop(3, 1, 4, flip=True).apply(frames), frames[:, 1:5, 6:2:-1])
    assert crop.in_source((9, 6), (90, 120)) == (30, 20, 70, 100)
    assert centre_crop(9, 6, 4) == Crop(2, 1, 4)


def test_random_crops_reach_every_position_and_flip_half_of_the_time():
    rng = np.random.default_rng(1)
    crops = [random_crop(6, 5, 4, True, rng) for _ in range(400)]
    assert {(c.x, c.y) for c in crops} == {(x, y) for x in range(3) for y in range(2)}
    assert 150 < sum(c.flip for c in crops) < 250
    assert not any(random_crop(6, 5, 4, False, rng).flip for _ in range(50))


def test_scaling_and_normalisation_are_the_formula():
    clips = torch.randint(0, 256, (2, 3, 4, 4, 3), dtype=torch.uint8)
    plain = to_float(clips, None)
    assert plain.shape == (2, 3, 3, 4, 4)
    assert plain[1, 2, 0, 3, 1] == pytest.approx(clips[1, 2, 3, 1, 0].item() / 255)
    normal = to_float(clips, IMAGENET)
    for c in range(3):
        expected = (plain[:, :, c] - IMAGENET.mean[c]) / IMAGENET.deviation[c]
        torch.testing.assert_close(normal[:, :, c], expected)
    assert plain.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def store(tree, tmp_path_factory):
    root = tmp_path_factory.mktemp("store") / "frames"
    extract(find_videos([tree]).sources, root, ExtractConfig(short_side=48, quality=95))
    return FrameStore(root)


def test_the_evaluation_clip_shows_the_sampled_frames(store):
    reader = ClipReader(store, ClipConfig(frames=5, size=48, short_side=48))
    clip = reader.evaluation("climb/climb_1")  # 14 frames that count from 20
    assert clip.shape == (5, 48, 48, 3)
    wide = store.read("climb/climb_1", even_indices(14, 5), 48)
    assert [read_counter(frame) for frame in wide] == [20 + i for i in even_indices(14, 5)]
    np.testing.assert_array_equal(clip, wide[:, :, 8:56])


@pytest.mark.parametrize("kind", ["files", "packed", "videos"])
def test_frames_are_brought_to_the_short_side_by_the_interpolation_asked_for(tree, tmp_path, kind):
    extract(find_videos([tree]).sources, tmp_path / "store", ExtractConfig(short_side=48, store=kind))
    store = FrameStore(tmp_path / "store")
    full = Image.fromarray(store.read("climb/climb_1", [3], 48)[0])
    for name, filter_ in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
        reader = ClipReader(store, ClipConfig(frames=2, size=60, short_side=60, interpolation=name))
        found = reader.store.read("climb/climb_1", [3], 60, name)[0]
        np.testing.assert_array_equal(found, np.asarray(full.resize((80, 60), filter_)))
        even = store.read("climb/climb_1", reader.indices("climb/climb_1"), 60, name)
        np.testing.assert_array_equal(reader.evaluation("climb/climb_1"), even[:, :, 10:70])


def test_views_of_spread_clips_together_are_a_clip_of_as_many_frames(store):
    reader = ClipReader(store, ClipConfig(frames=4, size=48, short_side=48))
    views = [reader.indices("climb/climb_1", view, 3) for view in range(3)]
    assert np.stack(views, 1).ravel().tolist() == even_indices(14, 12).tolist()
    assert reader.indices("climb/climb_1").tolist() == even_indices(14, 4).tolist()
    clips = EvaluationClips(reader, store.ids, views=3)
    assert clips[1].shape == (3, 4, 48, 48, 3) and EvaluationClips(reader, store.ids)[1].shape == (4, 48, 48, 3)
    np.testing.assert_array_equal(clips[1][2], reader.evaluation(store.ids[1], 2, 3))


def test_views_at_a_rate_go_from_the_beginning_to_the_end(store):
    reader = ClipReader(store, ClipConfig(frames=3, size=48, short_side=48, rate=15.0))
    video = "climb/climb_1"
    seconds = store.seconds(video)
    views = [reader.indices(video, view, 2) for view in range(2)]
    assert views[0][0] == 0 and views[1][-1] == 13
    np.testing.assert_allclose(np.diff(seconds[views[0]]), 1 / 15)
    middle = seconds[reader.indices(video)]
    assert abs(middle[0] - (seconds[-1] - middle[-1])) <= 0.04, "one view alone lies in the middle"


def test_training_clips_at_a_rate_lie_anywhere(store, sampler):
    reader = ClipReader(store, ClipConfig(frames=3, size=40, short_side=48, rate=15.0))
    places = set()
    for seed in range(30):
        frames, _ = reader.uncut("climb/climb_1", np.random.default_rng(seed))
        shown = [read_counter(frame) - 20 for frame in frames]
        np.testing.assert_allclose(np.diff(store.seconds("climb/climb_1")[shown]), 1 / 15)
        places.add(shown[0])
    assert len(places) > 5


@pytest.fixture(scope="module")
def sampler(store):
    lists = {"train": ["climb", "fall", "kick"], "val": [], "test": ["wave"]}
    splits = make("arn", scan_tree(store.root), lists=lists).splits
    return EpisodeSampler(splits, "train", way=2, shot=1, queries=2)


def test_a_training_episode_is_a_pure_function_of_seed_and_index(store, sampler):
    reader = ClipReader(store, ClipConfig(frames=4, size=32, short_side=40))
    episodes = TrainingEpisodes(reader, sampler, seed=0)
    first, other, again = episodes[3], episodes[4], episodes[3]
    assert (first.way, first.shot, first.queries) == (2, 1, 2)
    assert first.clips.cut().shape == (6, 4, 32, 32, 3)
    assert torch.equal(first.clips.cut(), again.clips.cut())
    assert not torch.equal(first.clips.cut(), other.clips.cut())
    assert not torch.equal(first.clips.cut(), TrainingEpisodes(reader, sampler, seed=1)[3].clips.cut())


def test_clips_cut_on_the_device_are_those_cut_as_they_are_read(store, sampler):
    """One clip after the other from the same draws, support first: to the bit, also as the network sees them."""
    clip = ClipConfig(frames=4, size=32, short_side=40)
    episodes, mirrored = TrainingEpisodes(ClipReader(store, clip), sampler, seed=0), 0
    for index in range(4):
        episode, rng = sampler(index), np.random.default_rng([0, crc32(b"augment"), index])
        expected = []
        for video in [*episode.support.flat, *episode.query.flat]:
            count = store.count(sampler.videos[video])
            frames = store.read(sampler.videos[video], jittered_indices(count, 4, 5, rng), 40)
            crop = random_crop(frames.shape[2], frames.shape[1], 32, True, rng)
            pixels = frames[:, crop.y : crop.y + 32, crop.x : crop.x + 32]
            expected.append(pixels[:, :, ::-1] if crop.flip else pixels)
            mirrored += crop.flip
        found = episodes[index].clips.to(torch.device("cpu")).cut()
        np.testing.assert_array_equal(found.numpy(), np.stack(expected))
        floats = torch.from_numpy(np.stack(expected)).permute(0, 1, 4, 2, 3).float() / 255
        mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET.mean, IMAGENET.deviation))
        assert torch.equal(to_float(found, IMAGENET), (floats - mean) / deviation)
    assert 0 < mirrored < 24


def test_frames_of_any_widths_and_heights_share_one_buffer():
    rng = np.random.default_rng(0)
    sizes = [(9, 12), (12, 9), (10, 10), (9, 30)]
    clips = [rng.integers(0, 256, (3, h, w, 3), dtype=np.uint8) for h, w in sizes]
    crops = [Crop(2, 1, 8), Crop(1, 4, 8, flip=True), Crop(0, 0, 8), Crop(22, 1, 8, flip=True)]
    packed = UncutClips.pack(list(zip(clips, crops, strict=True)))
    assert packed.pixels.ndim == 1 and packed.pixels.numel() == sum(clip.size for clip in clips)
    np.testing.assert_array_equal(
        packed.cut().numpy(), [crop.apply(clip) for clip, crop in zip(clips, crops, strict=True)]
    )


@pytest.mark.parametrize("count", [1, 8, 12, 300])
def test_the_frames_training_can_ask_for_are_exactly_those_it_asks_for(count):
    rng = np.random.default_rng(0)
    asked = np.unique([jittered_indices(count, 8, 5, rng) for _ in range(1000)])
    assert reachable_indices(count, 8, 5).tolist() == asked.tolist()


def test_an_augmented_view_is_a_pure_function_of_seed_video_and_view(store):
    reader, videos = ClipReader(store, ClipConfig(frames=4, size=32, short_side=40)), ("climb/climb_0", "climb/climb_1")
    clips = AugmentedClips(reader, videos, views=3, seed=0)
    assert len(clips) == 6 and clips[0].shape == (4, 32, 32, 3)
    alone = AugmentedClips(reader, videos[1:], views=3, seed=0)
    assert all(torch.equal(clips[3 + view], alone[view]) for view in range(3))
    others = [clips[1], AugmentedClips(reader, videos, views=3, seed=1)[0]]
    assert not any(torch.equal(clips[0], other) for other in others)


def test_positions_are_told_by_the_videos_that_they_are_of():
    videos = ("a/1", "a/2", "b/1")
    evaluated, drawn = EvaluationClips(None, videos), AugmentedClips(None, videos, views=3, seed=0)
    assert [evaluated.in_words(part) for part in (range(1, 2), range(3))] == ["'a/2'", "'a/1' to 'b/1'"]
    assert [drawn.in_words(part) for part in (range(3), range(2, 4))] == ["'a/1'", "'a/1' to 'a/2'"]
    assert drawn.in_words(range(3, 9)) == "'a/2' to 'b/1'"
