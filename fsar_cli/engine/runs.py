"""Run folders: self-contained, never overwritten, newest by default."""

import json
import platform
import sys
from datetime import datetime
from pathlib import Path

from fsar_cli import __version__
from fsar_cli.config import Config, dump, flatten, load
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import naming, write_whole

RUNS = Path("runs")


class Run:
    """A run folder: config.yaml, env.json, model.safetensors (best), state.pt (last), metrics.csv, log.txt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.model_file = path / "model.safetensors"
        self.state_file = path / "state.pt"
        self.log_file = path / "log.txt"

    def config(self) -> Config:
        """The resolved configuration the run was made with."""
        return load(self.config_file.read_bytes(), str(self.config_file))

    def keep_classes(self, classes: int | None) -> None:
        """Write the number of training classes, which a run gets to know as it starts, where it is not yet known."""
        config = self.config()
        if config.model.classes != classes:
            model = config.model.model_copy(update={"classes": classes})
            write_whole(self.config_file, dump(config.model_copy(update={"model": model})))

    def values(self) -> dict[str, object]:
        """The same as dotted keys: the base that flags and --set are laid over."""
        return flatten(self.config().model_dump())

    def log(self, text: str) -> None:
        """Append a line with the time to log.txt."""
        with naming(self.log_file), self.log_file.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {text}\n")


def create_run(config: Config, path: Path | None = None) -> Run:
    """Make `runs/<time>-<dataset>-<method>[+region]-<way>w<shot>s/`, or `path`, with config.yaml and env.json.

    Raises:
        UsageError: `path` holds a run already.
    """
    name = f"{config.data.name}-{config.model.label}-{config.episode.way}w{config.episode.shot}s"
    target = path or _unused(RUNS / f"{datetime.now():%Y%m%d-%H%M%S}-{name}")
    if (target / "config.yaml").exists():
        raise UsageError(f"{target} holds a run already", f"--resume {target} continues it; --out takes a new folder")
    target.mkdir(parents=True, exist_ok=True)
    run = Run(target)
    # Absolute, so that the run can be evaluated from any folder.
    data = {name: getattr(config.data, name).absolute() for name in ("videos", "frames", "splits")}
    config = config.model_copy(update={"data": config.data.model_copy(update=data)})
    write_whole(run.config_file, dump(config))
    write_whole(target / "env.json", json.dumps(environment(), indent=2) + "\n")
    return run


def _unused(path: Path) -> Path:
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def environment() -> dict[str, object]:
    """Versions and hardware, for env.json."""
    import torch
    import torchvision

    return {
        "fsar": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "platform": platform.platform(),
        "command": sys.argv,
    }


def find_run(path: Path | None, root: Path = RUNS) -> Run:
    """The run at `path`, or the newest one under `root` that has weights.

    Raises:
        DataError: nothing there.
    """
    if path is not None:
        if not (path / "config.yaml").is_file():
            raise DataError(f"{path} is no run folder", "a run folder holds config.yaml and model.safetensors")
        return Run(path)
    trained = sorted(root.glob("*/model.safetensors"), key=lambda file: file.stat().st_mtime)
    if not trained:
        raise DataError(f"no trained run under {root}/", "`fsar train` makes one; or name a run folder")
    return Run(trained[-1].parent)
