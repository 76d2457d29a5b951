"""Examples and normal footage -> a support set.

    examples          -- one window each --> described, a thumbnail
    normal footage    -- windows ----------> whitening and the normal windows that scores are taken less  | one block
                                       '---> calibration                                                 | the next

Normal footage does two jobs, and no window does both: blocks of time take turns, or whole files where they are short;
between two blocks the windows that would share frames are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from fsar_cli.config import Config
from fsar_cli.core.method import Encoded
from fsar_cli.data.video import printable, probe, to_jpeg
from fsar_cli.engine.model import Model
from fsar_cli.errors import DataError, UsageError, counted
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.examples import ExampleClip
from fsar_cli.recognise.identity import identity_of
from fsar_cli.recognise.scoring import Scorer
from fsar_cli.recognise.support import (
    FORMAT,
    EnrolledExample,
    GridShape,
    NormalFootage,
    SilentWindows,
    SupportDocument,
    SupportSet,
    joined,
)
from fsar_cli.recognise.windows import Window, WindowGrid, window_of_clip, windows_of_file
from fsar_cli.reporting import SILENT, Reporter

THUMBNAIL_QUALITY = 80
LONGEST_BLOCK = 60.0  # seconds of normal footage that do one job, before the next do the other
BLOCKS = 8  # into which all of it is cut at least, where it is shorter
WINDOWS_A_BLOCK = 3  # at least
MOST_NORMAL = 256  # windows that scores are taken less
MOST_BYTES = 256 * 2**20
"""Of the features of windows, job by job."""
SHORTEST_WINDOW, LONGEST_WINDOW = 1.0, 10.0  # seconds


@dataclass
class DescribedExamples:
    """Examples that could be read, and those that could not."""

    examples: list[EnrolledExample] = field(default_factory=list)
    encoded: list[Encoded] = field(default_factory=list)
    thumbnails: list[bytes] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """{name: reason}"""


def describe_examples(encoder: Encoder, clips: Sequence[ExampleClip], reporter: Reporter = SILENT) -> DescribedExamples:
    """Encode examples, one window each; what cannot be read is named and left out."""
    found = DescribedExamples()
    with reporter.track("examples", len(clips), "clips") as task:
        for clip in clips:
            try:
                window = window_of_clip(clip.path, encoder.config.clip, clip.start, clip.end)
                described, example = encoder.describe([window]), _example(clip)
            except DataError as error:
                found.failed[clip.name] = error.message
            else:
                found.examples.append(example)
                found.encoded.append(described.encoded)
                found.thumbnails.append(to_jpeg(window.frames[len(window.frames) // 2].picture, THUMBNAIL_QUALITY))
                found.seconds.append(_seen(window, encoder.config))
            task.advance()
    return found


def _example(clip: ExampleClip) -> EnrolledExample:
    """What a support file says of a clip. Raises DataError: it says too much."""
    source = printable(clip.path.resolve())
    try:
        return EnrolledExample(cls=clip.cls, name=clip.name, source=source, start=clip.start, end=clip.end,
                               group=clip.group)  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"its {first['loc'][0]} is out of range: {first['msg']}") from error


def _seen(window: Window, config: Config) -> float:
    """Seconds of an example that the network saw."""
    rate, whole = config.clip.rate, window.end - window.start
    return whole if rate is None else min(whole, config.clip.frames / rate)


def usual_window(seconds: Sequence[float]) -> float:
    """Seconds of a window: the middle length of examples, as that is how fast the network saw the action."""
    return round(float(np.clip(np.median(seconds), SHORTEST_WINDOW, LONGEST_WINDOW)), 1)


@dataclass
class NormalWindows:
    """Windows of normal footage by their job."""

    whitening: list[Encoded] = field(default_factory=list)
    silent: list[Encoded] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    thinned: bool = False
    """Whether there were more windows than a file should hold."""
    segment: int = -1
    _each: int = 1
    """Of so many windows for whitening one is kept, so that those that are lie over all the footage."""
    _met: int = 0

    def add(self, described: Encoded, window: Window, silent: bool, begins: bool) -> None:
        """One window; `begins` a stretch of footage."""
        size = 4 * described.numel_per_video()
        if not silent:
            self._whiten(described, size)
            return
        if size * len(self.silent) >= MOST_BYTES:
            self.thinned = True
            return
        self.segment += begins
        self.silent.append(described)
        self.segments.append(self.segment)
        self.times.append((window.start, window.end))

    def _whiten(self, described: Encoded, size: int) -> None:
        if self._met % self._each == 0:
            self.whitening.append(described)
        self._met += 1
        if size * len(self.whitening) > MOST_BYTES and len(self.whitening) > 2:
            self.whitening, self._each = self.whitening[::2], 2 * self._each

    @property
    def calibrating(self) -> SilentWindows | None:
        """Those that calibrate; None: there are none."""
        if not self.silent:
            return None
        return SilentWindows(Encoded.cat(self.silent), np.array(self.segments), np.array(self.times, np.float64))


def describe_normal(
    encoder: Encoder, sources: Sequence[Path], grid: WindowGrid, reporter: Reporter = SILENT
) -> NormalWindows:
    """Encode the windows of normal footage, job by job; a file that cannot be read is named and left out."""
    found, lengths = NormalWindows(), {}
    for path in sources:
        try:
            lengths[path] = probe(path).duration or 0.0
        except DataError as error:
            found.failed[printable(path)] = error.message
    total = sum(lengths.values())
    block = min(LONGEST_BLOCK, max(WINDOWS_A_BLOCK * grid.window, total / BLOCKS))
    with reporter.track("normal footage", round(total / grid.stride) or None, "windows") as task:
        for path, length in lengths.items():
            fewer = len(found.silent) < len(found.whitening)
            try:
                for window, silent, begins in _jobs(path, encoder.config, grid, block if length >= 2 * block else None,
                                                    fewer):  # fmt: skip
                    found.add(encoder.describe([window]).encoded, window, silent, begins)
                    task.advance()
            except DataError as error:
                found.failed[printable(path)] = error.message
    return found


def _jobs(
    path: Path, config: Config, grid: WindowGrid, block: float | None, silent: bool
) -> Iterator[tuple[Window, bool, bool]]:
    """(window, whether it calibrates, whether a stretch of its job begins) of a file.

    Args:
        block: seconds after which the job changes; None: it does not.
        silent: the first job.
    """
    last = now = None
    for window in windows_of_file(path, grid, config.clip):
        job = silent if block is None else silent ^ bool(int(window.start // block) % 2)
        changed = now is not None and job != now
        if changed and (window.start < last.end or window.frames[0].seconds <= last.frames[-1].seconds):
            continue  # it shows what the other job has
        yield window, job, now is None or changed or window.breaks
        now, last = job, window


def enrol(
    model: Model,
    encoder: Encoder,
    clips: Sequence[ExampleClip],
    normal: Sequence[Path] = (),
    *,
    window: float | None = None,
    stride: float = 1.0,
    reporter: Reporter = SILENT,
) -> tuple[SupportSet, dict[str, str]]:
    """Make a support set; with it what could not be read: {name: reason}.

    Args:
        model: where the encoder comes from.
        window: seconds of a window; None: `usual_window`.
        stride: seconds from window to window.

    Raises:
        UsageError: windows that cannot be laid.
        DataError: no class, or one without an example that can be read; no normal footage that can.
    """
    if not clips:
        raise DataError("there are no examples of any class", "EXAMPLES/CLASS/clip.mp4, a folder a class")
    WindowGrid.laid(max(stride, LONGEST_WINDOW) if window is None else window, stride, encoder.config.clip.frames)
    found = describe_examples(encoder, clips, reporter)
    if lost := sorted({clip.cls for clip in clips} - {example.cls for example in found.examples}):
        name = next(clip.name for clip in clips if clip.cls in lost)
        raise DataError(f"no example of {', '.join(lost)} can be read, such as {name}: {found.failed[name]}")
    length = usual_window(found.seconds) if window is None else window
    grid = WindowGrid.laid(max(length, stride) if window is None else length, stride, encoder.config.clip.frames)
    footage = describe_normal(encoder, normal, grid, reporter)
    if footage.thinned:
        reporter.log("there is more normal footage than a support file takes: its end does not calibrate")
    if normal and not footage.whitening and not footage.silent:
        raise DataError(f"no normal footage can be read, such as {_first(footage)}")
    prepared = whiten(encoder, footage.whitening) if model.run is None else {}
    document = SupportDocument(
        format=FORMAT,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        examples=tuple(found.examples),
        encoder=identity_of(model, encoder.method),
        grid=GridShape(frames=grid.frames, step=grid.step, apart=grid.apart, every=grid.every),
        normal=NormalFootage(
            sources=tuple(printable(path.resolve()) for path in normal if printable(path) not in footage.failed),
            whitened=len(footage.whitening) if prepared else 0, silent=len(footage.silent),
        ) if normal else None,
    )  # fmt: skip
    support = SupportSet(
        document, Encoded.cat(found.encoded), tuple(found.thumbnails), _thinned(footage.whitening),
        footage.calibrating, prepared,
    )  # fmt: skip
    return calibrated(encoder, support), found.failed | footage.failed


def whiten(encoder: Encoder, described: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    """Fit the whitening of a frozen encoder to normal windows, in place; its buffers, none where it whitens nothing."""
    preparation = encoder.method.preparation
    if not preparation.whiten:
        return {}
    if not described:
        raise DataError("there is no normal footage to whiten by", "--normal, or --set model.match.whiten=none")
    vectors = preparation.vectors(Encoded.cat(list(described)).to(encoder.device).tensors)
    try:
        preparation.fit(vectors, ["normal"] * len(described), encoder.config.model.match.whiten_shrinkage)
    except DataError as error:
        text = f"{counted(len(described), 'window')} of normal footage, all alike, are too few to whiten by"
        raise DataError(text, "more --normal footage, or --set model.match.whiten=none") from error
    return {name: buffer.detach().cpu().clone() for name, buffer in preparation.named_buffers()}


def _thinned(described: Sequence[Encoded]) -> Encoded | None:
    if len(described) <= MOST_NORMAL:
        return joined(described)
    chosen = np.linspace(0, len(described) - 1, MOST_NORMAL).round().astype(int)
    return Encoded.cat([described[i] for i in chosen])


def calibrated(encoder: Encoder, support: SupportSet) -> SupportSet:
    """The set with the scores that its calibration rests on."""
    scorer = Scorer(encoder, support.described, support.labels, support.normal)
    silent = None if support.silent is None else torch.from_numpy(scorer(support.silent.described)[0])
    return replace(support, left_out=torch.from_numpy(scorer.left_out(support.groups)), silent_scores=silent)


def extended(
    encoder: Encoder, support: SupportSet, clips: Sequence[ExampleClip], normal: Sequence[ExampleClip] = (),
    reporter: Reporter = SILENT,
) -> tuple[SupportSet, dict[str, str]]:  # fmt: skip
    """The set with further examples, and with clips that are none of its classes (false alarms) among the normal ones.

    The whitening stands still; the calibration is made anew. With it what could not be read: {name: reason}.
    """
    found, calm = describe_examples(encoder, clips, reporter), describe_examples(encoder, normal, reporter)
    if not found.examples and not calm.examples:
        raise DataError(f"none of {counted(len(clips) + len(normal), 'clip')} can be read: {_first(found, calm)}")
    document = support.document.model_copy(update={"examples": (*support.examples, *found.examples)})
    normals = [*([support.normal] if support.normal else []), *calm.encoded]
    grown = replace(
        support, document=document, described=Encoded.cat([support.described, *found.encoded]),
        thumbnails=(*support.thumbnails, *found.thumbnails), normal=joined(normals),
    )  # fmt: skip
    return calibrated(encoder, grown), found.failed | calm.failed


def _first(*described: DescribedExamples | NormalWindows) -> str:
    return next((f"{name}: {reason}" for some in described for name, reason in some.failed.items()), "")


def without(encoder: Encoder, support: SupportSet, names: Sequence[str]) -> SupportSet:
    """The set without some examples.

    Raises:
        UsageError: none would be left.
    """
    kept = [i for i, example in enumerate(support.examples) if example.name not in names]
    if not kept:
        raise UsageError("no example would be left", "delete the file, or `fsar support make` others")
    document = support.document.model_copy(update={"examples": tuple(support.examples[i] for i in kept)})
    smaller = replace(support, document=document, described=support.described.take(torch.tensor(kept)),
                      thumbnails=tuple(support.thumbnails[i] for i in kept))  # fmt: skip
    return calibrated(encoder, smaller)
