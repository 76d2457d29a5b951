"""Runs what is missing of a plan: each job trained and tested in its own folder, by whichever process takes it first.

    OUT/runs/DIGEST/                a run folder as `fsar train` leaves it
    OUT/runs/DIGEST/trained.json    written when training is complete
    OUT/runs/DIGEST/tested-KEY.json written when it has been tested on some episodes
    OUT/runs/DIGEST.lock            who works at it; dies with the process
    OUT/runs/DIGEST.failed.json     why it failed; the next call tries again
    OUT/results/                    what was right, by digest of everything it depends on (`engine.results`)

A killed process leaves nothing that looks finished: training goes on from the run's last saved state.
"""

import json
import os
import shutil
import time
import traceback
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fsar_cli.engine.bank import feature_cache
from fsar_cli.engine.results import ShotResult
from fsar_cli.engine.runs import Run, create_run
from fsar_cli.engine.train import Trainer
from fsar_cli.errors import DataError, FsarError, Interrupted, UsageError
from fsar_cli.files import Cache, lock, write_whole
from fsar_cli.reporting import SILENT, Reporter
from fsar_cli.tools.compare.entries import Entry, evaluate_entry
from fsar_cli.tools.reproduce.jobs import Job, Trial, file_digest, share
from fsar_cli.tools.reproduce.plan import Plan

PAUSE_SECONDS = 0.5
RESULTS_LIMIT = 2**40  # what a table was made from is never dropped
TRAINED = "trained.json"


@dataclass(frozen=True)
class Failure:
    """Why a job could not be done."""

    message: str
    exit_code: int


@dataclass(frozen=True)
class Team:
    """Processes that share the work: torchrun's, or this one alone."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> "Team":
        """As torchrun says, if it does."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        try:
            return cls(*(int(os.environ.get(name, default)) for name, default in zip(names, (0, 1, 0), strict=True)))
        except ValueError as error:
            raise DataError(f"{', '.join(names)} must be numbers, as torchrun sets them: {error}") from error

    def device(self, name: str) -> str:
        """With one GPU for each process where they are to choose."""
        count = torch.cuda.device_count()
        return f"cuda:{self.local_rank % count}" if self.world > 1 and name in ("auto", "cuda") and count else name


