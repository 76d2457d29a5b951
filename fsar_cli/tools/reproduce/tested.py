"""What a trained method made of the test videos of a figure: features, regions, maps, and what was recognised."""

from dataclasses import dataclass

import numpy as np
import torch

from fsar_cli.config import Config
from fsar_cli.core.build import normalization
from fsar_cli.core.layers.basics import middle_frames
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bank import Bank
from fsar_cli.engine.device import place as place_on
from fsar_cli.engine.whitening import whitening_of
from fsar_cli.tools.demo.hits import actor_boxes
from fsar_cli.tools.reproduce.plan import Cell
from fsar_cli.tools.reproduce.work import Reproduction, RunResults

BOXES = "boxes.csv"


@dataclass
class TestedVideos:
    """The trained method, what it made of the test videos, and how it fared."""

    cell: Cell
    config: Config
    method: FewShotMethod
    bank: Bank
    right: np.ndarray
    """bool [E,N*Q]"""
    reader: ClipReader
    device: torch.device

    @property
    def videos(self) -> tuple[str, ...]:
        """Ids."""
        return self.bank.videos

    @property
    def labels(self) -> np.ndarray:
        """int64 [V] classes."""
        return self.cell.ground.lists[self.cell.shot].sampler.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names."""
        return self.cell.ground.lists[self.cell.shot].sampler.classes

    def frames(self, video: int) -> np.ndarray:
        """uint8 [T,S,S,3]: the frames that show the steps of a video."""
        return self._clip(video)[middle_frames(self.reader.clip.frames, self.method.features.steps)]

    def _clip(self, video: int) -> np.ndarray:
        """uint8 [F,S,S,3] that the network sees of a video."""
        return self.reader.evaluation(self.videos[video], *self.config.eval.middle_view)

    def seconds(self, video: int) -> np.ndarray:
        """float64 [T] times of these frames."""
        store, name = self.reader.store, self.videos[video]
        seconds = store.seconds(name)[self.reader.indices(name, *self.config.eval.middle_view)]
        return seconds[middle_frames(len(seconds), self.method.features.steps)]

    def regions(self, video: int) -> np.ndarray:
        """[T,4] xyxy in [0,1]."""
        return self.bank.boxes[video].numpy()

    def actors(self) -> torch.Tensor | None:
        """[V,T,4] where the actors are, where the data set says so (the demo set)."""
        root = self.cell.ground.test.file.parent
        return actor_boxes(self.config, root, self.videos) if (root / BOXES).is_file() else None

    @torch.inference_mode()
    def maps(self, video: int) -> tuple[np.ndarray, np.ndarray]:
        """[T,H,W] channel mean of the map, and the weights that chose the region."""
        clip = torch.from_numpy(self._clip(video)).unsqueeze(0).to(self.device)
        found = self.method.features(to_float(clip, normalization(self.config.model)))
        return found.mean_maps[0].float().cpu().numpy(), found.cells[0].float().cpu().numpy()


def see(cell: Cell, place: Reproduction, made: RunResults) -> TestedVideos:
    """Encode the test videos of a finished run."""
    run, ground = cell.runs[0], cell.ground
    model = place.model(run, ground)
    method = place_on(model.load(), place.device, model.config.train.channels_last)
    reader = ClipReader(ground.test.store, model.config.clip)
    videos = ground.lists[cell.shot].sampler.videos
    whitening = whitening_of(method, model.config)
    bank = whitening.encode(reader, videos, place.device, place.reporter, place.features)
    right = made.results[run.digest, ground.name, cell.shot].right
    return TestedVideos(cell, model.config, method, bank, right, reader, place.device)


def video_shares(seen: TestedVideos) -> np.ndarray:
    """float64 [V] share of its queries that each video was recognised in; NaN: never asked."""
    queries = seen.cell.ground.lists[seen.cell.shot].drawn.query.reshape(len(seen.right), -1)
    asked = np.bincount(queries.ravel(), minlength=len(seen.videos))
    right = np.bincount(queries.ravel(), seen.right.ravel().astype(float), len(seen.videos))
    return np.divide(right, asked, out=np.full(len(asked), np.nan), where=asked > 0)
