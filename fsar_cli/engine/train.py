"""Episodic training (section 4.1): episodes -> loss -> accumulate -> step -> validate -> save.

`Trainer.run` is the loop, and what it calls follows in that order. The frames of an episode come from loader processes
(uint8, from shared memory where they are known already) in one pinned buffer; crop, flip and normalisation happen on
the device (`steps.episode_loss`).

All randomness of episode i comes from (seed, i), and an optimiser step is always one of `optim.accumulate` episodes:
gradients that wait for their step are part of what is saved. So a resumed run is the run that was never stopped, to the
bit, also where it goes on to more episodes than it was started with.

Several processes (`ranks`) divide the episodes of every optimiser step by index; their gradients are added before it,
and so are running statistics (`batchstats`) and figures before they are written: the result is that of one process, but
for the order of sums. They meet after each round of episodes, to agree whether to stop. The first one writes.

A GPU is never waited for inside an episode. Its loss is read after the next one has been sent, and always before
anything is written: a loss that is not finite stops training before weights are saved.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from fsar_cli.config import Config
from fsar_cli.core.backbones.weightfile import require_finite
from fsar_cli.data.clips import ClipReader, EpisodeBatch, TrainingEpisodes, episode_loader
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.shared import share_frames
from fsar_cli.data.video import printable
from fsar_cli.engine.bank import encode_videos
from fsar_cli.engine.batchstats import RunningStatistics
from fsar_cli.engine.checkpoint import load_state, save_state, save_weights
from fsar_cli.engine.device import constant_sizes, loader_workers, loss_scaler
from fsar_cli.engine.evaluate import evaluate_bank
from fsar_cli.engine.frozen import DescribedEpisode, FrozenFeatures
from fsar_cli.engine.memory import does_not_fit
from fsar_cli.engine.metrics import DIVERGED, DivergedError, TrainingLog, region_figures, waits
from fsar_cli.engine.runs import Run
from fsar_cli.engine.setup import (
    build_optimizer,
    check_shared,
    load_optimizer,
    trainable_method,
    training_sampler,
    validation_sampler,
    with_classes,
)
from fsar_cli.engine.steps import episode_loss, step_seed
from fsar_cli.engine.trained_on import check_unchanged, keep_splits
from fsar_cli.engine.whitening import fit_for_training
from fsar_cli.errors import DataError, FsarError, Interrupted, is_out_of_memory, listed, remedy
from fsar_cli.files import Cache
from fsar_cli.ranks import ALONE, LOST, Ranks
from fsar_cli.reporting import SILENT, Reporter

Episode = EpisodeBatch | DescribedEpisode

FRAME_SHARE = {"cuda": 0.5, "cpu": 0.25}
"""Share of the free memory that `train.frame_cache=auto` may take. A network on the CPU needs more of it for itself."""


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
        ranks: Ranks = ALONE,
    ) -> None:
        """
        Args:
            run: the run folder, or a function that makes it: called only when everything else is in order.
            pretrained: load `model.weights`; False where `resume` follows.
            cache: where features are kept that do not change in training (`train.views`); None: nowhere.
            ranks: the processes that train it together.
        """
        splits, self.ranks = Splits.read(config.data.splits), ranks
        check_shared(config, device, ranks, reporter)
        if isinstance(run, Run):
            check_unchanged(run, config, splits, reporter)
        self.sampler = training_sampler(config, splits)
        self.config = with_classes(config, self.sampler)
        self.device, self.reporter, self.cache = device, reporter, cache
        self.reader = ClipReader(FrameStore(config.data.frames), config.clip)
        self.validation = validation_sampler(config, splits, reporter)
        self.method = trainable_method(self.config, device, reporter, pretrained, ranks)
        self.optimizer = build_optimizer(self.method, config.optim)
        if pretrained:  # what is resumed brings its own
            fit_for_training(self.method, self.config, device, reporter, cache, ranks)
        self.scaler = loss_scaler(device, config.train.amp, reporter)
        self.statistics = RunningStatistics(self.method, ranks)
        self.folder = ranks.agreed(run if callable(run) else lambda: run)
        if ranks.first:
            with self.folder.writing():
                self.folder.keep_classes(self.config.model.classes)
                keep_splits(self.folder, config, splits)
        self.log = TrainingLog(self.folder.path, late=device.type == "cuda", writes=ranks.first)
        self.step = self._saved = 0
        self.best: tuple[int, float] | None = None

    def run(self) -> TrainingResult:
        """Train to `train.iterations`.

        Raises:
            UsageError: another process writes into the run.
            Interrupted: Ctrl-C; everything was saved. Or another process ended; the last checkpoint stays.
            DataError: a loss is not finite; an episode or a validation could not be loaded, everything was saved; a
                file of the run cannot be written, the last checkpoint stays.
            DeviceError: an episode does not fit into the device's memory.
        """
        with self._writing():
            return self._run()

    def _writing(self) -> AbstractContextManager:
        return self.folder.writing() if self.ranks.first else nullcontext()

    def _run(self) -> TrainingResult:
        train, first, started = self.config.train, self.step, time.monotonic()
        together = "" if self.ranks.alone else f", {self.ranks.world} processes"
        self._note(f"training from episode {self.step} to {train.iterations} on {self.device}{together}")
        self.ranks.copy([*self.method.parameters(), *self.method.buffers()])
        if left := train.iterations % self.config.optim.accumulate:
            of = f"of the last {left} of {train.iterations} episodes" if left > 1 else "of the last episode"
            self.reporter.log(f"no optimiser step is made {of}: one takes {self.config.optim.accumulate} episodes")
        try:
            with (
                stop_on_interrupt(self.reporter) as stop,
                constant_sizes(self.device),
                self.reporter.track("training", train.iterations - first, "episodes") as task,
                closing(self._episodes()) as episodes,
            ):
                if self._owes_validation():
                    self._validate()
                    self.save()
                own = waits(self._saved_first(episodes))
                self.statistics.part()
                for index in range(first, train.iterations):
                    if self._is_own(index):
                        self.statistics.own()
                        self._train_on(*next(own))
                    else:
                        self.statistics.pass_over()
                    self._after(index)
                    task.advance(1, **self.log.running)
                    if self._ends_a_round(index) and self.ranks.any(stop.asked) and self.step < train.iterations:
                        self.save()
                        raise self._interrupted()
        except KeyboardInterrupt:
            raise self._interrupted() from None
        except DivergedError as error:
            raise self._with_videos(error) from None
        except Interrupted as error:
            if error.message != LOST:
                raise
            raise self._lost(error) from error
        except OSError as error:
            raise self._unwritten(error) from error
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise self._going_on(does_not_fit(self.config, self.device)) from error
            raise
        finally:
            self.log.close()
        return self._result(time.monotonic() - started, self.step - first)

    def _episodes(self) -> Iterator[Episode]:
        """This process's episodes that are still to come, in order."""
        train, reader = self.config.train, self.reader
        order: Sequence[int] = range(self.step, train.iterations)
        if not self.ranks.alone:
            order = [index for index in order if self._is_own(index)]
        if train.views:
            frozen = FrozenFeatures(
                self.method, reader, self.sampler, self.device, self.config, self.reporter, self.cache, self.ranks
            )
            self.method.train()
            return (frozen(index) for index in order)
        reader.shared = share_frames(
            reader.store, self.sampler.videos, reader.clip, train.frame_cache,
            FRAME_SHARE[self.device.type] / self.ranks.here, self.reporter,
        )  # fmt: skip
        episodes = TrainingEpisodes(reader, self.sampler, train.seed)
        workers = loader_workers(train.workers, self.device, self.reporter, self.ranks)
        return episode_loader(episodes, order, workers, self.device.type == "cuda", self.reporter)

    def _saved_first(self, episodes: Iterator[Episode]) -> Iterator[Episode]:
        """The same episodes; where the next one cannot be had, what was trained is saved before that is said."""
        try:
            yield from episodes
        except Exception as error:
            raise self._stopped(error) from error.__cause__

    def _stopped(self, error: Exception) -> Exception:
        """Save the last finished episode: what went wrong after it has nothing to do with the weights.

        One of several processes cannot, as the others do not know yet: their last checkpoint stays.
        """
        if self.step > self._saved and self.ranks.alone:
            self.save()
        if not self._saved or not isinstance(error, FsarError):
            return error
        self._note(f"stopped at episode {self._saved}, saved: {error.message}")
        return self._going_on(error)

    def _going_on(self, error: FsarError) -> FsarError:
        """The error, with what is saved and how to go on from there."""
        if not self._saved:
            return error
        how = f"episodes up to {self._saved} are saved, go on with: fsar train --resume '{self.folder.path}'"
        return type(error)(error.message, f"{error.hint}; {how}" if error.hint else how)

    def _with_videos(self, error: DivergedError) -> DataError:
        """The error with the classes and first videos of its episode, to look at; log.txt gets all of them."""
        episode, sampler = self.sampler(error.episode), self.sampler
        videos = [printable(sampler.videos[i]) for i in (*episode.support.flat, *episode.query.flat)]
        classes = ", ".join(printable(sampler.classes[c]) for c in episode.classes)
        self.folder.log(f"{error.message}, of the videos {', '.join(videos)}")
        hint = f"look at its videos, of which {self.folder.log_file} has the whole list; {error.hint}"
        return DataError(f"{error.message}, of {classes}: {listed(videos)}", hint)

    def _is_own(self, index: int) -> bool:
        """Whether an episode is this process's: each has every `world`-th one of an optimiser step."""
        return index % self.config.optim.accumulate % self.ranks.world == self.ranks.rank

    def _ends_a_round(self, index: int) -> bool:
        """Whether every process has had its turn, or an optimiser step is made."""
        place = index % self.config.optim.accumulate + 1
        return place % self.ranks.world == 0 or place == self.config.optim.accumulate

    def _train_on(self, batch: Episode, waited: float = 0.0) -> None:
        """Loss and gradients of an episode.

        Args:
            waited: seconds that the loader took for it.
        """
        started, train, accumulate = time.monotonic(), self.config.train, self.config.optim.accumulate
        seed = step_seed(train.seed, batch.index)
        torch.manual_seed(seed)  # for what draws without a generator: dropout and dropped paths inside of backbones
        generator = torch.Generator(self.device).manual_seed(seed)
        loss, accuracy, seen = episode_loss(self.method, batch, self.config, self.device, generator)
        self.scaler.scale(loss / accumulate).backward()
        figures = region_figures(seen) if (batch.index + 1) % train.log_every == 0 else {}
        figures |= {"seconds": waited + time.monotonic() - started, "waited": waited}
        self.log.add(batch.index, loss, accuracy, figures)

    def _after(self, index: int) -> None:
        """What follows an episode, whoever trained on it: the optimiser's step, and what is to be written."""
        self.step = index + 1
        if self.step % self.config.optim.accumulate == 0:
            self._optimise()
        self._write_what_is_due()

    def _optimise(self) -> None:
        trained = self._trained()
        for parameter, gradient in zip(trained, self._summed([p.grad for p in trained]), strict=True):
            parameter.grad = gradient
        if self.config.optim.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(trained, self.config.optim.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _summed(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Gradients of what is trained, added over all processes in place; None where no process has any."""
        if self.ranks.alone:
            return list(gradients)
        there = torch.tensor([gradient is not None for gradient in gradients], dtype=torch.int64)
        self.ranks.add([there])
        whole = [
            torch.zeros_like(parameter) if gradient is None and count else gradient
            for parameter, gradient, count in zip(self._trained(), gradients, there.tolist(), strict=True)
        ]
        self.ranks.add([gradient for gradient in whole if gradient is not None])
        return whole

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self.method.parameters() if p.requires_grad]

    def _write_what_is_due(self) -> None:
        """After every so many episodes and at the end: a row of metrics, a validation, the state."""
        train, last = self.config.train, self.step == self.config.train.iterations
        if last or self.step % train.log_every == 0:
            self._gather_log()
            self.log.close_window(self.step)
        if self._validates():
            self._validate()
        if last or self.step % train.checkpoint_every == 0:
            self.save()
        if not last and self.statistics.joined:
            self.statistics.part()

    def _gather_log(self) -> None:
        """The figures of all processes' episodes go to the first one."""
        self.log.read()
        if not self.ranks.alone:
            parts = self.ranks.gathered(self.log.window)
            self.log.window = sorted(chain(*parts), key=lambda row: row["episode"])

    def _validates(self) -> bool:
        """Whether there is a validation after this episode."""
        train = self.config.train
        return self.validation is not None and (self.step == train.iterations or self.step % train.val_every == 0)

    def _owes_validation(self) -> bool:
        """Whether the run was saved because the validation after its last episode could not be made."""
        row = self.log.rows[-1] if self.log.rows else {}
        return self.step > 0 and self._validates() and not (row.get("step") == self.step and "val_accuracy" in row)

    def _validate(self) -> None:
        """Accuracy on the val split; the best weights so far are kept."""
        self._require_numbers()
        self.statistics.join()
        config = self.config
        cache = self.cache if config.train.views else None  # else the backbones change: what they say serves once
        try:
            videos, ranks = self.validation.videos, self.ranks
            bank = encode_videos(self.method, self.reader, videos, self.device, config, cache=cache, ranks=ranks)
        except Exception as error:
            raise self._stopped(error) from error.__cause__
        self.method.eval()
        options = {"device": self.device, "ranks": self.ranks}
        result = evaluate_bank(self.method, bank, self.validation, config.train.val_episodes, **options)
        self.method.train()
        mean, ci = result.accuracy
        self.log.put(self.step, {"val_accuracy": mean, "val_ci95": ci})
        note = ""
        if self.best is None or mean > self.best[1]:
            self.best, note = (self.step, mean), ", best so far"
            if self.ranks.first:
                save_weights(self.method, self.folder.model_file)
        self._say(f"episode {self.step}: validation {100 * mean:.1f} ± {100 * ci:.1f} %{note}")

    def _say(self, text: str) -> None:
        self.reporter.log(text)
        self._note(text)

    def _note(self, text: str) -> None:
        if self.ranks.first:
            self.folder.log(text)

    def _require_numbers(self) -> None:
        """Before anything is written: the last step may have made weights NaN that no loss has met yet."""
        self.log.read()
        for name, tensor in self.method.state_dict().items():
            if not bool(tensor.isfinite().all()):
                raise DataError(f"weights became NaN or infinite by episode {self.step}, first '{name}'", DIVERGED)

    def save(self) -> None:
        """Write model.safetensors where no validation chooses it, then state.pt: whoever resumes finds weights."""
        self._require_numbers()
        self.statistics.join()
        self._gather_log()
        waiting = self._waiting_gradients()
        if self.ranks.first:
            self._write(waiting)
        self._saved = self.step

    def _waiting_gradients(self) -> list[Tensor | None]:
        """On the CPU, what all processes' episodes since the last optimiser step have given."""
        gradients = [parameter.grad for parameter in self._trained()]
        if not self.ranks.alone and self.step % self.config.optim.accumulate:
            gradients = self._summed([None if gradient is None else gradient.clone() for gradient in gradients])
        return [None if gradient is None else gradient.detach().cpu() for gradient in gradients]

    def _write(self, waiting: list[Tensor | None]) -> None:
        if self.best is None:
            save_weights(self.method, self.folder.model_file)
        state = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "gradients": waiting,
            "step": self.step,
            "best": list(self.best) if self.best else None,
            "rows": self.log.rows,
            "window": self.log.window,
        }
        save_state(self.folder.state_file, state)

    def resume(self) -> None:
        """Go on where the run's state.pt stops.

        Raises:
            DataError: no or a damaged state, or one of another method.
        """
        state = load_state(self.folder.state_file)
        try:
            slots = state["optimizer"]["state"].items()
            gathered = {f"optimizer.{i}.{k}": v for i, slot in slots for k, v in slot.items() if torch.is_tensor(v)}
            require_finite(state["method"] | gathered, self.folder.state_file)
            self.method.load_state_dict(state["method"])
            load_optimizer(self.optimizer, state["optimizer"])
            if scaled := bool(state["scaler"]):
                self.scaler.load_state_dict(state["scaler"])
            # Gradients of scaled losses are of use only where losses are scaled, and the other way round.
            waiting = state["gradients"] if scaled == self.scaler.is_enabled() and self.ranks.first else []
            for parameter, gradient in zip(self._trained(), waiting, strict=False):
                parameter.grad = None if gradient is None else gradient.to(parameter)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(
                f"{self.folder.state_file} is of another method or configuration: {reason}",
                "resume with the run's own configuration",
            ) from error
        self.step = self._saved = state["step"]
        self.best = tuple(state["best"]) if state["best"] else None
        self.log.rows, self.log.window = state["rows"], state["window"] if self.ranks.first else []

    def _result(self, seconds: float, episodes: int) -> TrainingResult:
        loss, accuracy = self.log.recent("loss"), self.log.recent("accuracy")
        step, best = self.best or (None, None)
        each, waiting = seconds / max(episodes, 1), self.log.waiting
        self._say(
            f"trained {episodes} episodes in {seconds:.0f} s, {each:.2f} s an episode, {100 * waiting:.0f} % of it "
            "waiting for frames"
        )
        return TrainingResult(self.folder.path, self.step, loss, accuracy, step, best, seconds, each, waiting)

    def _interrupted(self) -> Interrupted:
        self._note(f"interrupted at episode {self.step}, saved up to {self._saved}")
        where, total = self.folder.path, self.config.train.iterations
        if not self.folder.state_file.exists():
            return Interrupted(f"stopped before anything was saved in {where}", "start again with `fsar train`")
        return Interrupted(
            f"stopped; episodes up to {self._saved} of {total} are saved in {where}",
            f"go on with: fsar train --resume '{where}'",
        )

    def _lost(self, error: Interrupted) -> Interrupted:
        """What the run keeps where another process has ended."""
        self._note(f"stopped at episode {self.step}, saved up to {self._saved}: {error.message}")
        if not self._saved:
            return Interrupted(f"{error.message}; nothing was saved in {self.folder.path}", error.hint)
        saved = f"episodes up to {self._saved} are saved in {self.folder.path}"
        return Interrupted(f"{error.message}; {saved}", f"go on with --resume '{self.folder.path}' or --go-on")

    def _unwritten(self, error: OSError) -> DataError:
        """What the run keeps where the disk takes no more; it cannot be saved now."""
        where, total = self.folder.path, self.config.train.iterations
        reason = f"{error.filename or where}: {error.strerror}"
        if not self.folder.state_file.exists():
            return DataError(f"{reason}; nothing was saved", f"{remedy(error)}; then remove {where} and start again")
        return DataError(
            f"{reason}; episodes up to {self._saved} of {total} are saved in {where}",
            f"{remedy(error)}; then go on with: fsar train --resume '{where}'",
        )


@contextmanager
def stop_on_interrupt(reporter: Reporter) -> Iterator[SimpleNamespace]:
    """Within the block the first Ctrl-C or SIGTERM sets `asked`, and the second one raises KeyboardInterrupt.

    Outside the main thread, where Python delivers no signals, it is never set.
    """
    stop = SimpleNamespace(asked=False)

    def handle(number: int, frame: object) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True
        reporter.log("stopping after this episode; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
