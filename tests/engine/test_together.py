"""Several processes give what one gives: losses, weights, statistics, accuracies; and one that dies costs little."""

import json
import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_project import small
from together import Team, command, start

from fsar_cli.config import dump
from fsar_cli.engine.checkpoint import load_state

COLUMNS = ["step", "loss", "accuracy", "saturated", "region_offset", "motion_region"]
CHANGES = {
    "model.method": "trx",
    "model.region.enabled": True,
    "optim.accumulate": 4,
    "train.iterations": 10,
    "train.checkpoint_every": 3,
    "train.val_every": 5,
}


def settings(project: Path, folder: Path, **changes: object) -> Path:
    """A configuration file in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = dump(small(project, **CHANGES | changes))
    (folder / "fsar.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def runs(project, tmp_path_factory, cache) -> dict[int, Path]:
    """The same training by 1, 2 and 3 processes."""
    found = {}
    for world in (1, 2, 3):
        folder = settings(project, tmp_path_factory.mktemp(f"world{world}"))
        ends = command(world, folder, "train", "--out", "run", FSAR_CACHE=cache)
        assert [end.code for end in ends] == [0] * world, [end.err for end in ends]
        assert "trained 10 episodes" in ends[0].out
        assert all(not end.out and not end.err for end in ends[1:]), "the first one speaks"
        found[world] = folder / "run"
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Of the last episode, whatever validation chose."""
    return load_state(run / "state.pt")["method"]


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], atol: float = 2e-4) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=atol, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("world", [2, 3])
def test_losses_weights_and_running_statistics_are_those_of_one_process(runs, world):
    """An optimiser step takes 4 episodes: 2 processes have as many each, of 3 one has more; the last is not full."""
    rows = {n: pd.read_csv(runs[n] / "metrics.csv").dropna(subset="loss")[COLUMNS] for n in (1, world)}
    pd.testing.assert_frame_equal(rows[world], rows[1], rtol=1e-5, atol=1e-6)
    expected, found = weights(runs[1]), weights(runs[world])
    assert_close(found, expected)
    names = [name for name in expected if name.endswith("num_batches_tracked")]
    assert names and all(torch.equal(found[name], expected[name]) for name in names)
    assert int(expected[names[0]]) > 10, "support and query of each episode"


def test_what_waits_for_its_step_is_gathered_and_goes_on_with_any_number_of_processes(project, runs, tmp_path, cache):
    """Saved at 7 by two processes, 3 episodes into a step; gone on with by three."""
    folder = settings(project, tmp_path, **{"train.iterations": 7})
    assert [end.code for end in command(2, folder, "train", "--out", "run", FSAR_CACHE=cache)] == [0, 0]
    assert any(gradient is not None for gradient in load_state(folder / "run" / "state.pt")["gradients"])
    ends = command(3, folder, "train", "--resume", "run", "--iterations", "10", FSAR_CACHE=cache)
    assert [end.code for end in ends] == [0, 0, 0], ends[0].err
    assert "train.iterations comes from flag and not from the run" in ends[0].err
    assert_close(weights(folder / "run"), weights(runs[1]))


def evaluated(folder: Path, world: int, run: Path, *options: str, **environ: str) -> dict:
    ends = command(world, folder, "eval", str(run), "--json", "--force", "--out", "results", *options, **environ)
    assert [end.code for end in ends] == [0] * world, [end.err for end in ends]
    assert all(not end.out for end in ends[1:])
    return json.loads(ends[0].out)


def comparable(document: dict) -> dict:
    """Without times."""
    results = [{k: v for k, v in r.items() if "seconds" not in k} for r in document["results"]]
    return {"results": results, "regions": document["regions"], "videos": document["videos"]}


def test_evaluation_gives_the_same_digests_accuracies_and_regions(runs, tmp_path, cache):
    found = {world: evaluated(tmp_path / str(world), world, runs[1], "--no-cache") for world in (1, 2, 3)}
    assert comparable(found[2]) == comparable(found[3]) == comparable(found[1])
    assert len(found[1]["results"]) == 2 and found[1]["regions"]["videos"] == 12
    pairs = [pd.read_csv(tmp_path / str(world) / "results" / "episodes-3w1s.csv") for world in (1, 3)]
    pd.testing.assert_frame_equal(*pairs)


