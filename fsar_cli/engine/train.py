"""Episodic training (section 4.1): one episode a forward, gradients accumulated, best weights on the val split kept.

What flows where: loader (uint8 episodes) -> device -> encode support, encode query -> match -> loss -> backward; every
`accumulate` episodes an optimiser step. All randomness of step i comes from (seed, i): a resumed run is the same run.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fsar_cli.config import Config, OptimConfig
from fsar_cli.core.build import build_method, normalizes
from fsar_cli.core.encoded import Encoded
from fsar_cli.core.methods.base import FewShotMethod
from fsar_cli.data.clips import ClipReader, EpisodeBatch, TrainingEpisodes, episode_loader
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.frames import FrameStore
from fsar_cli.data.splits import Splits
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bank import encode_videos
from fsar_cli.engine.checkpoint import load_state, save_state, save_weights
from fsar_cli.engine.device import autocast, loader_workers, place
from fsar_cli.engine.evaluate import evaluate_bank, mean_and_ci
from fsar_cli.engine.interrupt import stop_on_interrupt
from fsar_cli.engine.motion import region_statistics
from fsar_cli.engine.runs import Run
from fsar_cli.errors import DataError, Interrupted
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


def build_optimizer(method: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser of a configuration over the parameters that are trained."""
    parameters = [p for p in method.parameters() if p.requires_grad]
    if not parameters:
        raise DataError(
            "nothing to train: the method has no parameters of its own and the backbone is frozen",
            "evaluate it with `fsar eval --untrained`, or set model.freeze_backbone=false",
        )
    if config.name == "sgd":
        return torch.optim.SGD(parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, config.lr, weight_decay=config.weight_decay)


