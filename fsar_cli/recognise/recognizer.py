"""The Python API: a support file, opened, recognises clips and scans sources.

    recognizer = Recognizer.load("support.fsar")
    recognizer.classify("clip.mp4").cls                     # a class, or "unknown"
    for event in recognizer.scan("camera.mp4"): ...         # start, end, class, score, key regions

The commands `fsar classify` and `fsar scan` are made of the same calls.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from fsar_cli.data.video.live import is_live, masked
from fsar_cli.engine.device import resolve_device
from fsar_cli.engine.statistics.poisson import poisson_upper
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recognise.calibration import AlarmLevel, ClipLevel, alarm_level, clip_level, rank_of, uncalibrated_level
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.events import Box, Event, EventDetector, EventRule, ScoredWindow
from fsar_cli.recognise.identity import open_encoder
from fsar_cli.recognise.onnx import OnnxEncoder, check_runtime
from fsar_cli.recognise.onnxfile import onnx_beside
from fsar_cli.recognise.scoring import Scorer
from fsar_cli.recognise.support import SUPPORT_FILE, UNKNOWN, EnrolledExample, SupportSet
from fsar_cli.recognise.supportfile import read_support
from fsar_cli.recognise.windows import Window, WindowGrid, window_of_clip, windows_of_file
from fsar_cli.reporting import SILENT, Reporter

FALSE_ALARMS = 1.0
"""An hour, where nothing else is asked for."""
SHARE_WRONG = 0.05
"""Of normal clips that may get a class, where nothing else is asked for."""
USUAL_RULE = EventRule(0.0, 0.0)


@dataclass(frozen=True)
class Answer:
    """What a clip is."""

    cls: str
    """The class, or `unknown`."""
    best: str
    """The class with the largest score, even where the clip is `unknown`."""
    score: float
    """Of the best class."""
    scores: dict[str, float]
    """A class."""
    rank: float | None
    """Share of normal windows, this clip among them, that score as much; None: there is no normal footage."""
    because: str
    """The example of the best class that it is most like, CLASS/CLIP."""
    seconds: float
    """Length of the clip."""
    track: tuple[tuple[float, Box], ...]
    """(seconds, key region), xyxy in [0,1] of the picture."""


class Recognizer:
    """A support set with its encoder, ready to work."""

    def __init__(self, support: SupportSet, encoder: Encoder) -> None:
        self.support, self.encoder = support, encoder
        self.classes = support.classes
        shape = support.document.grid
        self.grid = WindowGrid(shape.frames, shape.step, shape.apart, shape.every)

    @classmethod
    def load(
        cls, path: Path | str = SUPPORT_FILE, device: str = "auto", *, run: Path | str | None = None,
        weights: Path | str | None = None, runtime: str = "torch", onnx: Path | str | None = None,
        reporter: Reporter = SILENT,
    ) -> "Recognizer":  # fmt: skip
        """Open a support file.

        Args:
            device: auto, cpu, cuda or cuda:I.
            run, weights: where the encoder's run or weights are now, if they were moved.
            runtime: what runs the network, `torch` or `onnx`: onnxruntime, by a file of `fsar export`.
            onnx: that file; None: it is beside the support file (`onnx_beside`).

        Raises:
            DataError: it cannot be read, or belongs to an encoder that is not there or has changed; so for `onnx`.
            DeviceError: no such device.
            UsageError: no such runtime, or it is not installed; a file that it does not read.
        """
        check_runtime(runtime, onnx)
        support = read_support(Path(path))
        places = {"run": None if run is None else Path(run), "weights": None if weights is None else Path(weights)}
        kind: Callable[..., Encoder] = Encoder
        if runtime == "onnx":
            file = onnx_beside(Path(path)) if onnx is None else Path(onnx)
            kind = partial(
                OnnxEncoder, path=file, identity=support.document.encoder, owner=str(path), reporter=reporter
            )
        target = resolve_device(device, reporter)
        encoder = open_encoder(support, Path(path), target, **places, kind=kind, reporter=reporter)
        return cls(support, encoder)

    @property
    def examples(self) -> tuple[EnrolledExample, ...]:
        """[n], as `Event.nearest` counts."""
        return self.support.examples

    @cached_property
    def scorer(self) -> Scorer:
        """The examples, embedded."""
        return Scorer(self.encoder, self.support.described, self.support.labels, self.support.normal)

    @cached_property
    def silent(self) -> np.ndarray | None:
        """float32 [k]: largest scores of the normal windows that calibrate; None: there are none."""
        return None if self.support.silent_scores is None else self.support.silent_scores.numpy().max(1)

    @property
    def left_out(self) -> np.ndarray:
        """float32 [n,C]: scores of each example by the others; NaN: it has none."""
        return self.support.own_scores.numpy()

    @property
    def hours(self) -> float:
        """Of normal footage that calibrates."""
        return 0.0 if self.silent is None else len(self.silent) * self.grid.stride / 3600

    def clip_level(self, wrong: float = SHARE_WRONG) -> ClipLevel:
        """The score from which on a clip is one of the classes.

        Args:
            wrong: share of normal clips that may get a class; without normal footage, of examples that may not.
        """
        return clip_level(self.silent, self.left_out, self.support.labels, wrong)

    def alarm_level(self, false_alarms: float = FALSE_ALARMS, rule: EventRule = USUAL_RULE) -> AlarmLevel:
        """The threshold of events.

        Args:
            false_alarms: an hour.
            rule: all of it but the threshold.
        """
        silent, silent_scores = self.support.silent, self.support.silent_scores
        if silent is None or silent_scores is None:
            return uncalibrated_level(self.left_out, self.support.labels, rule)
        windows = zip(silent.segments.tolist(), silent.times.tolist(), silent_scores.numpy(), strict=True)
        segments = [
            [ScoredWindow(start, end, own) for _, (start, end), own in some]
            for _, some in groupby(windows, key=lambda window: window[0])
        ]
        return alarm_level(segments, false_alarms, rule, self.classes, self.grid.stride)

    def most_alarms(self, level: AlarmLevel) -> float:
        """False alarms an hour that a level can be expected to have at most, at 95 %; infinite: not known."""
        return poisson_upper(level.alarms) / level.hours if level.hours else float("inf")

    def rank(self, score: float) -> float | None:
        """Share of normal windows that score as much; None: there are none."""
        return None if self.silent is None else rank_of(score, self.silent)

    def classify(
        self, clip: Path | str, start: float = 0.0, end: float | None = None, wrong: float = SHARE_WRONG
    ) -> Answer:
        """What a short video shows, all of it as one clip.

        Args:
            start, end: seconds, of a part of it.
            wrong: as `clip_level`.

        Raises:
            DataError: it cannot be read.
        """
        window = window_of_clip(Path(clip), self.encoder.config.clip, start, end)
        scored = self.scored([window])[0]
        best = int(scored.scores.argmax())
        score = float(scored.scores[best])
        known = score >= self.clip_level(wrong).threshold
        return Answer(
            self.classes[best] if known else UNKNOWN, self.classes[best], score,
            dict(zip(self.classes, map(float, scored.scores), strict=True)), self.rank(score),
            self.examples[scored.nearest].name, window.end - window.start, scored.track,
        )  # fmt: skip

    @torch.inference_mode()
    def scored(self, windows: Sequence[Window]) -> list[ScoredWindow]:
        """Windows with their scores, nearest examples and key regions."""
        described = self.encoder.describe(windows)
        scores, nearest = self.scorer(described.encoded)
        return [
            ScoredWindow(window.start, window.end, scores[i], int(nearest[i]), described.tracks[i], window.wall,
                         window.breaks)
            for i, window in enumerate(windows)
        ]  # fmt: skip

    def windows(self, video: Path | str, start: float = 0.0, origin: float | None = None) -> Iterator[ScoredWindow]:
        """The scored windows of a video file, in order; memory does not grow with its length.

        Args:
            start, origin: as `windows_of_file`.

        Raises:
            DataError: it cannot be read, after the windows before the damage.
        """
        found = windows_of_file(Path(video), self.grid, self.encoder.config.clip, start, origin=origin)
        for some in _batches(found, self.encoder.batch):
            yield from self.scored(some)

    def detector(self, level: AlarmLevel) -> EventDetector:
        """What makes events of the windows of one source."""
        return EventDetector(self.classes, level.rule, self.grid.stride)

    def scan(self, video: Path | str, false_alarms: float = FALSE_ALARMS) -> Iterator[Event]:
        """The events of a video file, each as it is over.

        Raises:
            DataError: it cannot be read, after the events before the damage.
            UsageError: it is a live source.
        """
        if is_live(str(video)):
            raise UsageError(
                f"{masked(str(video))} is a live source", "`fsar scan` watches it, `watch.watch` in Python"
            )
        detector, failure = self.detector(self.alarm_level(false_alarms)), None
        try:
            for window in self.windows(video):
                yield from (event for event in detector.push(window) if not event.is_open)
        except DataError as error:
            failure = error
        yield from detector.flush()
        if failure:
            raise failure


def _batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    """Windows in groups; what is there when the source fails comes before its error."""
    waiting: list[Window] = []
    try:
        for window in windows:
            waiting.append(window)
            if len(waiting) == size:
                yield waiting
                waiting = []
    except Exception:
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting
