"""What a check found, in sentences."""

import math
from collections.abc import Iterator

import numpy as np

from fsar_cli.engine.statistics.words import p_value, points, signed
from fsar_cli.tools.support.check import Report
from fsar_cli.tools.support.filtering import Effect
from fsar_cli.tools.support.flags import AMBIGUOUS, DUPLICATE, MISLABELLED, ODD
from fsar_cli.tools.support.rows import UNREADABLE, Row, rows

HARD = 0.5
"""Classes recognised less often are named."""
FILTER_NOTE = (
    "the same queries both times, each from a part of the clips that gives no support; flags used the labels of"
    " support candidates only ({:.1f} of them left out on average), never of the clip asked; mislabelled clips still"
    " count as errors when they are asked"
)
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
