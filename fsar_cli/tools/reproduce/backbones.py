"""The table of frozen backbones: its rows are backbones, times heads, times what is done to the features between them.

No row is trained. How clips are read belongs to the weights: a backbone of the list reads them as its recipe says,
whatever the project does with its own; `--set` is over both.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsar_cli.data.splits import Splits
from fsar_cli.engine.dataset import DataSet
from fsar_cli.errors import UsageError
from fsar_cli.settings import resolve
from fsar_cli.tools.reproduce.tables import BACKBONES, PaperRow, PaperTable

USUAL = ("resnet50", "r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_t")
"""Those with weights that torchvision fetches, small to middling."""
HEADS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "prototype": ("prototype", {"model.match.metric": "cosine"}),
    "bimhm": ("Bi-MHM", {}),
    "otam": ("OTAM", {}),
    "trx": ("TRX, head as it starts", {}),
}
"""Method -> what it is called, its settings."""
PLAIN, WHITENED, APART = "plain", "whitened", "whitened by other groups"
FEATURES: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {"model.match.whiten": "none"},
    WHITENED: {"model.match.whiten": "train", "model.match.whiten_groups": "all"},
    APART: {"model.match.whiten": "train", "model.match.whiten_groups": "disjoint"},
}
FIXED = ("model.method", "model.backbone", "model.weights", "model.match.metric", *FEATURES[APART])
"""Keys in which rows differ."""
WORDS = (
    "Nothing is trained: each backbone encodes every video once, as it is, and the heads compare what it says. "
    "Prototype compares class means by cosine, as frozen features of video are compared in the literature; Bi-MHM and "
    "OTAM have no parameters; TRX's projections are random, as they start. Whitened: by the covariance of the train "
    "split's clips inside their classes; by other groups: each query without the clips of its own group "
    "(its actors, its film). GMAC: billions of multiply-adds of a clip in the backbone. Clips/s: what the backbone "
    "encodes on this device, the fastest of a few batches of clips in memory; reading and decoding are not in it."
)


@dataclass(frozen=True)
class BackboneRow(PaperRow):
    """A backbone with a head on its features."""

    subject: str = ""
    """The backbone: NAME or NAME=FILE."""
    features: str = PLAIN
    """Of FEATURES."""
    own: bool = False
    """Whether it is a project's backbone, which is then read as that project says."""

    def clips(self, data: DataSet) -> dict[str, Any]:
        """Dotted keys, below `--set`: how a project reads the clips of its own backbone."""
        mine = self.settings["model.backbone"], self.settings.get("model.weights")
        same = self.own and _configured(data.part("model.backbone", "model.weights")) == mine
        return data.part("clip.", "model.normalize") if same else {}

    @property
    def head(self) -> str:
        """The method as the table has it."""
        return HEADS[self.method][0]


def backbone_table(
    data: Sequence[DataSet], asked: Sequence[str] = (), changes: Collection[str] = ()
) -> PaperTable:  # fmt: skip
    """The table for data sets that are tested on.

    Args:
        asked: NAME or NAME=WEIGHTS of each backbone; empty: `USUAL`, and what the projects have besides.
        changes: dotted keys that are set for all rows.

    Raises:
        UsageError: an empty name, a project's settings that are wrong, or one in which rows differ.
    """
    if fixed := [key for key in changes if key in FIXED]:
        raise UsageError(f"the rows of {BACKBONES} differ in {fixed[0]}", "--backbone chooses networks; leave it out")
    chosen = dict.fromkeys(asked or (*USUAL, *_own(data)))
    files = [_with_file(name) for name in chosen]
    rows = tuple(
        row
        for file, name in zip(files, chosen, strict=True)
        for row in _rows(name, file if files.count(file) == 1 else name, own=not asked)
    )
    return PaperTable(BACKBONES, "Frozen backbones", rows, (), steps=False, quick="few", words=WORDS, frozen=True)


def _with_file(asked: str) -> str:
    """NAME=FOLDER/FILE without the folder."""
    name, given, weights = asked.partition("=")
    return f"{name}{given}{Path(weights).name}"


def _rows(asked: str, subject: str, own: bool) -> Iterator[BackboneRow]:
    name, given, weights = asked.partition("=")
    if not name or (given and not weights):
        raise UsageError(f"--backbone takes NAME or NAME=WEIGHTS, not '{asked}'", "for example --backbone r3d_18")
    backbone = {"model.backbone": name, "model.region.enabled": False} | ({"model.weights": weights} if given else {})
    for method, (_, head) in HEADS.items():
        for features, whitening in FEATURES.items():
            settings = {"model.method": method, **backbone, **head, **whitening}
            yield BackboneRow(f"{subject} {method}, {features}", settings, subject=subject, features=features, own=own)


def _own(data: Sequence[DataSet]) -> Iterator[str]:
    """The projects' own backbones that are not of the usual ones."""
    usual = [_configured({"model.backbone": name}) for name in USUAL]
    for one in data:
        configured = _configured(one.part("model.backbone", "model.weights"))
        if configured not in usual:
            yield "=".join(configured)


def _configured(values: Mapping[str, Any]) -> tuple[str, str]:
    model = resolve(base=values, environ={}, recipe=True).config.model
    return model.backbone, model.weights


def missing(splits: Splits, tested: str) -> dict[str, str]:
    """The features that a split file does not give -> why.

    Args:
        tested: name of the split that is tested on.
    """
    normal, clips = splits.videos("train"), splits.videos(tested)
    if not normal:
        return dict.fromkeys((WHITENED, APART), "the split file has no train split to whiten by")
    if not any(video.group for video in normal) or not any(video.group for video in clips):
        return {APART: "the split file has no groups (`fsar splits make --group-by`)"}
    return {}
