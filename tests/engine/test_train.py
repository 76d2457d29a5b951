"""Training: resuming is exact, accumulation equals a larger batch, nothing is lost, best weights are kept."""

import errno
import os
import signal
import time

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from small_project import Listener, reader_of, small
from torch.amp import GradScaler

from fsar_cli.core.build import build_method
from fsar_cli.data.clips import TrainingEpisodes
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.shared import AVAILABLE
from fsar_cli.engine import memory
from fsar_cli.engine import train as train_module
from fsar_cli.engine.checkpoint import load_method, load_state, save_state
from fsar_cli.engine.evaluate import ShotResult
from fsar_cli.engine.metrics import TrainingLog
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.setup import build_optimizer
from fsar_cli.engine.steps import episode_loss
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import DataError, DeviceError, Interrupted

CPU = torch.device("cpu")


def trained(config, folder) -> Trainer:
    trainer = Trainer(config, create_run(config, folder), CPU)
    trainer.run()
    return trainer


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def stopped() -> None:
    raise Interrupted("stopped here")


def test_a_resumed_run_is_the_uninterrupted_run(project, tmp_path):
    config = small(project)
    whole = trained(config, tmp_path / "whole")
    half = config.model_copy(update={"train": config.train.model_copy(update={"iterations": 3})})
    first = Trainer(half, create_run(config, tmp_path / "parts"), CPU)
    first.config = config  # stops after 3 episodes as a kill would, with one gradient accumulated
    after = first._after
    first._after = lambda index: (after(index), index == 2 and stopped())
    with pytest.raises(Interrupted, match="stopped here"):
        first.run()
    first.save()
    second = Trainer(config, Run(tmp_path / "parts"), CPU, pretrained=False)
    second.resume()
    assert second.step == 3
    second.run()
    assert same(whole.method.state_dict(), second.method.state_dict())
    columns = ["step", "loss", "accuracy", "val_accuracy"]
    metrics = [pd.read_csv(tmp_path / name / "metrics.csv")[columns] for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(metrics[0], metrics[1].drop_duplicates("step", keep="last").reset_index(drop=True))


def test_the_same_seed_gives_the_same_run_and_another_another(project, tmp_path):
    changes = {"train.val_every": 0, "train.iterations": 2}
    a, b, c = (
        trained(small(project, **changes | {"train.seed": seed}), tmp_path / name)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert same(a.method.state_dict(), b.method.state_dict())
    assert not same(a.method.state_dict(), c.method.state_dict())


def test_loader_workers_and_frames_in_shared_memory_change_nothing(project, tmp_path):
    weights = []
    for workers, setting in ((0, "off"), (2, "off"), (2, "auto")):
        changes = {"train.workers": workers, "train.frame_cache": setting, "model.method": "trx"}
        config = small(project, **changes | {"train.val_every": 0, "train.iterations": 4})
        trainer = trained(config, tmp_path / f"{workers}-{setting}")
        weights.append(trainer.method.state_dict())
        assert (trainer.reader.shared is not None) is (setting == "auto" and AVAILABLE)
    assert same(*weights[:2]) and same(*weights[1:])


def test_accumulated_gradients_are_the_mean_of_the_episodes(project):
    config = small(project, **{"model.method": "trx", "model.match.dropout": 0.0, "model.freeze_backbone": True})
    sampler = EpisodeSampler(Splits.read(config.data.splits), "train", way=3, shot=2, queries=1)
    episodes = TrainingEpisodes(reader_of(config), sampler, 0)
    method = build_method(config)
    separate = []
    for index in range(3):
        method.zero_grad()
        episode_loss(method, episodes[index], config, CPU, None)[0].backward()
        separate.append(method.head.cards["card2"].value.weight.grad.clone())
    method.zero_grad()
    for index in range(3):
        (episode_loss(method, episodes[index], config, CPU, None)[0] / 3).backward()
    torch.testing.assert_close(method.head.cards["card2"].value.weight.grad, sum(separate) / 3)


def test_an_optimiser_step_is_always_one_of_accumulate_episodes_and_that_is_said(project, tmp_path, monkeypatch):
    steps, listener = [], Listener()
    config = small(project, **{"train.iterations": 5, "train.val_every": 0})
    trainer = Trainer(config, lambda: create_run(config, tmp_path), CPU, reporter=listener)
    monkeypatch.setattr(trainer.optimizer, "step", lambda: steps.append(trainer.step))
    trainer.run()
    assert steps == [2, 4]
    assert "no optimiser step is made of the last episode: one takes 2 episodes" in listener.said


@pytest.mark.parametrize("changes", [{}, {"optim.name": "adamw", "optim.clip_norm": 1.0}, {"train.amp": "fp16"}])
def test_a_run_resumed_for_more_episodes_is_the_run_that_had_them_from_the_start(
    project, tmp_path, monkeypatch, changes
):
    """Also where it ended between two optimiser steps: 5 episodes, of which a step takes 3, and then 7."""
    scaled = changes.get("train.amp") == "fp16"
    if scaled:  # a factor that small gradients need in float16, and that each step changes
        monkeypatch.setattr(train_module, "loss_scaler", lambda *_: GradScaler("cpu", init_scale=8, growth_interval=1))
    changes = changes | {"optim.accumulate": 3, "train.val_every": 0, "model.method": "trx", "optim.momentum": 0.9}
    whole = trained(small(project, **changes | {"train.iterations": 7}), tmp_path / "whole")
    first = trained(small(project, **changes | {"train.iterations": 5}), tmp_path / "parts")
    again = Trainer(whole.config, Run(tmp_path / "parts"), CPU, pretrained=False)
    again.resume()
    again.run()
    assert same(whole.method.state_dict(), again.method.state_dict())
    assert not same(first.method.state_dict(), again.method.state_dict())
    expected, state = (load_state(tmp_path / name / "state.pt") for name in ("whole", "parts"))
    assert state["scaler"] == expected["scaler"] and state["scaler"].get("scale", 0) == (32 if scaled else 0)
    assert all(a is b or torch.equal(a, b) for a, b in zip(expected["gradients"], state["gradients"], strict=True))


def test_gradients_of_scaled_losses_are_left_out_where_none_are_scaled(project, tmp_path):
    changes = {"train.iterations": 1, "train.val_every": 0, "model.method": "trx"}
    for amp, other, kept in (("fp16", "off", False), ("off", "fp16", False), ("fp16", "fp16", True)):
        trained(small(project, **changes | {"train.amp": amp}), tmp_path / amp / other)
        trainer = Trainer(small(project, **changes | {"train.amp": other}), Run(tmp_path / amp / other), CPU)
        trainer.resume()
        assert any(p.grad is not None for p in trainer._trained()) is kept


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
    ],
)
def test_an_episode_that_does_not_fit_names_the_budget_that_would(project, tmp_path, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(train_module, "episode_loss", refuse)
    monkeypatch.setattr(memory, "memory_to_spare", lambda device: 10 * 2**30)
    config = small(project)
    with pytest.raises(DeviceError, match=r"an episode of 9 clips .*mobilenet_v3_small.* on cpu") as caught:
        trained(config, tmp_path / "run")
    assert caught.value.exit_code == 4 and "--memory-budget 8.0" in caught.value.hint


def test_another_error_of_torch_is_not_taken_for_a_lack_of_memory(project, tmp_path, monkeypatch):
    def wrong(*_):
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(train_module, "episode_loss", wrong)
    with pytest.raises(RuntimeError, match="sizes do not match"):
        trained(small(project), tmp_path / "run")


def test_the_model_file_holds_the_best_validated_weights(project, tmp_path, monkeypatch):
    scores = iter([(0.9, 0.1), (0.4, 0.1)])
    monkeypatch.setattr(ShotResult, "accuracy", property(lambda self: next(scores)))
    trainer = trained(small(project), tmp_path / "run")
    assert trainer.best == (3, 0.9)
    assert not same(load_file(tmp_path / "run" / "model.safetensors"), trainer.method.state_dict())


def test_without_val_classes_the_last_weights_are_kept_and_that_is_said(project, tmp_path):
    lines = [
        line for line in (project / "splits.csv").read_text().splitlines(keepends=True) if not line.startswith("val")
    ]
    (tmp_path / "splits.csv").write_text("".join(line for line in lines if not line.startswith("#")))
    config, listener = small(project, **{"data.splits": tmp_path / "splits.csv"}), Listener()
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU, reporter=listener)
    trainer.run()
    assert "no validation" in listener.warnings[0]
    assert same(load_file(tmp_path / "run" / "model.safetensors"), trainer.method.state_dict())


