"""Temporal annotations: every form is read, every defect is named, and nothing disappears without a word."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from fsar_cli.data.annotations.annotated import Annotations
from fsar_cli.data.annotations.segments import read_annotations
from fsar_cli.data.annotations.times import HOW, Segment
from fsar_cli.data.splits.protocols import protocol
from fsar_cli.errors import DataError

HEADER = "Filepath, 1.action start, 1.action end, 2.action start, 2.action end,,,"


def _write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode())
    return path


def _spans(*pairs: tuple[float, float]) -> tuple[Segment, ...]:
    return tuple(Segment(*pair) for pair in pairs)


def _kinds(found: Annotations) -> list[tuple[str, str, bool]]:
    return [(finding.kind, finding.video, finding.dropped) for finding in found.findings]


def test_the_four_forms_say_the_same(tmp_path: Path) -> None:
    entries = {"Abuse/a_x264.mp4": [{"start": 5, "end": 8}, {"start": 10.5, "end": 12}]}
    files = [
        _write(tmp_path / "a.json", entries),
        _write(tmp_path / "b.csv", f"{HEADER}\nAbuse/a_x264.mp4,5,8,10.5,12,,,\n"),
        _write(tmp_path / "c.csv", "class,video,start,end\nAbuse,a_x264.mp4,5,8\nAbuse,a_x264.mp4,10.5,12\n"),
        _write(tmp_path / "d.csv", "video,start,end\nAbuse/a_x264,5,8\nAbuse/a_x264,10.5,12\n"),
        _write(tmp_path / "e.txt", "a_x264.mp4  Abuse  150  240  315  360\n"),
    ]
    for file in files:
        found = read_annotations([file])
        assert found.by_id() == {"Abuse/a_x264": _spans((5, 8), (10.5, 12))}, file.name
        assert found.findings == (), file.name


def test_frames_of_the_txt_count_thirty_a_second(tmp_path: Path) -> None:
    lines = "Abuse028_x264.mp4  Abuse  165  240  -1  -1  \nNormal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1\n"
    found = read_annotations([_write(tmp_path / "a.txt", lines)])
    assert found.by_id() == {"Abuse/Abuse028_x264": _spans((5.5, 8))}
    assert _kinds(found) == [("class", "Normal/Normal_Videos_003_x264", True)]


def test_json_defects_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    text = """{
        "Abuse/none.mp4": [],
        "Abuse/back.mp4": [{"start": 9, "end": 3}],
        "Abuse/still.mp4": [{"start": 4, "end": 4}, {"start": 5, "end": 6}],
        "Abuse/minus.mp4": [{"start": -1, "end": 6}],
        "Abuse/word.mp4": [{"start": "x", "end": 6}, {"start": true, "end": 6}, {"start": NaN, "end": 6}],
        "Abuse/half.mp4": [{"start": 1}, {"start": 2, "end": 3}],
        "Abuse/flash.mp4": [{"start": 1, "end": 1.001}],
        "Abuse/list.mp4": 7,
        "Abuse/pile.mp4": [{"start": 20, "end": 30}, {"start": 1, "end": 9}, {"start": 8, "end": 12},
                           {"start": 12, "end": 13}, {"start": 20, "end": 30},
                           {"start": 21, "end": 22}],
        "Abuse/twice.mp4": [{"start": 1, "end": 2}],
        "Abuse/twice.mp4": [{"start": 4, "end": 5}],
        "Abuse/same.mp4": [{"start": 1, "end": 2}],
        "Abuse/same.mp4": [{"start": 1, "end": 2}],
        "Abuze/other.MP4": [{"start": 1, "end": 2}],
        "lost.mp4": [{"start": 1, "end": 2}],
        "../up.mp4": [{"start": 1, "end": 2}],
        "banner7.mp4": [{"start": 1, "end": 2}]
    }"""
    found = read_annotations([_write(tmp_path / "a.json", text)])
    usable = {video: segments for video, segments in found.by_id().items() if segments}
    assert usable == {
        "Abuse/half": _spans((2, 3)),
        "Abuse/pile": _spans((1, 12), (12, 13), (20, 30)),
        "Abuse/same": _spans((1, 2)),
        "Abuse/still": _spans((5, 6)),
        "Abuse/twice": _spans((1, 2), (4, 5)),
        "Abuze/other": _spans((1, 2)),
        "Banner/banner7": _spans((1, 2)),
        "lost": _spans((1, 2)),
    }
    empty = ["Abuse/back", "Abuse/flash", "Abuse/list", "Abuse/minus", "Abuse/none", "Abuse/word"]
    assert sorted(found.by_id().keys() - usable.keys()) == empty
    assert sorted(_kinds(found)) == sorted(
        [
            *[("time", f"Abuse/{name}", True) for name in ("back", "still", "minus", "half", "list", "flash")],
            *[("time", "Abuse/word", True)] * 3,
            *[("repeated", "Abuse/pile", False)] * 2,
            ("repeated", "Abuse/pile", True),
            ("repeated", "Abuse/twice", False),
            ("repeated", "Abuse/same", True),
            ("class", "Abuze/other", False),
            ("class", "", False),
            ("class", "../up.mp4", True),
            ("class", "Banner/banner7", False),
            *[("missing", f"Abuse/{name}", False) for name in ("none", "back", "flash", "list", "minus", "word")],
        ]
    )
    texts = {finding.video: finding.text for finding in found.findings if finding.kind == "time"}
    assert texts["Abuse/back"] == "start 9, end 3: it ends before it starts"
    assert texts["Abuse/minus"].endswith("before the video starts")
    assert texts["Abuse/flash"].endswith("shorter than a frame")
    assert "start nan, end 6: the start is no time" in texts["Abuse/word"]
    assert texts["Abuse/still"] == "start 4, end 4: it ends where it starts"


def test_csv_defects_are_named_with_their_rows(tmp_path: Path) -> None:
    rows = ["Arson/odd.mp4,2,17,34,,", "Arson/word.mp4,two,17,,", "Arson/gap.mp4,,,3,4,", "banner01,1,2", "", ",,,"]
    file = _write(tmp_path / "a.csv", "\ufeff" + "\r\n".join([HEADER, *rows]))
    found = read_annotations([file])
    assert found.by_id() == {
        "Arson/gap": _spans((3, 4)),
        "Arson/odd": _spans((2, 17)),
        "Arson/word": (),
        "Banner/banner01": _spans((1, 2)),
    }
    assert [(finding.kind, finding.text) for finding in found.findings] == [
        ("time", "row 2: the last start, 34, has no end"),
        ("time", f"row 3: start 'two', end '17': the start is no time; {HOW}"),
        ("time", "row 4: start '', end '': the start is missing"),
        ("class", "row 5: 'banner01' is taken for one of Banner"),
        ("missing", "row 3: no segment is left: it can be a clip only as a whole"),
    ]


def test_own_csv(tmp_path: Path) -> None:
    rows = ['"a, b.avi",push,1,2', "kick/c.avi,push,0,4", "d.avi,push,,", "e.avi,,1,2", '"a, b.avi",push,1,2']
    found = read_annotations([_write(tmp_path / "a.csv", "\n".join(["video,class,start,end", *rows]))])
    assert found.by_id() == {
        "e": _spans((1, 2)),
        "push/a, b": _spans((1, 2)),
        "push/kick/c": _spans((0, 4)),
        "push/d": (),
    }
    assert sorted(_kinds(found)) == [
        ("class", "", False),
        ("missing", "push/d", False),
        ("repeated", "push/a, b", True),
    ]


def test_a_video_may_have_several_classes_and_a_name_several_videos(tmp_path: Path) -> None:
    rows = ["cam1/a.mp4,0,4,fight", "cam1/a.mp4,2,6,fall", "cam2/a.avi,0,4,Fight", "a,0,1,fight", "fall/b,1,2,"]
    found = read_annotations([_write(tmp_path / "a.csv", "\n".join(["video,start,end,class", *rows]))])
    assert found.by_id() == {
        "fall/b": _spans((1, 2)),
        "fall/cam1/a": _spans((2, 6)),
        "fight/a": _spans((0, 1)),
        "fight/cam1/a": _spans((0, 4)),
        "fight/cam2/a": _spans((0, 4)),
    }
    assert [str(finding) for finding in found.findings] == [
        "a.csv: fall/cam1/a: 0-4 s of fight and 2-6 s of fall share time: both count"
    ]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("a.mp4,0,1,x/y", "row 2: 'x/y' cannot be the name of a class"),
        ("a.mp4,0,1,..", "row 2: '..' cannot be the name of a class"),
        ('a.mp4,0,1,"x\ny"', "row 3: 'x\ny' cannot be the name of a class"),
        (f"a.mp4,0,1,{'x' * 256}", "row 2: the name of its class is too long"),
        (",0,1,x", "row 2: it names no video"),
        ("a, b.mp4,0,1,x", "row 2: 5 cells under 4 columns: a name that holds the sign between two cells needs double"),
        ('"a.mp4,0,1,x\nb.mp4,0,1,x\n', "row 4: a line break inside a cell: a double quote has no second one"),
        ("a.mp4,,1,x", "row 2: start '', end '1': the start is missing"),
        ("a.mp4,5,2,x", "row 2: start '5', end '2': it ends before it starts"),
        ("a.mp4", "row 2: no segment is left: it can be a clip only as a whole"),
    ],
)
def test_a_row_that_is_no_segment_is_named_and_the_others_stay(tmp_path: Path, row: str, text: str) -> None:
    file = _write(tmp_path / "a.csv", f"video,start,end,class\n{row}\n")
    if "no segment" not in text and not row.startswith('"'):
        file.write_text(f"{file.read_text()}good.mp4,0,1,x\n")
        assert read_annotations([file]).by_id()["x/good"] == _spans((0, 1))
    try:
        texts = [finding.text for finding in read_annotations([file]).findings]
    except DataError as error:
        texts = [error.message.partition("a.csv: ")[2]]
    assert any(each.startswith(text) for each in texts), texts


def test_spreadsheets_of_other_countries_and_systems(tmp_path: Path) -> None:
    texts = ["Class; Start ;END;Video\r\nx;0,5;00:00:01,5;a\r\n", "video\tstart\tend\tclass\na\t.5\t1.5\tx\n"]
    for text in texts:
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            (tmp_path / "a.txt").write_bytes(text.encode(encoding))
            assert read_annotations([tmp_path / "a.txt"]).by_id() == {"x/a": _spans((0.5, 1.5))}


def test_of_two_files_test_wins_and_else_the_later(tmp_path: Path) -> None:
    one, two = ({"Abuse/a.mp4": [{"start": 0, "end": n}]} for n in (5, 6))
    train, test = _write(tmp_path / "train.json", one), _write(tmp_path / "my_test_v1.json", two)
    latest = _write(tmp_path / "latest.json", {"ABUSE/a.mp4": [{"start": 0, "end": 7}], "Abuse/b.mp4": []})
    for files, end in (([train, test], 6), ([test, train], 6), ([train, latest], 7), ([latest, train], 5)):
        found = read_annotations(files)
        assert next(iter(found.by_id().values())) == _spans((0, end)), files
        (clash,) = [finding for finding in found.findings if finding.kind == "repeated"]
        assert clash.dropped and f"gives way to 0-{end} s of " in clash.text
    assert _kinds(read_annotations([train, _write(tmp_path / "copy.json", one)])) == [("repeated", "Abuse/a", True)]
    without = _write(tmp_path / "without.json", {"Abuse/a.mp4": []})
    assert read_annotations([train, without]).by_id() == {"Abuse/a": _spans((0, 5))}


def test_the_published_folder_and_any_other(tmp_path: Path) -> None:
    entry = [{"start": 1, "end": 2}]
    for name, video in (("train", "Abuse/a"), ("test", "Abuse/b"), ("train_v1", "Abuse/old")):
        _write(tmp_path / f"TemporalAnnotations/abnormal/{name}.json", {f"{video}.mp4": entry})
    for name in ("train", "val", "test"):
        _write(tmp_path / f"Splits/abnormal/{name}.json", {"Abuse/b.mp4": entry} if name == "val" else {})
    found = read_annotations([tmp_path])
    assert list(found.by_id()) == ["Abuse/a", "Abuse/b"]
    assert _kinds(found) == [("missing", "Abuse/a", False)]
    assert list(read_annotations([tmp_path / "TemporalAnnotations/abnormal"]).by_id()) == ["Abuse/a", "Abuse/b"]
    other = tmp_path / "other"
    _write(other / "readme.txt", "some words")
    _write(other / "a.json", {"x/c.mp4": entry})
    _write(other / "b.csv", "video,start,end\ny/d.mp4,3,4\n")
    found = read_annotations([other])
    assert list(found.by_id()) == ["x/c", "y/d"]
    assert _kinds(found) == [("form", "", True)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.json", "[1, 2]", "is not a JSON object of videos"),
        ("a.json", "{}", "no annotated video in .*, as there is no row"),
        ("a.json", '{"version": "1.3", "database": {}}', "no annotated video in .*, as there is no row"),
        ("a.json", '[{"id": 1, "text": "x"}]', "is a JSON list, but not of Label Studio's tasks with timeline labels"),
        ("a.csv", "name,from,to\n", "names neither video, start and end nor Filepath: it reads name,from,to"),
        ("a.csv", "", "names neither video, start and end nor Filepath: it is missing"),
        ("a.csv", "video,start,end\n", "no annotated video in .*, as there is no row"),
        ("a.csv", "video,start,end,start\n", "a.csv: the first row has the column 'start' twice"),
        ("a.csv", "video,start,end,class\na,0,1,x/y\n", "a.csv: row 2: 'x/y' cannot be the name of a class"),
        ("a.txt", "Abuse/Abuse028_x264.mp4\n", "line 1: not video, class, start and end"),
        ("a.xml", "<a/>", "is no file of annotations"),
    ],
)
def test_what_is_no_annotation_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_annotations([_write(tmp_path / name, content)])


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent do not exist"):
        read_annotations([tmp_path / "absent"])
    with pytest.raises(DataError, match="no annotations in the folder"):
        read_annotations([tmp_path])
    (tmp_path / "a.csv").write_bytes(b"video,start,end\ncaf\xe9,1,2\n")
    with pytest.raises(DataError, match=r"is not UTF-8 text \(byte 19\)"):
        read_annotations([tmp_path / "a.csv"])


NONE = {"Robbery055", "Robbery096", "Shooting035", "Shooting049", "Shoplifting002", "Shoplifting011"}
NONE |= {"Shoplifting023", "Shoplifting035", "Shoplifting046"}
BACKWARDS = {"Stealing053", "Shoplifting042", "RoadAccidents148"}


def _by_kind(found: Annotations) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for finding in found.findings:
        kinds.setdefault(finding.kind, set()).add(finding.video.rpartition("/")[2].removesuffix("_x264"))
    return kinds


@pytest.fixture(scope="module")
def published(shared: Path) -> Path:
    return shared / "reference/ucf_crime_v2"


def test_ucf_crime_v2(published: Path) -> None:
    found = read_annotations([published])
    classes = Counter(video.cls for video in found.videos)
    assert (len(found.videos), len(classes)) == (1193, 15)
    assert sum(map(len, found.videos.values())) == 1621
    assert _by_kind(found) == {
        "time": BACKWARDS,
        "repeated": {"Abuse028", "Robbery102", "Abuse047"},
        "missing": NONE | BACKWARDS | {"Fighting061"},
    }
    assert found.by_id()["Abuse/Abuse028_x264"] == _spans((6, 8)), "the test file's"
    assert found.by_id()["Robbery/Robbery102_x264"] == _spans((36, 52)), "the test file's"
    assert found.by_id()["Abuse/Abuse047_x264"] == _spans((1, 10), (14, 44))
    assert found.by_id()["RoadAccidents/RoadAccidents074_x264"][:2] == _spans((13, 14), (14, 15)), "touching: two"


def test_every_segment_of_ucf_crime_v2_is_kept_or_named(published: Path) -> None:
    folder = published / "TemporalAnnotations/abnormal"
    raw = [json.loads((folder / f"{name}.json").read_text()) for name in ("train", "test")]
    segments = sum(len(entry) for content in raw for entry in content.values())
    found = read_annotations([published])
    kinds = Counter(finding.kind for finding in found.findings)
    kept = sum(map(len, found.videos.values()))
    assert segments == kept + kinds["time"] + kinds["repeated"]


def test_the_csv_of_ucf_crime_v2_agrees_with_the_json(published: Path) -> None:
    csv, both = read_annotations([published / "CSV"]), read_annotations([published])
    shared = csv.videos.keys() & both.videos.keys()
    assert (len(csv.videos), len(shared)) == (1066, 1055)
    differing = {str(video) for video in shared if csv.videos[video] != both.videos[video]}
    assert differing == {"Abuse/Abuse028_x264", "Robbery/Robbery102_x264"}, "those that test.json has anew"
    kinds = _by_kind(csv)
    assert kinds["time"] == {"Arson008", "Stealing092", "Fighting073"} | BACKWARDS
    assert len(kinds["class"]) == 215 and {name[:6] for name in kinds["class"]} == {"banner", "moloto"}
    assert kinds["missing"] == NONE | BACKWARDS


def test_normal_videos_of_ucf_crime_are_dropped_by_name(published: Path) -> None:
    found = read_annotations([published / "TemporalAnnotations/normal_abnormal"])
    assert found.videos == read_annotations([published]).videos
    assert sum(finding.kind == "class" and finding.dropped for finding in found.findings) == 948


def test_the_protocol_states_what_is_published(published: Path) -> None:
    entry = protocol("ucf-crime-v2")
    videos = read_annotations([published]).videos
    assert entry.classes["test"] == Counter(video.cls for video in videos)
    for file in entry.files.values():
        path = published / file.path
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
        assert len(read_annotations([path]).videos) == file.videos


def test_what_was_dropped_is_told_from_what_was_only_noted(tmp_path: Path) -> None:
    text = "video,start,end,class\na.mp4,0,2,x\na.mp4,1,3,x\nb.mp4,2,1,x\n"
    found = read_annotations([_write(tmp_path / "a.csv", text)])
    noted = [finding for finding in found.findings if finding not in found.dropped()]
    assert {f.video for f in found.dropped()} == {"x/b"} and "ends before it starts" in found.dropped()[0].text
    assert [f.text for f in noted if f.video == "x/a"] == ["row 3: 0-2 s and 1-3 s share time: merged to 0-3 s"]
