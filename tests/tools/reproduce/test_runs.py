"""Runs of a reproduction: made once, found again, shared among processes, gone on with after a kill; one may fail."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from small_project import small

from fsar_cli.config import dump
from fsar_cli.errors import DataError, UsageError
from fsar_cli.reporting import SILENT
from fsar_cli.tools.reproduce import work
from fsar_cli.tools.reproduce.data import find_data
from fsar_cli.tools.reproduce.outcome import gather
from fsar_cli.tools.reproduce.plan import make_plan
from fsar_cli.tools.reproduce.recipes import RECIPES
from fsar_cli.tools.reproduce.report import TableReport
from fsar_cli.tools.reproduce.tables import OURS, TABLES
from fsar_cli.tools.reproduce.work import Reproduction

CPU = torch.device("cpu")
TINY = {
    "train.iterations": 4, "eval.episodes": 40, "train.checkpoint_every": 2, "episode.way": 3, "eval.way": 3,
    "train.workers": 0, "optim.lr": 1e-3,
}  # fmt: skip


@pytest.fixture
def folder(project, tmp_path, monkeypatch) -> Path:
    """The current folder: a data set `p`, and a cache of its own."""
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("p").mkdir()
    Path("p/fsar.yaml").write_text(dump(small(project)))
    return tmp_path


def plan_of(name, recipe=None, seeds=1, **changes):
    data = find_data(("p",), True, Path("out"), SILENT)
    return make_plan(TABLES[name], RECIPES[recipe or TABLES[name].quick], data, seeds, TINY | changes)


def few(name, *labels, **options):
    """A plan of some rows at one shot."""
    plan = plan_of(name, **options)
    plan.cells = [cell for cell in plan.cells if cell.row.label in labels and cell.shot == 1]
    return plan


def reported(plan, place) -> TableReport:
    made = place.make(plan)
    return TableReport(plan, gather(plan, made), place, made)


@pytest.fixture
def trainings(monkeypatch) -> list[str]:
    """Run folders in the order in which they are trained."""
    seen, real = [], work.Trainer.run
    monkeypatch.setattr(work.Trainer, "run", lambda self: seen.append(self.folder.path.name) or real(self))
    return seen


@pytest.mark.slow
def test_a_table_is_made_once_and_its_runs_serve_the_next(folder, trainings):
    third = plan_of("table3")
    place = Reproduction(Path("out"), CPU)
    report = reported(third, place)
    assert trainings == [run.digest for run in third.runs]
    assert len(set(trainings)) == 4
    assert report.exit_code == 0
    assert all(len(column.scores) == 4 for column in report.columns)
    for column in report.columns:
        for step in column.steps:
            one, other = (column.results[name][0] for name in (step.difference.first, step.difference.second))
            assert one.digest == other.digest
            paired = one.accuracies - other.accuracies
            assert step.difference.estimate.mean == pytest.approx(paired.mean(), abs=1e-12)
            assert step.difference.tests == len(column.steps) == 5
    again = reported(plan_of("table3"), Reproduction(Path("out"), CPU))
    assert len(trainings) == 4, "everything is known"
    assert again.document() == report.document()
    second = plan_of("table2")
    assert [place.state(run) for run in second.runs] == ["train", "trained", "train", "train"]
    assert second.runs[1].digest == third.runs[3].digest, "the key region of table 2 is the last row of table 3"
    other = reported(few("table2", "+ key region"), Reproduction(Path("out"), CPU))
    assert other.columns[0].scores and len(trainings) == 4, "tested on other episodes, not trained again"


def test_a_failing_row_is_named_and_the_others_go_on(folder, monkeypatch):
    real = work.Trainer.__init__

    def broken(self, config, *rest, **options):
        if config.model.method == "trx":
            raise ValueError("the disk\nis on fire")
        real(self, config, *rest, **options)

    monkeypatch.setattr(work.Trainer, "__init__", broken)
    plan = few("table2", "baseline (TRX)", "+ key region", "+ relation")
    report = reported(plan, Reproduction(Path("out"), CPU))
    assert report.exit_code == 1, "a bug's"
    column = report.columns[0]
    assert column.failed["baseline (TRX)"].message == "ValueError: the disk is on fire"
    assert set(column.scores) == {"+ key region", "+ relation"}
    assert {step.difference.second for step in column.steps} == {"+ key region"}
    text = Path(report.write()[0]).read_text()
    assert "| baseline (TRX) | global features | failed |" in text and "the disk is on fire" in text
    monkeypatch.setattr(work.Trainer, "__init__", real)
    again = reported(plan, Reproduction(Path("out"), CPU))
    assert again.exit_code == 0, "the next call tries again"


def test_a_wrong_configuration_of_one_row_is_that_rows_failure(folder):
    plan = plan_of("table2", **{"clip.size": 32, "model.region.side": 40})
    assert {label for label, _ in plan.refused} == {"+ key region", "+ relation", "+ refined loss"}
    report = reported(plan, Reproduction(Path("out"), CPU))
    assert report.exit_code == 2
    assert list(report.columns[0].scores) == ["baseline (TRX)"]


def test_seeds_are_runs_of_their_own_and_the_papers_differences_stand_beside(folder, project, trainings):
    Path("p/fsar.yaml").write_text(dump(small(project, **{"data.name": "hmdb51"})))
    plan = few("table1", "TRX", "OTAM", OURS, seeds=2)
    report = reported(plan, Reproduction(Path("out"), CPU))
    column = report.columns[0]
    assert len(trainings) == 4 and len(set(trainings)) == 4
    assert [len(column.results[label]) for label in ("OTAM", "TRX", OURS)] == [1, 2, 2]
    means = [result.accuracies.mean() for result in column.results["TRX"]]
    assert column.scores["TRX"].mean == pytest.approx(np.mean(means))
    assert column.scores["OTAM"].training is None, "nothing is trained: no seed changes it"
    if means[0] != means[1]:
        assert column.scores["TRX"].training > 0
    paper = {step.difference.second: (step.paper, step.expected) for step in column.steps}
    assert paper == {"TRX": (pytest.approx(3.3), 1), "OTAM": (pytest.approx(4.9), 1)}
    assert "(seeds ±" in " ".join(cell for row in report.grid().rows for cell in row)


def test_what_no_table_should_hold_is_refused_before_it_is_made(folder, project):
    place, plan = Reproduction(Path("out"), CPU), few("table2", "baseline (TRX)", **{"eval.split": "train"})
    with pytest.raises(DataError, match="what learns from small was trained on climb, fall, wave") as caught:
        place.check(plan, accept_overlap=False)
    assert "--accept-overlap" in caught.value.hint
    place.check(plan, accept_overlap=True)
    report = reported(plan, place)
    assert report.document()["grounds"][0]["overlap"][0] == {"class": "climb", "split": "train", "as": "climb"}
    text = report.write()[0].read_text()
    assert "some classes are not new to the run, which was trained on climb" in text
    lines = (project / "splits.csv").read_text().splitlines(keepends=True)
    Path("other.csv").write_text("".join(line for line in lines if "kick_3" not in line and "digest" not in line))
    Path("p/fsar.yaml").write_text(dump(small(project, **{"data.splits": Path("other.csv").absolute()})))
    with pytest.raises(UsageError, match=r"table2-small-quick\.json was made from other data called small"):
        place.check(few("table2", "baseline (TRX)"), accept_overlap=False)


PROGRAM = """
import time, torch
torch.set_num_threads(1)
from fsar_cli.tools.reproduce import work
real = work.Trainer._write_what_is_due
def slow(self):
    time.sleep(0.2)
    real(self)
