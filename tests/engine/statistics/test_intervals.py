"""Intervals of counts and shares against printed tables and against their definition."""

import math

import pytest

from fsar_cli.engine.statistics.poisson import poisson_interval, poisson_upper
from fsar_cli.engine.statistics.wilson import wilson_interval


def chance_of_at_most(count: int, mean: float) -> float:
    """P(X <= count), term by term."""
    return math.fsum(math.exp(-mean + i * math.log(mean) - math.lgamma(i + 1)) for i in range(count + 1))


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        *[(0, 0, 3.689), (1, 0.0253, 5.572), (2, 0.2422, 7.225), (3, 0.6187, 8.767), (5, 1.623, 11.668)],
        *[(10, 4.795, 18.39), (20, 12.217, 30.888), (100, 81.364, 121.627)],
    ],
)
def test_the_interval_of_a_count_is_that_of_printed_tables(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), rel=4e-4, abs=6e-5)


def test_the_upper_limit_alone_is_the_rule_of_three_and_its_kin() -> None:
    assert poisson_upper(0) == pytest.approx(-math.log(0.05), rel=1e-12)
    assert [poisson_upper(count) for count in (0, 1, 2, 10)] == pytest.approx([2.996, 4.744, 6.296, 16.962], abs=1e-3)
    assert poisson_upper(0, 0.99) == pytest.approx(-math.log(0.01), rel=1e-12)


@pytest.mark.parametrize("count", [0, 1, 7, 60, 1000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_the_limits_leave_out_the_chance_that_they_should(count: int, confidence: float) -> None:
    low, high = poisson_interval(count, confidence)
    assert chance_of_at_most(count, high) == pytest.approx((1 - confidence) / 2, rel=1e-6)
    if count:
        assert 1 - chance_of_at_most(count - 1, low) == pytest.approx((1 - confidence) / 2, rel=1e-6)
    assert low <= count < high and high > poisson_upper(count, confidence)


def test_many_events_come_near_to_the_normal_interval() -> None:
    low, high = poisson_interval(1_000_000)
    assert (low, high) == pytest.approx((1e6 - 1960, 1e6 + 1960), abs=3)


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        (0, 10, 0, 0.2775),
        (9, 10, 0.5958, 0.9821),
        (10, 10, 0.7225, 1),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_the_interval_of_a_share_is_that_of_wilson(right: int, of: int, low: float, high: float) -> None:
    assert wilson_interval(right, of) == pytest.approx((low, high), abs=6e-5)


def test_the_limits_of_wilson_are_the_shares_that_are_just_not_refused() -> None:
    for right, of in ((1, 3), (4, 9), (30, 31), (70, 200)):
        for limit in wilson_interval(right, of):
            assert abs(right / of - limit) == pytest.approx(1.959964 * math.sqrt(limit * (1 - limit) / of), rel=1e-5)
        mirrored = wilson_interval(of - right, of)
        assert wilson_interval(right, of) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))


def test_of_nothing_a_share_may_be_anything() -> None:
    assert wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize("arguments", [(-1,), (1, 0.0), (1, 1.0)])
def test_what_is_no_count_or_confidence_is_refused(arguments: tuple) -> None:
    for interval in (poisson_interval, poisson_upper):
        with pytest.raises(ValueError, match="no interval for a count of"):
            interval(*arguments)


@pytest.mark.parametrize("arguments", [(2, 1), (-1, 3), (1, 2, 1.0)])
def test_what_is_no_share_is_refused(arguments: tuple) -> None:
    with pytest.raises(ValueError, match="no interval for"):
        wilson_interval(*arguments)
