"""Makes what a plan needs: each run trained in its own folder, by whichever process takes it first, and tested.

    OUT/runs/DIGEST/                a run folder as `fsar train` leaves it
    OUT/runs/DIGEST/trained.json    written when training is complete
    OUT/runs/DIGEST.lock            who trains it, or tests what one backbone encodes; it dies with the process
    OUT/costs/                      what backbones of a table of them cost (`cost`), by digest of what that depends on
    OUT/results/                    what was right, by digest of everything it depends on (`engine.results`)

A killed process leaves nothing that looks finished: training goes on from the run's last saved state.
"""

import json
import shutil
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fsar_cli.config import Config
from fsar_cli.core.method import FewShotMethod
from fsar_cli.engine.bank import feature_cache
from fsar_cli.engine.device import encoding_type
from fsar_cli.engine.evaluate import evaluate
from fsar_cli.engine.model import Model
from fsar_cli.engine.outputs import other_source
from fsar_cli.engine.results import ShotResult
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.engine.trained_on import refuse
from fsar_cli.errors import FsarError, Interrupted, UsageError
from fsar_cli.files import Cache, lock, write_whole
from fsar_cli.ranks import of_environment
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.reproduce.cost import Cost, measure, read_cost, write_cost
from fsar_cli.tools.reproduce.ground import Ground, source_of
from fsar_cli.tools.reproduce.plan import TablePlan
from fsar_cli.tools.reproduce.planned import PlannedRun, file_digest

RESULTS_LIMIT = 2**40  # what a table was made from is never dropped
TRAINED = "trained.json"
LEFT = ("train", "go on training")
"""States of a run (`Reproduction.state`) that is not finished."""
BUSY = ("another process is at it", "")


@dataclass
class RunResults:
    """What became of a plan."""

    results: dict[tuple[str, str, int], ShotResult] = field(default_factory=dict)
    """(digest of a run, ground, shot) -> how it was tested."""
    failures: dict[str, FsarError] = field(default_factory=dict)
    """Digest of a run -> why it has no result."""
    costs: dict[str, Cost | FsarError] = field(default_factory=dict)
    """Encoder of a run -> what it costs, on the first ground; or why it cannot be had."""

    def tested(self, plan: TablePlan, run: PlannedRun) -> bool:
        """Whether all results of a run are there."""
        needed = [(run.digest, g.name, shot) for g in plan.grounds for shot in plan.shots(run, g)]
        return all(key in self.results for key in needed)


