"""Commands that are killed at any moment of their work end, once they are run again, as if nothing had been."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from killing import SMALL_GROUPS, Child, Forge, Killings, files_of, seconds_of_work, stopped_at_work
from own_videos import action_film, enrolled
from safetensors.torch import load_file
from small_project import small
from videos import make_video

from fsar_cli.config import dump
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.records import read_manifest
from fsar_cli.recognise.supportfile import read_support

FEW, MANY = range(5), range(100, 120)
KINDS = ("files", "packed", "videos")
COLUMNS = ["step", "loss", "accuracy", "val_accuracy"]


def seeds(few: range = FEW, many: range = MANY) -> list:
    """A few for every day, the others among the slow ones."""
    return [*few, *(pytest.param(seed, marks=pytest.mark.slow) for seed in many)]


# Extraction.


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips of two classes."""
    root = tmp_path_factory.mktemp("clips")
    for number in range(8):
        make_video(root / "kp"[number % 2] / f"{number}.mp4", frames=30 + number, content="motion", first=number)
    return root


@pytest.fixture(scope="module")
def stores(forge: Forge, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A folder with a store of each kind that nothing befell, and the seconds that each took."""
    root = tmp_path_factory.mktemp("stores")
    return root, {kind: seconds_of_work(extraction(forge, clips, root / kind, kind), root / kind) for kind in KINDS}


def extraction(forge: Forge, clips: Path, out: Path, kind: str, workers: int = 0) -> Callable[[], Child]:
    return lambda: forge.start("extract-frames", clips, out, "--store", kind, "--short-side", 32, "--workers", workers,
                               "--json", folder=clips)  # fmt: skip


def facts(store: Path) -> set:
    """The rows of the manifest."""
    return set(read_manifest(store))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", seeds(range(2), MANY))
def test_an_extraction_that_was_killed_ends_with_the_same_store(forge, clips, stores, kind, seed):
    root, seconds = stores
    whole, out = root / kind, root / f"{kind}-{seed}"
    begin, there = extraction(forge, clips, out, kind), []

    def start() -> Child:
        there.append(len(list(read_manifest(out))))
        return begin()

    killings = Killings(start, out, seconds[kind], seed, kills=3)
    last = killings.to_the_end()
    assert json.loads(last.words[last.words.index("{") :])["skipped"] == there[-1], "what was done is done once"
    assert killings.hits or there == [0]
    assert files_of(out, "manifest.csv") == files_of(whole, "manifest.csv") and facts(out) == facts(whole)
    assert not (out / ".partial").exists()


def test_workers_whose_parent_alone_was_killed_harm_nothing(forge, clips, stores):
    whole, hits = stores[0] / "files", 0
    for seed in range(2):
        out = stores[0] / f"orphans-{seed}"
        killings = Killings(extraction(forge, clips, out, "files", 2), out, 3.0, seed, kills=2, whole_group=False)
        killings.to_the_end()
        hits += killings.hits
        assert files_of(out, "manifest.csv") == files_of(whole, "manifest.csv") and facts(out) == facts(whole)
    assert hits and len(FrameStore(whole)) == 8


# Training.


@pytest.fixture(scope="module")
def trained(forge: Forge, project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run that nothing befell, beside its configuration, and the seconds that it took."""
    root = tmp_path_factory.mktemp("trained")
    changes = {"model.method": "trx", "train.iterations": 8, "train.val_every": 3, "optim.accumulate": 3}
    (root / "small.yaml").write_text(dump(small(project, **changes)))
    return root / "whole", seconds_of_work(training(forge, root / "whole"), root / "whole")


def training(forge: Forge, run: Path) -> Callable[[], Child]:
    """Begins a run, or goes on with it."""

    def start() -> Child:
        return forge.start("train", "--config", run.parent / "small.yaml", "--out", run, "--go-on", "--device", "cpu",
                           folder=run.parent)  # fmt: skip

    return start


def own_files(run: Path) -> list[str]:
    """Names of a run's files, but for those that TensorBoard names by the time."""
    return [name for name in files_of(run) if not name.startswith("tensorboard/")]


def same_run(run: Path, whole: Path) -> None:
    assert {*own_files(run)} == {*own_files(whole)}
    expected, found = (load_file(place / "model.safetensors") for place in (whole, run))
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
    states = [torch.load(place / "state.pt", weights_only=True) for place in (whole, run)]
    assert states[0]["step"] == states[1]["step"] == 8 and states[0]["best"] == states[1]["best"]
    assert all(torch.equal(states[0]["method"][name], states[1]["method"][name]) for name in expected)
    pd.testing.assert_frame_equal(*(pd.read_csv(place / "metrics.csv")[COLUMNS] for place in (whole, run)))


@pytest.mark.parametrize("seed", seeds())
def test_training_that_was_killed_ends_with_the_same_weights_and_figures(forge, trained, seed):
    whole, seconds = trained
    run, known = whole.with_name(f"{seed}"), []
    begin = training(forge, run)

    def start() -> Child:
        known.append(torch.load(run / "state.pt", weights_only=True)["step"] if (run / "state.pt").exists() else 0)
        return begin()

    killings = Killings(start, run, seconds, seed, kills=3)
    killings.to_the_end()
    same_run(run, whole)
    begun = [line for line in (run / "log.txt").read_text().splitlines() if "training from episode" in line]
    assert f"training from episode {known[-1]} to 8" in begun[-1], "no more than from checkpoint to checkpoint again"
    assert killings.hits or known == [0]


# A scan.


@pytest.fixture(scope="module")
def own(fsar_anywhere, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films, and a support file that knows what happens in them."""
    root = tmp_path_factory.mktemp("own")
    enrolled(fsar_anywhere, root)
    action_film(root / "film.mp4", 24.0)
    action_film(root / "other.mp4", 12.0)
    return root


@pytest.fixture(scope="module")
def fsar_anywhere(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SimpleNamespace]:
    folder = tmp_path_factory.mktemp("anywhere")

    def run(*arguments: object) -> SimpleNamespace:
        child = forge.start(*arguments, folder=folder)
        return SimpleNamespace(code=child.wait(), err=child.words)

    return run


@pytest.fixture(scope="module")
def scanned(forge: Forge, own: Path) -> tuple[Path, float]:
    """The results of a scan that nothing befell, and the seconds that it took."""
    return own / "whole", seconds_of_work(scan(forge, own, own / "whole"), own / "whole")


def scan(forge: Forge, own: Path, out: Path) -> Callable[[], Child]:
    line = ("scan", own / "film.mp4", own / "other.mp4", "--support", own / "support.fsar", "--device", "cpu")
    return lambda: forge.start(*line, "--resume", "--out", out, folder=own, target=SMALL_GROUPS)


def results(folder: Path) -> dict[str, object]:
    """All that a scan wrote, but for its folder's name and how fast it was."""
    files: dict[str, object] = {name: data for name, data in files_of(folder).items() if name != "scan.json"}
    document = json.loads((folder / "scan.json").read_text())
    return files | {"scan.json": {key: value for key, value in document.items() if key not in ("folder", "speed")}}


def test_a_scan_goes_on_behind_any_of_its_windows_to_the_same_bytes(forge, own, scanned, tmp_path):
    """Within and between its groups of 16; frames that windows share are seen in the same calls of the network."""
    lines = (scanned[0] / "windows" / "0002.jsonl").read_bytes().splitlines(keepends=True)
    out = own / "cut"
    for number in (9, 17, 18, 24):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(scanned[0], out)
        (out / "windows" / "0002.jsonl").write_bytes(b"".join(lines[:number]))
        assert scan(forge, own, out)().wait() == 0
        assert results(out) == results(scanned[0])


@pytest.mark.parametrize("seed", seeds())
def test_a_scan_that_was_killed_ends_with_the_same_results(forge, own, scanned, seed):
    whole, seconds = scanned
    out, known = own / f"{seed}", []
    begin, log = scan(forge, own, out), out / "windows" / "0001.jsonl"

    def start() -> Child:
        known.append(log.read_bytes() if log.exists() else b"")
        return begin()

    killings = Killings(start, out, seconds, seed, kills=3)
    killings.to_the_end()
    assert results(out) == results(whole)
    assert set(results(out)) >= {"events.csv", "events.json", "events.jsonl", "windows/0001.jsonl", "scan.json"}
    whole_log = (whole / "windows" / "0001.jsonl").read_bytes()
    assert whole_log.count(b"\n") > 3 * 16
    assert all(whole_log.startswith(before) for before in known), "what is there is gone on from"
    assert killings.hits or known == [b""]


# Two at once.


def test_a_second_scan_into_a_folder_is_refused_and_harms_nothing(fsar, forge, own, scanned):
    first = scan(forge, own, own / "both")()
    with stopped_at_work(first, own / "both"):
        second = fsar("scan", own / "film.mp4", "--support", own / "support.fsar", "--device", "cpu", "--out",
                      own / "both")  # fmt: skip
    assert second.code == 2
    assert f"another process is writing into {own}/both: process {first.number} on " in second.err
    assert results(own / "both") == results(scanned[0])


def test_two_extractions_into_one_store_are_one_and_a_refusal(fsar, forge, clips, stores):
    out = stores[0] / "both"
    first = extraction(forge, clips, out, "files")()
    with stopped_at_work(first, out):
        second = fsar("extract-frames", clips, out, "--short-side", 32, "--workers", 0)
    assert second.code == 2 and f"another extraction is at work in {out}: process {first.number} on " in second.err
    assert files_of(out, "manifest.csv") == files_of(stores[0] / "files", "manifest.csv")


def test_of_two_changes_of_one_support_file_none_is_lost(fsar, forge, own, tmp_path):
    file, more = tmp_path / "support.fsar", tmp_path / "more"
    shutil.copy(own / "support.fsar", file)
    for number in range(2):
        make_video(more / f"{number}" / "third" / f"{number}.mp4", frames=15, fps=10, first=900 * number)
    add = [("support", "add", more / f"{number}", "--support", file, "--device", "cpu") for number in range(2)]
    first = forge.start(*add[0], folder=tmp_path)
    with stopped_at_work(first, tmp_path, ".support.fsar.holder"):
        second = fsar(*add[1])
    assert second.code == 2 and f"another process is changing {file}: process {first.number} on " in second.err
    before = [example.name for example in read_support(own / "support.fsar").examples]
    assert [example.name for example in read_support(file).examples] == [*before, "third/0"]
    assert fsar(*add[1]).code == 0
    assert [example.name for example in read_support(file).examples] == [*before, "third/0", "third/1"]
