"""Words of the command line and addresses: a value, or a refusal in a line."""

import pytest
from hostile import lawful, names, tried
from hypothesis import given
from hypothesis import strategies as st

from fsar_cli.cli.scan import _rule, parse_rate
from fsar_cli.cli.streams import harmless
from fsar_cli.data.splits.groups import assign_groups, group_pattern
from fsar_cli.data.video.live import is_live, masked
from fsar_cli.data.video.live.addresses import dialling
from fsar_cli.errors import UsageError

WORDS = st.one_of(names(), st.text("0123456789./-+einfahdwky \u0663\u00b2", max_size=9))


@tried(200)
@given(WORDS)
def test_a_rate_is_a_number_an_hour_or_refused(text: str) -> None:
    rate = lawful(lambda: parse_rate(text))
    assert rate is None or 0 < rate < 3600


@tried(200)
@given(WORDS | st.tuples(WORDS, WORDS).map("/".join))
def test_how_many_windows_agree_is_a_rule_or_refused(text: str) -> None:
    rule = lawful(lambda: _rule(text, 0.0, 1.0, 0.0))
    assert rule is None or 1 <= rule.agree <= rule.among <= 100


@pytest.mark.parametrize("text", ["1" * 5000 + "/" + "1" * 5000, "1/" + "9" * 5000, "\u00b2/\u00b2", "/", ""])
def test_a_rule_that_once_broke_the_law_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        _rule(text, 0.0, 1.0, 0.0)


@tried(200)
@given(st.sampled_from(["rtsp://", "http://", "udp://", "camera:", "", "x://"]), names(), names())
def test_an_address_is_told_apart_masked_and_opened_or_refused(scheme: str, host: str, path: str) -> None:
    address = f"{scheme}u:s3cret@{host}/{path}" if scheme.endswith("//") else f"{scheme}{host}"
    lawful(lambda: is_live(address))
    lawful(lambda: dialling(address, 20, 5))
    assert isinstance(lawful(lambda: masked(address)), str)


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "_" * 100_000, "key" * 30_000, "a://" * 30_000, "?" * 100_000, "rtsp://" + ":" * 50_000]
)
def test_a_long_text_is_masked_in_a_moment(text: str) -> None:
    lawful(lambda: masked(text))


@tried(100)
@given(names(), st.lists(names(), max_size=3))
def test_a_rule_of_groups_is_one_or_refused(rule: str, ids: list[str]) -> None:
    lawful(lambda: assign_groups(ids, group_pattern(rule)))


@tried(200)
@given(st.text(max_size=12))
def test_what_a_terminal_is_given_it_shows(text: str) -> None:
    assert not any((sign < " " and sign not in "\n\t") or "\x7f" <= sign < "\xa0" for sign in harmless(text))
