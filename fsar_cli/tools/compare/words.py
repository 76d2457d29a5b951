"""What a comparison says, in words: for each difference whether it is real, and what no interval here covers."""

from collections.abc import Iterator

from fsar_cli.engine.pretraining import remarks
from fsar_cli.engine.statistics.estimates import PairedDifference
from fsar_cli.engine.statistics.words import SMALLEST_SHOWN, p_value, plus_minus, points
from fsar_cli.tools.compare.comparison import MethodComparison


def verdict(difference: PairedDifference) -> str:
    """One or two words for a table."""
    if difference.real:
        return "real"
    return "no difference" if difference.spread == 0 else "cannot tell"


def sentence(difference: PairedDifference, comparison: MethodComparison) -> str:
    """What one difference says."""
    return f"{difference.shot}-shot: {_on_these(difference, comparison)}{_on_others(difference, comparison)}"


def _on_these(difference: PairedDifference, comparison: MethodComparison) -> str:
    """Whether the episodes tell the two apart."""
    mean, episodes = difference.estimate.mean, comparison.settings.episodes
    first, second = difference.first, difference.second
    size = f"{points(mean)} {plus_minus(difference.estimate.episodes)}"
    if difference.spread == 0 and mean == 0:
        return f"{first} and {second} got as many right in each of {episodes:,} episodes"
    if difference.real:
        ahead, behind = (first, second) if mean > 0 else (second, first)
        p = f"p {'' if difference.p_holm < SMALLEST_SHOWN else '= '}{p_value(difference.p_holm)}"
        note = f"({p}{', Holm' if difference.tests > 1 else ''})"
        return f"{ahead} is ahead of {behind} by {size} points: real at {episodes:,} episodes {note}"
    told = f"{first} and {second} cannot be told apart: {size} points at {episodes:,} episodes"
    if difference.needed is None:
        return f"{told}; a difference of zero is found by no number of episodes"
    return f"{told}; about {_round(difference.needed):,} episodes would be needed to find a difference of this size"


def _on_others(difference: PairedDifference, comparison: MethodComparison) -> str:
    """Whether that holds for other videos, and over training runs."""
    estimate, text = difference.estimate, ""
    size = abs(estimate.mean)
    if difference.spread and estimate.videos is not None and estimate.floor is not None:
        other = f"other {comparison.units}"
        if not difference.real:
            if size <= estimate.floor:
                text = f", but these {comparison.videos} videos leave ± {points(estimate.floor)} however many there are"
        elif size > estimate.videos:
            text = f"; with {other} of these classes ± {points(estimate.videos)}: it holds for them, too"
        else:
            text = f"; with {other} of these classes ± {points(estimate.videos)}: for them it is not sure"
    if estimate.training is not None:
        more = "more" if size > estimate.training else "no more"
        text += f"; between training runs ± {points(estimate.training)}: {more} than seeds explain"
    return text


def _round(number: int) -> int:
    """Two significant digits: an estimate has no more."""
    unit = 10 ** max(len(str(number)) - 2, 0)
    return -(-number // unit) * unit


def notes(comparison: MethodComparison) -> Iterator[str]:
    """What the intervals mean and what none of them covers."""
    tests, settings = len(comparison.differences), comparison.settings
    for model, novelty in zip(comparison.models, comparison.novelties, strict=True):
        if novelty.words:
            yield f"{model.name}: some classes are {novelty.words}."
    names = [model.name for model in comparison.models]
    whitenings = [whitening.words if whitening else "" for whitening in comparison.whitenings]
    yield from remarks(zip(names, whitenings, strict=True))
    yield from remarks(zip(names, (n.pretraining.words for n in comparison.novelties), strict=True))
    yield (
        f"± episodes: other random episodes of the same {comparison.videos} videos. p: exact randomisation test on "
        f"paired episodes{f', Holm-adjusted for {tests} tests' if tests > 1 else ''}."
    )
    yield (
        f"± videos: other {comparison.units} of the same {len(comparison.classes)} classes (jackknife). More episodes"
        " do not narrow it; it is the one to trust beyond this test set. -: too few episodes or videos to tell."
    )
    if len(comparison.classes) == settings.way:
        yield f"± classes: not to be told, as each episode holds all {settings.way} classes."
    else:
        yield "± classes: other classes, too (jackknife over classes)."
    if all(len(group.members) == 1 or not group.trained for group in comparison.groups):
        yield (
            "Each was trained once: nothing here says how much another training seed would change. Train several seeds,"
            " give all runs and --group method."
        )
    else:
        runs = ", ".join(f"{group.name} {len(group.members)}" for group in comparison.groups if group.trained)
        yield f"± training: other training seeds (t interval over the runs: {runs}); -: a single run."
