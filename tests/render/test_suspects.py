"""The sheet of flagged clips: every picture is there, in its shape, and no text leaves its room."""

import numpy as np
import pytest

from fsar_cli.render.suspects import Suspect, suspect_sheet

COLOURS = [(200, 30, 30), (30, 160, 30), (30, 30, 200), (190, 160, 20)]


def plain(colour, high=90, wide=120) -> np.ndarray:
    return np.full((high, wide, 3), colour, np.uint8)


def suspect(frames, others, name="kick/one") -> Suspect:
    return Suspect(
        "called kick", name, frames, "mislabelled?", "looks like push", "an example of push", "push/x", others
    )


def size_of(sheet: np.ndarray, colour) -> tuple[int, int]:
    rows, columns = np.nonzero((sheet == colour).all(-1))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_each_picture_is_there_in_its_shape():
    sheet = suspect_sheet([suspect([plain(COLOURS[0]), plain(COLOURS[1], 160, 90)], [plain(COLOURS[2], 40, 160)])], "t")
    for colour, (high, wide) in zip(COLOURS, [(90, 120), (160, 90), (40, 160)], strict=False):
        found = size_of(sheet, colour)
        assert found[0] / found[1] == pytest.approx(high / wide, rel=0.05)
        assert max(found[0] / 132, found[1] / 176) == pytest.approx(1, abs=0.02), "as large as its room"


def test_rows_stand_below_one_another_and_the_other_clip_at_the_right():
    rows = [suspect([plain(COLOURS[i])], [plain(COLOURS[i + 1])]) for i in (0, 2)]
    sheet = suspect_sheet(rows, "t", "and 3 more")
    places = [np.argwhere((sheet == colour).all(-1)).mean(0) for colour in COLOURS]
    assert places[0][0] == places[1][0] < places[2][0] == places[3][0]
    assert places[0][1] == places[2][1] < places[1][1] == places[3][1]
    shorter = suspect_sheet(rows, "t")
    assert sheet.shape[0] > shorter.shape[0]


def test_long_names_are_shortened_and_line_breaks_do_no_harm():
    one = suspect([plain(COLOURS[0])], [plain(COLOURS[1])])
    long = suspect([plain(COLOURS[0])], [plain(COLOURS[1])], "kick/" + "very\nlong " * 60)
    sheet, longer = suspect_sheet([one], "t"), suspect_sheet([long], "t" * 500)
    assert sheet.shape == longer.shape
    assert (longer[:, -20:] == 255).all()
    middle = int(np.argwhere((sheet == COLOURS[1]).all(-1))[:, 1].min())
    assert (longer[60:, middle:] == sheet[60:, middle:]).all(), "the other clip's half is untouched"


def test_an_empty_sheet_is_refused():
    with pytest.raises(ValueError, match="needs a clip"):
        suspect_sheet([], "t")
