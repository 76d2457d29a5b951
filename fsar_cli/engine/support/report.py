"""What a check found: rows for a table and a CSV, plain values for JSON, sentences, the picture of flagged clips."""

import csv
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fsar_cli.data.sampling import even_indices
from fsar_cli.engine.compare.words import p_value, points, signed
from fsar_cli.engine.support.check import Report
from fsar_cli.engine.support.filtering import Effect
from fsar_cli.engine.support.flags import AMBIGUOUS, DUPLICATE, MISLABELLED, ODD, Flag
from fsar_cli.engine.support.pool import Pool
from fsar_cli.render.figures import save_png
from fsar_cli.render.suspects import Suspect, suspect_sheet

UNREADABLE = "unreadable"
FILTER_NOTE = (
    "the same queries both times, each from a part of the clips that gives no support; flags used the labels of"
    " support candidates only ({:.1f} of them left out on average), never of the clip asked; mislabelled clips still"
    " count as errors when they are asked"
)
SHEET = 24
"""Flagged clips on the contact sheet."""
PICTURES = 4
HARD = 0.5
COLUMNS = ("class", "video", "margin", "recognised", "nearest", "influence", "influence_error", "flags", "detail")
_PHRASES = {
    MISLABELLED: ("looks mislabelled", "look mislabelled"),
    AMBIGUOUS: ("is ambiguous", "are ambiguous"),
    DUPLICATE: ("is nearly the same as another", "are nearly the same as others"),
    ODD: ("is unlike its class", "are unlike their classes"),
    UNREADABLE: ("cannot be read", "cannot be read"),
    "too short": ("is too short", "are too short"),
    "black": ("is black", "are black"),
    "blank": ("is blank", "are blank"),
    "frozen": ("is frozen", "are frozen"),
}


@dataclass(frozen=True)
class Row:
    """One clip; None: not known (alone in its class, or unreadable)."""

    cls: str
    video: str
    margin: float | None
    recognised: float | None
    """Share of draws in which it was recognised as its class."""
    nearest: str | None
    """The other class it is most like."""
    influence: float | None
    influence_error: float | None
    flags: tuple[Flag, ...]
    position: int | None
    """In the pool."""

    @property
    def kinds(self) -> str:
        """Its flags in a word each."""
        return ", ".join(dict.fromkeys(flag.kind for flag in self.flags))

    @property
    def details(self) -> str:
        """What the flags say."""
        return "; ".join(flag.detail for flag in self.flags)


def rows(report: Report) -> list[Row]:
    """All clips: those that cannot be read, then by margin, the worst first, then those without one."""
    pool, scored = report.pool, report.scored
    lost = [
        Row(cls, video, None, None, None, None, None, (Flag(UNREADABLE, reason),), None)
        for video, (cls, reason) in sorted(pool.unreadable.items())
    ]
    order = np.argsort(scored.margins, kind="stable")  # NaN last
    return lost + [_row(report, int(i)) for i in order]


def _row(report: Report, i: int) -> Row:
    pool, scored, effect = report.pool, report.scored, report.influence
    return Row(
        pool.classes[pool.labels[i]], pool.videos[i], _known(scored.margins[i]), _known(scored.own_share[i]),
        pool.classes[scored.rivals[i]], _known(effect.mean[i]), _known(effect.error[i]), tuple(scored.flags[i]), i,
    )  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def document(report: Report) -> dict[str, object]:
    """The check as plain values for JSON."""
    pool, scored = report.pool, report.scored
    found = rows(report)
    return {
        "pool": pool.name,
        "clips": len(found),
        "classes": list(pool.classes),
        "shots": scored.shot,
        "draws": report.settings.draws,
        "seed": report.settings.seed,
        "recognised": _known(report.recognised),
        "chance": 1 / len(pool.classes),
        "tells_classes_apart": tells_apart(report),
        "flagged": sum(bool(row.flags) for row in found),
        "left_out_by_filter": [pool.videos[i] for i in np.flatnonzero(scored.left_out)],
        "videos": [_plain(row) for row in found],
        "confusion": np.round(report.confusion, 6).tolist(),
        "filter": [{**asdict(effect), "real": effect.real} for effect in report.effects],
        "summary": list(sentences(report)),
    }


def _plain(row: Row) -> dict[str, object]:
    return {
        "class": row.cls,
        "video": row.video,
        "margin": row.margin,
        "recognised": row.recognised,
        "nearest": row.nearest,
        "influence": row.influence,
        "influence_error": row.influence_error,
        "flags": [{"kind": flag.kind, "detail": flag.detail} for flag in row.flags],
    }


def tells_apart(report: Report) -> bool:
    """Whether more clips are recognised than by guessing: more than two standard errors above chance."""
    known, chance = int((~np.isnan(report.scored.margins)).sum()), 1 / len(report.pool.classes)
    return known > 0 and report.recognised > chance + 2 * math.sqrt(chance * (1 - chance) / known)


