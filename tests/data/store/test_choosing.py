"""Which clips are made of which videos, and what they are called."""

import os
import re
from pathlib import Path

import pytest
from trees import touch

from fsar_cli.data.annotations.annotated import AnnotatedVideo
from fsar_cli.data.annotations.times import Segment
from fsar_cli.data.splits.protocols import protocol
from fsar_cli.data.store.choosing import ChosenClips, Selection, choose_clips, listed
from fsar_cli.data.store.choosing import cut as cut_videos
from fsar_cli.data.store.sources import Source
from fsar_cli.errors import DataError


def _annotated(segments: dict[str, tuple[tuple[float, float], ...]]) -> dict[AnnotatedVideo, tuple[Segment, ...]]:
    """Segments by "class/stem"."""
    names = {video: video.split("/") for video in segments}
    return {AnnotatedVideo(c, "", v, v): tuple(Segment(*span) for span in segments[k]) for k, (c, v) in names.items()}


SEGMENTS = {
    "Abuse/Abuse001_x264": ((8, 10), (33.5, 36), (59, 61)),
    "Arson/Arson002_x264": ((0, 4000),),
    "Arson/Arson003_x264": (),
    "Banner/banner01": ((1, 2),),
    "Robbery/Robbery9_x264": ((1, 2),),
}


def cut(sources: list[Source], segments: dict[str, tuple[tuple[float, float], ...]], clips: str) -> Selection:
    return cut_videos(sources, _annotated(segments), clips)


def _sources(*ids: str) -> list[Source]:
    return [Source(name, name.partition("/")[0], Path("/videos") / f"{name}.mp4") for name in ids]


HERE = _sources(
    "abuse/Abuse001_x264", "Arson/Arson002_x264", "Arson/Arson003_x264", "Banner/Banner01", "Normal/Normal_Videos001"
)


def test_segments() -> None:
    chosen = cut(HERE, SEGMENTS, "segment")
    assert [(source.id, source.span) for source in chosen.sources] == [
        ("Abuse/Abuse001_x264_000008_000010", (8, 10)),
        ("Abuse/Abuse001_x264_000033.500_000036", (33.5, 36)),
        ("Abuse/Abuse001_x264_000059_000061", (59, 61)),
        ("Arson/Arson002_x264_000000_004000", (0, 4000)),
        ("Banner/banner01_000001_000002", (1, 2)),
    ]
    assert {source.label for source in chosen.sources} == {"Abuse", "Arson", "Banner"}, "the annotations' spelling"
    assert chosen.sources[0].path == HERE[0].path
    assert chosen.missing == ("Robbery/Robbery9_x264",)
    assert chosen.uncut == ("Arson/Arson003_x264",)
    assert chosen.others == ("Normal/Normal_Videos001",)


def test_the_longest_segment_is_the_first_of_equals() -> None:
    chosen = cut(HERE, SEGMENTS, "longest")
    abuse = [source.id for source in chosen.sources if source.label == "Abuse"]
    assert abuse == ["Abuse/Abuse001_x264_000033.500_000036"]
    equal = cut(HERE, {"Abuse/Abuse001_x264": ((1, 3), (5, 7))}, "longest")
    assert [source.span for source in equal.sources] == [(1, 3)]


def test_whole_videos_need_no_segment() -> None:
    chosen = cut(HERE, SEGMENTS, "whole")
    assert [(source.id, source.span) for source in chosen.sources] == [
        (name, None) for name in SEGMENTS if name != "Robbery/Robbery9_x264"
    ]
    assert chosen.uncut == ()


def test_an_ambiguous_video_is_neither_cut_nor_called_unwanted() -> None:
    here = _sources("Abuse/Abuse001_x264", "Banner/Banner 01", "Banner/Banner_01")
    chosen = cut(here, SEGMENTS, "segment")
    assert chosen.ambiguous == {"Banner/banner01": ("Banner/Banner 01", "Banner/Banner_01")}
    assert (chosen.others, len(chosen.sources)) == ((), 3)


def test_a_list_keeps_the_ids_of_the_tree() -> None:
    chosen = listed(HERE, ["Abuse/Abuse001_x264", "Arson/Arson002_x264.avi", "Arson/Arson007_x264"])
    assert [source.id for source in chosen.sources] == ["Arson/Arson002_x264", "abuse/Abuse001_x264"]
    assert chosen.missing == ("Arson/Arson007_x264",)
    assert len(chosen.others) == 3


