"""What is compared, before anything is evaluated: names that tell the models apart, and test videos they share."""

from collections.abc import Sequence
from dataclasses import replace

from fsar_cli.data.splits import Splits
from fsar_cli.engine.model import Model
from fsar_cli.errors import DataError, UsageError


def named(models: Sequence[Model], shared: bool = False) -> list[Model]:
    """Models with names: as given, else the shortest of method, settings, run folder and path that is theirs alone.

    Args:
        shared: names may be given to several.

    Raises:
        UsageError: two of a name, or twice the same.
    """
    for i, model in enumerate(models):
        if any(_same(model, other) for other in models[:i]):
            what = model.run.path if model.run else model.method
            raise UsageError(f"{what} is given twice", "give each once, or with other settings: RUN,KEY=VALUE")
    forms = [[model.name] if model.name else _forms(model) for model in models]
    names: list[str] = []
    for i, own in enumerate(forms):
        others = {form for j, some in enumerate(forms) if j != i for form in some}
        names.append(next((form for form in own if form not in others), own[-1]))
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice and not shared:
        raise UsageError(f"two are called '{twice}'", "name them apart: NAME=RUN; --group name takes them together")
    return [replace(model, name=name) for model, name in zip(models, names, strict=True)]


def _same(one: Model, other: Model) -> bool:
    places = [model.run.path.resolve() if model.run else None for model in (one, other)]
    return places[0] == places[1] and one.config == other.config


def _forms(model: Model) -> list[str]:
    settings = "".join(f" {change.removeprefix('model.')}" for change in model.changes)
    forms = [model.method, model.method + settings]
    if model.run is not None:
        forms += [model.run.path.name + settings, f"{model.run.path}{settings}"]
    return forms


def check(models: Sequence[Model]) -> None:
    """Find before the first evaluation what would stop a later one.

    Raises:
        DataError: a run without weights.
    """
    for model in models:
        if model.run is not None and not model.run.model_file.is_file():
            raise DataError(f"no weights at {model.run.model_file}", f"train on: fsar train --resume {model.run.path}")


def common_splits(models: Sequence[Model], split: str) -> Splits:
    """The split file of the first; all must list the same videos in `split`.

    Raises:
        DataError: they do not.
    """
    first, *others = models
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
