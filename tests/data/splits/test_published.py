"""The published list forms: read alike, and written so that a complete tree gives the published lines back."""

from pathlib import Path

import pytest
from trees import tree_of

from fsar_cli.data.naming import fold
from fsar_cli.data.splits import Splits, Video
from fsar_cli.data.splits.lists import find_lists
from fsar_cli.data.splits.making import make, remake
from fsar_cli.data.splits.protocols import SPLITS, protocol
from fsar_cli.data.splits.published import FORMS, lines_of, read_bytes, read_list, read_lists, write_lists
from fsar_cli.errors import DataError, UsageError

from .test_protocols import LISTS


def lists_of(shared: Path, folder: str) -> dict[str, Path]:
    return {s: path for s in SPLITS for path in (shared / "reference/splits" / folder).glob(f"{s}*")}


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("air drumming/-VtLx-mcPds_000012_000022", ("air drumming", "-VtLx-mcPds_000012_000022")),
        ("fencing/1899_(Hamlet) [the]_fencing_f_cm; !&'", ("fencing", "1899_(Hamlet) [the]_fencing_f_cm; !&'")),
        ("train0//videos/air_drumming/-VtLx-mcPds.mp4", ("air_drumming", "-VtLx-mcPds")),
        ("val3//val_256/a b/c.d.MKV", ("a b", "c.d")),
        ("walk\\clip_0.avi 12", ("walk", "clip_0")),
        ("Laying something, not upright/7", ("Laying something, not upright", "7")),
    ],
)
def test_a_line_of_every_form(line, entry):
    assert read_list(line.encode(), "list") == [entry]
    around = f"\ufeff\r\n  \r\n{line}\r\n\r\nother/1\r\n"
    assert read_list(around.encode(), "list") == [entry, ("other", "1")]


@pytest.mark.parametrize("line", ["78687", "a/b/c", "/b", "a/", "train0//b.avi", "train0//a//b.avi"])
def test_a_line_of_no_form_is_named(line):
    with pytest.raises(DataError, match=r"my\.list, line 3 is of no known form: '") as error:
        read_list(f"a/b\n\n{line}\n".encode(), "my.list")
    assert "class/video" in error.value.hint


def test_other_files_are_refused():
    with pytest.raises(DataError, match="x is not UTF-8 text"):
        read_list(b"a/b\xff", "x")
    with pytest.raises(DataError, match="x lists no video"):
        read_list(b"\n \r\n", "x")
    with pytest.raises(DataError, match="x lists a/b twice, in lines 1 and 3"):
        read_list(b"a/b\nc/d\na/b.mp4\n", "x")


def test_hyrsm_lists_have_the_classes_of_cmn_and_other_clips(shared):
    different = bare_names = 0
    for split, path in lists_of(shared, "hyrsm_kinetics100").items():
        theirs = read_list(path.read_bytes(), path.name)
        cmn = read_list((lists_of(shared, "kinetics_CMN")[split]).read_bytes(), "cmn")
        assert {fold(cls) for cls, _ in theirs} == {fold(cls) for cls in protocol("kinetics100-cmn").classes[split]}
        different += len({video[:11] for _, video in theirs} - {video[:11] for _, video in cmn})
        bare_names += sum(len(video) == 11 for _, video in theirs)
    assert (different, bare_names) == (277, 579)
    note = protocol("kinetics100-cmn").variants[0].note
    assert str(different) in note and str(bare_names) in note


@pytest.mark.parametrize("name", ["kinetics100-cmn", "ssv2-cmn", "hmdb51-arn"])
def test_exported_lists_of_a_complete_tree_are_the_published_lines(shared, tmp_path, name):
    published = {split: path.read_text().splitlines() for split, path in lists_of(shared, LISTS[name]).items()}
    tree = tree_of(line for lines in published.values() for line in lines)
    lists = find_lists(protocol(name), [shared / "reference" / "splits"])
    made = make(name, tree, published=lists)
    for form, names in FORMS.items():
        files = write_lists(made.splits, form, tmp_path / "to" / form)
        assert [path.name for path in files.values()] == list(names.values())
        for split, lines in published.items():
            assert files[split].read_text() == "".join(f"{line}\n" for line in sorted(lines))


