"""Small encoders, windows and support sets for the tests of `recognise`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from small_project import lively
from videos import make_video

from fsar_cli.config import Config
from fsar_cli.core.method import FRAMES, Encoded
from fsar_cli.data.video import to_jpeg
from fsar_cli.engine.model import Model
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.enrolment import calibrated
from fsar_cli.recognise.examples import ExampleClip
from fsar_cli.recognise.identity import identity_of
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.recognise.support import (
    FORMAT,
    EnrolledExample,
    GridShape,
    NormalFootage,
    SilentWindows,
    SupportDocument,
    SupportSet,
)
from fsar_cli.recognise.windows import Window, WindowFrame
from fsar_cli.settings import resolve

CPU = torch.device("cpu")
CLASSES = ("kick", "push it")
PLACES = ("--backbone", "mobilenet_v3_small", "--weights", "none", "--device", "cpu")
SMALL = ("clip.frames=4", "clip.size=32", "clip.short_side=36")


def tiny(**changes: object) -> Config:
    """A frozen prototype of 4 frames of 32 pixels; dotted keys as `tiny(**{"model.method": "trx"})`."""
    values = {
        "clip.frames": 4, "clip.size": 32, "clip.short_side": 36, "model.method": "prototype",
        "model.backbone": "mobilenet_v3_small", "model.weights": "none", "model.region.side": 16,
        "model.match.key_dim": 8, "train.workers": 0,
    }  # fmt: skip
    return resolve(base=values | changes, environ={}).config


def encoder_of(config: Config) -> Encoder:
    """Of random weights that tell clips apart."""
    return Encoder(lively(config), config, CPU)


def random_windows(config: Config, count: int, shared: int = 0, seed: int = 0) -> list[Window]:
    """Windows of noise, of which neighbours share frames; they see the middle of pictures 48 x 36."""
    dice, clip = np.random.default_rng(seed), config.clip
    stride = clip.frames - shared
    pictures = [dice.integers(0, 256, (clip.size, clip.size, 3), np.uint8) for _ in range(stride * count + shared)]
    frames = [WindowFrame(0.1 * i, picture) for i, picture in enumerate(pictures)]
    parts = (frames[i * stride : i * stride + clip.frames] for i in range(count))
    return [Window(tuple(p), p[0].seconds, p[-1].seconds + 0.1, (1 / 6, 1 / 18, 5 / 6, 17 / 18)) for p in parts]


def fresh(windows: Sequence[Window]) -> list[Window]:
    """The same pictures, each window by itself, nothing known of them."""
    return [replace(w, frames=tuple(WindowFrame(f.seconds, f.picture) for f in w.frames)) for w in windows]


def features(count: int, width: int, steps: int = 1, seed: int = 0) -> Encoded:
    """Random features of windows."""
    return Encoded({FRAMES: torch.randn(count, steps, width, generator=torch.Generator().manual_seed(seed))})


def small_support(encoder: Encoder, sizes: Sequence[int] = (3, 2), normal: int = 4, silent: int = 6) -> SupportSet:
    """A calibrated set of random features, as if it were enrolled."""
    width, total = encoder.method.features.dim, sum(sizes)
    labels = [name for name, size in zip(CLASSES, sizes, strict=True) for _ in range(size)]
    picture = np.full((32, 32, 3), 90, np.uint8)
    document = SupportDocument(
        format=FORMAT, created="2026-01-01T00:00:00+00:00",
        examples=tuple(EnrolledExample(cls=cls, name=f"{cls}/{i}", source=f"/clips/{i}.mp4")
                       for i, cls in enumerate(labels)),
        encoder=identity_of(Model(encoder.config), encoder.method),
        grid=GridShape(frames=encoder.config.clip.frames, step=0.25, apart=1, every=2),
        normal=NormalFootage(sources=("/quiet.mp4",), whitened=0, silent=silent) if normal or silent else None,
    )  # fmt: skip
    windows = SilentWindows(
        features(silent, width, seed=3), np.arange(silent) // 3, np.arange(2.0 * silent).reshape(silent, 2)
    ) if silent else None  # fmt: skip
    return calibrated(encoder, SupportSet(
        document, features(total, width, seed=1), tuple(to_jpeg(picture + i, 80) for i in range(total)),
        features(normal, width, seed=2) if normal else None, windows,
    ))  # fmt: skip


def recognizer_of(support: SupportSet, encoder: Encoder) -> Recognizer:
    """As `Recognizer.load` opens it."""
    return Recognizer(support, encoder)


def example_tree(root: Path, classes: Sequence[str] = CLASSES, each: int = 2, frames: int = 20) -> Path:
    """root/CLASS/N.mp4: counters from elsewhere in each class, 10 a second."""
    for c, name in enumerate(classes):
        for v in range(each):
            make_video(root / name / f"{v}.mp4", frames=frames, fps=10, first=700 * c + 90 * v,
                       content="motion" if c % 2 else "counter")  # fmt: skip
    return root


def clips_of(root: Path) -> list[ExampleClip]:
    """The clips of a tree, by class and name."""
    return [
        ExampleClip(path.parent.name, f"{path.parent.name}/{path.stem}", path) for path in sorted(root.glob("*/*.mp4"))
    ]