def test_features_and_results_are_made_once_between_processes_and_found_again(runs, tmp_path):
    cache = {"FSAR_CACHE": str(tmp_path / "cache")}
    first = evaluated(tmp_path, 3, runs[1], **cache)
    assert len([p for p in (tmp_path / "cache/features").iterdir() if p.is_dir()]) == 1
    assert not first["features_cached"] and not first["evaluated_before"]
    second = evaluated(tmp_path, 2, runs[1], "--shots", "1", "--shots", "3", **cache)
    assert second["evaluated_before"] == [1] and second["features_cached"]
    assert second["results"][0]["accuracy"] == first["results"][0]["accuracy"]
    alone = evaluated(tmp_path, 1, runs[1], "--shots", "3", "--no-cache")
    assert alone["results"][0]["accuracy"] == second["results"][1]["accuracy"]


def test_heads_on_features_that_are_encoded_once_are_trained_together(project, tmp_path, cache):
    states = []
    for world in (1, 2):
        folder = settings(project, tmp_path / str(world), **{"model.method": "trx", "train.iterations": 4})
        ends = command(world, folder, "train", "--out", "run", "--freeze-backbone", FSAR_CACHE=f"{cache}/{world}")
        assert [end.code for end in ends] == [0] * world, ends[0].err
        states.append(weights(folder / "run"))
    assert_close(states[1], states[0])


def _train_slowly(*arguments: str) -> None:
    """`fsar` with these arguments; an episode takes half a second more."""
    from fsar_cli.engine.train import Trainer

    plain = Trainer._train_on

    def slow(self: Trainer, *episode: object) -> None:
        time.sleep(0.5)
        plain(self, *episode)

    Trainer._train_on = slow
    __import__("together")._command(*arguments)


def begun(folder: Path, cache: str, world: int = 3) -> Team:
    """A training under way, which has saved something."""
    team = start(world, folder, _train_slowly, "train", "--out", "run", FSAR_CACHE=cache)
    deadline = time.monotonic() + 200
    while not (folder / "run" / "state.pt").exists():
        assert time.monotonic() < deadline and any(p.is_alive() for p in team.processes), team.finished(1)
        time.sleep(0.02)
    return team


@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_that_is_killed_stops_all_and_the_run_goes_on_to_the_same_end(project, runs, tmp_path, cache, dies):
    folder = settings(project, tmp_path)
    team = begun(folder, cache)
    os.kill(team.processes[dies].pid, signal.SIGKILL)
    killed = time.monotonic()
    ends = team.finished(60)
    assert time.monotonic() - killed < 30
    assert ends[dies].code == -signal.SIGKILL
    for rank, end in enumerate(ends):
        if rank != dies:
            assert end.code == 130, end.err
            assert "another process of this command ended or cannot be reached; episodes up to" in end.err
            assert "--resume" in end.err and "Traceback" not in end.err
    ends = command(2, folder, "train", "--out", "run", TORCHELASTIC_RESTART_COUNT="1", FSAR_CACHE=cache)
    assert [end.code for end in ends] == [0, 0], "as torchrun starts it again"
    assert "resuming" in ends[0].err
    assert_close(weights(folder / "run"), weights(runs[1]))


def test_a_signal_to_one_process_saves_and_ends_all(project, runs, tmp_path, cache):
    folder = settings(project, tmp_path)
    team = begun(folder, cache)
    os.kill(team.processes[2].pid, signal.SIGTERM)
    ends = team.finished(60)
    assert [end.code for end in ends] == [130, 130, 130], [end.err for end in ends]
    assert "go on with: fsar train --resume" in ends[0].err
    step = load_state(folder / "run" / "state.pt")["step"]
    assert f"episodes up to {step} of 10 are saved" in ends[0].err
    assert [e.code for e in command(3, folder, "train", "--out", "run", "--go-on", FSAR_CACHE=cache)] == [0, 0, 0]
    assert_close(weights(folder / "run"), weights(runs[1]))


def test_what_several_processes_cannot_do_is_said(project, tmp_path, cache):
    folder = settings(project, tmp_path, **{"train.iterations": 2, "optim.accumulate": 2, "train.val_every": 0})
    ends = command(2, folder, "train", "--out", "a", "--set", "train.sync_batchnorm=true", FSAR_CACHE=cache)
    assert ends[0].code == 2 and "train.sync_batchnorm needs GPUs" in ends[0].err
    ends = command(3, folder, "train", "--out", "b", FSAR_CACHE=cache)
    assert [end.code for end in ends] == [0, 0, 0]
    assert "1 of 3 processes have no episode to train on: an optimiser step takes 2 episodes" in ends[0].err
    ends = command(2, folder, "train", TORCHELASTIC_MAX_RESTARTS="3", FSAR_CACHE=cache)
    assert ends[0].code == 2 and "--out RUN names it" in ends[0].err
