"""The end of the demo: three anomalous classes are enrolled by five clips each, and found in a long video.

    quiet.mp4    new clips of normal classes, one after the other: what must stay silent
    yard.mp4     others, with clips of the three classes among them that were not enrolled; yard.csv has their times

The encoder is the run that the demo trained, which saw none of the three.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fsar_cli.config import Config
from fsar_cli.data.annotations.labelled import labelled_segments
from fsar_cli.engine.model import Model
from fsar_cli.engine.runs import Run
from fsar_cli.files import write_rows
from fsar_cli.recognise.encoder import Encoder
from fsar_cli.recognise.enrolment import enrol
from fsar_cli.recognise.examples import find_examples
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.recognise.results import compare_scan, truth_of, write_scan
from fsar_cli.recognise.scan import file_digest, scan_files
from fsar_cli.recognise.truth_report import TruthReport
from fsar_cli.tools.demo.joined import COLUMNS, join
from fsar_cli.tools.demo.scenes import render_set
from fsar_cli.tools.demo.steps import Steps

ENROLLED = ("fall", "fight", "fire")
EXAMPLES = 5
UNSEEN = 100  # number of the first new clip of a normal class, far behind those that were trained on
FALSE_ALARMS = 60.0  # an hour: of minutes of normal footage nothing less can be had
STRIDE = 0.5


@dataclass
class OwnScan:
    """What the scan of a long video came to."""

    support: Path
    page: Path
    events: int
    against: TruthReport


def enrol_and_scan(
    folder: Path, run: Run, config: Config, device: torch.device, steps: Steps, seed: int, clips: int,
    normal: Sequence[str],
) -> OwnScan:  # fmt: skip
    """Enrol and scan in a demo's folder.

    Args:
        clips: rendered clips of each anomalous class.
        normal: names of the normal classes.
    """
    place, reporter = folder / "own", steps.reporter
    with steps.step("own videos", "(join clips to long videos)"):
        _make_videos(folder, place, seed, clips, normal)
    support = place / "support.fsar"
    with steps.step("support make", f"fsar support make {place / 'examples.csv'} --normal {place / 'quiet.mp4'}"):
        model = Model(config, run)
        encoder = Encoder(model.load(), config, device)
        examples = find_examples([place / "examples.csv"], reporter)
        made, _ = enrol(model, encoder, examples, [place / "quiet.mp4"], stride=STRIDE, reporter=reporter)
        made.write(support)
    yard = place / "yard.mp4"
    with steps.step("scan", f"fsar scan {yard} --support {support} --truth {yard.with_suffix('.csv')} --report"):
        recognizer, results = Recognizer(made, encoder), folder / "scans" / "yard"
        truth = truth_of(labelled_segments(yard.with_suffix(".csv")), [yard])
        results.mkdir(parents=True)
        level = recognizer.alarm_level(FALSE_ALARMS)
        result = scan_files(recognizer, [yard], results, level, made_with=file_digest(support), reporter=reporter)
        against = compare_scan(result, truth, recognizer.classes)
        write_scan(recognizer, result, support, against, page=True, reporter=reporter)
    return OwnScan(support, results / "report.html", len(result.events), against)


def _make_videos(folder: Path, place: Path, seed: int, clips: int, normal: Sequence[str]) -> None:
    """quiet.mp4, yard.mp4 with yard.csv, and examples.csv."""
    rng = np.random.default_rng(seed)
    new = render_set(place / "normal", dict.fromkeys(normal, 2), seed=seed, first=UNSEEN)
    quiet, among = new[::2], new[1::2]
    join([(path, "normal") for path in _shuffled(quiet, rng)], place / "quiet.mp4")
    shots = min(EXAMPLES, clips // 2)
    shown = range(shots + 1, min(clips, shots + EXAMPLES) + 1)
    mixed = _among(_shuffled(among, rng), _shuffled([_clip(folder, name, n) for name in ENROLLED for n in shown], rng))
    join([(path, path.parent.name) for path in mixed], place / "yard.mp4")
    examples = [(_clip(folder, name, n).resolve(), "", "", name) for name in ENROLLED for n in range(1, shots + 1)]
    write_rows(place / "examples.csv", COLUMNS, examples)


def _clip(folder: Path, name: str, number: int) -> Path:
    return folder / "videos" / name / f"{name}_{number:04d}.mp4"


def _shuffled(paths: Sequence[Path], rng: np.random.Generator) -> list[Path]:
    return [paths[i] for i in rng.permutation(len(paths))]


def _among(normal: Sequence[Path], others: Sequence[Path]) -> Iterator[Path]:
    """Normal clips with the others spread among them, none beside another where there are enough."""
    for i, path in enumerate(normal):
        yield path
        yield from others[i * len(others) // len(normal) : (i + 1) * len(others) // len(normal)]
