"""What is compared: runs, or methods with their initial weights; and their evaluation on the same episodes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.core.method import FewShotMethod
from fsar_cli.core.methods import METHODS
from fsar_cli.data.clips import ClipReader, EvaluationClips
from fsar_cli.data.episodes import EpisodeSampler
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.engine.bank import encode_videos, features_key
from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.evaluate import evaluate_bank
from fsar_cli.engine.results import ShotResult, find_result, keep_result, result_key
from fsar_cli.engine.runs import Run
from fsar_cli.errors import DataError, UsageError, did_you_mean
from fsar_cli.files import Cache
from fsar_cli.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Entry:
    """One of those compared."""

    config: Config
    run: Run | None
    """None: the method with its initial weights."""
    name: str = ""
    """As given; empty: to be found by `named`."""
    changes: tuple[str, ...] = ()
    """KEY=VALUE by which the configuration differs from the run's."""

    @property
    def method(self) -> str:
        """Its method, marked where it was not trained."""
        return self.config.model.label + ("" if self.run else " (untrained)")

    def load(self) -> FewShotMethod:
        """The method in evaluation mode on the CPU."""
        if self.run is not None:
            return load_method(self.run, self.config)
        return build_method(self.config, seed=self.config.train.seed).eval()


def named(entries: Sequence[Entry], shared: bool = False) -> list[Entry]:
    """Entries with names: as given, else the shortest of method, settings, run folder and path that is theirs alone.

    Args:
        shared: names may be given to several.

    Raises:
        UsageError: two of a name, or twice the same.
    """
    for i, entry in enumerate(entries):
        if any(_same(entry, other) for other in entries[:i]):
            what = entry.run.path if entry.run else entry.method
            raise UsageError(f"{what} is given twice", "give each once, or with other settings: RUN,KEY=VALUE")
    forms = [[entry.name] if entry.name else _forms(entry) for entry in entries]
    found = []
    for i, entry in enumerate(entries):
        others = {form for j, known in enumerate(forms) if j != i for form in known}
        own = next((form for form in forms[i] if form not in others), forms[i][-1])
        found.append(replace(entry, name=own))
    names = [entry.name for entry in found]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice and not shared:
        raise UsageError(f"two are called '{twice}'", "name them apart: NAME=RUN; --group name takes them together")
    return found


def _same(one: Entry, other: Entry) -> bool:
    places = [entry.run.path.resolve() if entry.run else None for entry in (one, other)]
    return places[0] == places[1] and one.config == other.config


def _forms(entry: Entry) -> list[str]:
    settings = "".join(f" {change.removeprefix('model.')}" for change in entry.changes)
    forms = [entry.method, entry.method + settings]
    if entry.run is not None:
        forms += [entry.run.path.name + settings, f"{entry.run.path}{settings}"]
    return forms


def check(entries: Sequence[Entry]) -> None:
    """Find before the first evaluation what would stop a later one.

    Raises:
        UsageError: fewer than two entries, an unknown method. DataError: a run without weights.
    """
    if len(entries) < 2:
        raise UsageError(
            f"a comparison needs two or more, not {len(entries)}",
            "fsar compare RUN RUN ...; --untrained METHOD adds one with its initial weights",
        )
    for entry in entries:
        if entry.config.model.method not in METHODS:
            hint = did_you_mean(entry.config.model.method, METHODS) or f"methods: {', '.join(METHODS)}"
            raise UsageError(f"unknown method '{entry.config.model.method}'", hint)
        if entry.run is not None and not entry.run.model_file.is_file():
            raise DataError(f"no weights at {entry.run.model_file}", f"train on: fsar train --resume {entry.run.path}")


def common_splits(entries: Sequence[Entry], split: str) -> Splits:
    """The split file of the first; all must list the same videos in `split`.

    Raises:
        DataError: they do not.
    """
    first, *others = entries
    splits = Splits.read(first.config.data.splits)
    own = {(video.cls, video.id) for video in splits.videos(split)}
    for other in others:
        theirs = {(v.cls, v.id) for v in Splits.read(other.config.data.splits).videos(split)}
        if own != theirs:
            raise DataError(
                f"{first.name} and {other.name} were made for different '{split}' videos: {first.config.data.splits}"
                f" lists {len(own)}, {other.config.data.splits} lists {len(theirs)}, {len(own & theirs)} are in both",
                "test all on the same: --dataset NAME, or --splits FILE with --frames FOLDER",
            )
    return splits


def evaluate_entry(
    entry: Entry,
    samplers: Sequence[EpisodeSampler],
    digests: Sequence[str],
    device: torch.device,
    *,
    reporter: Reporter = SILENT,
    cache: Cache | None = None,
    results: Cache | None = None,
) -> list[ShotResult]:
    """What an entry gets right in the first `eval.episodes` episodes of each sampler.

    Args:
        digests: of these episodes.
        cache, results: where features and results are kept and looked for; None: nowhere.

    Raises:
        DataError: unreadable weights or frames.
    """
    method, config = entry.load(), entry.config
    reader = ClipReader(FrameStore(config.data.frames), config.clip)
    clips = EvaluationClips(reader, samplers[0].videos)
    described = features_key(method, clips, device, config) if results else ""
    keys = [
        result_key(method, described, sampler, config, digest) if results else ""
        for sampler, digest in zip(samplers, digests, strict=True)
    ]
    found = [find_result(results, key, s) if results else None for key, s in zip(keys, samplers, strict=True)]
    missing = [i for i, result in enumerate(found) if result is None]
    reporter.log(f"{entry.name}: {_how(found)}")
    if missing:
        bank = encode_videos(method, reader, samplers[0].videos, device, config, reporter, cache)
    for i in missing:
        found[i] = evaluate_bank(method, bank, samplers[i], config.eval.episodes, device=device, reporter=reporter)
        if results:
            keep_result(results, keys[i], found[i])
    return found


def _how(found: Sequence[ShotResult | None]) -> str:
    known = ", ".join(f"{result.shot}-shot" for result in found if result is not None)
    if not known:
        return "evaluating"
    return f"{known} evaluated before" + ("" if None not in found else ", the rest now")
