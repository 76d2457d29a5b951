"""Found events against true ones: the matching against a slow one by its definition, and relations that must hold."""

import json
import random
from dataclasses import replace

import pytest

from fsar_cli.data.annotations.labelled import LabelledSegment
from fsar_cli.errors import DataError, UsageError
from fsar_cli.recognise.events import Event
from fsar_cli.recognise.outputs import NamedEvent
from fsar_cli.recognise.truth import FoundEvent, compare_events, overlap
from fsar_cli.recognise.truth_report import NOTE, Nearest


def true(start: float, end: float | None, cls: str = "kick", video: str = "a") -> LabelledSegment:
    return LabelledSegment(video, start, end, cls)


def got(start: float, end: float, cls: str = "kick", score: float = 1.0, video: str = "a") -> FoundEvent:
    return FoundEvent(video, start, end, cls, score)


def slow_matches(found: list[FoundEvent], truth: list[LabelledSegment], tiou: float, any_class: bool) -> int:
    """ActivityNet's rule, a class and a video at a time; scores and overlaps of a video all differ."""
    right = 0
    for video in {e.video for e in found}:
        for cls in {None} if any_class else {e.cls for e in found}:
            ours = [e for e in found if e.video == video and cls in (None, e.cls)]
            free = [s for s in truth if s.video == video and cls in (None, s.cls)]
            for event in sorted(ours, key=lambda e: e.score, reverse=True):
                ranked = sorted(free, key=lambda s: slow_overlap(event, s), reverse=True)
                if ranked and slow_overlap(event, ranked[0]) >= tiou:
                    free.remove(ranked[0])
                    right += 1
    return right


def slow_overlap(one, other) -> float:
    """By counting quarters of a second."""
    first, second = (set(range(round(each.start * 4), round(each.end * 4))) for each in (one, other))
    return len(first & second) / len(first | second) if first | second else 0.0


def cases(number: int, seed: int = 0):
    rng = random.Random(seed)
    for _ in range(number):

        def spans(most: int):
            for _ in range(rng.randrange(most)):
                start = rng.randrange(40) / 4
                yield start, start + rng.randrange(0, 16) / 4, rng.choice("xyz"), rng.choice("ab")

        truth = [true(s, e, c, v) for s, e, c, v in spans(8) if e > s]
        scores = rng.sample(range(100), 20)
        yield [got(s, e, c, scores.pop(), v) for s, e, c, v in spans(10)], truth, rng.choice([0.25, 0.5, 0.75])


def test_the_matching_is_that_of_its_definition() -> None:
    for found, truth, tiou in cases(400):
        report = compare_events(found, truth, 1.0, tiou)
        assert report.right == slow_matches(found, truth, tiou, any_class=False)
        assert report.right_of_any_class == slow_matches(found, truth, tiou, any_class=True)
        touching = [e for e in found for s in truth if s.video == e.video and s.start < e.end and e.start < s.end]
        alone = [e for e in found if e not in touching]
        assert sorted((e.video, e.start, e.end, e.cls) for e in alone) == [
            (e.video, e.start, e.end, e.cls) for e in report.false_alarms
        ]


def test_every_event_is_a_match_or_without_a_partner() -> None:
    for found, truth, tiou in cases(100, seed=1):
        report = compare_events(found, truth, 1.0, tiou)
        assert (report.truth, report.found) == (len(truth), len(found))
        assert report.right + len(report.missed) == len(truth)
        assert report.right + len(report.unmatched) == len(found)
        assert len(report.start_errors) == report.right


