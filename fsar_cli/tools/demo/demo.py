"""The embedded demo: renders a labelled set and runs every step of the suite on it, as a user would.

    render -> extract-frames -> splits make -> train -> eval (1 and 5 shot) -> visualize-regions
           -> support make -> scan of a long video -> its page -> one table

The folder it leaves is an ordinary project: `cd demo` and every command works there.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.data.splits.making import make
from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.data.store.extraction import extract
from fsar_cli.data.store.sources import find_videos
from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.device import loader_workers
from fsar_cli.engine.evaluate import Evaluation, evaluate, write_results
from fsar_cli.engine.runs import create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.engine.visualize import Visualization, visualize
from fsar_cli.errors import UsageError
from fsar_cli.files import lock, write_whole
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.settings import resolve
from fsar_cli.tools.demo.hits import Hits, actor_boxes, compare_regions
from fsar_cli.tools.demo.own import OwnScan, enrol_and_scan
from fsar_cli.tools.demo.scenes import CLASSES, render_set
from fsar_cli.tools.demo.steps import Steps

CLIPS = {"train": 6, "val": 6, "test": 16}  # a class
PLACES = {"videos": "videos", "frames": "frames", "splits": "splits.csv"}
MARKER = ".fsar-demo"
DRAWN = ("fight", "fire")  # classes whose first clip is visualised


@dataclass
class DemoResult:
    """What the demo measured."""

    folder: Path
    run: Path
    trained: Evaluation
    untrained: Evaluation
    """Of `prototype` on the same weights and the same episodes."""
    hits: dict[str, Hits]
    pictures: list[Visualization]
    own: OwnScan
    seconds: dict[str, float]
    """By step."""


def run_demo(
    out: Path,
    device: torch.device,
    *,
    seed: int = 0,
    iterations: int | None = None,
    episodes: int | None = None,
    clips: Mapping[str, int] = CLIPS,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> DemoResult:
    """Make the demo in `out`.

    Args:
        iterations, episodes: in place of the preset's training and evaluation episodes.
        clips: rendered clips of each class by role.
        force: replace an earlier demo in `out`; any other folder is never touched.

    Raises:
        UsageError: `out` is there already, or another process makes a demo there.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    busy = f"another process is making the demo in {out}", "wait for it, or --out takes another folder"
    with lock(lock_of(out), busy):
        config = start_project(out, {"train.iterations": iterations, "eval.episodes": episodes}, force)
        return _run_steps(out, config, device, Steps(reporter), seed, clips)


def lock_of(folder: Path) -> Path:
    """The lock of whoever makes a demo in a folder: beside it, as the folder may be replaced."""
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.lock")


def _run_steps(
    out: Path, config: Config, device: torch.device, steps: Steps, seed: int, clips: Mapping[str, int]
) -> DemoResult:
    reporter = steps.reporter
    fill_project(out, config, steps, seed, clips)
    with steps.step("train", "fsar train"):
        trainer = Trainer(config, lambda: create_run(config, out / "runs" / "demo"), device, reporter=reporter)
        trainer.run()
        method = load_method(trainer.folder, config)
    with steps.step("eval", "fsar eval --shots 1 --shots 5"):
        trained = evaluate(method, config, device, reporter=reporter)
        write_results(trained, config, trainer.folder.path / "eval")
        plain = config.model_copy(update={"model": config.model.model_copy(update={"method": "prototype"})})
        untrained = evaluate(build_method(plain).eval(), plain, device, reporter=reporter)
    videos = [config.data.videos / name / f"{name}_0001.mp4" for name in DRAWN]
    with steps.step("visualize-regions", f"fsar visualize-regions {videos[0]}"):
        pictures = [visualize(method, config, v, out / "regions" / v.stem, device, title=v.stem) for v in videos]
    hits = compare_regions(trained.bank.boxes, actor_boxes(config, out, trained.bank.videos))
    normal = [name for name, action in CLASSES.items() if action.role != "test"]
    own = enrol_and_scan(out, trainer.folder, config, device, steps, seed, clips["test"], normal)
    return DemoResult(out, trainer.folder.path, trained, untrained, hits, pictures, own, steps.seconds)


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
    project = {"preset": "demo", "data": PLACES}
    heading = "# Written by `fsar demo`: every command works in this folder.\n"
    write_whole(out / "fsar.yaml", heading + yaml.safe_dump(project, sort_keys=False))
    return resolve(preset="demo", flags={**flags, **paths_in(out)}, environ={}).config


def paths_in(folder: Path) -> dict[str, Path]:
    """The settings that say where things are in a demo's folder."""
    return {f"data.{name}": folder / place for name, place in PLACES.items()}


def fill_project(folder: Path, config: Config, steps: Steps, seed: int = 0, clips: Mapping[str, int] = CLIPS) -> None:
    """Render the clips of the demo in `folder`, store their frames, write the split file (each class by its role)."""
    data, workers = config.data, loader_workers(None, torch.device("cuda"))
    with steps.step("render", "(render the demo set)"):
        numbers = {name: clips[action.role] for name, action in CLASSES.items()}
        render_set(folder, numbers, seed=seed, workers=workers, reporter=steps.reporter)
    with steps.step("extract-frames", f"fsar extract-frames {data.videos} {data.frames}"):
        sources = find_videos([data.videos]).sources
        extract(sources, data.frames, config.stored, workers, steps.reporter)
    with steps.step("splits", f"fsar splits make arn --root {data.frames} --train ... --test ..."):
        names = {role: [name for name, action in CLASSES.items() if action.role == role] for role in clips}
        make("arn", scan_tree(data.frames), lists=names).splits.write(data.splits)
