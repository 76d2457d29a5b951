"""The paper's tables as data: each row's label, settings and published accuracies; and which rows to compare.

Numbers are those of Xiao et al. 2025, tables 1 to 3: accuracy in %, 5-way 1-shot and 5-shot, all methods run by the
paper's authors on one platform, unless `own` says that they are another paper's about itself (the rows with a star in
table 1, "for reference only").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fsar_cli.errors import UsageError, did_you_mean

HMDB, KINETICS, CRIME = "hmdb51", "kinetics100", "ucf-crime-v2"
PAPER_SETS = {HMDB: "HMDB51", KINETICS: "Kinetics", CRIME: "UCF Crime v2"}
PAPER_SHOTS = (1, 5)
Numbers = Mapping[str, tuple[float | None, float | None]]
"""Data set -> accuracy at 1 and at 5 shots."""


def _numbers(hmdb: tuple, kinetics: tuple, crime: tuple = (None, None)) -> Numbers:
    return {HMDB: hmdb, KINETICS: kinetics, CRIME: crime}


@dataclass(frozen=True)
class PaperRow:
    """One row of a table."""

    label: str
    settings: Mapping[str, Any]
    """Dotted keys over the base configuration."""
    paper: Numbers = field(default_factory=dict)
    own: Numbers = field(default_factory=dict)
    """What the method's own paper reports, as table 1 quotes it."""
    source: str = ""
    """Where it was published; for ablations, what the row adds."""

    def published(self, dataset: str | None, shot: int) -> float | None:
        """Accuracy in % that the paper reports; None where it reports none."""
        if dataset not in self.paper or shot not in PAPER_SHOTS:
            return None
        return self.paper[dataset][PAPER_SHOTS.index(shot)]

    @property
    def method(self) -> str:
        """The method it runs."""
        return self.settings["model.method"]

    @property
    def subject(self) -> str:
        """What is named where a remark is about its weights."""
        return self.label


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper."""

    name: str
    title: str
    rows: tuple[PaperRow, ...]
    pairs: tuple[tuple[str, str], ...]
    """Labels of the rows to compare, the one that the paper has ahead (on the whole) first."""
    steps: bool
    """Whether each row adds something to the one before: then the pairs of neighbours are the paper's ordering."""
    quick: str
    """Name of its quick recipe."""
    words: str = "Nothing is trained."
    """What a reader must know of it where no row is trained."""
    frozen: bool = False
    """Whether no row is to be trained, and each says itself how its backbone reads clips."""
    shots: tuple[int, ...] = PAPER_SHOTS
    """That the paper reports."""

    def tested(self, shots: tuple[int, ...]) -> tuple[int, ...]:
        """Of the shots that a data set is tested with: all, or the most where the paper's table has one column."""
        return shots if len(self.shots) > 1 else (max(shots),)

    def row(self, label: str) -> PaperRow:
        """The row of a label."""
        return next(row for row in self.rows if row.label == label)


TRX = {"model.method": "trx", "model.region.enabled": False}
PLAIN = {"model.region.source": "relation", "model.relation.temporal": False, "model.relation.motion": False}
RELATED = {"model.region.source": "relation", "model.relation.temporal": True, "model.relation.motion": True}
ONE_HEAD = {"model.match.heads": "joint", "model.match.temporal_weight": 0.0}
REFINED = {"model.match.heads": "split", "model.match.temporal_weight": 1.0}
KEYREGION = {"model.method": "keyregion", "model.region.enabled": True}
TRICKS = ("model.region.stop_gradient", "model.match.auxiliary", "model.region.random_probability")
"""In the order in which table 3 adds them; also what table 2 trains all its rows with."""


def _tricks(stop: bool, extra: bool, random: bool) -> dict[str, Any]:
    return dict(zip(TRICKS, (stop, extra, 0.5 if random else 0.0), strict=True))


ALL = _tricks(True, True, True)
REGION = KEYREGION | PLAIN | ONE_HEAD | ALL
WITH_RELATION = KEYREGION | RELATED | ONE_HEAD | ALL
COMPLETE = KEYREGION | RELATED | REFINED | ALL
"""The paper's method."""

TRX_NUMBERS = _numbers((51.2, 73.3), (63.7, 84.9), (34.4, 48.2))
REGION_NUMBERS = _numbers((52.8, 73.7), (66.8, 86.0), (36.1, 49.5))
COMPLETE_NUMBERS = _numbers((54.5, 74.3), (67.9, 86.1), (37.0, 50.2))


def _method(name: str) -> dict[str, Any]:
    return {"model.method": name, "model.region.enabled": False}


