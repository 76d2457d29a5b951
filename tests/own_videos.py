"""Small encoders, windows and support sets for the tests of `recognise`."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from small_project import lively
from videos import DRAW, draw_counter, draw_motion, draw_noise, make_video

from fsar_cli.config import ClipConfig, Config
from fsar_cli.core.method import FRAMES, Encoded
from fsar_cli.data.video import VideoWriter, to_jpeg
from fsar_cli.engine.model import Model
from fsar_cli.recognise.calibration import AlarmLevel
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.enrolment import calibrated
from fsar_cli.recognise.events import EventDetector, ScoredWindow
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
from fsar_cli.recognise.windows import Window, WindowFrame, WindowGrid, windows_of_file
from fsar_cli.settings import resolve

CPU = torch.device("cpu")
CLASSES = ("kick", "push it")
PLACES = ("--backbone", "mobilenet_v3_small", "--weights", "none", "--device", "cpu")
SMALL = ("clip.frames=4", "clip.size=32", "clip.short_side=36")
SETTINGS = (*PLACES, *(part for value in SMALL for part in ("--set", value)))
HAPPENS = (("push it", 8.0, 13.0, draw_motion), ("kick", 18.0, 22.0, draw_counter))
"""(class, start, end, how it looks) of what happens in an `action_film`; all else is noise."""


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


def draw_actions(index: int, width: int, height: int) -> np.ndarray:
    """Picture of a film with ten a second in which `HAPPENS` happens."""
    draw = next((draw for _, start, end, draw in HAPPENS if start <= index / 10 < end), draw_noise)
    return draw(index, width, height)


DRAW["actions"] = draw_actions


def action_film(path: Path, seconds: float = 30.0, **options: object) -> Path:
    """A film in which `HAPPENS` happens; options as of `make_video`."""
    return make_video(path, **{"frames": round(10 * seconds), "fps": 10, "content": "actions"} | options)


def enrolled(fsar: Callable, root: Path) -> Path:
    """root/support.fsar of two classes and noise as normal footage, windows of 1 s every 0.5 s; made once."""
    if not (path := root / "support.fsar").exists():
        example_tree(root / "ex", each=3)
        make_video(root / "quiet.mp4", frames=300, fps=10, content="noise")
        done = fsar("support", "make", root / "ex", "--normal", root / "quiet.mp4", "--window", 1, "--stride", 0.5,
                    "--out", path, *SETTINGS)  # fmt: skip
        assert done.code == 0, done.err
    return path


def as_it_happens(events: Sequence[dict]) -> bool:
    """Whether events, as plain values, are those of one `action_film`, up to a window's stride or so."""
    return [event["class"] for event in events] == [cls for cls, *_ in HAPPENS] and all(
        abs(event[side] - true) <= 0.8
        for event, (_, start, end, _) in zip(events, HAPPENS, strict=True)
        for side, true in (("start", start), ("end", end))
    )


BRIGHT, BRIGHT_SECONDS, BRIGHT_FPS = (3.0, 5.0), 8, 20


def bright_film(path: Path) -> Path:
    """Eight seconds, bright from the third to the fifth."""
    dice = np.random.default_rng(0)
    with VideoWriter(path, 64, 48, BRIGHT_FPS) as writer:
        for number in range(BRIGHT_SECONDS * BRIGHT_FPS):
            light = 200 if BRIGHT[0] <= number / BRIGHT_FPS < BRIGHT[1] else 20
            writer.write(np.clip(dice.normal(light, 8, (48, 64, 3)), 0, 255).astype(np.uint8))
    return path


@dataclass
class BrightnessRecognizer:
    """Stands in for a recognizer: a window is of the class `bright` as far as its pictures are."""

    slow: float = 0.0
    """Seconds that scoring a window takes."""
    classes: tuple[str, ...] = ("dark", "bright")
    grid: WindowGrid = field(default_factory=lambda: WindowGrid.laid(0.8, 0.2, 4))

    @property
    def encoder(self) -> SimpleNamespace:
        return SimpleNamespace(batch=2, config=SimpleNamespace(clip=ClipConfig(frames=4, size=32, short_side=32)))

    @property
    def together(self) -> int:
        return self.encoder.batch

    @property
    def examples(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="bright/one")]

    def rank(self, score: float) -> None:
        return None

    def detector(self, level: AlarmLevel) -> EventDetector:
        return EventDetector(self.classes, level.rule, self.grid.stride)

    def windows(self, video: Path, start: float = 0.0, origin: float | None = None) -> Iterator[ScoredWindow]:
        for window in windows_of_file(video, self.grid, self.encoder.config.clip, start, origin=origin):
            yield from self.scored([window])

    def scored(self, windows: list[Window]) -> list[ScoredWindow]:
        time.sleep(self.slow * len(windows))
        return [
            ScoredWindow(w.start, w.end, np.array([0.0, w.pictures.mean() / 255], np.float32), 0,
                         ((w.start, (0.25, 0.25, 0.75, 0.75)),), w.wall, w.breaks)
            for w in windows
        ]  # fmt: skip
