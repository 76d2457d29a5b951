"""From a frame store to batches: single clips for encoding, whole episodes for training, and their loaders.

    store or shared memory -- frames [T,h,w,3] and a Crop -- one buffer an episode (`UncutClips`) -- device: crop, flip

What is evaluated is cut by the loader's processes, since less then travels between them. Augmentation of episode i is
drawn from (seed, i) alone, so workers and resuming cannot change it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from fsar_cli.config import ClipConfig
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.loading import loaded
from fsar_cli.data.sampling import even_indices, jittered_indices, rated_indices
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.shared import SharedFrames
from fsar_cli.data.transforms import Crop, UncutClips, centre_crop, random_crop
from fsar_cli.reporting import SILENT, Reporter


class ClipReader:
    """Reads the clip of a video: samples T frames, brings them to the short side, crops."""

    def __init__(self, store: FrameStore, clip: ClipConfig, shared: SharedFrames | None = None) -> None:
        """
        Args:
            shared: frames kept in memory, at the clip's short side; None: every frame is read from the store.
        """
        self.store, self.clip, self.shared = store, clip, shared

    def indices(self, video: str, view: int = 0, views: int = 1) -> np.ndarray:
        """Which frames the deterministic clips of a video show, int64 [T]; of several, that of one view.

        With `clip.rate` views follow one another from the beginning to the end; else each is spread over the whole
        video, and shows what lies between the frames of the others.
        """
        clip = self.clip
        if clip.rate is None:
            return even_indices(self.store.count(video), clip.frames * views)[view::views]
        place = view / (views - 1) if views > 1 else 0.5
        return rated_indices(self.store.seconds(video), clip.frames, clip.rate, place)

    def evaluation(self, video: str, view: int = 0, views: int = 1) -> np.ndarray:
        """The deterministic clip, or one of several, uint8 [T,S,S,3]."""
        frames = self._frames(video, self.indices(video, view, views))
        return centre_crop(frames.shape[2], frames.shape[1], self.clip.size).apply(frames)

    def training(self, video: str, rng: np.random.Generator) -> np.ndarray:
        """A randomly sampled, cropped and flipped clip, uint8 [T,S,S,3]."""
        frames, crop = self.uncut(video, rng)
        return crop.apply(frames)

    def uncut(self, video: str, rng: np.random.Generator) -> tuple[np.ndarray, Crop]:
        """What `training` cuts, uint8 [T,h,w,3], and where; the same draws."""
        clip = self.clip
        if clip.rate is None:
            indices = jittered_indices(self.store.count(video), clip.frames, clip.jitter, rng)
        else:
            indices = rated_indices(self.store.seconds(video), clip.frames, clip.rate, rng.random())
        frames = self._frames(video, indices)
        return frames, random_crop(frames.shape[2], frames.shape[1], clip.size, clip.flip, rng)

    def _frames(self, video: str, indices: np.ndarray) -> np.ndarray:
        if self.shared is not None:
            return self.shared.read(video, indices)
        return self.store.read(video, indices, self.clip.short_side, self.clip.interpolation)


@dataclass(frozen=True)
class EpisodeBatch:
    """One training episode on its way to the device."""

    index: int
    clips: UncutClips
    """[N*K + N*Q]: the support class by class, then the queries class by class."""
    way: int
    shot: int
    classes: Tensor
    """int64 [N]: which of the split's classes are the episode's."""

    @property
    def queries(self) -> int:
        """Q."""
        return len(self.clips) // self.way - self.shot

    def pin_memory(self) -> "EpisodeBatch":
        return replace(self, clips=self.clips.pin_memory(), classes=self.classes.pin_memory())


class TrainingEpisodes:
    """Episode index -> augmented `EpisodeBatch`."""

    def __init__(self, reader: ClipReader, sampler: EpisodeSampler, seed: int) -> None:
        self.reader, self.sampler, self.seed = reader, sampler, seed

    def __getitem__(self, index: int) -> EpisodeBatch:
        episode = self.sampler(index)
        rng = np.random.default_rng([self.seed, crc32(b"augment"), index])
        order = np.concatenate([episode.support.reshape(-1), episode.query.reshape(-1)])
        clips = UncutClips.pack([self.reader.uncut(self.sampler.videos[i], rng) for i in order])
        way, shot = episode.support.shape
        return EpisodeBatch(index, clips, way, shot, torch.from_numpy(episode.classes))


class EvaluationClips:
    """Position in a list of videos -> its deterministic clip, uint8 [T,S,S,3]; its `views` clips [V,T,S,S,3] of more
    than one.
    """

    def __init__(self, reader: ClipReader, videos: tuple[str, ...], views: int = 1) -> None:
        self.reader, self.videos, self.views = reader, videos, views

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, position: int) -> Tensor:
        video, views = self.videos[position], self.views
        clips = [torch.from_numpy(self.reader.evaluation(video, view, views)) for view in range(views)]
        return clips[0] if views == 1 else torch.stack(clips)

    def in_words(self, positions: range) -> str:
        """Which videos are at these positions."""
        return _listed(self.videos[positions.start : positions.stop])


class AugmentedClips:
    """`views` augmented clips of each video, video by video: position v * views + i is view i of video v.

    A view is drawn from (seed, video id, i) alone.
    """

    def __init__(self, reader: ClipReader, videos: tuple[str, ...], views: int, seed: int) -> None:
        self.reader, self.videos, self.views, self.seed = reader, videos, views, seed

    def __len__(self) -> int:
        return len(self.videos) * self.views

    def __getitem__(self, position: int) -> Tensor:
        video, view = self.videos[position // self.views], position % self.views
        rng = np.random.default_rng([self.seed, crc32(b"views"), crc32(video.encode()), view])
        return torch.from_numpy(self.reader.training(video, rng))

    def in_words(self, positions: range) -> str:
        """As `EvaluationClips.in_words`."""
        return _listed(self.videos[positions.start // self.views : (positions.stop - 1) // self.views + 1])


def episode_loader(
    episodes: TrainingEpisodes, order: Sequence[int], workers: int, pin: bool, reporter: Reporter = SILENT
) -> Iterator[EpisodeBatch]:
    """Loads the episodes of `order` ahead of their use, as `loaded`."""
    return loaded(episodes.__getitem__, order, workers, pin, lambda index: f"episode {index}", reporter)


def clip_loader(
    clips: EvaluationClips | AugmentedClips, groups: Sequence[range], workers: int, pin: bool,
    reporter: Reporter = SILENT,
) -> Iterator[Tensor]:  # fmt: skip
    """Loads groups of clips, each by its positions, as `loaded`: uint8 [B,T,S,S,3], or [B,V,T,S,S,3]."""
    return loaded(partial(_stacked, clips), groups, workers, pin, clips.in_words, reporter)


def _stacked(clips: EvaluationClips | AugmentedClips, positions: range) -> Tensor:
    return torch.stack([clips[position] for position in positions])


def _listed(videos: Sequence[str]) -> str:
    return f"'{videos[0]}'" if len(videos) == 1 else f"'{videos[0]}' to '{videos[-1]}'"
