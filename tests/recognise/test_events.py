"""Events of scores, against a plain reading of the rule that sees all windows at once, and what holds of any."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from fsar_cli.recognise.events import Event, EventDetector, EventRule, ScoredWindow, events_of

CLASSES = ("kick", "push", "run")
STRIDE, LENGTH = 0.5, 1.25
RULES = [
    EventRule(0.6, 0.3, *votes, shortest=shortest, longest=longest, merge=merge)
    for votes, shortest, longest, merge in (
        ((1, 1), 0.0, 60.0, 0.0), ((2, 2), 0.0, 60.0, 1.0), ((2, 3), 0.0, 60.0, 0.5), ((2, 4), 0.0, 60.0, 0.0),
        ((3, 5), 0.0, 6.0, 1.0), ((2, 2), 1.5, 60.0, 2.0), ((1, 3), 2.0, 4.0, 0.5), ((2, 3), 0.0, 2.45, 3.0),
        ((1, 1), 0.0, 0.5, 1.0), ((1, 1), 1.0, 3.0, 0.0),
    )
]  # fmt: skip


def windows_of(seed: int, count: int = 60, breaks: bool = True) -> list[ScoredWindow]:
    """Scores that stay alike for a while, in stretches with gaps between them."""
    dice = np.random.default_rng(seed)
    scores = dice.random((count, 3)).astype(np.float32)
    for i in range(1, count):
        if dice.random() < 0.6:
            scores[i] = 0.7 * scores[i - 1] + 0.3 * scores[i]
    found, start = [], 0.0
    for i in range(count):
        gap = breaks and i > 0 and dice.random() < 0.04
        start += STRIDE + (8 if gap else 0)
        found.append(ScoredWindow(start, start + LENGTH, scores[i], i, ((start + 0.6, (0, 0, 1, 1)),), None, gap))
    return found


def slow(windows: list[ScoredWindow], rule: EventRule) -> list[Event]:
    """By the words of the rule, class after class and stretch after stretch, all windows known beforehand."""
    stretches: list[list[ScoredWindow]] = [[]]
    for window in windows:
        if window.breaks:
            stretches.append([])
        stretches[-1].append(window)
    found = [e for c in range(3) for some in stretches for e in _of_class(some, c, rule)]
    return sorted(found, key=lambda e: (e.start, e.cls))


def _of_class(windows: list[ScoredWindow], c: int, rule: EventRule) -> list[Event]:
    middle = [(w.start + w.end) / 2 for w in windows]

    def speak(level: float, first: int, last: int) -> list[int]:
        return [i for i in range(max(first, last - rule.among + 1), last + 1)
                if windows[i].scores.argmax() == c and windows[i].scores[c] >= level]  # fmt: skip

    def event(members: list[int], cut: bool) -> list[Event]:
        start, end = middle[members[0]] - STRIDE / 2, middle[members[-1]] + STRIDE / 2
        best = max(members, key=lambda i: windows[i].scores[c])
        track = tuple(at for i in members for at in windows[i].track if abs(at[0] - middle[i]) < STRIDE / 2)
        made = Event(start, end, CLASSES[c], float(windows[best].scores[c]), windows[best].nearest, track, cut=cut)
        return [made] if end - start >= rule.shortest else []

    found, past, first, i = [], [], 0, 0
    while i < len(windows):
        members = speak(rule.threshold, first, i)
        if len(members) < rule.agree:
            i += 1
            continue
        if past:
            new = [m for m in members if m > past[-1]]
            near = middle[members[0]] - middle[past[-1]] - STRIDE <= rule.merge
            short = middle[i] - middle[past[0]] + STRIDE <= rule.longest
            if near and short:
                members = past + new
            else:
                found += event(past, False)
                members = new
        ended = cut = False
        while not (ended or cut):
            cut = middle[i] - middle[members[0]] + 2 * STRIDE > rule.longest
            if cut or i + 1 == len(windows):
                break
            i += 1
            voices = speak(rule.release, first, i)
            members += [i] if i in voices else []
            ended = len(voices) < rule.agree
        if cut or not ended:
            found += event(members, True)
            past, first = [], i + 1
        else:
            past = members
        i += 1
    return found + (event(past, False) if past else [])


def everything(windows: list[ScoredWindow], rule: EventRule) -> list[Event]:
    """All that is said, in the order in which it is."""
    detector, said = EventDetector(CLASSES, rule, STRIDE), []
    for window in windows:
        said += detector.push(window)
    return said + detector.flush()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("block", range(4))
def test_events_are_those_of_the_plain_reading(rule: EventRule, block: int) -> None:
    for seed in range(25 * block, 25 * block + 25):
        windows = windows_of(seed)
        assert events_of(windows, CLASSES, rule, STRIDE) == slow(windows, rule), seed


@pytest.mark.parametrize("rule", RULES)
def test_what_holds_of_any_events(rule: EventRule) -> None:
    for seed in range(30):
        windows = windows_of(seed)
        events = events_of(windows, CLASSES, rule, STRIDE)
        ends = [0, *(i for i, w in enumerate(windows) if w.breaks), len(windows)]
        stretches = [(windows[a].start, windows[b - 1].end) for a, b in pairwise(ends)]
        for event in events:
            assert any(start <= event.start < event.end <= end for start, end in stretches)  # no gap is bridged
            assert event.seconds >= rule.shortest and event.score >= rule.threshold and not event.is_open
            assert event.seconds <= max(rule.longest, rule.among * STRIDE) + 1e-9
            assert all(event.start <= at <= event.end for at, _ in event.track)
            assert [at for at, _ in event.track] == sorted(at for at, _ in event.track)
        for name in CLASSES:
            own = [event for event in events if event.cls == name]
            for before, after in pairwise(own):
                assert before.end <= after.start + 1e-9
                apart = after.start - before.end
                broken = any(before.end <= start + 1e-9 <= after.start + 1e-9 for start, _ in stretches[1:])
                long = after.end - before.start + STRIDE > rule.longest
                assert apart > rule.merge or broken or before.cut or long or rule.shortest > 0


@pytest.mark.parametrize("rule", RULES)
def test_an_event_is_said_as_it_opens_and_again_as_it_is_over(rule: EventRule) -> None:
    for seed in range(30):
        going_on: dict[str, float] = {}
        for event in everything(windows_of(seed), rule):
            if event.is_open:
                assert event.cls not in going_on
                going_on[event.cls] = event.start
            else:
                assert going_on.pop(event.cls) == event.start
        assert not going_on


@pytest.mark.parametrize("rule", RULES)
def test_events_move_with_their_windows(rule: EventRule) -> None:
    for seed in range(20):
        windows = windows_of(seed)
        later = [
            replace(w, start=w.start + 1024, end=w.end + 1024, track=tuple((t + 1024, b) for t, b in w.track))
            for w in windows
        ]
        moved = [
            replace(e, start=e.start + 1024, end=e.end + 1024, track=tuple((t + 1024, b) for t, b in e.track))
            for e in events_of(windows, CLASSES, rule, STRIDE)
        ]
        assert events_of(later, CLASSES, rule, STRIDE) == moved


def test_stretches_do_not_know_of_one_another() -> None:
    for rule in RULES:
        first, second = windows_of(1, breaks=False), windows_of(2, breaks=False)
        second = [replace(w, start=w.start + 100, end=w.end + 100, track=()) for w in second]
        second[0] = replace(second[0], breaks=True)
        apart = [e for some in (first, second) for e in events_of(some, CLASSES, rule, STRIDE)]
        assert events_of([*first, *second], CLASSES, rule, STRIDE) == sorted(apart, key=lambda e: (e.start, e.cls))


def test_classes_that_change_places_change_their_events_alone() -> None:
    for rule in RULES:
        windows = windows_of(7)
        turned = [replace(w, scores=w.scores[[2, 0, 1]]) for w in windows]
        names = [CLASSES[i] for i in (2, 0, 1)]
        assert events_of(turned, names, rule, STRIDE) == events_of(windows, CLASSES, rule, STRIDE)


def test_memory_does_not_grow_with_an_event_that_never_ends() -> None:
    rule = EventRule(0.5, 0.5, longest=10.0)
    detector, said = EventDetector(CLASSES, rule, STRIDE), []
    for i in range(2000):
        said += detector.push(ScoredWindow(i * STRIDE, i * STRIDE + 1, np.array([1, 0, 0], np.float32)))
        for votes in detector._votes:
            assert len(votes.last) <= 2 and (votes.event is None or len(votes.event.windows) <= 20)
    closed = [event for event in said if not event.is_open]
    assert len(closed) == 100 and all(event.cut and event.seconds == pytest.approx(10) for event in closed)
    assert all(a.end == pytest.approx(b.start) for a, b in pairwise(closed))


def test_a_short_window_speaks_for_no_more_than_itself() -> None:
    rule = EventRule(0.5, 0.5, agree=1, among=1)
    scores = np.array([1, 0, 0], np.float32)
    windows = [ScoredWindow(0.0, 0.2, scores), ScoredWindow(9.0, 9.1, scores, breaks=True)]
    events = events_of(windows, CLASSES, rule, STRIDE)
    assert [(e.start, e.end) for e in events] == [(0.0, 0.2), (9.0, 9.1)]


def test_a_window_that_scores_just_the_threshold_or_the_release_speaks() -> None:
    rule = EventRule(0.5, 0.25, agree=1, among=1)
    scores = [np.array([score, 0, 0], np.float32) for score in (0.5, 0.25, 0.125)]
    windows = [ScoredWindow(i * STRIDE, i * STRIDE + LENGTH, row) for i, row in enumerate(scores)]
    (event,) = events_of(windows, CLASSES, rule, STRIDE)
    assert (event.seconds, event.score) == (2 * STRIDE, 0.5)


def in_a_row(speaks: str, stride: float) -> list[ScoredWindow]:
    """Windows of two seconds, one for each letter: k speaks for kick, any other for nothing."""
    rows = [np.array([letter == "k", 0, 0], np.float32) for letter in speaks]
    return [ScoredWindow(i * stride, i * stride + 2, row) for i, row in enumerate(rows)]


def test_an_event_of_bare_windows_has_a_time_a_class_and_a_score_alone() -> None:
    rule = EventRule(0.5, 0.5, agree=1, among=1)
    assert events_of(in_a_row("k....", STRIDE), CLASSES, rule, STRIDE) == [Event(0.75, 1.25, "kick", 1.0, 0)]


def test_events_a_second_apart_are_one_and_a_minute_is_the_longest_unless_said_otherwise() -> None:
    rule = EventRule(0.5, 0.5)
    for quiet, count in ((2, 1), (3, 2)):
        assert len(events_of(in_a_row("kk" + quiet * "." + "kk......", STRIDE), CLASSES, rule, STRIDE)) == count
    cut = events_of(in_a_row(130 * "k" + "......", STRIDE), CLASSES, rule, STRIDE)
    assert [(event.seconds, event.cut) for event in cut] == [(60.0, True), (5.0, False)]


def test_times_that_floats_do_not_have_count_as_they_are_meant() -> None:
    """Strides of a tenth of a second, wherever in the source."""
    for place in range(50):
        rule = EventRule(0.5, 0.5, agree=1, among=1, longest=0.7, merge=0.3)
        windows = in_a_row(place * "." + "k...k" + "....", 0.1)
        (event,) = events_of(windows, CLASSES, rule, 0.1)
        assert event.seconds == pytest.approx(0.5)
        cut = events_of(in_a_row(place * "." + 7 * "k" + "....", 0.1), CLASSES, rule, 0.1)
        assert [event.seconds for event in cut] == [pytest.approx(0.7)]


def test_the_track_has_every_step_of_an_event_once() -> None:
    """Each window gives the steps of the stride of time that it speaks for."""
    rule, scores, box = EventRule(0.5, 0.5, agree=1, among=1), np.array([1, 0, 0], np.float32), (0.0, 0.0, 1.0, 1.0)
    windows = [
        ScoredWindow(start, start + 1.5, scores, track=tuple((start + step / 4, box) for step in range(6)))
        for start in (0.0, 0.5, 1.0)
    ]
    (event,) = events_of(windows, CLASSES, rule, STRIDE)
    assert (event.start, event.end) == (0.5, 2.0)
    assert event.track == tuple((step / 4, box) for step in range(2, 8))


def test_the_clock_of_an_event_is_that_of_its_start() -> None:
    rule = EventRule(0.5, 0.5, agree=1, among=1)
    window = ScoredWindow(10.0, 12.0, np.array([1, 0, 0], np.float32), wall=5012.0)
    (event,) = events_of([window], CLASSES, rule, STRIDE)
    assert (event.start, event.wall) == (10.75, 5010.75)


def test_no_windows_are_no_events() -> None:
    assert events_of([], CLASSES, RULES[0], STRIDE) == []
