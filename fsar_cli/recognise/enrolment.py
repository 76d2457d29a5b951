"""Examples and normal footage -> a support set.

examples          -- one window each --> described, a thumbnail
normal footage    -- `footage` --------> whitening, normal windows, windows that calibrate
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from fsar_cli.config import Config
from fsar_cli.core.method import Encoded
from fsar_cli.data.video import printable, to_jpeg
from fsar_cli.engine.model import Model
from fsar_cli.errors import DataError, UsageError, counted
from fsar_cli.recognise.calibration import example_auroc, recalled
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.examples import ExampleClip
from fsar_cli.recognise.footage import NormalWindows, describe_normal, thinned, whiten
from fsar_cli.recognise.identity import identity_of
from fsar_cli.recognise.scoring import Scorer
from fsar_cli.recognise.support import (
    FORMAT,
    EnrolledExample,
    Gain,
    GridShape,
    NormalFootage,
    SupportDocument,
    SupportSet,
    joined,
)
from fsar_cli.recognise.windows import Window, WindowGrid, window_of_clip
from fsar_cli.reporting import SILENT, Reporter

THUMBNAIL_QUALITY = 80
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
        document, Encoded.cat(found.encoded), tuple(found.thumbnails), thinned(footage.whitening),
        footage.calibrating, prepared,
    )  # fmt: skip
    return calibrated(encoder, support), found.failed | footage.failed


def calibrated(encoder: Encoder, support: SupportSet) -> SupportSet:
    """The set with the scores that its calibration rests on, and what normal footage brings."""
    preparation = encoder.method.preparation
    gains = []
    if support.normal is not None:
        with preparation.without_whitening():
            gains.append(_gain("plain", *_scores(encoder, replace(support, normal=None)), support))
        if preparation.whiten:
            gains.append(_gain("whitened", *_scores(encoder, replace(support, normal=None)), support))
    left_out, silent = _scores(encoder, support)
    if gains:
        gains.append(_gain("less normal", left_out, silent, support))
    document = support.document.model_copy(update={"gains": tuple(gains)})
    scores = None if silent is None else torch.from_numpy(silent)
    return replace(support, document=document, left_out=torch.from_numpy(left_out), silent_scores=scores)


def _scores(encoder: Encoder, support: SupportSet) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 [n,C] of examples, each by the others, and [k,C] of the windows that calibrate, where there are any."""
    scorer = Scorer(encoder, support.described, support.labels, support.normal)
    silent = None if support.silent is None else scorer(support.silent.described)[0]
    return scorer.left_out(support.groups), silent


def _gain(kind: str, left_out: np.ndarray, silent: np.ndarray | None, support: SupportSet) -> Gain:
    right, of = recalled(left_out, support.labels, -np.inf)
    area = example_auroc(left_out, None if silent is None else silent.max(1))
    return Gain(kind=kind, right=right, of=of, auroc=area)


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
