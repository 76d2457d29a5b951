"""Which videos share a source: a regular expression on the video id names the group.

Clips cut from one film, or of one pair of actors, look alike whatever the action; an evaluation that draws support
and query from the same source measures that likeness too. Groups may span classes. The rules of known data sets go by
their names: those of the protocols, and `ut` for UT-Interaction.
"""

import re
from collections.abc import Sequence

from fsar_cli.data.naming import fold
from fsar_cli.data.splits.protocols import protocols, protocols_of
from fsar_cli.errors import UsageError

UT_INTERACTION = r"/set\d+_\d+_(seq\d+)"
"""The sequence of a clip set1_04_seq01: one pair of actors, numbered through both sets, doing every action."""


_NAME = re.compile(r"[\w .-]+")


def group_rules() -> dict[str, str]:
    """{data set: regular expression} of the rules that go by a name."""
    known = {p.name.removesuffix(f"-{p.style}"): p.groups for p in protocols().values() if p.groups}
    return {**known, "ut": UT_INTERACTION}


def group_pattern(group_by: str) -> str:
    """The regular expression of a data set's own rule; any other text is one itself.

    Raises:
        UsageError: the name of a data set without a group rule.
    """
    if not _NAME.fullmatch(group_by):
        return group_by
    rules = {fold(name): rule for name, rule in group_rules().items()} | {"utinteraction": UT_INTERACTION}
    known = [rules.get(fold(group_by), ""), *(protocols()[name].groups for name in protocols_of(group_by))]
    if not any(known) and len(known) > 1:
        raise UsageError(f"{group_by} has no group rule", "give a regular expression, or '' for no groups")
    return next(filter(None, known), group_by)


def assign_groups(ids: Sequence[str], pattern: str, strict: bool = True) -> dict[str, str]:
    """{id: group} by a regular expression; "" where it does not fit.

    Raises:
        UsageError: not a regular expression, or, if `strict`, one that fits no id.
    """
    if not pattern:
        return dict.fromkeys(ids, "")
    try:
        rule = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--group-by '{pattern}' is not a regular expression: {error}") from error
    groups = {video: _group(rule.search(video)) for video in ids}
    if strict and ids and not any(groups.values()):
        raise UsageError(
            f"--group-by '{pattern}' fits none of the {len(ids)} video ids, for example {ids[0]}",
            rf"for set1_04_seq01 the sequence is `seq(\d+)`; rules by name: {', '.join(group_rules())};"
            " --group-by '' leaves groups out",
        )
    return groups


def _group(match: re.Match[str] | None) -> str:
    if match is None:
        return ""
    return next((text for text in match.groups() if text), "") if match.re.groups else match[0]