def test_ctrl_c_finishes_the_episode_saves_and_names_the_command(project, tmp_path):
    config = small(project, **{"train.val_every": 0, "train.checkpoint_every": 100})
    trainer = Trainer(config, create_run(config, tmp_path / "a run [1]"), CPU)
    original = trainer._train_on

    def interrupted_at_two(batch, waited):
        if batch.index == 1:
            os.kill(os.getpid(), signal.SIGINT)
        original(batch, waited)

    trainer._train_on = interrupted_at_two
    with pytest.raises(Interrupted, match="up to 2 of 6") as caught:
        trainer.run()
    assert f"--resume '{tmp_path / 'a run [1]'}'" in caught.value.hint
    again = Trainer(config, Run(tmp_path / "a run [1]"), CPU, pretrained=False)
    again.resume()
    again.run()
    assert same(again.method.state_dict(), trained(config, tmp_path / "whole").method.state_dict())


def test_a_loss_that_is_not_finite_stops_with_advice(project, tmp_path, monkeypatch):
    config = small(project)
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)
    with torch.no_grad():
        trainer.method.heads["global"].cards["card2"].value.weight.fill_(float("nan"))
    with pytest.raises(DataError, match="the loss became nan at episode 0") as caught:
        trainer.run()
    assert "optim.lr" in caught.value.hint


