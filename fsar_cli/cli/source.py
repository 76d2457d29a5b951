"""Which method a command works with: that of a run, or the configured one with its initial weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsar_cli.engine.model import Model

Layer = tuple[Mapping[str, Any], str]


def resolve_method(
    run: Path | None,
    untrained: bool,
    preset: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
    assignments: list[str] | None,
    reporter,
    dataset: str | None = None,
) -> "Model":
    """Find the run (the newest by default, which is said) or, with `untrained`, the configuration.

    Args:
        dataset: name or folder of another project, whose data and evaluation settings take the place of the run's.

    Raises:
        UsageError: wrong values, options that exclude each other. DataError: no run, or no such data set.
    """
    from fsar_cli.core.build import remark_on_weights
    from fsar_cli.engine.model import Model
    from fsar_cli.engine.runs import find_run
    from fsar_cli.errors import UsageError
    from fsar_cli.settings import resolve

    if untrained and run is not None:
        raise UsageError("--untrained takes no run folder", "leave one of the two out")
    if not untrained and (preset or config):
        raise UsageError("a run brings its own configuration", "change single values with --set KEY=VALUE")
    if not untrained and flags.get("model.region.enabled") is not None:
        raise UsageError("--region and --no-region go with --untrained", "a run has the features it was trained with")
    check_given(flags, assignments, preset)
    over = data_of(dataset, reporter)
    if untrained:
        settings = resolve(preset, config, flags, assignments, over=over).config
        if remark := remark_on_weights(settings.model):
            reporter.log(remark)
        return Model(settings)
    found = find_run(run)
    if run is None:
        reporter.log(f"run: {found.path} (the newest)")
    return Model(resolve(flags=flags, assignments=assignments, base=found.values(), over=over).config, found)


def check_given(flags: Mapping[str, Any], assignments: list[str] | None, preset: str | None = None) -> None:
    """Judge what the user says before any file is read. Raises UsageError: a key, value or name that can never do."""
    from fsar_cli.core.methods import METHODS
    from fsar_cli.errors import UsageError, did_you_mean
    from fsar_cli.settings import check_usage

    method = check_usage(flags, assignments, preset).get("model.method", "keyregion")
    if method not in METHODS:
        raise UsageError(f"unknown method '{method}'", did_you_mean(method, METHODS) or "`fsar methods` lists them")


def data_of(dataset: str | None, reporter) -> Layer | None:
    """The settings of `--dataset`, and what they come from. Raises DataError: there is none of that name."""
    from fsar_cli.engine.dataset import find_dataset

    if not dataset:
        return None
    found = find_dataset(dataset)
    reporter.log(f"data set: {found.name} ({found.file})")
    return found.part("data.", "eval."), f"data set {found.name}"