work.Trainer._write_what_is_due = slow
from fsar_cli.cli.app import main
main()
"""


def start(*more: str, **environment: str) -> subprocess.Popen:
    sets = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-c", PROGRAM, "reproduce", "table3", "--quick", "--dataset", "p", "--out", "out",
               "--device", "cpu", *sets, *more]  # fmt: skip
    environ = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_after_kill_9_the_same_command_goes_on_and_ends_the_same(folder):
    process = start("--set", "train.iterations=12")
    deadline = time.monotonic() + 120
    while not list(Path("out").glob("runs/*/state.pt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (state,) = Path("out").glob("runs/*/state.pt")
    assert not (state.parent / "trained.json").exists(), "killed in the middle"
    plan = plan_of("table3", **{"train.iterations": 12})
    plan.cells = plan.cells[:1]
    place = Reproduction(Path("out"), CPU)
    assert place.state(plan.runs[0]) == "go on training"
    assert not place.make(plan).failures
    assert "training from episode 0" not in (state.parent / "log.txt").read_text().splitlines()[-2]
    whole = Reproduction(Path("whole"), CPU)
    assert not whole.make(plan).failures
    first, second = (load_file(s.out / "runs" / plan.runs[0].digest / "model.safetensors") for s in (place, whole))
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in second)


@pytest.mark.slow
def test_processes_share_the_runs_and_one_writes_the_table(folder):
    processes = [start(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "Table 3" in outputs[0][0] and not outputs[1][0]
    plan = plan_of("table3")
    logs = [(run.folder(Path("out")) / "log.txt").read_text() for run in plan.runs]
    assert all(log.count("training from episode") == 1 for log in logs), "each is trained once"
    document = json.loads(Path("out/table3-small-quick.json").read_text())
    assert all(cell["accuracy"] is not None for cell in document["cells"])
    assert {cell["shot"] for cell in document["cells"]} == {2}, "table 3 has one column: the most shots"


def test_cells_whose_weights_have_seen_test_classes_are_marked(folder, project):
    network = torchvision.models.mobilenet_v3_small(weights=None)
    torch.save(network.state_dict(), "w.pth")
    Path("w.classes.txt").write_text("kicking\nsleeping\n")
    plan = few("table1", "OTAM", "mean features", **{"model.weights": "w.pth"})
    report = reported(plan, Reproduction(Path("out"), CPU))
    words = "small: † 1 of 3 test classes are among those of the pretraining (w.classes.txt): kick (as kicking)"
    assert [line.startswith(words) for line in plan.seen_before()] == [True]
    files = {file.suffix: file.read_text() for file in report.write()}
    for page in (files[".html"], files[".md"]):
        assert words in page and page.count(" †</td>") + page.count(" † |") + page.count(" †** |") == 2
    cells = json.loads(files[".json"])["cells"]
    assert {(c["pretraining"], c["pretraining_known"], *c["classes_seen"]) for c in cells} == {
        ("w.classes.txt", True, "kick")
    }
    assert "classes_seen" in files[".csv"].splitlines()[0]
