"""What a run was trained on, and what that forbids: going on with other videos, being tested on classes it has seen.

A run keeps the split file as it was when training began, `trained-on.csv`; its header says which splits it has learnt
from: `# learnt-from: train, val` (val where validation chose the weights). Class names are compared as everywhere
(`data.naming.fold`), whatever the data set: few-shot recognition is about classes that are new. A video that was
trained on is known by its id, too, under whatever class it is listed now, if the data are the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fsar_cli.config import Config
from fsar_cli.data.naming import fold
from fsar_cli.data.splits import Splits, Video
from fsar_cli.engine.pretraining import Pretraining
from fsar_cli.engine.runs import Run
from fsar_cli.errors import DataError, counted, listed
from fsar_cli.reporting import Reporter

LEARNT = "learnt-from"
VERBS = {"train": "trained on", "val": "selected on"}
"""How a run came to know a class of a split."""


def learnt_splits(config: Config, splits: Splits) -> tuple[str, ...]:
    """The splits that training learns from."""
    return ("train", "val") if config.train.val_every and len(splits.classes("val")) > 1 else ("train",)


def keep_splits(run: Run, config: Config, splits: Splits) -> None:
    """Keep the split file in a run that has learnt nothing yet; in one that goes on, note what it learns from besides.

    Call it after `check_unchanged`.
    """
    kept, learns = kept_splits(run), learnt_splits(config, splits)
    if kept is None and run.state_file.exists():
        return  # trained before runs kept it: what it has learnt from is not known
    before = _learnt(kept) if kept else ()
    if not set(learns) <= set(before):
        kept = kept or splits
        header = {**kept.header, LEARNT: ", ".join(dict.fromkeys([*before, *learns]))}
        replace(kept, header=header).write(run.splits_file)


def kept_splits(run: Run) -> Splits | None:
    """The split file as a run was trained with it; None where it keeps none.

    Raises:
        DataError: it is damaged.
    """
    return Splits.read(run.splits_file) if run.splits_file.exists() else None


def _learnt(kept: Splits) -> tuple[str, ...]:
    return tuple(kept.header.get(LEARNT, "train").split(", "))


def check_unchanged(run: Run, config: Config, splits: Splits, reporter: Reporter) -> None:
    """Refuse to go on with a run on other training or validation videos; say that others have changed.

    Raises:
        DataError: its episodes would be others.
    """
    kept = kept_splits(run)
    if kept is None:
        if run.state_file.exists():
            reporter.log(f"{run.path} does not say what it was trained on: whether {config.data.splits} is that"
                         " cannot be checked")  # fmt: skip
        return
    learnt = set(_learnt(kept)) | set(learnt_splits(config, splits))
    if changes := _changes(kept, splits, learnt, groups=config.episode.group_disjoint):
        raise DataError(
            f"{config.data.splits} is not what {run.path} was trained on: {changes}",
            f"its episodes would be others: --splits '{run.splits_file}' goes on with the file as it was; --out NEW"
            " in place of --resume trains a new run",
        )
    if changes := _changes(kept, splits, {"val", "test"} - learnt):
        reporter.warn(f"{config.data.splits} has changed since {run.path} was trained, but not for training: {changes}")


def _changes(old: Splits, new: Splits, splits: Iterable[str], groups: bool = False) -> str:
    """What is gone from splits and what is new, in words; empty where nothing is.

    Args:
        groups: whether a video of another group is another one.
    """
    return "; ".join(f"{split}: {text}" for split in sorted(splits) if (text := _change(old, new, split, groups)))


def _change(old: Splits, new: Splits, split: str, groups: bool) -> str:
    before, now = ({(v.cls, v.id, v.group if groups else "") for v in s.videos(split)} for s in (old, new))
    gone, come = set(old.classes(split)) - set(new.classes(split)), set(new.classes(split)) - set(old.classes(split))
    parts = [f"{counted(len(names), 'class')} {word} ({listed(sorted(names))})"
             for names, word in ((gone, "gone"), (come, "new")) if names]  # fmt: skip
    parts += [f"{counted(len(some), 'video')} {word}"
              for some, word in ((before - now, "gone"), (now - before, "new")) if some]  # fmt: skip
    return ", ".join(parts)


@dataclass(frozen=True)
class KnownClass:
    """A test class that is not new."""

    name: str
    split: str
    """Of training: train or val."""
    there: str
    """Its name in that."""

    def __str__(self) -> str:
        return self.name if self.name == self.there else f"{self.name} (as {self.there})"


@dataclass(frozen=True)
class Novelty:
    """How a test stands to what its run was trained on."""

    tested: str | None = None
    """Digest of the split file of the test; None: there is none."""
    trained: str | None = None
    """Digest of the split file of training; None: not known."""
    known: tuple[KnownClass, ...] = ()
    """Test classes that are not new, which was accepted."""
    pretraining: Pretraining = field(default_factory=Pretraining)
    """How they stand to what the weights had seen before."""

    @property
    def words(self) -> str:
        """What a reader of the result must know; empty where all classes are new or it is not known."""
        return f"not new to the run, which was {described(self.known)}" if self.known else ""

    def document(self) -> dict[str, object]:
        """Plain values for JSON: `overlap` is null where it cannot be told, else the accepted known classes."""
        overlap = [{"class": k.name, "split": k.split, "as": k.there} for k in self.known]
        return {"split_digest": self.tested, "trained_split_digest": self.trained,
                "overlap": None if self.trained is None else overlap,
                "pretraining": self.pretraining.document()}  # fmt: skip


def described(known: Iterable[KnownClass]) -> str:
    """`trained on run, walk and selected on sit`."""
    by_split = {split: [str(k) for k in known if k.split == split] for split in VERBS}
    return " and ".join(f"{VERBS[split]} {listed(names)}" for split, names in by_split.items() if names)


def known_classes(
    kept: Splits, learnt: Iterable[str], tested: Iterable[Video], same_data: bool
) -> tuple[KnownClass, ...]:
    """The classes of test videos that training knew, by their names or, in the same data, by their videos.

    Args:
        kept, learnt: the split file of training and the splits of it that were learnt from.
    """
    names, homes = {}, {}
    for split in reversed(list(learnt)):  # train before val
        for video in kept.videos(split):
            names[fold(video.cls)] = homes[video.id] = split, video.cls
    found: dict[str, KnownClass] = {}
    for video in tested:
        there = names.get(fold(video.cls)) or (homes.get(video.id) if same_data else None)
        if there:
            found.setdefault(video.cls, KnownClass(video.cls, *there))
    return tuple(found.values())


def check_novelty(
    run: Run, config: Config, tested: Iterable[Video], splits: Splits | None, accept: bool, reporter: Reporter
) -> Novelty:
    """Refuse a test on classes that a run knows, or say what is accepted or cannot be told.

    Who asks for the train or val split by name looks at what was learnt and takes it for no test: that is accepted.

    Args:
        config: of the test.
        tested: its videos.
        splits: the split file that lists them; None: no file does.
        accept: go on where classes are known.

    Raises:
        DataError: classes are known and `accept` is not given.
    """
    kept, own, digest = kept_splits(run), run.config().data, splits.digest if splits else None
    if kept is None:
        reporter.log(f"{run.path} does not say what it was trained on: whether these classes are new cannot be checked")
        return Novelty(digest)
    known = known_classes(kept, _learnt(kept), tested, same_data(run, config) and splits is not None)
    if known and not accept and config.eval.split not in VERBS:
        refuse(str(run.path), known, f" (split '{config.eval.split}' of {config.data.splits})" if splits else "")
    if known:
        reporter.warn(f"{run.path} was {described(known)}, which it is tested on")
    elif splits and splits.digest != kept.digest and own.splits.resolve() == config.data.splits.resolve():
        changes = _changes(kept, splits, {*splits.names, *kept.names}) or "the groups of videos"
        reporter.warn(f"{own.splits} has changed since {run.path} was trained: {changes}")
    return Novelty(digest, kept.digest, known)


def same_data(run: Run, config: Config) -> bool:
    """Whether a configuration is of the data that a run was trained on, by name or place."""
    own = run.config().data
    return own.name == config.data.name or own.frames.resolve() == config.data.frames.resolve()


def refuse(who: str, known: Iterable[KnownClass], where: str) -> None:
    """Raises DataError: what was trained knows classes that it is to be tested on."""
    raise DataError(
        f"{who} was {described(known)}: it cannot be tested on them as new classes{where}",
        "test on classes that are new to it (--split, --splits or --dataset); --accept-overlap tests all the same and"
        " says so in the results",
    )
