"""Normal footage -> windows for two jobs.

    windows ----> whitening, and the normal windows that scores are taken less    | one block of time
          '----> calibration                                                     | the next

No window does both: blocks take turns, or whole files where they are short; between two blocks the windows that would
share frames are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from fsar_cli.config import Config
from fsar_cli.core.method import Encoded
from fsar_cli.data.video import printable, probe
from fsar_cli.errors import DataError, counted
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.support import SilentWindows, joined
from fsar_cli.recognise.windows import Window, WindowGrid, windows_of_file
from fsar_cli.reporting import SILENT, Reporter

LONGEST_BLOCK = 60.0  # seconds of normal footage that do one job, before the next do the other
BLOCKS = 8  # into which all of it is cut at least, where it is shorter
WINDOWS_A_BLOCK = 3  # at least
MOST_NORMAL = 256  # windows that scores are taken less
MOST_BYTES = 256 * 2**20
"""Of the features of windows, job by job."""


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
    last: Window | None = None
    now: bool | None = None
    for window in windows_of_file(path, grid, config.clip):
        job = silent if block is None else silent ^ bool(int(window.start // block) % 2)
        changed = now is not None and job != now
        if changed and last and (window.start < last.end or window.frames[0].seconds <= last.frames[-1].seconds):
            continue  # it shows what the other job has
        yield window, job, now is None or changed or window.breaks
        now, last = job, window


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


def thinned(described: Sequence[Encoded]) -> Encoded | None:
    if len(described) <= MOST_NORMAL:
        return joined(described)
    chosen = np.linspace(0, len(described) - 1, MOST_NORMAL).round().astype(int)
    return Encoded.cat([described[i] for i in chosen])
