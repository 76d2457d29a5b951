"""Own classes on real clips: kick, push and punch enrolled from sequences 1-10 of UT-Interaction, tested on 11-20.

The test prints the table of `guide/own-videos.md`: windows of the clips of 11-20 joined to one video, and whole clips.
"""

import random
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.core.method import Encoded
from fsar_cli.data.annotations.labelled import LabelledSegment
from fsar_cli.recognise.calibration import alarm_level, auroc, clip_level, fpr_at_tpr
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.events import EventRule, ScoredWindow, events_of
from fsar_cli.recognise.footage import whiten
from fsar_cli.recognise.scoring import Scorer
from fsar_cli.recognise.truth import FoundEvent, compare_events
from fsar_cli.recognise.windows import WindowGrid, window_of_clip, windows_of_file
from fsar_cli.settings import resolve
from fsar_cli.tools.demo.joined import join

ANOMALOUS, NORMAL = ("kick", "punch", "push"), ("handshake", "hug", "point")
EARLY, LATE = range(1, 11), range(11, 21)
HALVES = range(11, 16), range(16, 21)
DRAWS, WRONG = 20, 0.1


def config_of(weights: Path, whitened: bool) -> Config:
    flags = {
        "model.method": "prototype", "model.backbone": "i3d", "model.weights": str(weights),
        "model.match.metric": "cosine", "model.freeze_backbone": True,
        "model.match.whiten": "train" if whitened else "none",
    }  # fmt: skip
    return resolve(flags=flags, environ={}).config


@dataclass
class Clips:
    """Described clips, or windows, with what each shows, whom, and of which file."""

    encoded: list[Encoded] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    """Seconds in the video that was read."""

    def add(self, encoded: Encoded, file: Path, span: tuple[float, float]) -> None:
        self.encoded.append(encoded)
        self.spans.append(span)
        self.classes.append(file.parent.name)
        self.sequences.append(int(file.stem.partition("seq")[2]))
        self.files.append(file)

    def places(self, classes: Sequence[str], sequences: Container[int]) -> list[int]:
        shown = zip(self.classes, self.sequences, strict=True)
        return [i for i, (cls, sequence) in enumerate(shown) if cls in classes and sequence in sequences]

    def some(self, places: Sequence[int]) -> Encoded:
        return Encoded.cat([self.encoded[i] for i in places])


@pytest.mark.slow
def test_kick_push_and_punch_stand_out_among_people_that_were_never_seen(shared, tmp_path, capsys) -> None:
    weights, root = shared / "weights" / "i3d_kinetics400_fp16.safetensors", shared / "data" / "ut_interaction"
    plain, white = (Encoder(build_method(c).eval(), c, torch.device("cpu"))
                    for c in (config_of(weights, False), config_of(weights, True)))  # fmt: skip
    grid, files = WindowGrid.laid(3.0, 1.0, plain.config.clip.frames), sorted(root.glob("*/*.avi"))
    whole, parts = described(plain, files, grid)
    windows, truth = long_video(plain, late_files(files), grid, tmp_path / "long.mp4")
    table = measured(plain, white, whole, parts, windows)
    found = events_found(white, whole, parts, windows, truth, grid.stride)
    with capsys.disabled():
        print(
            "\nnormal footage, examples: AUROC, FPR95, right class of windows; the same of clips; alarms asked, found"
        )
        for (footage, shot), figures in table.items():
            print(f"{footage:11} {shot}: " + "  ".join(f"{100 * figure:5.1f}" for figure in figures))
        print("events of 5 examples and normal footage from elsewhere at tIoU 0.5: recall, precision; of any class;")
        print("false alarms an hour: " + "  ".join(f"{figure:.3g}" for figure in found))
    assert table["elsewhere", 5][0] >= 0.91
    assert table["own place", 5][0] >= 0.94
    assert table["elsewhere", 5][0] > table["none", 5][0] + 0.05


def late_files(files: Sequence[Path]) -> list[Path]:
    """Those of sequences 11 to 20."""
    return [file for file in files if int(file.stem.partition("seq")[2]) in LATE]


def described(encoder: Encoder, files: Sequence[Path], grid: WindowGrid) -> tuple[Clips, Clips]:
    """Whole clips, and the windows of the normal ones."""
    whole, parts = Clips(), Clips()
    for file in files:
        clip = window_of_clip(file, encoder.config.clip)
        whole.add(encoder.describe([clip]).encoded, file, (clip.start, clip.end))
        if file.parent.name in NORMAL:
            for window in windows_of_file(file, grid, encoder.config.clip):
                parts.add(encoder.describe([window]).encoded, file, (window.start, window.end))
    return whole, parts


