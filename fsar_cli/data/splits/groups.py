"""Which videos share a source: a regular expression on the video id names the group.

Clips cut from one film, or of one pair of actors, look alike whatever the action; an evaluation that draws support
and query from the same source measures that likeness too. Groups may span classes.
"""

import re
from collections.abc import Sequence

from fsar_cli.errors import UsageError


def assign_groups(ids: Sequence[str], pattern: str) -> dict[str, str]:
    """{id: group} by a regular expression; "" where it does not fit.

    Raises:
        UsageError: not a regular expression, or one that fits no id.
    """
    if not pattern:
        return dict.fromkeys(ids, "")
    try:
        rule = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--group-by '{pattern}' is not a regular expression: {error}") from error
    groups = {video: _group(rule.search(video)) for video in ids}
    if ids and not any(groups.values()):
        raise UsageError(
            f"--group-by '{pattern}' fits none of the {len(ids)} video ids, for example {ids[0]}",
            r"for set1_04_seq01 the sequence is `seq(\d+)`; --group-by '' leaves groups out",
        )
    return groups


def _group(match: re.Match | None) -> str:
    if match is None:
        return ""
    return next((text for text in match.groups() if text), "") if match.re.groups else match[0]