class Workshop:
    """Where the runs of all tables of one folder are, and how they are made.

    Args:
        out: `reproduce` folder.
    """

    def __init__(self, out: Path, device: torch.device, reporter: Reporter = SILENT, team: Team | None = None) -> None:
        self.out, self.device, self.reporter, self.team = out, device, reporter, team or Team()
        self.results, self.features = Cache(out / "results", RESULTS_LIMIT), feature_cache()
        self.since = time.time()
        self._known: dict[tuple[str, str, str], ShotResult] = {}
        (out / "runs").mkdir(parents=True, exist_ok=True)

    def run(self, plan: Plan) -> dict[str, Failure]:
        """Do all jobs of a plan, or wait for those that others do.

        Returns:
            what failed, by digest.

        Raises:
            Interrupted: Ctrl-C; everything done so far is kept.
        """
        waiting, failures = share(plan.jobs, self.team.rank, self.team.world), {}
        while waiting:
            before = len(waiting)
            for job in list(waiting):
                if self._tried(plan, job, failures):
                    waiting.remove(job)
            if len(waiting) == before:
                self.reporter.detail(f"waiting for {before} runs that other processes work at")
                time.sleep(PAUSE_SECONDS)
        return failures

    def _tried(self, plan: Plan, job: Job, failures: dict[str, Failure]) -> bool:
        """Whether nothing remains to be done for a job: it is finished, or failed here or elsewhere."""
        with ExitStack() as stack:
            try:
                stack.enter_context(lock(self.out / "runs" / f"{job.digest}.lock", busy=("another process has it", "")))
            except UsageError:
                return False
            if not self.missing(plan, job):
                return True
            failed = self._failed(job)
            if failed is None:
                failed = self._attempt(plan, job)
            if failed is not None:
                failures[job.digest] = failed
            return True

    def _attempt(self, plan: Plan, job: Job) -> Failure | None:
        where = job.folder(self.out)
        number = [j.digest for j in plan.jobs].index(job.digest) + 1
        title = f"[{number}/{len(plan.jobs)}] {job.label}, {job.ground.train.name}"
        try:
            if job.trained:
                self._train(job, title)
            elif not (where / "env.json").exists():
                shutil.rmtree(where, ignore_errors=True)
                create_run(job.config, where)
            self._test(plan, job, title)
        except Interrupted as stop:
            raise Interrupted(stop.message, "the same command goes on from there") from stop
        except KeyboardInterrupt as stop:
            raise Interrupted(f"interrupted at {title}", "the same command goes on from there") from stop
        except Exception as error:
            return self._keep_failure(job, title, error)
        self._failure_file(job).unlink(missing_ok=True)
        return None

    def _failure_file(self, job: Job) -> Path:
        return self.out / "runs" / f"{job.digest}.failed.json"

    def _failed(self, job: Job) -> Failure | None:
        """Of this call, by whichever process; an earlier one's is tried again."""
        file = self._failure_file(job)
        with suppress(OSError, ValueError, TypeError):
            if file.stat().st_mtime >= self.since:
                return Failure(**json.loads(file.read_text(encoding="utf-8")))
        return None

    def _keep_failure(self, job: Job, title: str, error: Exception) -> Failure:
        known = isinstance(error, FsarError)
        reason = error.message if known else f"{type(error).__name__}: {error}"
        failure = Failure(" ".join(reason.split())[:400], error.exit_code if known else 1)
        self.reporter.warn(f"{title} failed: {failure.message}")
        if not known:
            self.reporter.detail("".join(traceback.format_exception(error)))
        write_whole(self._failure_file(job), json.dumps(asdict(failure)))
        return failure

    def _train(self, job: Job, title: str) -> None:
        where = job.folder(self.out)
        if (where / TRAINED).exists():
            return
        run, resuming = Run(where), (where / "state.pt").exists()
        if not resuming:  # what a killed process left has nothing to go on from
            shutil.rmtree(where, ignore_errors=True)
            run = create_run(job.config, where)
        self.reporter.log(f"{title}: {'going on' if resuming else 'training'}")
        options = {"reporter": self.reporter, "cache": self.features}
        trainer = Trainer(job.config, run, self.device, pretrained=not resuming, **options)
        if resuming:
            trainer.resume()
        result = trainer.run()
        write_whole(where / TRAINED, json.dumps(vars(result), default=str) + "\n")

    def _test(self, plan: Plan, job: Job, title: str) -> None:
        for trial in plan.trials:
            shots = tuple(shot for t, shot in plan.tests(job) if t is trial)
            if shots:
                self.reporter.log(f"{title}: testing on {trial.ground.name}")
                found = self.tested(job, trial, shots)
                for shot, result in zip(shots, found, strict=True):
                    summary = {key: result.summary()[key] for key in ("accuracy", "ci95", "episode_digest", "seconds")}
                    write_whole(self._mark(job, trial, shot), json.dumps(summary))

    def _mark(self, job: Job, trial: Trial, shot: int) -> Path:
        return job.folder(self.out) / f"tested-{trial.key(shot)}.json"

    def entry(self, job: Job, trial: Trial, shots: tuple[int, ...]) -> Entry:
        """A finished job as `compare` knows it."""
        config = job.on(trial, shots)
        if not job.trained:
            return Entry(config, None, job.label)
        run = Run(job.folder(self.out))
        classes = run.config().model.classes  # known since it was trained
        model = config.model.model_copy(update={"classes": classes})
        return Entry(config.model_copy(update={"model": model}), run, job.label)

    def result(self, plan: Plan, job: Job, trial: Trial, shot: int) -> ShotResult:
        """Of a finished job; its other shots of the same trial are read in the same go."""
        shots = tuple(known for t, known in plan.tests(job) if t is trial)
        return self.tested(job, trial, shots)[shots.index(shot)]

    def tested(self, job: Job, trial: Trial, shots: tuple[int, ...]) -> list[ShotResult]:
        """Results of a finished job, read where they are known."""
        keys = [(job.digest, trial.ground.name, trial.key(shot)) for shot in shots]
        if any(key not in self._known for key in keys):
            self._known |= dict(zip(keys, self._evaluated(job, trial, shots), strict=True))
        return [self._known[key] for key in keys]

    def _evaluated(self, job: Job, trial: Trial, shots: tuple[int, ...]) -> list[ShotResult]:
        samplers, digests = [trial.samplers[s] for s in shots], [trial.digests[s] for s in shots]
        options = {"reporter": self.reporter, "cache": self.features, "results": self.results}
        return evaluate_entry(self.entry(job, trial, shots), samplers, digests, self.device, **options)

    def missing(self, plan: Plan, job: Job) -> list[str]:
        """What is left to do, in words."""
        found = []
        if job.trained and not (job.folder(self.out) / TRAINED).exists():
            state = job.folder(self.out) / "state.pt"
            found.append("go on training" if state.exists() else "train")
        untested = [shot for trial, shot in plan.tests(job) if not self._mark(job, trial, shot).exists()]
        return [*found, *(["test"] if untested else [])]

    def weights(self, job: Job) -> str:
        """Digest of a trained job's weights; how an untrained one starts."""
        return file_digest(Run(job.folder(self.out)).model_file) if job.trained else "initial"