def sentences(report: Report) -> Iterator[str]:
    """The check in words."""
    found = rows(report)
    clips, classes = len(found), len(report.pool.classes)
    kinds = {kind: [row for row in found if any(flag.kind == kind for flag in row.flags)] for kind in _PHRASES}
    for kind, flagged in kinds.items():
        if flagged:
            yield f"{len(flagged)} of {clips} clips {_PHRASES[kind][len(flagged) > 1]}: {_listed(kind, flagged)}"
    if not any(kinds.values()):
        yield f"none of {clips} clips stands out"
    known = int((~np.isnan(report.scored.margins)).sum())
    if known:
        yield (
            f"{round(report.recognised * known)} of {known} clips are recognised as what they are called"
            f" ({100 * report.recognised:.0f} %; guessing among {classes} classes: {100 / classes:.0f} %)"
        )
        if not tells_apart(report):
            yield (
                "that is hardly more than guessing: this method cannot tell these classes apart, so its flags about"
                " labels say little; check with a run that was trained"
            )
        yield from _hard_classes(report)
    if known < len(report.pool.videos):
        yield (
            f"{len(report.pool.videos) - known} clips are alone in their class: no other example says whether their"
            " label is right, only which other class is near; give two clips of a class or more"
        )
    yield from map(effect_sentence, report.effects)
    if report.effects:
        yield FILTER_NOTE.format(report.effects[0].flagged)


def _hard_classes(report: Report) -> Iterator[str]:
    """Classes recognised less than half of the time, with what they are taken for."""
    names, found = report.pool.classes, []
    many = np.bincount(report.pool.labels) > 1
    for c, row in enumerate(report.confusion):
        other = int(np.delete(row, c).argmax())
        other += other >= c
        if many[c] and row[c] < HARD:
            found.append(f"{names[c]} ({100 * row[c]:.0f} %; {names[other]} {100 * row[other]:.0f} %)")
    if found:
        yield f"hard to tell: {', '.join(found)}; clearer or more examples, or fewer classes, would help"


def _listed(kind: str, flagged: list[Row]) -> str:
    def one(row: Row) -> str:
        details = "; ".join(flag.detail for flag in row.flags if flag.kind == kind)
        return f"{row.video} ({details})"

    names = [one(row) for row in flagged[:5]]
    return ", ".join(names) + (f" and {len(flagged) - 5} more" if len(flagged) > 5 else "")


def effect_sentence(effect: Effect) -> str:
    """What the filter does, and how far that holds."""
    accuracy = f"{100 * effect.before:.1f} % with all clips, {100 * effect.after:.1f} % without the flagged ones"
    start = f"{effect.way}-way {effect.shot}-shot: {accuracy}; "
    if effect.changed == 0:
        return f"{start}no support held a flagged clip"
    if not effect.real:
        size = f"{signed(effect.difference)} ± {points(effect.ci)} points"
        return f"{start}{size}: cannot be told at {effect.episodes:,} episodes{_beyond(effect)}"
    word, p = "better" if effect.difference > 0 else "worse", p_value(effect.p)
    size = f"{points(effect.difference)} ± {points(effect.ci)} points {word} without"
    real = f"real at {effect.episodes:,} episodes (p {p if '<' in p else f'= {p}'})"
    return f"{start}{size}, {real}{_beyond(effect)}"


def _beyond(effect: Effect) -> str:
    if effect.ci_clips is None:
        return ""
    sure = abs(effect.difference) > effect.ci_clips
    return (
        f"; had other clips been asked ± {points(effect.ci_clips)} ({effect.queries} were):"
        f" {'it holds for them, too' if sure else 'for them it is not sure'}"
    )


def write_report(report: Report, folder: Path, title: str) -> list[str]:
    """Write support.csv, confusion.csv and, where clips are flagged, support.png; the names of what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    found = rows(report)
    _write_csv(folder / "support.csv", COLUMNS, [_cells(row) for row in found])
    shares = [
        [name, *np.round(row, 4).tolist()] for name, row in zip(report.pool.classes, report.confusion, strict=True)
    ]
    _write_csv(folder / "confusion.csv", ("true \\ recognised", *report.pool.classes), shares)
    picture = folder / "support.png"
    suspects = [row for row in found if row.flags and row.position is not None]
    if not suspects:
        picture.unlink(missing_ok=True)  # of an earlier check
        return ["support.csv", "confusion.csv"]
    left_out = len(suspects) - SHEET
    shown = [_suspect(report, row) for row in suspects[:SHEET]]
    save_png(suspect_sheet(shown, title, f"and {left_out} more" if left_out > 0 else ""), picture)
    return ["support.csv", "confusion.csv", "support.png"]


def _write_csv(path: Path, columns: tuple[str, ...], lines: list[list[object]]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        writer.writerows(lines)


def _cells(row: Row) -> list[object]:
    numbers = (row.margin, row.recognised, row.nearest, row.influence, row.influence_error)
    shown = ["" if n is None else f"{n:.6f}" if isinstance(n, float) else n for n in numbers]
    return [row.cls, row.video, *shown, row.kinds, row.details]


def _suspect(report: Report, row: Row) -> Suspect:
    """A flagged clip beside what it was taken for: the best example of that class, or the clip that it equals."""
    pool, scored = report.pool, report.scored
    other = next((flag.other for flag in row.flags if flag.other is not None), None)
    if other is None:
        rival = np.flatnonzero(pool.labels == scored.rivals[row.position])
        known = scored.margins[rival]
        other = int(rival[0 if np.isnan(known).all() else np.nanargmax(known)])
    margin = "" if row.margin is None else f", margin {row.margin:+.1f}"
    return Suspect(
        f"called {row.cls}", row.video, _pictures(pool, row.video, PICTURES), row.kinds + margin, row.details,
        f"an example of {pool.classes[pool.labels[other]]}", pool.videos[other], _pictures(pool, pool.videos[other], 2),
    )  # fmt: skip


def _pictures(pool: Pool, video: str, count: int) -> list[np.ndarray]:
    """Frames from the whole length of a clip, without its very ends."""
    indices = even_indices(pool.reader.store.count(video), count + 2)[1:-1]
    return list(pool.reader.store.read(video, indices, pool.reader.clip.short_side))
