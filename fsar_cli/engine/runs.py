"""Run folders: self-contained, never overwritten, newest by default."""

import itertools
import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from fsar_cli import __version__
from fsar_cli.config import Config, dump, flatten, load
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import lock, naming, write_whole

RUNS = Path("runs")


class Run:
    """A run folder: config.yaml, env.json, trained-on.csv (the split file as it was), model.safetensors (best),
    state.pt (last), metrics.csv, log.txt.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.splits_file = path / "trained-on.csv"
        self.model_file = path / "model.safetensors"
        self.state_file = path / "state.pt"
        self.log_file = path / "log.txt"
        self._writing = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other processes from writing into the folder; may be entered again within the block.

        Raises:
            UsageError: another process writes into it.
        """
        if self._writing:
            yield
            return
        busy = f"another process is writing into the run {self.path}", "wait for it; --out NEW trains a run of its own"
        with lock(self.path / ".lock", busy):
            self._writing = True
            try:
                yield
            finally:
                self._writing = False

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
    run = Run(_made(path) if path else _made_anew(RUNS / f"{datetime.now():%Y%m%d-%H%M%S}-{name}"))
    # Absolute, so that the run can be evaluated from any folder.
    data = {name: getattr(config.data, name).absolute() for name in ("videos", "frames", "splits")}
    config = config.model_copy(update={"data": config.data.model_copy(update=data)})
    with run.writing():
        if any(file.exists() for file in (run.config_file, run.splits_file, run.model_file, run.state_file)):
            hint = f"--resume {run.path} continues it; --out takes a new folder"
            raise UsageError(f"{run.path} holds a run already", hint)
        write_whole(run.path / "env.json", json.dumps(environment(), indent=2) + "\n")
        write_whole(run.config_file, dump(config))  # last: what has it is a run, and is whole
    return run


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _made_anew(path: Path) -> Path:
    """A folder that nobody else has: `path`, or with a number behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with suppress(FileExistsError):
            candidate.mkdir()
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
