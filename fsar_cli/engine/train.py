"""Episodic training (section 4.1): one episode a forward, gradients accumulated, best weights on the val split kept.

What flows where: loader processes (uint8 frames, from shared memory where they are known) -> one pinned buffer an
episode -> device: crop, flip, normalise -> encode support and query -> match -> loss -> backward; every `accumulate`
episodes an optimiser step. All randomness of step i comes from (seed, i): a resumed run is the same run.

A GPU is never waited for inside an episode. Its loss is read after the next one has been sent, and always before
anything is written: a loss that is not finite stops training before weights are saved.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.core.layers.checkpointing import NORMS
from fsar_cli.data.clips import ClipReader, EpisodeBatch, TrainingEpisodes, episode_loader
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.engine.bank import encode_videos
from fsar_cli.engine.checkpoint import load_state, save_state, save_weights
from fsar_cli.engine.compiling import compile_backbones
from fsar_cli.engine.device import constant_sizes, loader_workers, place
from fsar_cli.engine.evaluate import evaluate_bank
from fsar_cli.engine.frozen import DescribedEpisode, FrozenFeatures, freeze_features
from fsar_cli.engine.interrupt import stop_on_interrupt
from fsar_cli.engine.memory import plan_memory
from fsar_cli.engine.metrics import TrainingLog, region_figures, waits
from fsar_cli.engine.outcomes import Outcomes
from fsar_cli.engine.runs import Run
from fsar_cli.engine.sharing import share_frames
from fsar_cli.engine.steps import (
    build_optimizer,
    episode_loss,
    load_optimizer,
    statistics_kept,
    step_seed,
    training_sampler,
    validation_sampler,
    with_classes,
)
from fsar_cli.errors import DataError, Interrupted
from fsar_cli.files import Cache
from fsar_cli.reporting import SILENT, Reporter


@dataclass
class TrainingResult:
    """What a training run came to."""

    run: Path
    iterations: int
    loss: float
    accuracy: float
    best_step: int | None
    best_accuracy: float | None
    seconds: float
    seconds_per_episode: float
    waiting: float
    """Share of the episodes' time that was spent waiting for the loader."""


