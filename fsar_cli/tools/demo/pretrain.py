"""Makes the small checkpoint shipped with fsar (`model.weights: demo`): `make demo-weights`, or

    python -m fsar_cli.tools.demo.pretrain OUT.safetensors

A mobilenet_v3_small learns from scratch to tell the *normal* classes of the rendered demo set apart: no photograph, no
anomalous class and no clip of the demo is involved (other seeds). Each step sees either whole input crops or windows
of the key region's size that follow the actor, so that one set of weights serves the global and the local branch.

The shipped file was made by this script when the demo had 34 normal classes to train on, the present 16 among them.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from fsar_cli.core.backbones.build import build_backbone
from fsar_cli.core.backbones.seen import list_of
from fsar_cli.core.backbones.weights import HEADS
from fsar_cli.data.sampling import jittered_indices
from fsar_cli.data.transforms import to_float
from fsar_cli.files import write_whole
from fsar_cli.tools.demo.scenes import CLASSES, render_clip

BACKBONE = "mobilenet_v3_small"
FRAMES, SHORT_SIDE, SIZE, REGION = 8, 164, 144, 72
FIRST_SEED = 1_000_000  # far from the seeds of the demo's own clips
PER_CLASS, STEPS, WORKERS = 40, 1500, 2
NORMAL = [name for name, action in CLASSES.items() if action.role == "train"]
LISTED = "# Classes of rendered scenes that these weights were made from."
WINDOW_SHARE = 0.7  # of the steps see windows around the actor, the others whole crops


@dataclass
class RenderedSet:
    """Clips of the normal classes at the network's scale."""

    frames: Tensor
    """uint8 [B,T,SHORT_SIDE,W,3]."""
    centres: Tensor
    """float32 [B,T,2] actor centres (x, y) in pixels of the resized frame."""
    labels: Tensor
    """int64 [B]."""


def _render(job: tuple[str, int]) -> tuple[np.ndarray, np.ndarray]:
    name, seed = job
    clip = render_clip(name, seed)
    chosen = jittered_indices(len(clip.frames), FRAMES, 5, np.random.default_rng(seed))
    height, width = clip.frames.shape[1:3]
    scale = SHORT_SIDE / height
    size = round(width * scale), SHORT_SIDE
    frames = [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BILINEAR)) for f in clip.frames[chosen]]
    boxes = clip.boxes[chosen] * scale
    return np.stack(frames), (boxes[:, :2] + boxes[:, 2:]) / 2


def render_normal(per_class: int, workers: int) -> RenderedSet:
    """Render `per_class` clips of each class to train on."""
    jobs = [(name, FIRST_SEED + i) for name in NORMAL for i in range(per_class)]
    with ProcessPoolExecutor(workers) as pool:
        clips = list(pool.map(_render, jobs, chunksize=8))
    labels = torch.arange(len(NORMAL)).repeat_interleave(per_class)
    frames = torch.from_numpy(np.stack([c[0] for c in clips]))
    return RenderedSet(frames, torch.from_numpy(np.stack([c[1] for c in clips])).float(), labels)


def _windows(data: RenderedSet, chosen: np.ndarray, side: int, rng: np.random.Generator) -> Tensor:
    """Windows that follow the actor as a key region would, with jitter: uint8 [B,T,side,side,3]."""
    height, width = data.frames.shape[2:4]
    corner = data.centres[chosen].numpy() - side / 2 + rng.normal(0, side / 10, (len(chosen), 1, 2))
    corner = (corner + rng.normal(0, side / 30, (len(chosen), FRAMES, 2))).round().astype(int)
    corner = corner.clip(0, (width - side, height - side))
    cut = [
        [data.frames[b, t, y : y + side, x : x + side] for t, (x, y) in enumerate(corners)]
        for b, corners in zip(chosen, corner, strict=True)
    ]
    return torch.stack([torch.stack(frames) for frames in cut])


def _crops(data: RenderedSet, chosen: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Whole input crops: uint8 [B,T,SIZE,SIZE,3]."""
    height, width = data.frames.shape[2:4]
    middle = (width - SIZE) // 2
    xs = middle + rng.integers(-8, 9, len(chosen))
    ys = rng.integers(0, height - SIZE + 1, len(chosen))
    return torch.stack([data.frames[b, :, y : y + SIZE, x : x + SIZE] for b, x, y in zip(chosen, xs, ys, strict=True)])


class Classifier(nn.Module):
    """Backbone and a linear classifier on what a clip looks like and how it changes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = build_backbone(BACKBONE, "none")
        self.norm = nn.BatchNorm1d(3 * self.backbone.dim)
        self.linear = nn.Linear(3 * self.backbone.dim, classes)

    def forward(self, clips: Tensor) -> Tensor:
        """Float clips [B,T,3,h,w] -> logits [B,classes]."""
        vectors = self.backbone(clips).mean((3, 4))  # [B,T,D]
        change = (vectors[:, 1:] - vectors[:, :-1]).abs().mean(1)
        drift = vectors[:, FRAMES // 2 :].mean(1) - vectors[:, : FRAMES // 2].mean(1)
        return self.linear(F.dropout(self.norm(torch.cat([vectors.mean(1), change, drift], -1)), 0.2, self.training))


def train(data: RenderedSet, steps: int, batch: int = 32, lr: float = 3e-3) -> Classifier:
    """Train with a tenth of the steps to warm up and a cosine down to zero."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Classifier(int(data.labels.max()) + 1).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.02)
    started = time.monotonic()
    for step in range(1, steps + 1):
        done = step / steps
        for group in optimizer.param_groups:
            group["lr"] = lr * (done / 0.1 if done < 0.1 else 0.5 * (1 + np.cos(np.pi * (done - 0.1) / 0.9)))
        chosen = rng.choice(len(data.labels), batch, replace=False)
        clips = _windows(data, chosen, REGION, rng) if rng.random() < WINDOW_SHARE else _crops(data, chosen, rng)
        clips = clips.flip(3) if rng.random() < 0.5 else clips
        floats = to_float(clips, None)
        floats = (floats * rng.uniform(0.8, 1.2) + rng.uniform(-0.08, 0.08)).clamp(0, 1)
        logits = model(floats)
        loss = F.cross_entropy(logits, data.labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}, {time.monotonic() - started:.0f} s  loss {loss.item():.3f}", flush=True)
    return model


def save(model: Classifier, path: Path) -> None:
    """Write the backbone as a state dict of torchvision's network without classifier, in half precision, and beside it
    the list of what it has seen.
    """
    import torchvision

    network = torchvision.models.get_model(BACKBONE, weights=None)
    network.features.load_state_dict(model.backbone.trunk.state_dict())
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    write_whole(path, save_tensors({k: v.contiguous() for k, v in state.items() if k.split(".")[0] not in HEADS}))
    write_whole(list_of(path), "\n".join([LISTED, *NORMAL, ""]))


def main() -> None:
    """Command line."""
    out = Path(sys.argv[1])
    data = render_normal(PER_CLASS, WORKERS)
    print(f"rendered {len(data.labels)} clips of {int(data.labels.max()) + 1} classes", flush=True)
    save(train(data, STEPS), out)


if __name__ == "__main__":
    main()
