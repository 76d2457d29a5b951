"""From a frame store to batches: single clips for encoding, whole episodes for training, and their loaders.

Augmentation of episode i is drawn from (seed, i) alone, so workers and resuming cannot change it.
"""

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fsar_cli.config import ClipConfig
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.sampling import even_indices, jittered_indices
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.transforms import centre_crop, random_crop


class ClipReader:
    """Reads the clip of a video: samples T frames, brings them to the short side, crops."""

    def __init__(self, store: FrameStore, clip: ClipConfig) -> None:
        self.store, self.clip = store, clip

    def evaluation(self, video: str) -> np.ndarray:
        """The deterministic clip, uint8 [T,S,S,3]."""
        frames = self._frames(video, even_indices(self.store.count(video), self.clip.frames))
        return centre_crop(frames.shape[2], frames.shape[1], self.clip.size).apply(frames)

    def training(self, video: str, rng: np.random.Generator) -> np.ndarray:
        """A randomly sampled, cropped and flipped clip, uint8 [T,S,S,3]."""
        clip = self.clip
        frames = self._frames(video, jittered_indices(self.store.count(video), clip.frames, clip.jitter, rng))
        return random_crop(frames.shape[2], frames.shape[1], clip.size, clip.flip, rng).apply(frames)

    def _frames(self, video: str, indices: np.ndarray) -> np.ndarray:
        return self.store.read(video, indices, self.clip.short_side)


@dataclass
class EpisodeBatch:
    """One training episode on its way to the device."""

    index: int
    support: Tensor
    """uint8 [N,K,T,S,S,3]."""
    query: Tensor
    """uint8 [N,Q,T,S,S,3]; the class of query [n,q] is n."""

    def pin_memory(self) -> "EpisodeBatch":
        return EpisodeBatch(self.index, self.support.pin_memory(), self.query.pin_memory())


class TrainingEpisodes(Dataset):
    """Episode index -> augmented `EpisodeBatch`."""

    def __init__(self, reader: ClipReader, sampler: EpisodeSampler, seed: int) -> None:
        self.reader, self.sampler, self.seed = reader, sampler, seed

    def __getitem__(self, index: int) -> EpisodeBatch:
        episode = self.sampler(index)
        rng = np.random.default_rng([self.seed, crc32(b"augment"), index])
        return EpisodeBatch(index, self._clips(episode.support, rng), self._clips(episode.query, rng))

    def _clips(self, videos: np.ndarray, rng: np.random.Generator) -> Tensor:
        clips = [self.reader.training(self.sampler.videos[i], rng) for i in videos.reshape(-1)]
        return torch.from_numpy(np.stack(clips)).unflatten(0, videos.shape)


class EvaluationClips(Dataset):
    """Position in a list of videos -> its deterministic clip, uint8 [T,S,S,3]."""

    def __init__(self, reader: ClipReader, videos: tuple[str, ...]) -> None:
        self.reader, self.videos = reader, videos

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, position: int) -> Tensor:
        return torch.from_numpy(self.reader.evaluation(self.videos[position]))


class AugmentedClips(Dataset):
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


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)  # a worker decodes; the cores belong to the training process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def episode_loader(episodes: TrainingEpisodes, order: Iterable[int], workers: int, pin: bool) -> DataLoader:
    """Loads the episodes of `order`, one a batch, ahead of their use."""
    return DataLoader(
        episodes,
        batch_size=None,
        sampler=list(order),
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=2 if workers else None,
        worker_init_fn=_start_worker,
    )


def clip_loader(clips: EvaluationClips | AugmentedClips, batch: int, workers: int, pin: bool) -> DataLoader:
    """Loads clips in order, `batch` at a time: uint8 [B,T,S,S,3]."""
    return DataLoader(
        clips,
        batch_size=batch,
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=2 if workers else None,
        worker_init_fn=_start_worker,
    )