class Reproduction:
    """Where the runs of all tables of one folder are, and how they are made.

    Args:
        out: `reproduce` folder.
    """

    def __init__(self, out: Path, device: torch.device, reporter: Reporter = SILENT) -> None:
        self.out, self.device, self.reporter = out, device, reporter
        self.results, self.costs = (Cache(out / name, RESULTS_LIMIT) for name in ("results", "costs"))
        self.features = feature_cache()

    def make(self, plan: TablePlan) -> RunResults:
        """Train and test all runs of a plan, or wait for those that other processes train. What fails stops no other.

        Raises:
            Interrupted: Ctrl-C; everything done so far is kept.
        """
        (self.out / "runs").mkdir(parents=True, exist_ok=True)
        ranks = of_environment()
        first = (
            ranks.rank * len(plan.runs) // ranks.world
        )  # processes start far from one another and end by helping out
        runs, made = plan.runs[first:] + plan.runs[:first], RunResults()
        for run in runs:  # first what no other process is at
            with suppress(UsageError), lock(self._lock(run), BUSY):
                self._attempt(plan, run, made, test=not run.trained)
        for run in runs:
            with lock(self._lock(run)):
                self._attempt(plan, run, made, test=True)
        return made

    def check(self, plan: TablePlan, accept_overlap: bool) -> None:
        """Refuse before anything is made what would be no result, or take the place of another.

        Raises:
            DataError: classes that are trained on are tested, and that is not accepted; there can be no such episodes.
            UsageError: results of the same name were made from other data.
        """
        for ground in plan.grounds:
            _ = ground.lists
            if (known := plan.novelties[ground.name].known) and not accept_overlap:
                refuse(f"what learns from {ground.train.name}", known, f" (of {ground.name})")
        for name, grounds in plan.documents.items():
            file, sets = self.out / f"{name}.json", " and ".join(ground.name for ground in grounds)
            if other_source(file, source_of(grounds)):
                raise UsageError(
                    f"{file} was made from other data called {sets}, or other splits", "--out takes another folder"
                )

    def _lock(self, run: PlannedRun) -> Path:
        return self.out / "runs" / f"{run.digest if run.trained else run.encoder}.lock"

    def _attempt(self, plan: TablePlan, run: PlannedRun, made: RunResults, test: bool) -> None:
        if run.digest in made.failures or (test and made.tested(plan, run)):
            return
        title = f"[{plan.runs.index(run) + 1}/{len(plan.runs)}] {run.label}, {run.ground.train.name}"
        try:
            self._train(run, title)
            if test:
                self._test(plan, run, title, made)
        except Interrupted as stop:
            raise Interrupted(stop.message, "the same command goes on from there") from stop
        except KeyboardInterrupt as stop:
            raise Interrupted(f"interrupted at {title}", "the same command goes on from there") from stop
        except Exception as error:
            failure, said = _failure(error), {failure.message for failure in made.failures.values()}
            made.failures[run.digest] = failure
            if failure.message not in said:  # the heads of one backbone fail in the same words
                self.reporter.warn(f"{title} failed: {failure.message}")
            if failure is not error:
                self.reporter.detail("".join(traceback.format_exception(error)))

    def state(self, run: PlannedRun) -> str:
        """What is left to do, in words: one of LEFT, or that all is done."""
        where = run.folder(self.out)
        if not run.trained:
            return "nothing to train"
        if (where / TRAINED).exists():
            return "trained"
        return "go on training" if (where / "state.pt").exists() else "train"

    def _train(self, run: PlannedRun, title: str) -> None:
        where, state = run.folder(self.out), self.state(run)
        if state == "trained" or (not run.trained and Run(where).config_file.exists()):
            return
        resuming, folder = state == "go on training", Run(where)
        if not resuming:  # what a killed process left has nothing to go on from
            shutil.rmtree(where, ignore_errors=True)
            folder = create_run(run.config, where)
        if not run.trained:
            return
        self.reporter.log(f"{title}: {'going on' if resuming else 'training'}")
        options = {"reporter": self.reporter, "cache": self.features}
        trainer = Trainer(run.config, folder, self.device, pretrained=not resuming, **options)
        if resuming:
            trainer.resume()
        result = trainer.run()
        write_whole(where / TRAINED, json.dumps(vars(result), default=str) + "\n")

    def _test(self, plan: TablePlan, run: PlannedRun, title: str, made: RunResults) -> None:
        for ground in plan.grounds:
            if shots := plan.shots(run, ground):
                model = self.model(run, ground)
                method = self._weighed(run, model, made) if plan.table.frozen else model.load()
                options = {"reporter": self.reporter, "cache": self.features, "results": self.results}
                tested = evaluate(
                    method, model.config, self.device, lists=[ground.lists[shot] for shot in shots],
                    name=f"{title}, tested on {ground.name}", **options,
                )  # fmt: skip
                made.results |= {(run.digest, ground.name, result.shot): result for result in tested.shots}

    def _weighed(self, run: PlannedRun, model: Model, made: RunResults) -> FewShotMethod:
        """The method, once it is known what its backbone costs: one that cannot be had is tried once, for all heads.

        Raises:
            FsarError: it cannot be had.
        """
        if isinstance(refused := made.costs.get(run.encoder), FsarError):
            raise refused
        try:
            method = model.load()
            if run.encoder not in made.costs:
                made.costs[run.encoder] = self._cost(run, method, model.config)
        except Exception as error:
            made.costs[run.encoder] = _failure(error)
            raise
        return method

    def _cost(self, run: PlannedRun, method: FewShotMethod, config: Config) -> Cost:
        """As it was measured before on this kind of device, or is now."""
        key = "-".join([run.encoder, self.device.type, str(encoding_type(self.device, config))])

        def make(folder: Path) -> None:
            write_cost(folder, measure(method, config, self.device))

        return self.costs.read(key, make, read_cost)

    def model(self, run: PlannedRun, ground: Ground) -> Model:
        """A finished run, to be tested on a ground."""
        config = run.config.model_copy(update={"data": ground.data, "eval": ground.settings})
        if not run.trained:
            return Model(config, None, run.label)
        folder = Run(run.folder(self.out))
        classes = folder.config().model.classes  # known since it was trained
        model = config.model.model_copy(update={"classes": classes})
        return Model(config.model_copy(update={"model": model}), folder, run.label)

    def weights(self, run: PlannedRun) -> str:
        """Digest of a trained run's weights; how an untrained one starts; empty where it failed."""
        if not run.trained:
            return "initial"
        with suppress(OSError):
            return file_digest(Run(run.folder(self.out)).model_file)
        return ""


def _failure(error: Exception) -> FsarError:
    """An error as tables tell it, in one line."""
    known = isinstance(error, FsarError)
    return error if known else FsarError(" ".join(f"{type(error).__name__}: {error}".split())[:400])
