"""Another data set for a run: a project folder (one with an fsar.yaml) named by its path or its name.

`fsar eval RUN --dataset ucf-crime-v2` takes from that project where its frames and splits are (`data.*`) and how it is
evaluated (`eval.*`, where its file or preset says so); method, weights and clips stay those of the run. A name is
looked for as the folder's name, then as `data.name`, among the projects in the current folder, its subfolders, the
folders beside it and those in the folder that FSAR_DATA names.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fsar_cli.config import DataConfig
from fsar_cli.data.naming import fold
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.errors import DataError, FsarError, UsageError, did_you_mean
from fsar_cli.settings import PROJECT_FILE, read_project

PATHS = tuple(key for key, field in DataConfig.model_fields.items() if "Path" in str(field.annotation))


@dataclass(frozen=True)
class DataSet:
    """A project file and what it says, with that of its preset."""

    file: Path
    values: Mapping[str, Any]
    """Dotted keys; all of `data.*`, as absolute paths."""

    @property
    def name(self) -> str:
        """Short name, as in the names of run folders."""
        return str(self.values["data.name"])

    def part(self, *keys: str) -> dict[str, Any]:
        """The settings of sections: `part("data.", "eval.")`."""
        return {key: value for key, value in self.values.items() if key.startswith(keys)}

    @cached_property
    def splits(self) -> Splits:
        """Its split file's content. Raises DataError: there is none."""
        return Splits.read(Path(self.values["data.splits"]))

    @cached_property
    def store(self) -> FrameStore:
        """Its frames. Raises DataError: there are none."""
        return FrameStore(Path(self.values["data.frames"]))


def find_dataset(name: str) -> DataSet:
    """The data set of a path or a name; see the module docstring.

    Raises:
        DataError: none of that name. UsageError: several, or a project file that cannot be read.
    """
    path = Path(name)
    if path.is_file() or (path / PROJECT_FILE).is_file():
        return _read(path if path.is_file() else path / PROJECT_FILE)
    files = list(dict.fromkeys(file.resolve() for file in _projects()))
    by_folder = [file for file in files if fold(file.parent.name) == fold(name)]
    names = {file: _name(file) for file in files}
    fitting = by_folder or [file for file in files if fold(names[file]) == fold(name)]
    if len(fitting) > 1:
        raise UsageError(f"'{name}' could be {' or '.join(str(file.parent) for file in fitting)}", "give the path")
    if not fitting:
        hint = did_you_mean(name, filter(None, names.values())) or (
            "a data set is a folder with an fsar.yaml (`fsar prepare`, `fsar init`): give its path, or name the folder"
            " that holds it in FSAR_DATA"
        )
        raise DataError(f"no data set '{name}' here, beside here or in FSAR_DATA", hint)
    return _read(fitting[0])


def _projects() -> Iterator[Path]:
    given = os.path.expanduser(os.environ.get("FSAR_DATA", ""))
    roots = [Path.cwd(), Path.cwd().parent, *([Path(given)] if given else [])]
    if Path(PROJECT_FILE).is_file():
        yield Path(PROJECT_FILE)
    for root in roots:
        yield from sorted(root.glob(f"*/{PROJECT_FILE}"))


def _name(file: Path) -> str:
    """`data.name` of a project; empty where the file cannot be read: that concerns only who asks for it."""
    try:
        return _read(file).name
    except FsarError:
        return ""


def _read(file: Path) -> DataSet:
    values = {f"data.{key}": value for key, value in DataConfig().model_dump().items()} | read_project(file)
    folder = file.absolute().parent
    for key in PATHS:
        if values[f"data.{key}"] is not None:
            values[f"data.{key}"] = folder / str(values[f"data.{key}"])
    return DataSet(file, values)