def test_weights_that_a_step_makes_nan_are_not_written_over_good_ones(project, tmp_path, monkeypatch):
    """The loss of the episode was finite, its gradient was not; the run stays as it was saved at 2."""
    config = small(project, **{"model.method": "trx", "train.val_every": 0, "train.iterations": 4})
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)
    optimise = trainer._optimise

    def poisoned() -> None:
        if trainer.step == 4:
            trainer._trained()[0].grad.fill_(float("nan"))
        optimise()

    monkeypatch.setattr(trainer, "_optimise", poisoned)
    with pytest.raises(DataError, match="weights became NaN or infinite by episode 4, first 'features") as caught:
        trainer.run()
    assert "optim.lr" in caught.value.hint
    again = Trainer(config, Run(tmp_path / "run"), CPU, pretrained=False)
    again.resume()
    assert again.step == 2 and again.run().iterations == 4


def test_a_state_whose_optimiser_gathered_nan_is_not_resumed(project, tmp_path):
    config = small(
        project, **{"model.method": "trx", "optim.name": "adam", "train.iterations": 2, "train.val_every": 0}
    )
    run = trained(config, tmp_path / "run").folder
    state = torch.load(run.state_file, weights_only=True)
    state["optimizer"]["state"][0]["exp_avg"][0, 0, 0] = float("nan")
    torch.save(state, run.state_file)
    with pytest.raises(DataError, match=r"holds NaN or infinite numbers: 3 in 1 .* first 'optimizer\.0\.exp_avg'"):
        Trainer(config, run, CPU, pretrained=False).resume()


def test_losses_read_an_episode_late_give_the_same_run(project, tmp_path):
    """As on a GPU, where nobody waits for the loss of the episode that is being computed."""
    config = small(project, **{"train.iterations": 5})
    plain, late = trained(config, tmp_path / "plain"), Trainer(config, create_run(config, tmp_path / "late"), CPU)
    late.log.late, lags = True, []
    write = late._write_what_is_due
    late._write_what_is_due = lambda: (lags.append(len(late.log.unread)), write())
    late.run()
    assert lags == [1] * 5 and not late.log.unread
    assert same(plain.method.state_dict(), late.method.state_dict())
    columns = ["step", "loss", "accuracy", "val_accuracy", "saturated"]
    metrics = [pd.read_csv(tmp_path / name / "metrics.csv")[columns] for name in ("plain", "late")]
    pd.testing.assert_frame_equal(*metrics)


@pytest.mark.parametrize("late", [False, True])
def test_nothing_is_written_after_a_loss_that_is_not_finite(project, tmp_path, monkeypatch, late):
    """Episode 3 goes wrong; weights would be saved after it, at 4."""
    config = small(project, **{"train.val_every": 4, "train.log_every": 100, "model.method": "trx"})
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)
    trainer.log.late = late

    def wrong_at_three(method, batch, *arguments):
        loss, accuracy, seen = episode_loss(method, batch, *arguments)
        return (loss * float("inf") if batch.index == 3 else loss), accuracy, seen

    monkeypatch.setattr(train_module, "episode_loss", wrong_at_three)
    with pytest.raises(DataError, match="the loss became inf at episode 3"):
        trainer.run()
    state = load_state(tmp_path / "run" / "state.pt")
    assert state["step"] == 2
    assert all(t.isfinite().all() for t in load_file(tmp_path / "run" / "model.safetensors").values())


def test_what_is_saved_knows_the_losses_of_all_episodes_sent(project, tmp_path):
    config = small(project, **{"model.method": "trx"})
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)
    trainer.log.late = True
    trainer._train_on(next(iter(trainer._episodes())))
    assert trainer.log.window == []
    trainer.save()
    assert [row["loss"] > 0 for row in load_state(tmp_path / "run" / "state.pt")["window"]] == [True]


def test_the_share_of_waiting_is_that_of_the_whole_window(tmp_path):
    log = TrainingLog(tmp_path)
    for episode, seconds in enumerate((2.0, 6.0)):
        log.add(episode, torch.tensor(1.0), torch.tensor(0.5), {"seconds": seconds, "waited": 1.0})
    log.close_window(2)
    log.close()
    assert log.rows == [{"step": 2, "loss": 1.0, "accuracy": 0.5, "seconds": 4.0, "waiting": 0.25}]