def test_the_order_of_events_does_not_matter() -> None:
    rng = random.Random(2)
    for found, truth, tiou in cases(100, seed=2):
        found = [replace(event, score=event.score // 30) for event in found]  # ties
        report = compare_events(found, truth, 1.0, tiou)
        for _ in range(3):
            found, truth = rng.sample(found, len(found)), rng.sample(truth, len(truth))
            assert compare_events(found, truth, 1.0, tiou) == report


def test_shifting_all_times_shifts_only_the_lists() -> None:
    for found, truth, tiou in cases(100, seed=3):
        here = compare_events(found, truth, 1.0, tiou)
        later = compare_events(
            [replace(e, start=e.start + 1000, end=e.end + 1000) for e in found],
            [replace(s, start=s.start + 1000, end=s.end + 1000) for s in truth],
            1.0,
            tiou,
        )
        assert later.lines() == here.lines()
        assert (later.start_errors, later.end_errors, later.classes) == (
            here.start_errors,
            here.end_errors,
            here.classes,
        )


def test_a_perfect_detector() -> None:
    truth = [true(1, 2), true(5, 7, "fall"), true(1, 2, video="b")]
    report = compare_events([got(s.start, s.end, s.cls, video=s.video) for s in truth], truth, 2.0)
    assert (report.right, report.missed, report.unmatched) == (3, (), ())
    document = report.document()
    assert document["recall"] == {"right": 3, "of": 3, "share": 1.0, "low": pytest.approx(0.4385, abs=1e-4), "high": 1}
    assert document["start_error"] == document["end_error"] == {"off": 0.0, "late": 0.0}
    assert document["videos"] == 2


def test_a_second_find_is_unmatched_but_no_false_alarm() -> None:
    report = compare_events([got(1, 2, score=0.5), got(1, 2, score=0.9)], [true(1, 2)], 1.0)
    (second,) = report.unmatched
    assert (report.right, second.score, second.why) == (1, 0.5, "repeated")
    assert report.false_alarms == ()


def test_the_unmatched_are_told_apart() -> None:
    truth = [true(0, 4), true(10, 14, "fall"), true(20, 30)]
    found = [got(0, 4), got(0, 4, "fall"), got(10.5, 14, "kick"), got(20, 22), got(40, 41), got(1, 2, video="b")]
    report = compare_events(found, truth, 0.5)
    assert [(e.video, e.start, e.cls, e.why) for e in report.unmatched] == [
        ("a", 0, "fall", "class"),
        ("a", 10.5, "kick", "class"),
        ("a", 20, "kick", "time"),
        ("a", 40, "kick", "alone"),
        ("b", 1, "kick", "alone"),
    ]
    assert report.unmatched[1].nearest == Nearest(10, 14, "fall", 0.875)
    assert report.unmatched[3].nearest is None
    assert [(e.start, e.why, e.nearest and e.nearest.cls) for e in report.missed] == [
        (10, "class", "kick"),
        (20, "time", "kick"),
    ]
    alarms = report.document()["false_alarms"]
    assert (alarms["count"], alarms["an_hour"]) == (2, 4.0)
    assert (alarms["low"], alarms["high"]) == pytest.approx((2 * 0.2422, 2 * 7.2247), rel=1e-3)


def test_nothing_found_and_nothing_true() -> None:
    missed = compare_events([], [true(1, 2)], 1.0)
    assert (missed.truth, missed.right, len(missed.missed)) == (1, 0, 1)
    alarms = compare_events([got(1, 2)], [], 1.0)
    assert (len(alarms.false_alarms), alarms.document()["recall"]["share"]) == (1, None)
    nothing = compare_events([], [], 2.0, classes=["kick"])
    assert nothing.document()["false_alarms"] == {
        "count": 0,
        "an_hour": 0.0,
        "low": 0.0,
        "high": pytest.approx(3.6889 / 2, rel=1e-4),
    }
    for report in (missed, alarms, nothing):
        json.dumps(report.document(), allow_nan=False)
        assert report.lines()[-1] == NOTE


def test_classes_that_are_not_enrolled_are_passed_over_and_counted() -> None:
    truth = [true(0, 100, "normal"), true(10, 12), true(20, 22, "swim")]
    report = compare_events([got(10, 12), got(20, 22), got(50, 52)], truth, 1.0, classes=["kick", "fall"])
    assert (report.truth, report.right, dict(report.passed_over)) == (1, 1, {"normal": 1, "swim": 1})
    assert [event.start for event in report.false_alarms] == [20, 50], "what is passed over excuses no alarm"
    assert [(c.cls, c.truth, c.found, c.right) for c in report.classes] == [("kick", 1, 3, 1), ("fall", 0, 0, 0)]
    assert "normal (1), swim (1)" in " ".join(report.lines())
    assert compare_events([], truth, 1.0, classes=[]).truth == 0


def test_an_event_that_takes_no_time_matches_nothing() -> None:
    report = compare_events([got(2, 2), got(9, 9)], [true(1, 3)], 1.0)
    assert [(e.start, e.why) for e in report.unmatched] == [(2, "time"), (9, "alone")]
    assert overlap(got(2, 2), got(2, 2)) == 0


def test_the_least_overlap_is_enough_and_less_is_not() -> None:
    assert compare_events([got(0, 2)], [true(0, 4)], 1.0).right == 1
    assert compare_events([got(0, 1.99)], [true(0, 4)], 1.0).right == 0
    assert compare_events([got(0, 4)], [true(0, 4)], 1.0, tiou=1.0).right == 1


def test_a_whole_video_needs_its_length() -> None:
    assert compare_events([got(0, 9)], [true(0, None)], 1.0, durations={"a": 10}).right == 1
    with pytest.raises(DataError, match="the whole of 'a', whose length is unknown"):
        compare_events([got(0, 9)], [true(0, None)], 1.0)


@pytest.mark.parametrize(("hours", "tiou"), [(0, 0.5), (-1, 0.5), (float("nan"), 0.5), (1, 0), (1, 1.1)])
def test_numbers_out_of_range_are_refused(hours: float, tiou: float) -> None:
    with pytest.raises(UsageError):
        compare_events([], [], hours, tiou)


def test_errors_of_times_are_medians_of_the_matches() -> None:
    truth = [true(0, 10), true(20, 30), true(40, 50)]
    found = [got(1, 10), got(19.5, 30.25), got(42, 50.5), got(70, 80)]
    document = compare_events(found, truth, 1.0).document()
    assert document["start_error"] == {"off": 1.0, "late": 1.0}
    assert document["end_error"] == {"off": 0.25, "late": 0.25}


def test_events_as_they_are_written_are_compared_and_told_in_sentences() -> None:
    events = [NamedEvent("a", Event(start, start + 2, "kick", 0.9, 0), None, "") for start in (1, 11, 50)]
    report = compare_events(events, [true(1.5, 3), true(10, 13), true(30, 31)], 0.5)
    assert report.lines() == [
        "3 true events, 3 found, in 0.5 h; matched one to one at a tIoU of 0.5 or more",
        "recall 66.7 % (2 of 3, 95 % interval 20.8 to 93.9 %); of any class 66.7 %",
        "precision 66.7 % (2 of 3, 95 % interval 20.8 to 93.9 %); of any class 66.7 %",
        "missed: 1, 2 an hour (95 % interval 0.0506 to 11.1)",
        "false alarms, which share no time with a true event: 1, 2 an hour (95 % interval 0.0506 to 11.1)",
        "starts are off by 0.75 s, on balance 0.25 s late; ends are off by 0.00 s, on balance 0.00 s late (medians)",
        NOTE,
    ]
