"""A model: a method as its configuration says, with the weights of the run that trained it, or those it starts with."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fsar_cli.config import Config
from fsar_cli.core.build import build_method
from fsar_cli.core.method import FewShotMethod
from fsar_cli.data.splits import Splits, Video
from fsar_cli.engine.checkpoint import load_method
from fsar_cli.engine.pretraining import pretraining_of
from fsar_cli.engine.runs import Run
from fsar_cli.engine.trained_on import Novelty, check_novelty, kept_splits, same_data
from fsar_cli.engine.whitening import WhitenedBy, whitened_by
from fsar_cli.reporting import Reporter


@dataclass(frozen=True)
class Model:
    """What a command works with; the configuration may differ from the run's in what flags and --set say."""

    config: Config
    run: Run | None = None
    """Where the weights come from; None: the initial ones."""
    name: str = ""
    """As the user calls it; empty: to be found (`compare`)."""
    changes: tuple[str, ...] = ()
    """KEY=VALUE that were given for this one alone."""

    @property
    def method(self) -> str:
        """Its method, marked where it was not trained."""
        return self.config.model.label + ("" if self.run else " (untrained)")

    def check_novelty(self, accept: bool, reporter: Reporter, clips: Iterable[Video] | None = None) -> Novelty:
        """How the test classes stand to what the run was trained on, and its weights before it.

        Args:
            accept: go on where the run knows some of them.
            clips: what it is tested on; None: `eval.split` of the split file.

        Raises:
            DataError: it knows some, and that is not accepted; no such split file or split; an unreadable list of what
                the weights have seen.
        """
        splits = Splits.read(self.config.data.splits) if clips is None else None
        tested = list(splits.videos(self.config.eval.split) if splits else clips)
        if self.run is None:
            novelty = Novelty(splits.digest if splits else None)
        else:
            novelty = check_novelty(self.run, self.config, tested, splits, accept, reporter)
        classes = list(dict.fromkeys(video.cls for video in tested))
        return replace(novelty, pretraining=pretraining_of([self.config.model], classes))

    def whitened_by(self) -> WhitenedBy | None:
        """What a test on `eval.split` says of its whitening; None: there is none.

        Raises:
            DataError: no such split file or split.
        """
        match = self.config.model.match
        if match.whiten == "none":
            return None
        splits = Splits.read(self.config.data.splits)
        own = self.run is not None and match.whiten_groups == "all"  # else by the clips at hand
        normal = (kept_splits(self.run) if own else None) or splits
        same = not own or same_data(self.run, self.config)
        return whitened_by(self.config, normal.videos("train"), splits.videos(self.config.eval.split), same)

    def load(self) -> FewShotMethod:
        """The method in evaluation mode on the CPU.

        Raises:
            DataError: no weights, or those of another method.
        """
        if self.run is not None:
            return load_method(self.run, self.config)
        return build_method(self.config, seed=self.config.train.seed).eval()
