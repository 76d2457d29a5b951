"""The embedded demo: renders a labelled set and runs every step of the suite on it, as a user would.

    render -> extract-frames -> splits make -> train -> eval (1 and 5 shot) -> visualize-regions -> one table

The folder it leaves is an ordinary project: `cd demo` and every command works there.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import yaml

from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.data.sampling import even_indices
from fsar_cli.data.splits.making import make
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.records import Settings
from fsar_cli.data.store.sources import find_videos
from fsar_cli.data.transforms import centre_crop
from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.device import loader_workers
from fsar_cli.engine.evaluate import Evaluation, evaluate, write_results
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.engine.visualize import Visualization, visualize
from fsar_cli.errors import UsageError
from fsar_cli.files import write_whole
from fsar_cli.render.overlay import to_input
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.settings import resolve
from fsar_cli.tools.demo.hits import Hits, compare_regions
from fsar_cli.tools.demo.scenes import CLASSES, read_boxes, render_set

CLIPS = {"train": 6, "val": 6, "test": 16}  # a class
MARKER = ".fsar-demo"
SHOWN = ("fight", "fire")  # classes whose first clip is visualised


@dataclass
class DemoResult:
    """What the demo measured."""

    folder: Path
    run: Path
    trained: Evaluation
    baselines: dict[str, Evaluation]
    hits: dict[str, Hits]
    pictures: list[Visualization]
    seconds: dict[str, float] = field(default_factory=dict)


class _Steps:
    """Names, announces and times the steps."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter, self.seconds = reporter, {}

    def run(self, name: str, command: str, work: Callable[[], object]) -> object:
        self.reporter.log(f"$ {command}")
        started = time.monotonic()
        result = work()
        self.seconds[name] = time.monotonic() - started
        return result


def run_demo(
    out: Path,
    device: torch.device,
    *,
    seed: int = 0,
    iterations: int | None = None,
    episodes: int | None = None,
    clips: dict[str, int] = CLIPS,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> DemoResult:
    """Make the demo in `out`.

    Args:
        iterations, episodes: in place of the preset's training and evaluation episodes.
        clips: rendered clips of each class by role.
        force: replace an earlier demo in `out`; any other folder is never touched.

    Raises:
        UsageError: `out` is there already.
    """
    config = start_project(out, {"train.iterations": iterations, "eval.episodes": episodes}, force)
    steps, workers = _Steps(reporter), loader_workers(None, torch.device("cuda"))
    data = config.data
    wanted = {name: clips[entry.role] for name, entry in CLASSES.items()}
    steps.run("render", "(render the demo set)",
              lambda: render_set(out, wanted, seed=seed, workers=workers, reporter=reporter))  # fmt: skip
    steps.run("extract-frames", f"fsar extract-frames {data.videos} {data.frames}",
              lambda: extract(find_videos([data.videos]).sources, data.frames,
                              Settings(short_side=config.clip.short_side), workers, reporter))  # fmt: skip
    steps.run(
        "splits", f"fsar splits make arn --root {data.frames} --train ... --test ...", lambda: split_by_role(config)
    )
    run = steps.run("train", "fsar train", lambda: _train(config, out, device, reporter))
    trained, baselines, bank = steps.run(
        "eval", "fsar eval --shots 1 --shots 5", lambda: _evaluate(config, run, device, reporter)
    )
    shown = [data.videos / name / f"{name}_0001.mp4" for name in SHOWN]
    pictures = steps.run("visualize-regions", f"fsar visualize-regions {shown[0]}",
                         lambda: _pictures(config, run, out, shown, device))  # fmt: skip
    hits = compare_regions(bank.boxes, actor_boxes(config, out, bank.videos))
    return DemoResult(out, run.path, trained, baselines, hits, pictures, steps.seconds)


def start_project(out: Path, flags: dict[str, object], force: bool) -> Config:
    """A folder with the fsar.yaml of a demo, and its configuration with `flags` laid over.

    Raises:
        UsageError: `out` is no demo, or holds one and not `force`.
    """
    if out.exists() and not (out / MARKER).exists() and any(out.iterdir()):
        raise UsageError(f"{out} is there already and is no demo", "--out takes another folder")
    if (out / MARKER).exists():
        if not force:
            raise UsageError(f"{out} holds a demo already", "--force replaces it, --out takes another folder")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()
    project = {"preset": "demo", "data": {"videos": "videos", "frames": "frames", "splits": "splits.csv"}}
    heading = "# Written by `fsar demo`: every command works in this folder.\n"
    write_whole(out / "fsar.yaml", heading + yaml.safe_dump(project, sort_keys=False))
    paths = {f"data.{name}": out / value for name, value in project["data"].items()}
    return resolve(preset="demo", flags={**flags, **paths}, environ={}).config


def split_by_role(config: Config) -> None:
    """Write the split file: every class in the split of its role."""
    roles = {role: [n for n, entry in CLASSES.items() if entry.role == role] for role in ("train", "val", "test")}
    make("arn", scan_tree(config.data.frames), lists=roles).splits.write(config.data.splits)


def _train(config: Config, out: Path, device: torch.device, reporter: Reporter):
    trainer = Trainer(config, lambda: create_run(config, out / "runs" / "demo"), device, reporter=reporter)
    trainer.run()
    return trainer.folder


def _evaluate(config: Config, run, device: torch.device, reporter: Reporter):
    """The trained method, and untrained baselines on the same weights and the same episodes."""
    method = load_method(run, config)
    trained, bank = evaluate(method, config, device, reporter=reporter)
    write_results(trained, config, run.path / "eval")
    baselines = {}
    for name in ("prototype",):
        other = config.model_copy(update={"model": config.model.model_copy(update={"method": name})})
        baselines[f"{name}, untrained"], _ = evaluate(build_method(other).eval(), other, device, reporter=reporter)
    return trained, baselines, bank


def _pictures(config: Config, run, out: Path, videos: list[Path], device: torch.device) -> list[Visualization]:
    method = load_method(run, config)
    return [
        visualize(method, config, video, out / "regions" / video.stem, device, title=video.stem) for video in videos
    ]


def actor_boxes(config: Config, root: Path, videos: tuple[str, ...]) -> torch.Tensor:
    """Boxes of the actors in the frames that evaluation samples.

    Returns:
        float32 [V,T,4] xyxy in [0,1] of the input crop; outside that range where an actor leaves the crop.
    """
    store, known = FrameStore(config.data.frames), read_boxes(root / "boxes.csv")
    found = []
    for video in videos:
        record = store.record(video)
        source, resized = (record.source_width, record.source_height), (record.width, record.height)
        crop = centre_crop(*resized, config.clip.size).in_source(resized, source)
        boxes = known[video][even_indices(store.count(video), config.clip.frames)]  # [T,4]
        found.append(to_input(boxes, crop))
    return torch.from_numpy(np.stack(found)).float()
