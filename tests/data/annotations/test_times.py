"""Times of annotations: what is read, and what is said of the rest."""

import math

import pytest

from fsar_cli.data.annotations.times import Segment, disjoint, fault, seconds


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *[("7", 7), ("07.50", 7.5), (".5", 0.5), ("1e2", 100), ("1,5", 1.5), (8, 8), (2.5, 2.5), (" 3 ", 3), ("+4", 4)],
        *[("1:30", 90), ("90:00", 5400), ("0:01:30.5", 90.5), ("00:00:01,5", 1.5), ("100:00:00", 360_000)],
        *[("-3", -3), ("-0:05", -5)],
    ],
)
def test_seconds_and_clock_times(written: object, value: float) -> None:
    assert seconds(written, 1) == value


@pytest.mark.parametrize(
    "written",
    [
        *["", "x", "12s", "nan", "inf", "-inf", "1_000", "1.234,5", "1:60", "1:75:00", "1:2:3:4", "1:", ":5", "1:-5"],
        *["0:0:1e1", "9" * 400, "9" * 5000 + ":00", 10**400, math.nan, math.inf, True, None, [1], "1\n2", "١"],
    ],
)
def test_anything_else_is_no_time(written: object) -> None:
    assert not math.isfinite(seconds(written, 1))


def test_frames_count_thirty_a_second_and_have_no_clock() -> None:
    assert seconds("165", 30) == 5.5
    assert math.isnan(seconds("0:05", 30))


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        ("0", "1", ""),
        ("", "1", "the start is missing"),
        ("1", "", "the end is missing"),
        ("1", "x", "the end is no time; times are seconds or clock times, as in 90.5 or 0:01:30.5"),
        ("-1", "1", "before the video starts"),
        ("2", "1", "it ends before it starts"),
        ("1", "0:01", "it ends where it starts"),
        ("1", "1.001", "shorter than a frame"),
    ],
)
def test_each_fault_has_its_reason(start: str, end: str, reason: str) -> None:
    assert fault(start, end, Segment(seconds(start, 1), seconds(end, 1))) == reason


def test_what_shares_time_is_one_and_both_rows_know_it() -> None:
    spans = [Segment(0, 2, "a.csv, row 2"), Segment(1, 3, "a.csv, row 3"), Segment(3, 4), Segment(3, 4, "a.csv, row 5")]
    merged, notes = disjoint(spans)
    assert merged == (Segment(0, 3), Segment(3, 4))
    assert notes == [
        ("row 3: 0-2 s and 1-3 s share time: merged to 0-3 s", False),
        ("row 5: 3-4 s is there twice", True),
    ]
