"""The split file: format, order, digest, refusals."""

import csv
import hashlib

import pytest

from fsar_cli.data.splits import Splits, Video
from fsar_cli.errors import DataError

NASTY = [
    'say "no", [bold]or[/] (not)!',
    "#1 & it's;done",
    "  spaces  ",
    "日本語 é ü",
    "a,b",
    "two\nlines",
    "return\rhere",
    "100%\ttab",
    "-dash",
    "=1+1",
]


def rows(*texts: str) -> tuple[tuple[str, Video], ...]:
    """Rows from "split class video group" texts."""
    return tuple((split, Video(*rest)) for split, *rest in (text.split() for text in texts))


SMALL = rows("test b b/1 g", "train a a/2", "train a a/1 g", "val c c/1", "train A A/9")


def test_any_name_survives_the_file(tmp_path):
    made = Splits(tuple(("train", Video(name, f"{name}/{other}", other)) for name in NASTY for other in NASTY))
    made.write(tmp_path / "splits.csv")
    again = Splits.read(tmp_path / "splits.csv")
    assert again.rows == made.rows and len(again.rows) == len(NASTY) ** 2 and not again.edited
    with (tmp_path / "splits.csv").open(encoding="utf-8", newline="") as file:
        header, *body = [line for line in csv.reader(file) if not line[0].startswith("# ")]
    assert header == ["split", "class", "video", "group"]
    assert sorted(body) == sorted(["train", video.cls, video.id, video.group] for _, video in made.rows)


def test_bytes_do_not_depend_on_the_order_given(tmp_path):
    header = {"style": "arn", "seed": "3"}
    Splits(SMALL, header).write(tmp_path / "a.csv")
    Splits(SMALL[::-1], header).write(tmp_path / "b.csv")
    text = (tmp_path / "a.csv").read_text()
    assert text == (tmp_path / "b.csv").read_text()
    assert text.startswith("# fsar-splits: 1\n# style: arn\n# seed: 3\n# digest: ")
    assert text.endswith("group\ntrain,A,A/9,\ntrain,a,a/1,g\ntrain,a,a/2,\nval,c,c/1,\ntest,b,b/1,g\n")


def test_digest_is_the_hash_of_the_rows_as_written(tmp_path):
    made = Splits(SMALL)
    made.write(tmp_path / "splits.csv")
    body = (tmp_path / "splits.csv").read_bytes().split(b"split,class,video,group\n")[1]
    assert made.digest == hashlib.sha256(body).hexdigest()
    assert Splits(SMALL[:-1]).digest != made.digest


def test_access_by_split_and_class():
    made = Splits(SMALL)
    assert made.names == ("train", "val", "test")
    assert made.classes("train") == ("A", "a")
    assert made.videos("train", "a") == [Video("a", "a/1", "g"), Video("a", "a/2", "")]
    assert [video.id for video in made.videos("train")] == ["A/9", "a/1", "a/2"]
    assert made.counts() == {"train": (2, 3), "val": (1, 1), "test": (1, 1)}


def test_a_list_written_by_hand_is_read(tmp_path):
    path = tmp_path / "hand.csv"
    path.write_bytes(b'\xef\xbb\xbfvideo,split,class\r\na/1,train,a\r\n"b/x, y",test,b\r\n')
    again = Splits.read(path)
    assert again.rows == (("train", Video("a", "a/1")), ("test", Video("b", "b/x, y")))
    assert again.header == {} and not again.edited


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *[(name, "a/x") for name in (r"a\x", "./a/x", r".\a\x", "a//x", "a/x/", "/data/a/x", "../a/x", r"C:\a\x", "x")],
        *[("a/x.avi", "a/x.avi"), ("a/x ", "a/x "), (r"a/b\x", r"a/b\x"), ("b/c/x", "b/c/x")],
    ],
)
def test_paths_and_names_alone_are_ids(tmp_path, written, read):
    path = tmp_path / "hand.csv"
    path.write_text(f'Split; CLASS;video\r\nTrain;a;"{written}"\r\n')
    assert Splits.read(path).rows == (("train", Video("a", read)),)


