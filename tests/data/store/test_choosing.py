"""Which clips are made of which videos, and what they are called."""

import os
import re
from pathlib import Path

import pytest

from fsar_cli.data.annotations.annotated import AnnotatedVideo
from fsar_cli.data.annotations.times import Segment
from fsar_cli.data.splits.protocols import protocol
from fsar_cli.data.store.choosing import Selection, listed
from fsar_cli.data.store.choosing import cut as cut_videos
from fsar_cli.data.store.sources import Source


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
