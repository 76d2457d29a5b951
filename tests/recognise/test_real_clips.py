"""Own classes on real clips: kick, push and punch enrolled from sequences 1-10 of UT-Interaction, tested on 11-20.

The test prints the table of `guide/own-videos.md`: windows of the clips of 11-20 joined to one video, and whole clips.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.core.method import Encoded
from fsar_cli.recognise.calibration import auroc, clip_level, fpr_at_tpr
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.footage import whiten
from fsar_cli.recognise.scoring import Scorer
from fsar_cli.recognise.windows import WindowGrid, window_of_clip, windows_of_file
from fsar_cli.settings import resolve
from fsar_cli.tools.demo.joined import join

ANOMALOUS, NORMAL = ("kick", "punch", "push"), ("handshake", "hug", "point")
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
    """Described clips, or windows, with what each shows."""

    encoded: list[Encoded]
    classes: list[str]
    sequences: list[int]

    def some(self, classes: Sequence[str], sequences: range) -> Encoded:
        return Encoded.cat([e for e, c, s in zip(self.encoded, self.classes, self.sequences, strict=True)
                            if c in classes and s in sequences])  # fmt: skip

    def places(self, cls: str, sequences: range) -> list[int]:
        return [
            i for i, (c, s) in enumerate(zip(self.classes, self.sequences, strict=True)) if c == cls and s in sequences
        ]


@pytest.mark.slow
def test_kick_push_and_punch_stand_out_among_people_and_places_that_were_never_seen(shared, tmp_path, capsys) -> None:
    weights, root = shared / "weights" / "i3d_kinetics400_fp16.safetensors", shared / "data" / "ut_interaction"
    plain, white = (Encoder(build_method(c).eval(), c, torch.device("cpu"))
                    for c in (config_of(weights, False), config_of(weights, True)))  # fmt: skip
    grid, files = WindowGrid.laid(3.0, 1.0, plain.config.clip.frames), sorted(root.glob("*/*.avi"))
    whole, parts = _described(plain, files, grid)
    windows, shown = _long_video(plain, [f for f in files if _sequence(f) > 10], grid, tmp_path / "long.mp4")
    early, late = range(1, 11), range(11, 21)
    table = {}
    for shot in (1, 5):
        elsewhere, own = parts.some(NORMAL, early), parts.some(("handshake",), late)
        table["none", shot] = _measured(plain, None, whole, windows, shown, NORMAL, shot)
        table["elsewhere", shot] = _measured(white, elsewhere, whole, windows, shown, NORMAL, shot)
        table["own scenes", shot] = _measured(white, own, whole, windows, shown, ("hug", "point"), shot)
    with capsys.disabled():
        print(
            "\nnormal footage, examples: AUROC, FPR95, right class of windows; the same of clips; alarms asked, found"
        )
        for (footage, shot), figures in table.items():
            print(f"{footage:11} {shot}: " + "  ".join(f"{100 * figure:5.1f}" for figure in figures))
    assert table["elsewhere", 5][0] >= 0.91
    assert table["own scenes", 5][0] >= 0.94
    assert table["elsewhere", 5][0] > table["none", 5][0] + 0.05


def _sequence(file: Path) -> int:
    return int(file.stem.partition("seq")[2])


def _described(encoder: Encoder, files: Sequence[Path], grid: WindowGrid) -> tuple[Clips, Clips]:
    """Whole clips, and the windows of the normal ones."""
    whole, parts = Clips([], [], []), Clips([], [], [])
    for file in files:
        quiet = windows_of_file(file, grid, encoder.config.clip) if file.parent.name in NORMAL else ()
        found = [window_of_clip(file, encoder.config.clip), *quiet]
        for clips, window in zip((whole, *[parts] * (len(found) - 1)), found, strict=True):
            clips.encoded.append(encoder.describe([window]).encoded)
            clips.classes.append(file.parent.name)
            clips.sequences.append(_sequence(file))
    return whole, parts


def _long_video(encoder: Encoder, files: Sequence[Path], grid: WindowGrid, path: Path) -> tuple[Encoded, list[str]]:
    """The windows of all clips in random order as one video, and the class at the middle of each."""
    order = random.Random(0).sample(files, len(files))
    times = join([(file, file.parent.name) for file in order], path)
    found = list(windows_of_file(path, grid, encoder.config.clip))
    middles = [(window.start + window.end) / 2 for window in found]
    shown = [next((cls for start, end, cls in times if start <= at < end), times[-1][2]) for at in middles]
    return Encoded.cat([encoder.describe([window]).encoded for window in found]), shown


def _measured(
    encoder: Encoder, normal: Encoded | None, whole: Clips, windows: Encoded, shown: list[str],
    quiet: Sequence[str], shot: int,
) -> np.ndarray:  # fmt: skip
    """Means over draws of examples: AUROC, FPR at 95 % TPR and accuracy of windows, then of clips; alarms asked, found.

    Half of the normal windows whiten and stand for normal, the other half calibrates.
    """
    late = range(11, 21)
    calibrating = None
    if normal is not None:
        halves = [normal.take(torch.arange(first, len(normal), 2)) for first in (0, 1)]
        whiten(encoder, [halves[0]])
        normal, calibrating = halves
    clips = Encoded.cat([whole.some((cls,), late) for cls in (*ANOMALOUS, *quiet)])
    names = np.repeat([*ANOMALOUS, *quiet], 10)
    kept = [i for i, cls in enumerate(shown) if cls in (*ANOMALOUS, *quiet)]
    shown = np.array(shown)[kept]
    figures = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        chosen = np.concatenate([rng.choice(whole.places(cls, range(1, 11)), shot, replace=False) for cls in ANOMALOUS])
        examples = Encoded.cat([whole.encoded[i] for i in chosen])
        scorer = Scorer(encoder, examples, np.repeat(range(len(ANOMALOUS)), shot), normal)
        row = []
        for described, truth in ((windows.take(torch.tensor(kept)), shown), (clips, names)):
            scores, anomalous = scorer(described)[0], np.isin(truth, ANOMALOUS)
            best = scores.max(1)
            right = np.array(ANOMALOUS)[scores.argmax(1)] == truth
            row += [auroc(best[anomalous], best[~anomalous]), fpr_at_tpr(best[anomalous], best[~anomalous]),
                    right[anomalous].mean()]  # fmt: skip
        if calibrating is None:
            row += [np.nan, np.nan]
        else:
            silent = scorer(calibrating)[0].max(1)
            level = clip_level(silent, scorer.left_out([""] * len(examples)), scorer.labels, WRONG)
            scores = scorer(windows.take(torch.tensor(kept)))[0].max(1)
            row += [WRONG, (scores[~np.isin(shown, ANOMALOUS)] >= level.threshold).mean()]
        figures.append(row)
    return np.mean(figures, 0)
