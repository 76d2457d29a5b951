"""A run folder: made once, written by one process at a time."""

import multiprocessing
import os

import pytest
import torch
from small_project import Listener, small

from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import UsageError

PROCESSES = multiprocessing.get_context("fork")


def of_others(task) -> str:
    """What a process of its own answers: `done`, or why it was refused."""

    def work() -> None:
        try:
            task()
        except UsageError as error:
            answers.put(error.message)
        else:
            answers.put("done")

    answers = PROCESSES.SimpleQueue()
    process = PROCESSES.Process(target=work)
    process.start()
    process.join()
    return answers.get()


def test_a_second_writer_is_told_who_the_first_is_and_the_first_may_enter_again(project, tmp_path):
    run = create_run(small(project), tmp_path / "run")

    def enter() -> None:
        with Run(run.path).writing():
            pass

    with run.writing():
        with run.writing():
            pass
        told = of_others(enter)
        assert told.startswith(f"another process is writing into the run {run.path}: process {os.getpid()} on ")
    assert of_others(enter) == "done"


def test_training_keeps_the_run_to_itself_from_its_first_episode_to_its_last_word(project, tmp_path):
    config, told = small(project, **{"train.iterations": 1, "train.val_every": 0}), []

    class Second(Listener):
        def log(self, text: str) -> None:
            super().log(text)
            told.append(of_others(lambda: Run(tmp_path / "run").writing().__enter__()))

    trainer = Trainer(config, create_run(config, tmp_path / "run"), torch.device("cpu"))
    trainer.reporter = Second()
    trainer.run()
    assert told and all(answer.startswith("another process is writing into") for answer in told)


def test_of_two_runs_begun_in_one_folder_one_is_made(project, tmp_path):
    config = small(project)

    def make() -> None:
        create_run(config, tmp_path / "run")

    assert sorted([of_others(make), of_others(make)]) == [f"{tmp_path / 'run'} holds a run already", "done"]


@pytest.mark.parametrize("left", ["state.pt", "model.safetensors", "trained-on.csv"])
def test_what_is_left_of_a_run_is_not_mixed_with_a_new_one(project, tmp_path, left):
    (tmp_path / left).touch()
    with pytest.raises(UsageError, match="holds a run already"):
        create_run(small(project), tmp_path)
