"""Killed over every single thing that is written: what is left is never taken for whole, and nothing piles up."""

import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from killing import Forge, files_of, over_every_write
from own_videos import bright_film, encoder_of, small_support, tiny
from safetensors.torch import load_file
from small_project import small
from videos import make_video

from fsar_cli.config import dump
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import KINDS, FrameStore
from fsar_cli.data.store.records import read_manifest
from fsar_cli.engine.runs import Run
from fsar_cli.files import Cache
from fsar_cli.recognise.supportfile import read_support

SLOW = pytest.mark.slow


def steps(few: int) -> list:
    """(step, torn): over every `few`-th write at all times, over each of them where there is time."""
    return [(few, False), (few, True), pytest.param(1, False, marks=SLOW), pytest.param(1, True, marks=SLOW)]


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    """Makes an empty folder, another one each time."""
    numbers = itertools.count()

    def make() -> Path:
        (folder := tmp_path / f"{next(numbers)}").mkdir()
        return folder

    return make


def never_left(folder: Path) -> None:
    """Nothing half-written is left once the work is done."""
    assert not list(folder.rglob(".fsar-*")) and not list(folder.rglob("fsar-*"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two")
    for number in range(2):
        make_video(root / "kp"[number % 2] / f"{number}.mp4", frames=2, content="motion", first=9 * number)
    return root


@pytest.mark.parametrize(("step", "torn"), steps(8))
@pytest.mark.parametrize("kind", KINDS)
def test_a_store(forge: Forge, two: Path, fresh, kind: str, step: int, torn: bool) -> None:
    whole = fresh() / "store"
    forge.done(two, whole, kind, folder=two, target="killed_work:store")

    def begin() -> tuple[Path, list]:
        return (folder := fresh()), [two, folder / "store", kind]

    def left(folder: Path) -> None:
        if (folder / "store" / "extract.json").exists() and (folder / "store" / "manifest.csv").exists():
            store = FrameStore(folder / "store")
            for video in store.ids:  # what is listed can be read
                assert len(store.read(video, range(store.count(video)), 24)) == store.count(video) == 2

    def check(folder: Path) -> None:
        never_left(folder)
        assert files_of(folder / "store", "manifest.csv") == files_of(whole, "manifest.csv")
        assert set(read_manifest(folder / "store")) == set(read_manifest(whole))

    assert over_every_write(forge, "killed_work:store", begin, check, left, torn, step) * step > 30


@pytest.mark.parametrize(("step", "torn"), steps(3))
@pytest.mark.parametrize("kept", ["entry", "result"])
def test_an_entry_of_the_cache_and_a_kept_result(forge: Forge, fresh, kept: str, step: int, torn: bool) -> None:
    def begin() -> tuple[Path, list]:
        return (folder := fresh()), [folder / "cache"]

    def check(folder: Path) -> None:
        found = Cache(folder / "cache").find("key")
        assert found and all(path.stat().st_size for path in found.iterdir())
        assert {path.name for path in (folder / "cache").iterdir()} <= {"key", ".key.lock", ".key.holder"}

    assert over_every_write(forge, f"killed_work:{kept}", begin, check, torn=torn, step=step) * step > 8


@pytest.mark.parametrize("torn", [False, True])
def test_a_support_file(forge: Forge, fresh, tmp_path: Path, torn: bool) -> None:
    encoder = encoder_of(tiny())
    for name, sizes in (("old", (2, 2)), ("new", (3, 2))):
        small_support(encoder, sizes).write(tmp_path / f"{name}.fsar")
    old, new = ((tmp_path / f"{name}.fsar").read_bytes() for name in ("old", "new"))

    def begin() -> tuple[Path, list]:
        folder = fresh()
        (folder / "support.fsar").write_bytes(old)
        return folder, [tmp_path / "new.fsar", folder / "support.fsar"]

    def left(folder: Path) -> None:
        assert (folder / "support.fsar").read_bytes() in (old, new)

    def check(folder: Path) -> None:
        never_left(folder)
        assert len(read_support(folder / "support.fsar").examples) == 5
        assert {path.name for path in folder.iterdir()} == {"support.fsar"}

    assert over_every_write(forge, "killed_work:support", begin, check, left, torn) >= 4


@pytest.mark.parametrize("torn", [False, True])
def test_a_split_file(forge: Forge, project: Path, fresh, torn: bool) -> None:
    source = project / "splits.csv"

    def begin() -> tuple[Path, list]:
        folder = fresh()
        (folder / "s.csv").write_text("split,class,video\ntrain,a,a/1\n")
        return folder, [source, folder / "s.csv"]

    def left(folder: Path) -> None:
        assert len(Splits.read(folder / "s.csv").rows) in (1, 32)

    def check(folder: Path) -> None:
        assert [path.name for path in folder.iterdir()] == ["s.csv"]
        assert (folder / "s.csv").read_bytes() == source.read_bytes()

    assert over_every_write(forge, "killed_work:splits", begin, check, left, torn) >= 4


@pytest.fixture(scope="module")
def config(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    changes = {"model.method": "trx", "train.iterations": 4, "train.val_every": 2, "train.checkpoint_every": 1}
    path.write_text(dump(small(project, **changes)))
    return path


@pytest.mark.parametrize("torn", [False, True])
def test_a_run_is_made_whole_or_is_none(forge: Forge, config: Path, fresh, torn: bool) -> None:
    def begin() -> tuple[Path, list]:
        return (folder := fresh()), [config, folder / "run"]

    def check(folder: Path) -> None:
        never_left(folder)
        assert {*files_of(folder / "run")} == {"config.yaml", "env.json"}
        assert Run(folder / "run").config().train.iterations == 4

    assert over_every_write(forge, "killed_work:run", begin, check, torn=torn) > 8


@pytest.mark.parametrize(("step", "torn"), steps(60))
def test_training_with_its_checkpoints(forge: Forge, config: Path, fresh, step: int, torn: bool) -> None:
    """Weights are there before the state that speaks of them, and both are whole at any moment."""
    whole = fresh() / "run"
    forge.done(config, whole, folder=whole.parent, target="killed_work:training")

    def begin() -> tuple[Path, list]:
        return (folder := fresh()), [config, folder / "run"]

    def left(folder: Path) -> None:
        run = Run(folder / "run")
        if run.model_file.exists():
            load_file(run.model_file)
        if run.state_file.exists():
            assert run.model_file.exists() and torch.load(run.state_file, weights_only=True)["step"] > 0
        if (run.path / "metrics.csv").exists():
            assert pd.read_csv(run.path / "metrics.csv").step.is_monotonic_increasing

    def check(folder: Path) -> None:
        never_left(folder)
        expected, found = (load_file(place / "model.safetensors") for place in (whole, folder / "run"))
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        columns = ["step", "loss", "accuracy", "val_accuracy"]
        pd.testing.assert_frame_equal(*(pd.read_csv(p / "metrics.csv")[columns] for p in (whole, folder / "run")))

    assert over_every_write(forge, "killed_work:training", begin, check, left, torn, step) * step > 60


@pytest.mark.parametrize(("step", "torn"), steps(15))
def test_a_scan(forge: Forge, fresh, step: int, torn: bool) -> None:
    film, whole = bright_film(fresh() / "film.mp4"), fresh() / "o"
    forge.done(film, whole, folder=film.parent, target="killed_work:scan")

    def begin() -> tuple[Path, list]:
        return (folder := fresh()), [film, folder / "o"]

    def check(folder: Path) -> None:
        assert files_of(folder / "o") == files_of(whole)

    assert over_every_write(forge, "killed_work:scan", begin, check, torn=torn, step=step) * step > 40


@pytest.mark.parametrize(("step", "torn"), steps(9))
def test_a_download_that_is_unpacked(forge: Forge, two: Path, fresh, step: int, torn: bool) -> None:
    down, whole = fresh() / "down", fresh() / "out"
    down.mkdir()
    with zipfile.ZipFile(down / "hmdb51.zip", "w") as archive:
        for number, label in enumerate(("kick", "wave")):
            archive.write(two / "kp"[number] / f"{number}.mp4", f"hmdb51/{label}/{label}_{number}.avi")
    forge.done("prepare", "hmdb51", down, "--out", whole, folder=down)

    def begin() -> tuple[Path, list]:
        return (folder := fresh()), ["prepare", "hmdb51", down, "--out", folder / "out"]

    def check(folder: Path) -> None:
        never_left(folder / "out/videos")
        assert files_of(folder / "out/videos") == files_of(whole / "videos")
        assert len(files_of(folder / "out/videos")) == 2

    assert over_every_write(forge, "killing:command", begin, check, torn=torn, step=step) * step > 20