class Trainer:
    """A training run on one device: construct, `resume` where wanted, `run`."""

    def __init__(
        self,
        config: Config,
        run: Run | Callable[[], Run],
        device: torch.device,
        *,
        reporter: Reporter = SILENT,
        pretrained: bool = True,
        cache: Cache | None = None,
    ) -> None:
        """
        Args:
            run: the run folder, or a function that makes it: called only when everything else is in order.
            pretrained: load `model.weights`; False where `resume` follows.
            cache: where features are kept that do not change in training (`train.views`); None: nowhere.
        """
        splits = Splits.read(config.data.splits)
        self.sampler = training_sampler(config, splits)
        config = with_classes(config, self.sampler)
        self.config, self.device, self.reporter, self.cache = config, device, reporter, cache
        self.reader = ClipReader(FrameStore(config.data.frames), config.clip)
        self.validation = validation_sampler(config, splits, reporter)
        self.method = build_method(config, pretrained=pretrained, seed=config.train.seed)
        if config.train.views:
            freeze_features(self.method, reporter)
        if config.train.memory_budget is not None:
            self._fit(config.train.memory_budget)
        place(self.method, device, config.train.channels_last).train()
        if config.train.compile and not config.train.views:
            compile_backbones(self.method, config, device, reporter)
        self.optimizer = build_optimizer(self.method, config.optim)
        self.folder = run() if callable(run) else run
        self.folder.keep_classes(config.model.classes)
        self.step = 0
        self.best: tuple[int, float] | None = None
        self.log = TrainingLog(self.folder.path)
        self.outcomes = Outcomes(self.log, late=device.type == "cuda")
        self._saved = 0

    def _fit(self, budget: float) -> None:
        """Set the method up for the budget; measuring must not count for batch statistics."""
        with statistics_kept(self.method):
            plan = plan_memory(self.method, self.config, self.device, budget)
        plan.apply(self.method)
        self.reporter.log(f"memory: {plan}")
        if plan.micro_batch and any(isinstance(m, NORMS) and m.training for m in self.method.modules()):
            self.reporter.warn("batch normalisation sees micro-batches: model.freeze_batchnorm=true makes it exact")

    def resume(self) -> None:
        """Go on where the run's state.pt stops.

        Raises:
            DataError: no or a damaged state, or one of another method.
        """
        state = load_state(self.folder.state_file)
        try:
            self.method.load_state_dict(state["method"])
            load_optimizer(self.optimizer, state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{self.folder.state_file} is of another method or configuration: {reason}",
                "resume with the run's own configuration",
            ) from error
        self.step, self.log.rows, self.log.window = state["step"], state["rows"], state["window"]
        self._saved = self.step
        self.best = tuple(state["best"]) if state["best"] else None
        # Gradients accumulated since the last optimiser step are part of the state.
        for parameter, gradient in zip(self._trained(), state["gradients"], strict=True):
            parameter.grad = None if gradient is None else gradient.to(parameter)

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self.method.parameters() if p.requires_grad]

    def run(self) -> TrainingResult:
        """Train to `train.iterations`; on Ctrl-C save and raise `Interrupted`."""
        train, started, first = self.config.train, time.monotonic(), self.step
        self.folder.log(f"training from episode {self.step} to {train.iterations} on {self.device}")
        try:
            with (
                stop_on_interrupt(self.reporter) as stop,
                constant_sizes(self.device),
                self.reporter.track("training", train.iterations - first, "episodes") as task,
            ):
                for batch, waited in waits(self._batches()):
                    self._train_on(batch, waited)
                    self._housekeeping()
                    task.advance(1, **self.outcomes.running)
                    if stop.asked and self.step < train.iterations:
                        self.save()
                        raise self._interrupted(self.step)
                self.outcomes.read()
        except KeyboardInterrupt:
            raise self._interrupted(self._saved) from None
        finally:
            self.log.close()
        return self._finish(time.monotonic() - started, self.step - first)

    def _interrupted(self, step: int) -> Interrupted:
        self.folder.log(f"interrupted at episode {self.step}, saved up to {step}")
        where, total = self.folder.path, self.config.train.iterations
        if not self.folder.state_file.exists():
            return Interrupted(f"stopped before anything was saved in {where}", "start again with `fsar train`")
        return Interrupted(
            f"stopped; episodes up to {step} of {total} are saved in {where}",
            f"go on with: fsar train --resume '{where}'",
        )

    def _batches(self) -> Iterator[EpisodeBatch | DescribedEpisode]:
        train = self.config.train
        if train.views:
            frozen = FrozenFeatures(
                self.method, self.reader, self.sampler, self.device, self.config, self.reporter, self.cache
            )
            self.method.train()
            return frozen.episodes(self.step, train.iterations)
        self.reader.shared = share_frames(
            self.reader, self.sampler.videos, train.frame_cache, self.device, self.reporter
        )
        episodes = TrainingEpisodes(self.reader, self.sampler, train.seed)
        workers = loader_workers(train.workers, self.device)
        return iter(episode_loader(episodes, range(self.step, train.iterations), workers, self.device.type == "cuda"))

    def _train_on(self, batch: EpisodeBatch | DescribedEpisode, waited: float = 0.0) -> None:
        """An episode: forward, backward and, where it is due, the optimiser's step.

        Args:
            waited: seconds that the loader took for it.
        """
        started, optim = time.monotonic(), self.config.optim
        generator = torch.Generator(self.device).manual_seed(step_seed(self.config.train.seed, batch.index))
        loss, accuracy, seen = episode_loss(self.method, batch, self.config, self.device, generator)
        (loss / optim.accumulate).backward()
        self.step = batch.index + 1
        if self.step % optim.accumulate == 0 or self.step == self.config.train.iterations:
            if optim.clip_norm is not None:
                nn.utils.clip_grad_norm_(self._trained(), optim.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        row = region_figures(seen) if self.step % self.config.train.log_every == 0 else {}
        row |= {"seconds": waited + time.monotonic() - started, "waited": waited}
        self.outcomes.add(batch.index, loss, accuracy, row)

    def _housekeeping(self) -> None:
        train, last = self.config.train, self.step == self.config.train.iterations
        logs = self.step % train.log_every == 0 or last
        validates = self.validation is not None and (self.step % train.val_every == 0 or last)
        saves = self.step % train.checkpoint_every == 0 or last
        if logs or validates or saves:
            self.outcomes.read()
        if logs:
            self.log.close_window(self.step)
        if validates:
            self._validate()
        if saves:
            self.save()

    def _validate(self) -> None:
        config = self.config
        cache = self.cache if config.train.views else None  # else the backbones change: what they say serves once
        bank = encode_videos(self.method, self.reader, self.validation.videos, self.device, config, cache=cache)
        self.method.eval()
        result = evaluate_bank(self.method, bank, self.validation, config.train.val_episodes, device=self.device)
        self.method.train()
        mean, ci = result.accuracy
        self.log.put(self.step, {"val_accuracy": mean, "val_ci95": ci})
        note = ""
        if self.best is None or mean > self.best[1]:
            self.best, note = (self.step, mean), ", best so far"
            save_weights(self.method, self.folder.model_file)
        self._say(f"episode {self.step}: validation {100 * mean:.1f} ± {100 * ci:.1f} %{note}")

    def _say(self, text: str) -> None:
        self.reporter.log(text)
        self.folder.log(text)

    def save(self) -> None:
        """Write model.safetensors where no validation chooses it, then state.pt: whoever resumes finds weights."""
        self.outcomes.read()
        if self.best is None:
            save_weights(self.method, self.folder.model_file)
        gradients = [None if p.grad is None else p.grad.detach().cpu() for p in self._trained()]
        save_state(
            self.folder.state_file,
            {
                "method": self.method.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "gradients": gradients,
                "step": self.step,
                "best": list(self.best) if self.best else None,
                "rows": self.log.rows,
                "window": self.log.window,
            },
        )
        self._saved = self.step

    def _finish(self, seconds: float, episodes: int) -> TrainingResult:
        loss, accuracy = self.log.recent("loss"), self.log.recent("accuracy")
        step, best = self.best or (None, None)
        each, waiting = seconds / max(episodes, 1), self.outcomes.waiting
        self._say(
            f"trained {episodes} episodes in {seconds:.0f} s, {each:.2f} s an episode, {100 * waiting:.0f} % of it "
            "waiting for frames"
        )
        return TrainingResult(self.folder.path, self.step, loss, accuracy, step, best, seconds, each, waiting)