OURS = "the paper's method"
_COMPARED = (
    PaperRow("ARN", _method("arn"), {}, _numbers((45.5, 60.6), (63.7, 82.4)), "ECCV 2020"),
    PaperRow("OTAM", _method("otam"), _numbers((49.6, 60.5), (68.1, 79.4), (39.3, 47.9)),
        _numbers((None, None), (73.0, 85.8)), "CVPR 2020"),
    PaperRow("TRX", TRX, TRX_NUMBERS, _numbers((None, 75.6), (63.6, 85.9)), "CVPR 2021"),
    PaperRow("ATA", _method("ata"), _numbers((56.5, 71.5), (71.1, 85.0), (39.0, 48.4)),
        _numbers((59.6, 76.9), (74.3, 87.4)), "ECCV 2022"),
    PaperRow("STRM", _method("strm"), _numbers((50.4, 73.3), (66.8, 85.1), (36.5, 48.7)),
        _numbers((None, 77.3), (None, 86.7)), "CVPR 2022"),
    PaperRow("SloshNet", _method("sloshnet"), _numbers((50.9, 74.0), (63.0, 85.8), (36.8, 49.3)),
        _numbers((None, 77.5), (None, 87.0)), "AAAI 2023"),
    PaperRow("BiMACL", _method("bimacl"), _numbers((53.3, 73.7), (64.8, 85.6), (36.6, 49.6)),
        _numbers((57.0, 78.4), (68.1, 87.6)), "ICASSP 2024"),
    PaperRow("HyRSM", _method("hyrsm"), source="CVPR 2022, not in the paper's table"),
    PaperRow("MoLo", _method("molo"), source="CVPR 2023, not in the paper's table"),
    PaperRow("Bi-MHM", _method("bimhm"), source="HyRSM's metric alone, not in the paper's table"),
    PaperRow("mean features", _method("prototype"), source="NeurIPS 2017, not in the paper's table"),
    PaperRow(OURS, COMPLETE, COMPLETE_NUMBERS, source="2025"),
)  # fmt: skip
_MODULES = (
    PaperRow("baseline (TRX)", TRX, TRX_NUMBERS, source="global features"),
    PaperRow("+ key region", REGION, REGION_NUMBERS, source="section 3.3"),
    PaperRow("+ relation", WITH_RELATION, _numbers((53.9, 74.0), (67.5, 86.1), (36.9, 50.0)), source="section 3.2"),
    PaperRow("+ refined loss", COMPLETE, COMPLETE_NUMBERS, source="section 3.4"),
)
_TRAINING = (
    PaperRow("no trick", REGION | _tricks(False, False, False), _numbers((None, 63.9), (None, 71.5), (None, 44.4)),
        source="baseline and key region"),
    PaperRow("+ stop gradient", REGION | _tricks(True, False, False),
        _numbers((None, 72.3), (None, 84.5), (None, 47.5)), source="section 3.5"),
    PaperRow("+ extra losses", REGION | _tricks(True, True, False), _numbers((None, 73.3), (None, 85.5), (None, 49.3)),
        source="eq. 12"),
    PaperRow("+ random region", REGION, _numbers((None, 73.7), (None, 86.0), (None, 49.5)), source="section 3.5"),
)  # fmt: skip


def _neighbours(rows: tuple[PaperRow, ...]) -> tuple[tuple[str, str], ...]:
    """Each row with the one before it, then with the first."""
    labels = [row.label for row in rows]
    steps = [(labels[i], labels[i - 1]) for i in range(1, len(labels))]
    return (*steps, *[(label, labels[0]) for label in labels[2:]])


TABLES = {
    table.name: table
    for table in (
        PaperTable("table1", "Comparison of methods", _COMPARED,
              tuple((OURS, row.label) for row in _COMPARED if row.label != OURS), steps=False, quick="heads"),
        PaperTable("table2", "Ablation of the modules", _MODULES, _neighbours(_MODULES), steps=True, quick="whole"),
        PaperTable("table3", "Ablation of the training tricks", _TRAINING, _neighbours(_TRAINING), steps=True,
              quick="whole", shots=(5,)),
    )
}  # fmt: skip
FIGURES = {
    "figure6": "Key regions of the test classes",
    "figure7": "Feature maps before and after the relation",
    "figure8": "Failures: small targets",
    "figure9": "Failures: ambiguous support sets",
}
BACKBONES = "backbones"
"""The one table that is not the paper's."""


def check_name(name: str) -> None:
    """Raises UsageError where there is no such table or figure."""
    known = [*TABLES, BACKBONES, *FIGURES]
    if name not in known:
        raise UsageError(f"'{name}' cannot be reproduced", did_you_mean(name, known) or f"what can: {', '.join(known)}")


def expected(table: PaperTable, first: str, second: str, dataset: str | None, shot: int) -> int | None:
    """The paper's direction of a difference: 1 first ahead, -1 behind; 0 both say so; None where it does not tell.

    For data that are not among the paper's, its direction where all of its data sets agree.
    """
    rows = table.row(first), table.row(second)
    sets = [dataset] if dataset in PAPER_SETS else list(PAPER_SETS)
    both = [tuple(row.published(name, shot) for row in rows) for name in sets]
    directions = {(a > b) - (a < b) for a, b in both if a is not None and b is not None}
    if not directions or len(directions - {0}) > 1:
        return None
    return next(iter(directions - {0}), 0)