def test_exported_lists_are_read_as_the_same_videos(tmp_path):
    rows = [("train", Video("kick it", f"Kick_It/{i}, [a] !&'", "g")) for i in range(3)]
    splits = Splits((*rows, ("test", Video("run", "flat/x.avi")), ("test", Video("run", "flat/x.mp4"))))
    files = write_lists(splits, "cmn", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.list", "train.list"] and len(files) == 2
    assert read_list(files["train"].read_bytes(), "x") == [("kick it", f"{i}, [a] !&'") for i in range(3)]
    assert lines_of(splits, "test") == ["run/x.avi", "run/x.mp4"]


@pytest.mark.parametrize("form", FORMS)
def test_exported_lists_are_read_back_as_the_split_they_were(tmp_path, form):
    classes = {"train": ("walk it", "run"), "val": ("sit",), "test": ("fall",)}
    files = ("a.avi", "a.mp4", "b (1)", "clip 1", "clip 2", r"c\d")
    rows = [(split, Video(cls, f"{cls}/{file}")) for split in classes for cls in classes[split] for file in files]
    splits = Splits(tuple(rows))
    write_lists(splits, form, tmp_path)
    assert remake(read_lists(tmp_path), tree_of(video.id for _, video in rows)).splits.rows == splits.rows


def test_numbers_of_classes_are_dropped_and_those_of_names_are_not():
    assert read_list(b"a/x 1\na/y 1\nb/x 2\n", "x") == [("a", "x"), ("a", "y"), ("b", "x")]
    assert read_list(b"a/x 1\na/x 2\nb/x 1\n", "x") == [("a", "x 1"), ("a", "x 2"), ("b", "x 1")]
    assert read_list(b"a/x.avi 1\na/y.avi\n", "x") == [("a", "x"), ("a", "y")]


def test_other_names_of_lists_are_known_and_a_folder_without_one_set_is_refused(tmp_path):
    for name, text in (("train.txt", "a/1\r\n"), ("Validation.list", "b\\1\n"), ("classInd.txt", "1 a\n")):
        (tmp_path / name).write_text(text)
    assert read_lists(tmp_path).rows == (("train", Video("a", "a/1")), ("val", Video("b", "b/1")))
    (tmp_path / "testlist01.txt").write_text("a/2\n")
    with pytest.raises(DataError, match="the class 'a' is in two splits, train and test"):
        read_lists(tmp_path)
    (tmp_path / "testlist02.txt").write_text("c/2\n")
    with pytest.raises(DataError, match=r"has several lists of test: testlist01\.txt, testlist02\.txt"):
        read_lists(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no split lists in the folder"):
        read_lists(tmp_path / "empty")


def test_lists_are_replaced_only_by_force(tmp_path):
    splits = Splits((("test", Video("a", "a/1")),))
    write_lists(splits, "trx", tmp_path)
    with pytest.raises(UsageError, match=r"testlist03\.txt exists"):
        write_lists(splits, "trx", tmp_path)
    write_lists(Splits((("test", Video("a", "a/2")),)), "trx", tmp_path, force=True)
    assert (tmp_path / "testlist03.txt").read_text() == "a/2\n"


def test_lists_of_another_split_file_never_stay_beside_new_ones(tmp_path):
    write_lists(Splits((("train", Video("a", "a/1")), ("test", Video("b", "b/1")))), "trx", tmp_path)
    fewer = Splits((("test", Video("a", "a/1")),))
    with pytest.raises(UsageError, match=r"trainlist03\.txt, .*testlist03\.txt exists"):
        write_lists(fewer, "trx", tmp_path)
    write_lists(fewer, "trx", tmp_path, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["testlist03.txt"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Video("a/b", "x/1")], "does not fit a line"),
        ([Video("a", "x/1\n2")], "does not fit a line"),
        ([Video("a", "x/1"), Video("a", "y/1")], "x/1 and y/1 would both be the line 'a/1'"),
    ],
)
def test_names_that_fit_no_line_are_refused_before_anything_is_written(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        write_lists(Splits(tuple(("test", video) for video in rows)), "trx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_form(tmp_path):
    with pytest.raises(UsageError, match="unknown form 'otam'") as error:
        write_lists(Splits((("test", Video("a", "a/1")),)), "otam", tmp_path)
    assert error.value.hint == "allowed: trx, cmn"


def test_a_folder_of_the_name_of_a_list_is_refused_in_the_words_of_the_system(tmp_path):
    (tmp_path / "train.list").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*train\.list: Is a directory"):
        read_bytes(tmp_path / "train.list")
