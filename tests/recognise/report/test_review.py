"""A review comes back as it was said, and what is wrong with one is named."""

from pathlib import Path

import pytest

from fsar_cli.errors import DataError
from fsar_cli.recognise.report import ReviewRow, read_review

HEAD = "video,start,end,class,verdict\r\n"
ROW = ReviewRow("/a b/c.mp4", 1.5, 3.25, "kick", "confirmed")


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "review.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "/a b/c.mp4,1.500,3.250,kick,confirmed\r\n",
        "\ufeff" + HEAD + "/a b/c.mp4,1.5,3.25,kick,confirmed",
        HEAD.replace("\r\n", "\n") + "\n/a b/c.mp4,1.5,3.25,kick,confirmed\n\n",
        "Verdict, Class ,end,start,video,note\nconfirmed,kick,3.25,1.5,/a b/c.mp4,mine\n",
        "video;start;end;class;verdict\n/a b/c.mp4;1.5;3.25;kick;confirmed\n",
    ],
    ids=["as saved", "byte order mark", "blank lines", "other order", "semicolons"],
)
def test_a_review_is_read_however_it_was_saved(tmp_path: Path, text: str) -> None:
    assert read_review(written(tmp_path, text)) == [ROW]


def test_cells_keep_commas_quotes_line_breaks_and_signs_of_formulas(tmp_path: Path) -> None:
    text = HEAD + '"a,""b""\nc.mp4",0,1,=1+1,changed\r\n@v.mp4,2.000,3.000,normal,rejected\r\n'
    rows = read_review(written(tmp_path, text))
    assert [(row.video, row.cls) for row in rows] == [('a,"b"\nc.mp4', "=1+1"), ("@v.mp4", "normal")]


def test_a_review_of_nothing_has_no_rows(tmp_path: Path) -> None:
    assert read_review(written(tmp_path, HEAD)) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'video'"),
        ("video,start,end,class\nv,0,1,kick\n", "no column 'verdict'"),
        (HEAD + "v,0,1,kick,confirmed\nv,0,1,kick,maybe\n", "line 3: verdict 'maybe'; allowed are confirmed, "),
        (HEAD + "v,nan,1,kick,confirmed\n", "line 2: start 'nan'"),
        (HEAD + "v,0,inf,kick,confirmed\n", "line 2: end 'inf'"),
        (HEAD + "v,-1,1,kick,confirmed\n", "line 2: start '-1'"),
        (HEAD + "v,0:12,1,kick,confirmed\n", "line 2: start '0:12'; it must be a number of seconds"),
        (HEAD + "v,,1,kick,confirmed\n", "line 2: start ''"),
        (HEAD + "v,2,2,kick,confirmed\n", "line 2: end 2 is not later than start 2"),
        (HEAD + "v,2,1,kick,confirmed\n", "line 2: end 1 is not later than start 2"),
        (HEAD + ",0,1,kick,confirmed\n", "line 2: the video is empty"),
        (HEAD + "v,0,1, ,changed\n", "line 2: the class is empty"),
        (HEAD + "v,0,1,kick,rejected\n", "line 2: class 'kick' of a rejected event; it must be 'normal'"),
        (HEAD + "v,0,1,kick\n", "line 2: 4 cells where the first row has 5"),
        (HEAD + "a,b,0,1,kick,confirmed\n", "line 2: 6 cells"),
        ("video,video,start,end,class,verdict\n", "twice"),
        (b"video\xff", "not UTF-8 text (byte 5)"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_value(tmp_path: Path, text: str | bytes, words: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_review(file)
    assert words in caught.value.message
    assert str(file) in caught.value.message


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_a_review_that_is_no_file_is_an_error_of_the_data(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_review(tmp_path / name)