def long_video(
    encoder: Encoder, files: Sequence[Path], grid: WindowGrid, path: Path
) -> tuple[Clips, list[LabelledSegment]]:
    """The windows of clips in random order as one video; each counts as of the clip at its middle."""
    order, windows = random.Random(0).sample(files, len(files)), Clips()
    times = join([(file, file.parent.name) for file in order], path)
    for window in windows_of_file(path, grid, encoder.config.clip):
        middle = (window.start + window.end) / 2
        shown = next((i for i, (start, end, _) in enumerate(times) if start <= middle < end), len(times) - 1)
        windows.add(encoder.describe([window]).encoded, order[shown], (window.start, window.end))
    return windows, [LabelledSegment("long", *time) for time in times]


def measured(
    plain: Encoder, white: Encoder, whole: Clips, parts: Clips, windows: Clips
) -> dict[tuple[str, int], np.ndarray]:
    """By normal footage and examples a class: means of `figures` over draws of examples and halves of 11-20.

    `own place` has also the normal clips of the other half: the same place, other people.
    """
    table = {}
    for shot in (1, 5):
        rows: dict[str, list[np.ndarray]] = {"none": [], "elsewhere": [], "own place": []}
        for tested, other in (HALVES, HALVES[::-1]):
            footage = {"none": None, "elsewhere": (*EARLY,), "own place": (*EARLY, *other)}
            for name, sequences in footage.items():
                normal = None if sequences is None else jobs(white, parts, sequences)
                encoder = plain if normal is None else white
                rows[name] += [figures(encoder, normal, whole, windows, tested, shot, draw) for draw in range(DRAWS)]
        table |= {(name, shot): np.mean(found, 0) for name, found in rows.items()}
    return table


def jobs(encoder: Encoder, parts: Clips, sequences: Container[int]) -> tuple[Encoded, Encoded]:
    """Normal windows that whiten, and those that calibrate: clips take turns, as `footage` has it of short files."""
    places = parts.places(NORMAL, sequences)
    files = list(dict.fromkeys(parts.files[i] for i in places))
    first = [i for i in places if files.index(parts.files[i]) % 2 == 0]
    whiten(encoder, [parts.encoded[i] for i in first])
    return parts.some(first), parts.some([i for i in places if i not in first])


def figures(
    encoder: Encoder, normal: tuple[Encoded, Encoded] | None, whole: Clips, windows: Clips, tested: range, shot: int,
    draw: int,
) -> list[float]:  # fmt: skip
    """AUROC, FPR at 95 % TPR and accuracy of windows, then of clips; share of normal windows asked and found."""
    rng = np.random.default_rng(draw)
    chosen = np.concatenate([rng.choice(whole.places([c], EARLY), shot, replace=False) for c in ANOMALOUS])
    labels = np.repeat(range(len(ANOMALOUS)), shot)
    scorer = Scorer(encoder, whole.some(chosen), labels, None if normal is None else normal[0])
    row: list[float] = []
    for clips in (windows, whole):
        places = clips.places((*ANOMALOUS, *NORMAL), tested)
        truth = np.array(clips.classes)[places]
        scores, anomalous = scorer(clips.some(places))[0], np.isin(truth, ANOMALOUS)
        best, right = scores.max(1), np.array(ANOMALOUS)[scores.argmax(1)] == truth
        row += [auroc(best[anomalous], best[~anomalous]), fpr_at_tpr(best[anomalous], best[~anomalous]),
                right[anomalous].mean()]  # fmt: skip
    if normal is None:
        return [*row, np.nan, np.nan]
    level = clip_level(scorer(normal[1])[0].max(1), scorer.left_out([""] * len(labels)), labels, WRONG)
    quiet = scorer(windows.some(windows.places(NORMAL, tested)))[0].max(1)
    return [*row, WRONG, (quiet >= level.threshold).mean()]


def events_found(
    encoder: Encoder, whole: Clips, parts: Clips, windows: Clips, truth: Sequence[LabelledSegment], stride: float
) -> np.ndarray:
    """Means over draws: recall and precision in percent, the same of any class, false alarms an hour."""
    normal, quiet = jobs(encoder, parts, EARLY)
    rows = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        chosen = np.concatenate([rng.choice(whole.places([c], EARLY), 5, replace=False) for c in ANOMALOUS])
        scorer = Scorer(encoder, whole.some(chosen), np.repeat(range(len(ANOMALOUS)), 5), normal)
        silent = [[ScoredWindow(i, i + 3.0, scores) for i, scores in enumerate(scorer(quiet)[0])]]
        level = alarm_level(silent, 200.0, EventRule(0.0, 0.0), ANOMALOUS, stride)
        scored = [ScoredWindow(*span, scores) for span, scores in
                  zip(windows.spans, scorer(Encoded.cat(windows.encoded))[0], strict=True)]  # fmt: skip
        events = events_of(scored, ANOMALOUS, level.rule, stride)
        hours = windows.spans[-1][1] / 3600
        plain = compare_events([FoundEvent("long", e.start, e.end, e.cls, e.score) for e in events], truth, hours,
                               classes=ANOMALOUS).document()  # fmt: skip
        shares = ("recall", "precision", "recall_of_any_class", "precision_of_any_class")
        rows.append([*(100 * plain[name]["share"] for name in shares), plain["false_alarms"]["an_hour"]])
    return np.mean(rows, 0)
