"""Split files, lists, annotations and stores of any bytes: a value, or a refusal in a line."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hostile import (
    changed,
    check,
    file_of,
    inputs,
    json_documents,
    json_text,
    lawful,
    mutated,
    names,
    place,
    record_of,
    seeds_of,
    splits_of,
    tried,
)
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fsar_cli.config import ExtractConfig
from fsar_cli.data.annotations.segments import read_annotations
from fsar_cli.data.checking.verdicts import Verdicts
from fsar_cli.data.naming import fold, ids_of_files, match_videos
from fsar_cli.data.splits.file import Splits, Video
from fsar_cli.data.splits.published import read_list, read_lists, write_lists
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.store.linked import FRAMES
from fsar_cli.data.store.packed import COLUMNS
from fsar_cli.data.store.records import read_manifest, write_manifest, write_settings
from fsar_cli.data.store.shards import array_of, read_at
from fsar_cli.data.store.sources import find_videos
from fsar_cli.errors import DataError, FsarError

PARSERS = ("split-file", "split-list", "annotations-text", "annotations-json", "store")
DEEP = b"[" * 900 + b"]" * 900
ROW = "walk/a,walk,/v,1,1,25.0,9,340,256,25.0,9,0.36"
KEPT = {
    "an id that leads up by its class": ("split-file", b"split,class,video\ntrain,../x,v\n"),
    "an id that begins at the root by its class": ("split-file", b"split,class,video\ntrain,/etc,v\n"),
    "a split file of comments alone": ("split-file", b"#\n" * 500_000),
    "a list with a line of blanks": ("split-list", b"a/b" + b" " * 200_000 + b"x\n"),
    "a column of half a megabyte": ("split-file", b"split,class,video\ntrain,a," + b"x" * 500_000),
    "a value that cannot be shown, as it is too deep": ("annotations-json", b'{"a": [' + DEEP + b"]}"),
    "a segment that is too deep": (
        "annotations-json",
        b'{"database": {"a": {"annotations": [{"segment": ' + DEEP + b"}]}}}",
    ),
    "settings that are too deep": ("store", b"\1" + b"[" * 100_000),
    "settings of a key of two lines": ("store", b'\1{"schema": 1, "short_side": 1, "a\\nb": 1}'),
    "a manifest of a column of half a megabyte": ("store", b"\0video,source_frames\n" + b"x" * 500_000 + b"\n"),
    "a manifest of numbers that are none": ("store", f"\0h\n{ROW.replace('0.36', 'nan')}\n".encode()),
    "a manifest of pictures of no size": ("store", f"\0h\n{ROW.replace('340', '0')}\n".encode()),
    "a manifest of a terapixel": ("store", f"\0h\n{ROW.replace('340', '4000000000')}\n".encode()),
    "a manifest that leads out of its folder": ("store", f"\0h\n../{ROW}\n".encode()),
    "a manifest with NUL in a name": ("store", b"\0h\n" + ROW.replace("walk/a", "walk/a\0").encode() + b"\n"),
    "an index of four columns": ("store", b"\2video,shard\nwalk/a,1,2,x\n"),
}


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_valid_keeps_the_law(name: str) -> None:
    for data in seeds_of(name):
        check(name, data)


@pytest.mark.parametrize("name", KEPT)
def test_a_file_that_once_broke_it_keeps_the_law(name: str) -> None:
    check(*KEPT[name])


@pytest.mark.parametrize("name", PARSERS)
@tried(60)
@given(data=st.data())
def test_any_bytes_are_read_or_refused_in_a_line(name: str, data: st.DataObject) -> None:
    check(name, data.draw(inputs(name)))


@tried(150)
@given(changed(json_documents()).map(json_text))
def test_annotations_with_other_values_are_read_or_refused(data: bytes) -> None:
    check("annotations-json", data)


@tried(60)
@given(st.lists(st.tuples(names(), names(), names(), names()), min_size=1, max_size=4), st.sampled_from(",;\t"))
def test_tables_of_odd_cells_are_read_or_refused(rows: list[tuple[str, ...]], mark: str) -> None:
    text = "\n".join(mark.join(row) for row in [("video", "start", "end", "class"), *rows])
    check("annotations-text", b"\0" + text.encode("utf-8", "replace"))
    text = "\n".join(mark.join(row) for row in [("split", "class", "video", "group"), *rows])
    check("split-file", text.encode("utf-8", "replace"))


@tried(150)
@given(names(), names(), names())
def test_split_files_hold_any_name(cls: str, video: str, group: str) -> None:
    for name in (cls, video, group):
        assume("\ud800" not in name and not any("\ud800" <= sign <= "\udfff" for sign in name))
    parts = [part for part in video.split("/") if part not in ("", ".", "..")]
    assume(cls.strip() and parts and "\\" not in video and ":" not in video)
    splits = Splits((("train", Video(cls, f"folder/{'/'.join(parts)}", group)),), {"protocol": "none"})
    with place() as folder:
        splits.write(folder / "a.csv")
        assert Splits.read(folder / "a.csv").rows == splits.rows


@tried(100)
@given(names(), names())
def test_lists_hold_a_name_that_fits_a_line_or_refuse_it(cls: str, stem: str) -> None:
    assume(cls and not any("\ud800" <= sign <= "\udfff" for sign in cls + stem))
    splits = Splits((("train", Video(cls, f"x/{stem}")), ("test", Video(f"{cls}2", "y/b"))))
    with place() as folder:
        if lawful(lambda: write_lists(splits, "trx", folder)) is not None:
            again = lawful(lambda: read_lists(folder))
            assert again is None or {video.cls for _, video in again.rows} <= {cls, f"{cls}2"}


@tried(150)
@given(names(), names())
def test_a_manifest_holds_any_name_that_a_file_can_have(name: str, source: str) -> None:
    assume(not any("\ud800" <= sign < "\udc80" or (sign > "\udcff" and sign <= "\udfff") for sign in name + source))
    assume("\0" not in name + source and not {"", ".", ".."} & set(name.split("/")))
    record = record_of(f"walk/{name}", source=source)
    with place() as folder:
        write_manifest(folder, [record, replace(record, id="b/c")])
        assert [found.id for found in read_manifest(folder)] == [record.id, "b/c"]


@tried(300)
@given(st.one_of(names(), st.text(max_size=20)))
@example("e-\u0301")
@example("\u0345\u0301")
def test_a_folded_name_is_folded_already(name: str) -> None:
    assert fold(fold(name)) == fold(name)


@tried(100)
@given(st.lists(names(), max_size=5), st.lists(names(), max_size=5))
def test_each_name_of_a_list_is_found_missing_or_ambiguous(wanted: list[str], files: list[str]) -> None:
    asked = {f"walk/{name}" for name in wanted}
    matches = match_videos(asked, ids_of_files("Walk", set(files)).values())
    told = [*matches.found, *matches.missing, *matches.ambiguous]
    assert sorted(told) == sorted(asked)
    assert len(set(matches.found.values())) == len(matches.found)


@tried(100)
@given(
    st.one_of(st.lists(st.tuples(names(), names()), max_size=4), st.binary(max_size=40)),
    st.sampled_from([".csv", ".txt"]),
)
def test_lists_of_videos_are_read_or_refused(rows: list[tuple[str, str]] | bytes, ending: str) -> None:
    text = (
        rows if isinstance(rows, bytes) else "\n".join(["path,class", *map(",".join, rows)]).encode("utf-8", "replace")
    )
    with place() as folder:
        file = file_of(text, f"list{ending}", folder)
        found = lawful(lambda: find_videos([file]), len(text))
        for source in found.sources if found else ():
            assert len(source.id.split("/")) >= 2 and not source.id.startswith(("/", "."))


@pytest.mark.parametrize(
    "text", [b"path,class\nx.mp4", b'path\n"' + b"x" * 200_000, b"class,path\nwalk\n", b"path\nx\0.mp4\n", b"path\n,\n"]
)
def test_a_list_of_videos_that_once_broke_it_keeps_the_law(text: bytes, tmp_path: Path) -> None:
    file = file_of(text, "list.csv", tmp_path)
    lawful(lambda: find_videos([file]), len(text))


def _saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@tried(150)
@given(st.data())
def test_a_table_is_an_array_of_its_bytes_or_refused(data: st.DataObject) -> None:
    whole = bytearray(_saved(np.zeros(3, COLUMNS)))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(whole)))
        whole[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8) | st.just(b"99999999999"))

    def read() -> np.ndarray | None:
        try:
            return array_of(bytes(whole))
        except ValueError:
            return None

    table = lawful(read, len(whole))
    assert table is None or table.nbytes <= len(whole)


def _store(folder: Path, kind: str, table: bytes, index: str = "0,0,{size},0,0,") -> FrameStore:
    write_manifest(folder, [record_of(frames=3)])
    write_settings(folder, ExtractConfig(store=kind, short_side=256, clips="whole"))
    file_of(table, "shards/000000.tar", folder)
    file_of(f"h\nwalk/a,{index.format(size=len(table))}\n".encode(), "shards/index.csv", folder)
    return FrameStore(folder)


def _zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


ENTRIES = _saved(np.zeros((1, 2), np.int64))
TABLES = {
    "an archive instead of an array": ("packed", _zipped({"frames.npy": b""})),
    "an array that claims a terabyte": (
        "packed",
        _saved(np.zeros(3, COLUMNS)).replace(b"(3,)   ", b"(3000000000000,)"[:7]),
    ),
    "frames before the beginning of a shard": ("packed", _saved(np.full(9, -5, np.int64).view(COLUMNS))),
    "an array instead of an archive": ("videos", _saved(np.zeros(3, FRAMES))),
    "an archive of a bomb": ("videos", _zipped({"frames.npy": bytes(2**27), "entries.npy": ENTRIES})),
    "an archive without its tables": ("videos", _zipped({"x": b""})),
    "tables of other shapes": (
        "videos",
        _zipped({"frames.npy": _saved(np.zeros((3, 1), FRAMES)), "entries.npy": ENTRIES}),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_a_shard_that_once_broke_it_is_refused(name: str, tmp_path: Path) -> None:
    store = _store(tmp_path, *TABLES[name])
    for use in (
        lambda: store.read("walk/a", [0]),
        lambda: store.fingerprint("walk/a"),
        lambda: store.seconds("walk/a"),
    ):
        lawful(use)
    with pytest.raises(DataError):
        store.read("walk/a", [0])


@pytest.mark.parametrize(
    "index",
    ["0,0,999999999999999999,0,0,", "0,-9,5,0,0,", f"0,{'9' * 30},5,0,0,", "9999999999999999,0,5,0,0,", "0,0,x,0,0,"],
)
def test_an_index_that_leads_beyond_its_shard_is_refused(index: str, tmp_path: Path) -> None:
    store = _store(tmp_path, "packed", b"abc", index)
    lawful(lambda: store.fingerprint("walk/a"))
    with pytest.raises(DataError):
        store.seconds("walk/a")


@pytest.mark.parametrize(("at", "size"), [(-1, 2), (0, -1), (0, 4), (2**70, 1), (0, 2**70)])
def test_no_more_is_read_than_a_file_holds(at: int, size: int, tmp_path: Path) -> None:
    with file_of(b"abc", "x", tmp_path).open("rb") as file, pytest.raises(EOFError):
        read_at(file, at, size)


@tried(100)
@given(st.one_of(changed([["/v/a.mp4", 5, 7, 9, ""]]).map(json_text), st.binary(max_size=30), st.just(b"[" * 99_999)))
def test_kept_verdicts_are_of_their_kind_or_passed_over(line: bytes) -> None:
    with place() as folder:
        with Verdicts(folder, folder) as kept:
            file = kept.file
        file.write_bytes(line + b"\n")

        def read() -> list:
            with Verdicts(folder, folder) as kept:
                return list(kept._kept.values())

        for verdict in lawful(read, len(line)) or ():
            assert isinstance(verdict.frames, int) and isinstance(verdict.reason, str)


def test_a_long_list_is_read_in_a_moment() -> None:
    lines = b"".join(b"walk/a%d 1\n" % number for number in range(20_000))
    assert len(lawful(lambda: read_list(lines, "x"), len(lines))) == 20_000


@tried(40)
@given(mutated("annotations-json"), mutated("annotations-text"))
def test_a_folder_of_hostile_annotations_is_read_or_refused(one: bytes, other: bytes) -> None:
    with place() as folder:
        paths = [file_of(one, "a.json", folder), file_of(other[1:], "test.csv", folder)]
        lawful(lambda: read_annotations([folder]), len(one) + len(other))
        lawful(lambda: read_annotations(paths), len(one) + len(other))


def test_a_valid_split_file_stays_itself(tmp_path: Path) -> None:
    splits_of().write(tmp_path / "a.csv")
    assert Splits.read(tmp_path / "a.csv").rows == splits_of().rows
    with pytest.raises(FsarError):
        Splits.read(tmp_path)