def test_an_edited_file_tells(tmp_path):
    path = tmp_path / "splits.csv"
    Splits(SMALL).write(path)
    path.write_text(path.read_text().replace("train,a,a/2,\n", ""))
    assert Splits.read(path).edited


def test_writing_again_keeps_the_header_but_not_the_old_digest(tmp_path):
    path = tmp_path / "splits.csv"
    Splits(SMALL, {"protocol": "none"}).write(path)
    read = Splits.read(path)
    Splits(read.rows[1:], read.header).write(path)
    again = Splits.read(path)
    assert again.header["protocol"] == "none" and not again.edited
    assert again.header["counts"] == "train 2 videos of 1, val 1 videos of 1, test 1 videos of 1"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "splits.csv"
    Splits(SMALL).write(path)
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        Splits(rows("test a a/\udc80")).write(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["splits.csv"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["tests a a/1"], "unknown split 'tests' of a/1"),
        (["train a a/1", "train a a/1 g"], "the video a/1 is listed twice"),
        (["train a a/1", "test a a/2"], "the class 'a' is in two splits, train and test"),
    ],
)
def test_rows_that_make_no_split_are_refused(lines, message):
    with pytest.raises(DataError, match=message):
        Splits(rows(*lines))
    with pytest.raises(DataError, match="lacks its class or video"):
        Splits((("train", Video("a", "")),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "no column split, class, video in the first row"),
        (b"# fsar-splits: 2\nsplit,class,video,group\n", "version 2 of the format is newer"),
        (b"split,class,video\n\xff\xfe", "is not UTF-8 text"),
        (
            b"split,class,video\ntrain,a,a/1\ntest,a,a/2\n",
            "row 3: the class 'a' is in two splits, train .since row 2.",
        ),
        (b'split,class,video\ntrain,a,"a/1\ntrain,a,a/2\n', "a double quote has no second one: rows run together"),
        (b"", "no column split, class, video in the first row after the header, as there is none"),
        (b"# x: y\nsplit,class,video\n", "there is no video in it"),
        (b"split,class\n", "no column video in the first row after the header, which reads split,class"),
        (b"# x: y\nsplit,class,video\ntrain,a,\n", "row 3: a row of split 'train' lacks its class or video: no video"),
        (b"split,class,video\ntrain,a,a/1\ntrain,a,a\\1\n", "row 3: the video a/1 is listed twice, in row 2 too"),
        (b"split,class,video\ntrain,a,a/1,2\n", "row 2: 4 cells under 3 columns"),
        (b"split,class,video\ntrains,a,a/1\n", "row 2: unknown split 'trains' of a/1"),
        (b"split,class,video\ntrain,a,a/..\n", "row 2: 'a/..' names no video"),
        (b"split,class,video\ntrain,A,a/1\ntrain,a,a/2\n", "row 3: the class 'a' is 'A' in row 2"),
    ],
)
def test_files_that_are_no_split_list_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        Splits.read(path)
    assert "bad.csv" in error.value.message


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="cannot read the split file") as error:
        Splits.read(tmp_path / "none.csv")
    assert "fsar splits make" in error.value.hint


def test_unknown_split_and_class_get_suggestions():
    made = Splits(SMALL)
    with pytest.raises(DataError, match="no split 'tests'") as split:
        made.classes("tests")
    assert split.value.hint == "did you mean 'test'?"
    with pytest.raises(DataError, match="no class 'zz' in split 'val'"):
        made.videos("val", "zz")


def test_a_line_of_the_header_without_a_colon_is_a_remark(tmp_path):
    (tmp_path / "a.csv").write_text("# made by hand\n# style: arn\nsplit,class,video\ntrain,a,a/1\n")
    made = Splits.read(tmp_path / "a.csv")
    assert made.header == {"style": "arn"} and made.rows == (("train", Video("a", "a/1")),)
