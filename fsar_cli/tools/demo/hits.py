"""Whether key regions land where the action is, on videos whose actors are known: hit rate and IoU.

Compared with a centre crop and a random crop of the same size. Coordinates are xyxy in [0,1] of the input crop.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fsar_cli.config import Config
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.transforms import centre_crop
from fsar_cli.engine.motion import boxes_around
from fsar_cli.render.overlay import to_input
from fsar_cli.tools.demo.scenes import read_boxes


@dataclass(frozen=True)
class Hits:
    """Means over frames."""

    hit: float
    """Share of frames whose actor centre lies inside the region."""
    iou: float
    """Intersection over union of region and actor box; small by nature where regions are larger than actors."""


def centre_inside(regions: Tensor, actors: Tensor) -> Tensor:
    """bool [...]: the centre of the actor box lies inside the region; both [...,4]."""
    centres = (actors[..., :2] + actors[..., 2:]) / 2
    return ((centres >= regions[..., :2]) & (centres <= regions[..., 2:])).all(-1)


def intersection_over_union(a: Tensor, b: Tensor) -> Tensor:
    """IoU [...] of boxes [...,4]; 0 where both are empty."""
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp_min(0).prod(-1) for box in (a, b)]
    return overlap / (areas[0] + areas[1] - overlap).clamp_min(torch.finfo(a.dtype).tiny)


def compare_regions(regions: Tensor, actors: Tensor, seed: int = 0) -> dict[str, Hits]:
    """Hits of the key regions, of a centre crop and of a random crop.

    Args:
        regions, actors: [V,T,4].
    """
    share = float((regions[..., 2] - regions[..., 0]).mean())
    middle = torch.full((*regions.shape[:-1], 2), 0.5)
    generator = torch.Generator().manual_seed(seed)
    anywhere = share / 2 + (1 - share) * torch.rand(middle.shape, generator=generator)
    candidates = {
        "key region": regions,
        "centre crop": boxes_around(middle, share),
        "random crop": boxes_around(anywhere, share),
    }
    return {
        name: Hits(
            float(centre_inside(boxes, actors).float().mean()), float(intersection_over_union(boxes, actors).mean())
        )
        for name, boxes in candidates.items()
    }


def actor_boxes(config: Config, root: Path, videos: tuple[str, ...]) -> Tensor:
    """Boxes of the actors in the frames that evaluation samples.

    Args:
        root: folder of the demo set, which holds its boxes.csv.

    Returns:
        float32 [V,T,4] xyxy in [0,1] of the input crop; outside that range where an actor leaves the crop.
    """
    store, boxes = FrameStore(config.data.frames), read_boxes(root / "boxes.csv")
    reader = ClipReader(store, config.clip)
    actors = []
    for video in videos:
        record = store.record(video)
        source, resized = (record.source_width, record.source_height), (record.width, record.height)
        crop = centre_crop(*resized, config.clip.size).in_source(resized, source)
        actors.append(to_input(boxes[video][reader.indices(video, *config.eval.middle_view)], crop))
    return torch.from_numpy(np.stack(actors)).float()
