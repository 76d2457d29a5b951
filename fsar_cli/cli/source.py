"""Which method a command works with: that of a run, or the configured one with its initial weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsar_cli.config import Config
    from fsar_cli.core.method import FewShotMethod
    from fsar_cli.engine.runs import Run


@dataclass
class MethodSource:
    """A configuration and the run its weights come from, if any."""

    config: "Config"
    run: "Run | None"

    def load(self) -> "FewShotMethod":
        """The method in evaluation mode on the CPU."""
        from fsar_cli.core.build import build_method
        from fsar_cli.engine.checkpoint import load_method

        if self.run is not None:
            return load_method(self.run, self.config)
        return build_method(self.config, seed=self.config.train.seed).eval()


def resolve_method(
    run: Path | None,
    untrained: bool,
    preset: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
    assignments: list[str] | None,
    reporter,
    dataset: str | None = None,
) -> MethodSource:
    """Find the run (the newest by default, which is said) or, with `untrained`, the configuration.

    Args:
        dataset: name or folder of another project, whose data and evaluation settings take the place of the run's.

    Raises:
        UsageError: options that exclude each other. DataError: no run, or no such data set.
    """
    from fsar_cli.engine.dataset import find_dataset
    from fsar_cli.engine.runs import find_run
    from fsar_cli.errors import UsageError
    from fsar_cli.settings import resolve

    other = find_dataset(dataset) if dataset else None
    over = (other.values, f"data set {other.name}") if other else None
    if other:
        reporter.log(f"data set: {other.name} ({other.file})")
    if untrained:
        if run is not None:
            raise UsageError("--untrained takes no run folder", "leave one of the two out")
        return MethodSource(resolve(preset, config, flags, assignments, over=over).config, None)
    if preset or config:
        raise UsageError("a run brings its own configuration", "change single values with --set KEY=VALUE")
    found = find_run(run)
    if run is None:
        reporter.log(f"run: {found.path} (the newest)")
    values = resolve(flags=flags, assignments=assignments, base=found.values(), over=over)
    return MethodSource(values.config, found)
