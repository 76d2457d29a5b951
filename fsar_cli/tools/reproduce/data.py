"""Which data a column is trained on and which it is tested on.

HMDB51 and Kinetics are trained and tested on their own splits; UCF Crime v2 is tested with what Kinetics trained
(section 4.1). Any other project folder is trained and tested on its own, and `demo` is rendered where it is absent.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from fsar_cli.data.splits import Splits, Video
from fsar_cli.engine.dataset import DataSet, find_dataset
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import lock
from fsar_cli.reporting import Reporter
from fsar_cli.settings import PROJECT_FILE, presets, read_preset, resolve
from fsar_cli.tools.demo import demo
from fsar_cli.tools.demo.scenes import CLASSES
from fsar_cli.tools.reproduce.tables import CRIME, HMDB, KINETICS, PAPER_SETS

DEMO = "demo"
PREPARED_BY = {HMDB: ("hmdb51", "hmdb51-arn"), KINETICS: ("kinetics", "kinetics100-cmn"),
               CRIME: ("ucf-crime-v2", "ucf-crime-v2")}  # fmt: skip
"""Data set of the paper -> its name at `fsar prepare`, its protocol."""
TRAINED_ON = {CRIME: KINETICS}


class UnmadeDemo(DataSet):
    """The demo set before it is rendered, for plans: its clips are known, their pictures are not."""

    @cached_property
    def splits(self) -> Splits:
        """The split file that it will have, but for groups."""
        roles = [(name, action.role) for name, action in CLASSES.items()]
        ids = [(role, name, f"{name}/{name}_{n:04d}") for name, role in roles for n in range(1, demo.CLIPS[role] + 1)]
        return Splits(tuple((role, Video(name, clip)) for role, name, clip in ids))

    @property
    def store(self) -> "UnmadeDemo":
        """In place of a frame store."""
        return self

    def fingerprint(self, video_id: str) -> str:
        """Not known yet: a run on these frames will have another digest."""
        return ""


def find_data(
    names: tuple[str, ...], quick: bool, out: Path, reporter: Reporter, dry_run: bool = False, trained: bool = True
) -> list[tuple[DataSet, DataSet]]:
    """(to train on, to test on) of `--dataset` names or folders; none given: the demo set where `quick`, else the
    paper's three.

    Args:
        dry_run: make nothing; the demo set may be one that is still to be rendered.
        trained: whether anything is trained, for UCF Crime v2 on Kinetics; else each stands alone.

    Raises:
        DataError: data that are not there, or not prepared. UsageError: two of a name.
    """
    names = names or ((DEMO,) if quick else tuple(PAPER_SETS))
    others = TRAINED_ON if trained else {}
    pairs = [_pair(name, out, reporter, dry_run, others) for name in dict.fromkeys(names)]
    tested = [test.name for _, test in pairs]
    twice = next((name for i, name in enumerate(tested) if name in tested[:i]), None)
    if twice:
        raise UsageError(f"two data sets are called '{twice}'", "data.name in their fsar.yaml tells them apart")
    for data in {id(data): data for pair in pairs for data in pair}.values():
        _check(data)
    return pairs


def _pair(
    name: str, out: Path, reporter: Reporter, dry_run: bool, others: Mapping[str, str]
) -> tuple[DataSet, DataSet]:
    folder = out / "data" / DEMO
    if name == DEMO and dry_run and not (folder / "splits.csv").is_file():
        data = _unmade_demo(folder)
        reporter.log(f"the demo set is to be rendered first, {len(data.splits.rows)} clips: {folder}")
        return data, data
    test = _data(str(make_demo(folder, reporter))) if name == DEMO else _data(name)
    other = others.get(test.name)
    return _data(other) if other else test, test


def _unmade_demo(folder: Path) -> DataSet:
    config = resolve(preset="demo", flags=demo.paths_in(folder.absolute()), environ={}).config
    data = {f"data.{key}": value for key, value in config.data.model_dump().items()}
    return UnmadeDemo(folder / PROJECT_FILE, {**read_preset("demo"), **data})


def _data(name: str) -> DataSet:
    try:
        data = find_dataset(name)
    except DataError as error:
        if name not in PREPARED_BY:
            raise
        raise DataError(error.message, _how(name)) from error
    preset = read_preset(data.name) if data.name in presets() else {}
    return replace(data, values={**preset, **data.values})


def _how(name: str) -> str:
    prepare, protocol = PREPARED_BY[name]
    return (
        f"`fsar prepare {prepare} DOWNLOADS --out {name}`, and in {name}: `fsar extract-frames`, "
        f"`fsar splits make {protocol}`; --quick --dataset demo needs no data"
    )


def _check(data: DataSet) -> None:
    hint = _how(data.name) if data.name in PREPARED_BY else ""
    for read in ("store", "splits"):
        try:
            getattr(data, read)
        except DataError as error:
            raise DataError(error.message, hint or error.hint) from error


def make_demo(folder: Path, reporter: Reporter, clips: Mapping[str, int] = demo.CLIPS) -> Path:
    """Render the demo set as a project, where it is not there yet; one that was left half-made is made anew."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock(demo.lock_of(folder)):
        if not (folder / "splits.csv").is_file():
            reporter.log(f"rendering the demo set: {folder}")
            config = demo.start_project(folder, {}, force=True)
            demo.fill_project(folder, config, demo.Steps(reporter), clips=clips)
    return folder