def test_the_share_of_time_spent_waiting_for_frames_is_told(project, tmp_path):
    config = small(project, **{"train.val_every": 0, "train.iterations": 4, "train.frame_cache": "off"})
    trainer = Trainer(config, create_run(config, tmp_path / "run"), CPU)
    read = trainer.reader.store.read

    def slowly(*arguments):
        time.sleep(0.05)  # 9 clips an episode
        return read(*arguments)

    trainer.reader.store.read = slowly
    result = trainer.run()
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    waited = metrics["waiting"] * metrics["seconds"]
    assert (waited >= 0.45).all() and (metrics["waiting"] < 1).all()
    assert result.waiting == pytest.approx(waited.sum() / metrics["seconds"].sum())
    assert f"{100 * result.waiting:.0f} % of it waiting for frames" in (tmp_path / "run" / "log.txt").read_text()


def test_nothing_to_train_is_an_error(project):
    config = small(project, **{"model.method": "prototype", "model.freeze_backbone": True})
    with pytest.raises(DataError, match="nothing to train"):
        build_optimizer(build_method(config), config.optim)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"episode.way": 4}, "train"),
        ({"episode.shot": 4, "episode.queries": 2}, "need 6 videos"),
    ],
)
def test_too_few_classes_or_videos_stop_before_a_run_folder_is_made(project, tmp_path, changes, text):
    config = small(project, **changes)
    with pytest.raises(DataError, match=text):
        Trainer(config, lambda: create_run(config, tmp_path / "run"), CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["keyregion", "prototype"])
def test_every_method_trains_and_its_run_loads(project, tmp_path, method):
    config = small(project, **{"model.method": method, "train.iterations": 2, "train.val_every": 0})
    before = build_method(config).state_dict()
    trainer = trained(config, tmp_path / "run")
    loaded = load_method(Run(tmp_path / "run"))
    assert same(loaded.state_dict(), trainer.method.state_dict())
    assert any(not torch.equal(before[k], v) for k, v in loaded.state_dict().items() if v.is_floating_point())
    assert not loaded.training


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_resuming_keeps_what_the_optimiser_has_gathered_and_takes_the_settings_given(project, tmp_path, name):
    """Settings such as `fused` belong to the device at hand, and the learning rate to the configuration."""
    changes = {"optim.name": name, "optim.momentum": 0.9, "model.method": "trx", "train.val_every": 0}
    changes |= {"train.iterations": 2}
    first = trained(small(project, **changes), tmp_path / "run")
    state = load_state(tmp_path / "run" / "state.pt")
    for group in state["optimizer"]["param_groups"]:
        group |= {"fused": None, "foreach": True}  # as saved on another device
    save_state(tmp_path / "run" / "state.pt", state)
    config = small(project, **changes | {"optim.lr": 5e-4, "train.iterations": 4})
    second = Trainer(config, Run(tmp_path / "run"), CPU, pretrained=False)
    fresh = dict(second.optimizer.param_groups[0])
    second.resume()
    found = second.optimizer.param_groups[0]
    assert {k: v for k, v in found.items() if k != "params"} == {k: v for k, v in fresh.items() if k != "params"}
    assert found["lr"] == 5e-4
    before, after = first.optimizer.state_dict()["state"], second.optimizer.state_dict()["state"]
    assert len(after) == len(before) > 0
    for index, gathered in before.items():
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(after[index][k])) for k, v in gathered.items())
    second.run()


@pytest.mark.parametrize(
    ("saves", "file", "message", "hint"),
    [
        (0, "state.pt", "nothing was saved", "then remove {run} and start again"),
        (1, "state.pt", "episodes up to 2 of 6 are saved in {run}", "then go on with: fsar train --resume '{run}'"),
        (1, "log.txt", "episodes up to 2 of 6 are saved in {run}", "then go on with: fsar train --resume '{run}'"),
    ],
)
def test_a_full_disk_ends_training_with_what_is_kept(project, tmp_path, monkeypatch, saves, file, message, hint):
    done, save, run = [], train_module.save_state, tmp_path / "run"

    def full(path, *_):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def save_some(path, state):
        if len(done) == saves and file == "state.pt":
            full(path)
        done.append(state)
        save(path, state)
        if file == "log.txt":
            monkeypatch.setattr(Run, "log", lambda run, text: full(run.log_file))

    monkeypatch.setattr(train_module, "save_state", save_some)
    with pytest.raises(DataError) as caught:
        trained(small(project), run)
    assert caught.value.message == f"{run / file}: No space left on device; {message.format(run=run)}"
    assert caught.value.hint == f"free some disk, or name a place on another one; {hint.format(run=run)}"
    assert not list(run.glob(".fsar-*"))