def episode_loss(
    method: FewShotMethod, batch: EpisodeBatch, config: Config, device: torch.device, generator: torch.Generator | None
) -> tuple[Tensor, float, list[tuple[Tensor, Encoded]]]:
    """Loss and accuracy of one episode.

    Support and query are encoded apart, so batch normalisation sees the two batches it sees at TRX's authors.

    Returns:
        loss, accuracy, and [(uint8 clips, Encoded)] of support and query for the statistics of regions.
    """
    normalize = normalizes(config.model)
    way, shot, queries = *batch.support.shape[:2], batch.query.shape[1]
    seen = []
    with autocast(device, config.train.amp):
        for part in (batch.support, batch.query):
            clips = part.flatten(0, 1).to(device, non_blocking=True)
            seen.append((clips, method.encode(to_float(clips, normalize), generator)))
        scores = method.match(seen[0][1].reshape(1, way, shot), seen[1][1].reshape(1, way * queries))
    labels = torch.arange(way, device=device).repeat_interleave(queries).unsqueeze(0)  # [1,N*Q]
    scores.logits, scores.parts = scores.logits.float(), {name: part.float() for name, part in scores.parts.items()}
    loss = method.loss(scores, labels, config.train.loss_reduction)
    accuracy = (scores.logits.argmax(-1) == labels).float().mean()
    return loss, float(accuracy), seen


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
    ) -> None:
        """
        Args:
            run: the run folder, or a function that makes it: called only when everything else is in order.
            pretrained: load `model.weights`; False where `resume` follows.
        """
        self.config, self.device, self.reporter = config, device, reporter
        splits = Splits.read(config.data.splits)
        self.reader = ClipReader(FrameStore(config.data.frames), config.clip)
        episode = config.episode
        self.sampler = EpisodeSampler(
            splits,
            "train",
            way=episode.way,
            shot=episode.shot,
            queries=episode.queries,
            seed=config.train.seed,
            group_disjoint=episode.group_disjoint,
        )
        self.validation = self._validation(splits)
        self.method = build_method(config, pretrained=pretrained, seed=config.train.seed)
        place(self.method, device, config.train.channels_last).train()
        self.optimizer = build_optimizer(self.method, config.optim)
        self.folder = run() if callable(run) else run
        self.step = 0
        self.best: tuple[int, float] | None = None
        self.rows: list[dict[str, float]] = []
        self._window: list[dict[str, float]] = []
        self._running: dict[str, float] = {}
        self._saved = 0
        self._board = None

    def _validation(self, splits: Splits) -> EpisodeSampler | None:
        train, episode = self.config.train, self.config.episode
        if not train.val_every:
            return None
        classes = splits.classes("val")
        if len(classes) < 2:
            self.reporter.warn(
                f"no validation: the split file has {len(classes)} val classes; the last weights are kept"
            )
            return None
        way = min(episode.way, len(classes))
        if way < episode.way:
            self.reporter.log(f"validation is {way}-way: the val split has {len(classes)} classes")
        return EpisodeSampler(
            splits, "val", way=way, shot=episode.shot, queries=1, seed=train.seed, group_disjoint=episode.group_disjoint
        )

    def resume(self) -> None:
        """Go on where the run's state.pt stops.

        Raises:
            DataError: no or a damaged state, or one of another method.
        """
        state = load_state(self.folder.state_file)
        try:
            self.method.load_state_dict(state["method"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{self.folder.state_file} is of another method or configuration: {reason}",
                "resume with the run's own configuration",
            ) from error
        self.step, self.rows, self._window = state["step"], state["rows"], state["window"]
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
                self.reporter.track("training", train.iterations - first, "episodes") as task,
            ):
                for batch in self._batches():
                    self._train_on(batch)
                    self._housekeeping()
                    task.advance(1, **self._running)
                    if stop.asked and self.step < train.iterations:
                        self.save()
                        raise self._interrupted(self.step)
        except KeyboardInterrupt:
            raise self._interrupted(self._saved) from None
        finally:
            self._close_board()
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

    def _batches(self) -> Iterator[EpisodeBatch]:
        train = self.config.train
        episodes = TrainingEpisodes(self.reader, self.sampler, train.seed)
        workers = loader_workers(train.workers, self.device)
        return iter(episode_loader(episodes, range(self.step, train.iterations), workers, self.device.type == "cuda"))

    def _train_on(self, batch: EpisodeBatch) -> None:
        started, optim = time.monotonic(), self.config.optim
        generator = torch.Generator(self.device).manual_seed(_step_seed(self.config.train.seed, batch.index))
        loss, accuracy, seen = episode_loss(self.method, batch, self.config, self.device, generator)
        if not torch.isfinite(loss):
            raise DataError(
                f"the loss became {loss.item()} at episode {batch.index}",
                "lower optim.lr, set optim.clip_norm=10, or train.amp=off",
            )
        (loss / optim.accumulate).backward()
        self.step = batch.index + 1
        if self.step % optim.accumulate == 0 or self.step == self.config.train.iterations:
            if optim.clip_norm is not None:
                nn.utils.clip_grad_norm_(self._trained(), optim.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        row = {"loss": loss.item(), "accuracy": accuracy, "seconds": time.monotonic() - started}
        self._running = {"loss": row["loss"], "accuracy": accuracy}
        if self.step % self.config.train.log_every == 0:
            row |= _region_figures(seen)
        self._window.append(row)

    def _housekeeping(self) -> None:
        train, last = self.config.train, self.step == self.config.train.iterations
        if self.step % train.log_every == 0 or last:
            self._record()
        if self.validation is not None and (self.step % train.val_every == 0 or last):
            self._validate()
        if self.step % train.checkpoint_every == 0 or last:
            self.save()

    def _record(self) -> None:
        window = pd.DataFrame(self._window)
        self.rows.append({"step": self.step, **{name: float(value) for name, value in window.mean().items()}})
        self._window.clear()
        self._write_metrics()
        self._board = self._board or _tensorboard(self.folder.path)
        for name, value in self.rows[-1].items():
            if self._board is not None and name != "step":
                self._board.add_scalar(f"train/{name}", value, self.step)

    def _close_board(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None

    def _write_metrics(self) -> None:
        partial = self.folder.metrics_file.with_suffix(".partial")
        pd.DataFrame(self.rows).to_csv(partial, index=False)
        partial.replace(self.folder.metrics_file)

    def _validate(self) -> None:
        config = self.config
        bank = encode_videos(
            self.method,
            self.reader,
            self.validation.videos,
            self.device,
            normalize=normalizes(config.model),
            amp=config.train.amp,
            channels_last=config.train.channels_last,
            workers=config.train.workers,
        )
        self.method.eval()
        result = evaluate_bank(self.method, bank, self.validation, config.train.val_episodes)
        self.method.train()
        mean, ci = mean_and_ci(result.accuracies)
        if not self.rows or self.rows[-1]["step"] != self.step:
            self.rows.append({"step": self.step})
        self.rows[-1] |= {"val_accuracy": mean, "val_ci95": ci}
        self._write_metrics()
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
                "rows": self.rows,
                "window": self._window,
            },
        )
        self._saved = self.step

    def _finish(self, seconds: float, episodes: int) -> TrainingResult:
        recent = pd.DataFrame(self.rows[-5:]) if self.rows else pd.DataFrame({"loss": [np.nan], "accuracy": [np.nan]})
        loss, accuracy = float(recent["loss"].mean()), float(recent["accuracy"].mean())
        step, best = self.best or (None, None)
        self._say(f"trained {episodes} episodes in {seconds:.0f} s, {seconds / max(episodes, 1):.2f} s an episode")
        return TrainingResult(
            self.folder.path, self.step, loss, accuracy, step, best, seconds, seconds / max(episodes, 1)
        )


def _step_seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


def _region_figures(seen: list[tuple[Tensor, Encoded]]) -> dict[str, float]:
    """Saturated share, mean offset and motion share of the regions of one episode; empty without regions."""
    clips, encoded = seen[-1]
    if "boxes" not in encoded:
        return {}
    found = region_statistics(clips, encoded["boxes"], encoded["saturated"])
    return {
        "saturated": found.saturated,
        "region_offset": found.offset,
        "motion_region": found.motion_region,
        "motion_centre": found.motion_centre,
    }


def _tensorboard(folder: Path):
    """A TensorBoard writer where the extra is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