@pytest.mark.parametrize("stem", ["n" * 250, "ж" * 125])
def test_names_stay_within_what_a_folder_may_be_called(stem: str) -> None:
    twin = stem[:-1] + "x"
    here = _sources(f"Abuse/{stem}", f"Abuse/{twin}")
    ids = [source.id for source in cut(here, {name.id: ((8, 10),) for name in here}, "segment").sources]
    assert len(set(ids)) == 2
    assert all(len(os.fsencode(name.partition("/")[2])) <= 255 for name in ids)
    assert all(name.endswith("_000008_000010") for name in ids)


def test_the_protocol_groups_segments_by_their_video() -> None:
    entry = protocol("ucf-crime-v2")
    assert (entry.splits, entry.clips) == (("test",), "annotated")
    assert (entry.videos("test"), len(entry.classes["test"])) == (1193, 15)
    for clips in ("segment", "longest", "whole"):
        for source in cut(HERE, SEGMENTS, clips).sources:
            group = re.search(entry.groups, source.id)[1]
            assert group == next(v.partition("/")[2] for v in SEGMENTS if source.id.startswith(v))


ROWS = "video,start,end,class\na.mp4,1,2,fall\nb.mp4,,,fall\nc.mp4,0,1,fall\ngone.mp4,0,1,fall\nd.mp4,2,1,run\n"


def _chosen(root: Path, rows: str = "", clips: str = "segments", splits: str = "") -> ChosenClips:
    """Of a folder with fall/a, fall/b, cam1/c, cam2/c, run/d and run/e; what is given is written beside it."""
    videos = touch(root / "v", *(f"{name}.mp4" for name in ("fall/a", "fall/b", "cam1/c", "cam2/c", "run/d", "run/e")))
    truth, listed = root / "truth.csv", root / "splits.csv"
    truth.write_text(rows)
    listed.write_text(f"split,class,video\n{splits}")
    return choose_clips([videos], truth if rows else None, clips, listed if splits else None)


def test_without_a_wish_every_video_is_a_clip_and_nothing_is_said(tmp_path: Path) -> None:
    chosen = _chosen(tmp_path)
    assert chosen.sources == chosen.videos.sources and len(chosen.sources) == 6
    assert list(chosen.lines()) == [] and chosen.document() == {}


def test_each_reason_why_a_video_is_left_out_has_a_line_and_a_key(tmp_path: Path) -> None:
    chosen, truth = _chosen(tmp_path, ROWS), tmp_path / "truth.csv"
    assert [source.id for source in chosen.sources] == ["fall/a_000001_000002"]
    lines = list(chosen.lines())
    assert lines[0].startswith("annotations: dropped ") and "row 6: start '2', end '1'" in "".join(lines)
    assert lines[-4:] == [
        f"1 of {truth} are not there: fall/gone",
        f"1 of {truth} could be several files and are left out: fall/c (cam1/c or cam2/c)",
        f"2 of {truth} have no segment and are left out: fall/b, run/d",
        f"1 found that {truth} does not name are left out: run/e",
    ]
    assert chosen.document() == {
        str(truth): {
            "clips": 1,
            "missing": ["fall/gone"],
            "ambiguous": {"fall/c": ["cam1/c", "cam2/c"]},
            "without_segment": ["fall/b", "run/d"],
            "not_named": 1,
        }
    }


def test_a_line_names_so_many_and_counts_the_rest(tmp_path: Path) -> None:
    chosen = _chosen(tmp_path, splits="train,fall,fall/a\n")
    (line,) = chosen.lines(names=2)
    assert line.endswith("does not name are left out: cam1/c, cam2/c and 3 more (--verbose names all)")


def test_a_split_file_keeps_of_the_clips_those_that_it_lists(tmp_path: Path) -> None:
    rows = "video,start,end,class\na.mp4,1,2,fall\na.mp4,3,4,fall\n"
    chosen = _chosen(tmp_path, rows, splits="train,fall,fall/a_000003_000004\n")
    assert [source.id for source in chosen.sources] == ["fall/a_000003_000004"] and len(chosen.gaps) == 2


@pytest.mark.parametrize(
    ("rows", "message", "hint"),
    [
        ("gone.mp4,0,1,fall", "none of the 6 clips or videos found is named by .*truth.csv", "for example fall/gone"),
        ("c.mp4,0,1,fall", r"no clip is left: .* fall/c \(cam1/c or cam2/c\)", "write the folder before the name"),
        ("b.mp4,,,fall", "no clip is left: 1 of .* have no segment", "names each row"),
        (
            "d.mp4,2,1,run",
            "no clip is left: 1 of .* no segment .*: run/d; .*it ends before it starts",
            "names each row",
        ),
    ],
)
def test_annotations_that_leave_no_clip_are_refused_with_the_reason(
    tmp_path: Path, rows: str, message: str, hint: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        _chosen(tmp_path, f"video,start,end,class\n{rows}\n")
    assert hint in caught.value.hint
