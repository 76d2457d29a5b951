"""What a support set can be expected to do: numbers with their n and source, as plain values and in words."""

from collections.abc import Iterator

import numpy as np

from fsar_cli.errors import counted
from fsar_cli.recognise.calibration import AlarmLevel, example_auroc, recalled
from fsar_cli.recognise.recognizer import Recognizer
from fsar_cli.recognise.support import Gain, NormalFootage

KINDS = {
    "plain": "without normal footage", "whitened": "whitened by it", "less normal": "less the nearest normal window",
}  # fmt: skip
"""Words for the steps of `Gain`."""


def document(recognizer: Recognizer) -> dict[str, object]:
    """As plain values for JSON; null: not known."""
    support, grid = recognizer.support, recognizer.grid
    level, normal = recognizer.alarm_level(), support.document.normal
    found, of = recalled(recognizer.left_out, support.labels, level.rule.threshold)
    alone, apart = recalled(recognizer.left_out, support.labels, -np.inf)
    return {
        "classes": {name: sum(e.cls == name for e in support.examples) for name in support.classes},
        "normal": None if normal is None else {
            "sources": list(normal.sources), "whitened": normal.whitened, "silent": normal.silent,
            "hours": recognizer.hours,
        },
        "window": grid.window, "stride": grid.stride,
        "encoder": {"run": support.document.encoder.run, "method": recognizer.encoder.config.model.label,
                    "backbone": recognizer.encoder.config.model.backbone,
                    "weights": recognizer.encoder.config.model.weights},
        "recognised": {"right": alone, "of": apart},
        "recall": {"found": found, "of": of},
        "auroc": example_auroc(recognizer.left_out, recognizer.silent),
        "gains": [gain.model_dump() for gain in support.document.gains],
        "calibration": level_document(recognizer, level),
    }  # fmt: skip


def level_document(recognizer: Recognizer, level: AlarmLevel) -> dict[str, object]:
    """A threshold of events as plain values."""
    return {
        "threshold": level.rule.threshold, "release": level.rule.release, "asked": level.rate, "kept": level.kept,
        "alarms": level.alarms, "hours": level.hours,
        "most": recognizer.most_alarms(level) if level.hours else None,
    }  # fmt: skip


def facts(recognizer: Recognizer, level: AlarmLevel | None = None) -> Iterator[tuple[str, str]]:
    """What a set rests on and can be expected to do: (what, in plain words).

    Args:
        level: the threshold to speak of; None: the usual one.
    """
    support, grid = recognizer.support, recognizer.grid
    normal = support.document.normal
    yield "Windows", f"windows of {grid.window:.2g} s every {grid.stride:g} s"
    yield "Normal footage", _footage(normal)
    right, of = recalled(recognizer.left_out, support.labels, -np.inf)
    others = f"{right} of {of} examples are recognised by the others of {counted(len(support.classes), 'class')}"
    yield "Examples", others if of else "one example a class: nothing can be said of how well they are recognised"
    if (area := example_auroc(recognizer.left_out, recognizer.silent)) is not None:
        share = f"{100 * area:.0f} % of pairs (AUROC, examples left out)"
        yield "Against normal", f"examples score above normal windows in {share}"
    if gains := support.document.gains:
        yield "What it brings", "; ".join(map(_gained, gains))
    yield from level_facts(recognizer, level or recognizer.alarm_level())


def level_facts(recognizer: Recognizer, level: AlarmLevel) -> Iterator[tuple[str, str]]:
    """The same of a threshold of events."""
    yield "False alarms", level.words(recognizer.most_alarms(level))
    found, of = recalled(recognizer.left_out, recognizer.support.labels, level.rule.threshold)
    if of:
        yield "Expected recall", f"at that threshold {found} of {of} examples are recognised, each by the others"


def _footage(normal: NormalFootage | None) -> str:
    if normal is None:
        return "no normal footage: `unknown` and alarms rest on the examples alone; --normal makes them honest"
    calibrating = counted(normal.silent, "normal window")
    if not normal.whitened:
        return f"{calibrating} calibrate"
    return f"{counted(normal.whitened, 'normal window')} whiten the features, {normal.silent} others calibrate"


def _gained(gain: Gain) -> str:
    above = "" if gain.auroc is None else f", AUROC {100 * gain.auroc:.0f} %"
    return f"{KINDS.get(gain.kind, gain.kind)} {gain.right} of {gain.of} examples{above}"
