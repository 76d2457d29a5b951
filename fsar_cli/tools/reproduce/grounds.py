"""Grounds: which data a column is trained on and which it is tested on.

HMDB51 and Kinetics are trained and tested on their own splits; UCF Crime v2 is tested with what Kinetics trained
(section 4.1). Any other project folder is trained and tested on its own, and `demo` is rendered where it is absent.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.engine.dataset import DataSet, find_dataset
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import lock
from fsar_cli.reporting import Reporter
from fsar_cli.settings import presets, read_preset, read_project
from fsar_cli.tools.demo import demo
from fsar_cli.tools.reproduce.tables import CRIME, HMDB, KINETICS, PAPER_SETS

DEMO = "demo"
PREPARED_BY = {HMDB: ("hmdb51", "hmdb51-arn"), KINETICS: ("kinetics", "kinetics100-cmn"),
               CRIME: ("ucf-crime-v2", "ucf-crime-v2")}  # fmt: skip
"""Data set of the paper -> its name at `fsar prepare`, its protocol."""
TRAINED_ON = {CRIME: KINETICS}


@dataclass(frozen=True)
class Project:
    """A data set with all settings of its project file."""

    name: str
    file: Path
    values: Mapping[str, Any]
    """Dotted keys; data.* as absolute paths."""

    @cached_property
    def splits(self) -> Splits:
        """Its split file's content."""
        return Splits.read(Path(self.values["data.splits"]))

    @cached_property
    def store(self) -> FrameStore:
        """Its frames."""
        return FrameStore(Path(self.values["data.frames"]))

    @cached_property
    def _digests(self) -> dict[tuple[str, ...], str]:
        return {}

    def digest(self, *parts: str) -> str:
        """SHA-256 (hex) of the videos of some splits: class, id, group and pictures."""
        if parts not in self._digests:
            found = hashlib.sha256()
            for split, video in self.splits.rows:
                if split in parts:
                    pictures = self.store.fingerprint(video.id)
                    found.update("\0".join([split, video.cls, video.id, video.group, pictures, ""]).encode())
            self._digests[parts] = found.hexdigest()
        return self._digests[parts]

    def part(self, *keys: str) -> dict[str, Any]:
        """The settings of sections: `part("data.", "eval.")`."""
        return {key: value for key, value in self.values.items() if key.startswith(keys)}


@dataclass(frozen=True)
class Ground:
    """Trained on one data set, tested on the same or another."""

    train: Project
    test: Project

    @property
    def name(self) -> str:
        """The tested data set's."""
        return self.test.name

    @property
    def paper(self) -> str | None:
        """Which of the paper's data sets it is; None: another."""
        return self.name if self.name in PAPER_SETS else None

    @property
    def title(self) -> str:
        """As a column is headed."""
        return PAPER_SETS.get(self.name, self.name)


def find_grounds(names: tuple[str, ...], quick: bool, out: Path, reporter: Reporter) -> list[Ground]:
    """The grounds of `--dataset` names or folders; none given: the demo set where `quick`, else the paper's three.

    Raises:
        DataError: data that are not there, or not prepared. UsageError: two of a name.
    """
    names = names or ((DEMO,) if quick else tuple(PAPER_SETS))
    grounds = [_ground(name, out, reporter) for name in dict.fromkeys(names)]
    twice = next((g.name for i, g in enumerate(grounds) if g.name in [o.name for o in grounds[:i]]), None)
    if twice:
        raise UsageError(f"two data sets are called '{twice}'", "data.name in their fsar.yaml tells them apart")
    for project in {id(p): p for g in grounds for p in (g.train, g.test)}.values():
        _check(project)
    return grounds


def _ground(name: str, out: Path, reporter: Reporter) -> Ground:
    test = _project(str(make_demo(out / "data" / DEMO, reporter))) if name == DEMO else _project(name)
    other = TRAINED_ON.get(test.name)
    return Ground(_project(other) if other else test, test)


def _project(name: str) -> Project:
    try:
        found = find_dataset(name)
    except DataError as error:
        if name not in PREPARED_BY:
            raise
        raise DataError(error.message, _how(name)) from error
    return Project(found.name, found.file, _values(found))


def _how(name: str) -> str:
    prepare, protocol = PREPARED_BY[name]
    return (
        f"`fsar prepare {prepare} DOWNLOADS --out {name}`, and in {name}: `fsar extract-frames`, "
        f"`fsar splits make {protocol}`; --quick --dataset demo needs no data"
    )


def _values(found: DataSet) -> dict[str, Any]:
    preset = read_preset(found.name) if found.name in presets() else {}
    return {**preset, **read_project(found.file), **found.values}


def _check(project: Project) -> None:
    hint = _how(project.name) if project.name in PREPARED_BY else ""
    for read in ("store", "splits"):
        try:
            getattr(project, read)
        except DataError as error:
            raise DataError(error.message, hint or error.hint) from error


def make_demo(folder: Path, reporter: Reporter, clips: Mapping[str, int] = demo.CLIPS) -> Path:
    """Render the demo set as a project, where it is not there yet; one that was left half-made is made anew."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock(folder.parent / f".{folder.name}.lock"):
        if not (folder / "splits.csv").is_file():
            reporter.log(f"rendering the demo set: {folder}")
            config = demo.start_project(folder, {}, force=True)
            demo.fill_project(folder, config, demo.Steps(reporter), clips=clips)
    return folder
