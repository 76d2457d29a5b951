"""What lies in the given paths, the class of a video, and the way into its place."""

import errno
import os
from pathlib import Path

import pytest
from archives import NAME, files, make_rar, make_zip
from trees import touch
from videos import make_video

from fsar_cli.errors import DataError, UsageError
from fsar_cli.tools.prepare.arranging import arrange
from fsar_cli.tools.prepare.datasets import DATASETS, TreePlace
from fsar_cli.tools.prepare.searching import SourceFile, archive_stem, missing_parts, search
from fsar_cli.tools.prepare.staging import opened


def test_search_finds_videos_archives_and_texts_at_any_depth_through_links_and_once(tmp_path: Path) -> None:
    touch(tmp_path / "a", "b/x.MP4", "._x.MP4", "__MACOSX/x.mp4", ".hidden/x.mp4", "notes.md", "train.csv")
    make_zip(tmp_path / "a/b/x.zip", {})
    (tmp_path / "a/loop").symlink_to(tmp_path / "a")
    (tmp_path / "a/lost.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "a/pipe.mp4")
    found = search([tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/x.MP4"])
    assert [f.path.name for f in found.videos] == ["x.MP4"]
    assert found.videos[0].parents[-2:] == ("a", "b")
    assert ([f.name for f in found.archives], [f.name for f in found.texts]) == (["x.zip"], ["train.csv"])
    assert [reason for _, reason in found.problems] == ["is a link that leads nowhere", "is not a file"]
    assert found.others == 1
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train").symlink_to(tmp_path / "a/b")
    assert search([tmp_path / "data"]).videos[0].parents[-2:] == ("data", "train")
    with pytest.raises(DataError, match="absent does not exist"):
        search([tmp_path / "absent"])


def test_of_a_rar_in_volumes_the_first_is_unpacked_and_a_gap_is_named(tmp_path: Path) -> None:
    for name in ("a.part1.rar", "a.part2.rar", "b.part01.rar", "b.part03.rar", "c.rar", "c.r00", "d.part2.rar"):
        make_rar(tmp_path / name, {})
    (tmp_path / "e.zip.001").touch()
    found = search([tmp_path])
    assert [archive.name for archive in found.archives] == ["a.part1.rar", "c.rar"]
    told = {Path(name).name: reason for name, reason in found.problems}
    assert "volume 2 of 'b.part' is missing" in told["b.part01.rar"]
    assert "volume 1 of 'd.part' is missing" in told["d.part2.rar"]
    assert "cut up" in told["e.zip.001"]


def test_missing_parts() -> None:
    parts = {("d", f"Anomaly-Videos-Part-{n}.zip") for n in (1, 2)} | {("e", "Anomaly-Videos-Part-4")}
    assert missing_parts(parts, {"anomalyvideospart": 4}) == ["Anomaly-Videos-Part-3"]
    assert missing_parts({("d", "Anomaly-Videos-Part-1.zip")}, {"anomalyvideospart": 2}) == ["Anomaly-Videos-Part-2"]
    kinetics = {("train", f"part_{n}.tar.gz") for n in (0, 1, 3)} | {("val", "part_0.tar.gz")}
    assert missing_parts(kinetics, {}) == ["part_2"]
    assert missing_parts({("x", "Archery"), ("x", "v_Archery_g01_c01")}, {}) == []


def test_the_names_of_archives() -> None:
    for name in ("a.ZIP", "a.tar.gz", "a.tgz", "a.part3.rar", "a.tar.zst", "a.7z"):
        assert archive_stem(name) == "a"
    assert [archive_stem(name) for name in ("a.csv.gz", ".zip", "a.mp4", "zip")] == [None] * 4


def source(path: str) -> SourceFile:
    return SourceFile(Path("/", path), Path(path).parts[:-1])


@pytest.mark.parametrize(
    ("dataset", "path", "place"),
    [
        ("hmdb51", f"x/hmdb51_org.rar/cartwheel.rar/cartwheel/{NAME}", ("cartwheel", NAME)),
        ("hmdb51", "x/hmdb51_org.rar/ride_horse.rar/a.avi", ("ride_horse", "a.avi")),
        ("hmdb51", "x/Brush Hair/sub/a.avi", ("brush_hair", "a.avi")),
        ("hmdb51", "x/unknown/a.avi", None),
        ("ucf101", "UCF101.rar/UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.avi", ("HandstandPushups", None)),
        ("ucf101", "flat/v_YoYo_g25_c05.avi", ("YoYo", "v_YoYo_g25_c05.avi")),
        ("ucf-crime-v2", "A.zip/Anomaly-Videos-Part-1/Abuse/Abuse001_x264.mp4", ("Abuse", "Abuse001_x264.mp4")),
        ("ucf-crime-v2", "x/Banner/banner18.MP4", ("Banner", "banner18.MP4")),
        ("ucf-crime-v2", "flat/RoadAccidents001_x264.mp4", ("RoadAccidents", "RoadAccidents001_x264.mp4")),
        ("ucf-crime-v2", "Testing_Normal_Videos.zip/Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4", None),
        ("ucf-crime-v2", "Training-Normal-Videos-Part-1.zip/a.mp4", None),
        ("kinetics", "k600/train/acting_in_play.tar.gz/a1b2c3d4e5f_000001_000011.mp4", ("acting_in_play", None)),
        ("kinetics", "val/hurling (sport)/a1b2c3d4e5f.mkv", ("hurling (sport)", "a1b2c3d4e5f.mkv")),
        ("kinetics", "k400/train/part_0.tar.gz/a1b2c3d4e5f_000001_000011.mp4", None),
        ("kinetics", "replacement_for_corrupted_k400.tgz/replacement_for_corrupted_k400/a1b2c3d4e5f.mp4", None),
    ],
)
def test_where_a_video_belongs(dataset: str, path: str, place: tuple[str, str | None] | None) -> None:
    found = DATASETS[dataset]().place(source(path))
    if place is None:
        assert isinstance(found, str) and found
    else:
        assert (found.label, found.name) == (place[0], place[1] or Path(path).name)
    if "Normal_Videos" in path:
        assert "--normal" in found and DATASETS[dataset](normal=True).place(source(path)).label == "Normal"


def learnt(tmp_path: Path, text: str, name: str = "train.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    rules = DATASETS["kinetics"]()
    rules.learn([SourceFile(tmp_path / name, ())])
    return rules


CSV = """label,youtube_id,time_start,time_end,split,is_cc
hurling (sport),---QUuC4vJs,84,94,train,0
"passing American football (in game)",-_-aaaaaaaa,1,11,train,0
abseiling,twosegments,5,15,train,0
climbing ladder,twosegments,30,40,train,0
../../evil,evilevilevi,1,11,train,0
"""


def test_kinetics_ids_decide_with_or_without_times(tmp_path: Path) -> None:
    rules = learnt(tmp_path, CSV)

    def label(path: str):
        place = rules.place(source(path))
        return place.label if isinstance(place, TreePlace) else place

    assert label("train/part_0.tar.gz/---QUuC4vJs_000084_000094.mp4") == "hurling (sport)"
    assert label("train/---QUuC4vJs.mp4") == "hurling (sport)"
    assert label("train/wrong class/-_-aaaaaaaa_000001_000011.mp4") == "passing American football (in game)"
    assert label("t/twosegments_000005_000015.mp4") == "abseiling"
    assert label("t/twosegments_000030_000040.mp4") == "climbing ladder"
    assert "its name has no time" in label("t/twosegments.mp4")
    assert label("t/zzzzzzzzzzz_000001_000011.mp4") == "its id is not in the annotations"
    assert label("val/Hurling_(sport)/zzzzzzzzzzz.mp4") == "hurling (sport)"
    assert label("val/not a label/zzzzzzzzzzz.mp4") == "its id is not in the annotations"


def test_spellings_of_a_class_are_one(tmp_path: Path) -> None:
    rules = DATASETS["kinetics"]()
    paths = ("train/acting_in_play.tar.gz/a1b2c3d4e5f.mp4", "val/Acting in play/b1b2c3d4e5f.mp4")
    assert [rules.place(source(path)).label for path in paths] == ["acting_in_play"] * 2
    assert rules.place(source("val/hurling_(sport)/c1b2c3d4e5f.mp4")).label == "hurling (sport)"  # as CMN's list has it
    rules = learnt(tmp_path, "label,youtube_id\nAcrobatic Gym,a1b2c3d4e5f\nacrobatic gym,b1b2c3d4e5f\n")
    assert len({rules.place(source(f"x/{name}1b2c3d4e5f.mp4")).label for name in "ab"}) == 1


def test_kinetics_reads_json_and_passes_over_other_tables(tmp_path: Path) -> None:
    text = '{"---QUuC4vJs": {"annotations": {"label": "abseiling", "segment": [84.0, 94.0]}}}'
    rules = learnt(tmp_path, text, "train.json")
    assert rules.place(source("x/---QUuC4vJs_000084_000094.mp4")).label == "abseiling"
    for text, name in (("youtube_id,time_start\na,1\n", "test.csv"), ("[1, 2", "x.json"), ("[[]]", "y.json")):
        assert not learnt(tmp_path, text, name).labels


def test_a_label_that_is_a_path_makes_no_folder_elsewhere(tmp_path: Path) -> None:
    name = "in/evilevilevi_000001_000011.mp4"
    found = SourceFile(touch(tmp_path, name) / name, ("in",))
    result = arrange([(found, learnt(tmp_path, CSV).place(found))], tmp_path / "a/b/videos")
    assert "cannot be the name of a class" in result.conflicts[0][1]
    assert not (tmp_path / "evil").exists() and not (tmp_path / "a").exists()


def claim(path: Path, repaired: bool = False, staged: bool = False) -> tuple[SourceFile, TreePlace]:
    return SourceFile(path, path.parent.parts, staged), TreePlace("kick", path.name, repaired)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_users_files_are_linked_and_unpacked_ones_moved(tmp_path: Path) -> None:
    mine, ours = write(tmp_path / "in/a.mp4", b"a"), write(tmp_path / "work/b.mp4", b"b")
    result = arrange([claim(mine), claim(ours, staged=True)], tmp_path / "videos")
    assert result.counts == {"linked": 1, "moved": 1}
    assert files(tmp_path / "videos") == {"kick/a.mp4": b"a", "kick/b.mp4": b"b"}
    assert mine.samefile(tmp_path / "videos/kick/a.mp4") and not ours.exists()


def test_where_hard_links_fail_symbolic_ones_are_made_and_copies_only_when_asked(tmp_path: Path, monkeypatch) -> None:
    mine = write(tmp_path / "in/a.mp4", b"a")
    monkeypatch.setattr(os, "link", lambda *names: (_ for _ in ()).throw(OSError(errno.EXDEV, "other disk")))
    assert arrange([claim(mine)], tmp_path / "videos").counts == {"symlinked": 1}
    assert (tmp_path / "videos/kick/a.mp4").is_symlink()
    assert arrange([claim(mine)], tmp_path / "copies", copy=True).counts == {"copied": 1}
    assert not (tmp_path / "copies/kick/a.mp4").is_symlink()
    assert files(tmp_path / "copies") == {"kick/a.mp4": b"a"}


def test_equal_files_are_one_and_different_ones_are_named(tmp_path: Path) -> None:
    one, same = write(tmp_path / "train/a.mp4", b"1"), write(tmp_path / "val/a.mp4", b"1")
    other = write(tmp_path / "test/a.mp4", b"2")
    result = arrange([claim(one), claim(same), claim(other)], tmp_path / "videos")
    assert result.counts == {"linked": 1, "twice": 1}
    assert [Path(name).parts[-2:] for name, _ in result.conflicts] == [("test", "a.mp4")]
    assert files(tmp_path / "videos") == {"kick/a.mp4": b"1"}


def test_nothing_in_place_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "videos/kick/a.mp4", b"old")
    new, same = write(tmp_path / "x/a.mp4", b"new"), write(tmp_path / "y/a.mp4", b"old")
    result = arrange([claim(new, staged=True), claim(same, staged=True)], tmp_path / "videos")
    assert (result.counts["there"], len(result.conflicts)) == (1, 1)
    assert (tmp_path / "videos/kick/a.mp4").read_bytes() == b"old"
    assert new.exists() and not same.exists()


@pytest.mark.parametrize("broken", ["cut", "empty", "no"])
def test_a_replacement_wins_over_a_broken_original_only(tmp_path: Path, broken: str) -> None:
    original = make_video(tmp_path / "train/a.mp4", frames=40, muxer={"movflags": "faststart"})
    repaired = make_video(tmp_path / "replacement/a.mp4", frames=40, first=100)
    good = original.read_bytes()
    original.write_bytes({"cut": good[: len(good) * 2 // 3], "empty": b"", "no": good}[broken])
    result = arrange([claim(original), claim(repaired, repaired=True)], tmp_path / "videos")
    winner = original if broken == "no" else repaired
    assert files(tmp_path / "videos") == {"kick/a.mp4": winner.read_bytes()}
    assert (result.counts["replaced"], len(result.conflicts)) == ((0, 1) if broken == "no" else (1, 0))
    assert original.exists()


def test_a_half_unpacked_archive_is_removed_and_a_whole_one_remembered(tmp_path: Path) -> None:
    archive = SourceFile(make_zip(tmp_path / "a.zip", {}), tmp_path.parts)
    with opened(tmp_path, "x") as staging:
        write(staging.folder(1) / "a.avi", b"1")
        staging.add(archive, 1, 1, 1)
        write(staging.folder(staging.free_number()) / "half.avi", b"1")
    with (tmp_path / ".fsar-prepare/done.csv").open("a") as file:
        file.write("3,half a ro")
    with opened(tmp_path, "x") as staging:
        assert staging.is_done(archive) and staging.folder(1).is_dir() and not staging.folder(2).exists()
    with opened(tmp_path, "other wish") as staging:
        assert not staging.is_done(archive)
        assert not staging.folder(1).exists()


def test_a_changed_archive_is_unpacked_anew_with_all_it_held(tmp_path: Path) -> None:
    outer = SourceFile(make_zip(tmp_path / "a.zip", {}), tmp_path.parts)
    with opened(tmp_path, "x") as staging:
        staging.add(outer, 1, 1, 1)
        inner = SourceFile(write(staging.folder(1) / "b.zip", b"1"), (*outer.parents, "a.zip"), staged=True)
        staging.add(inner, 2, 1, 1)
        write(staging.folder(2) / "x.avi", b"1")
        write(tmp_path / "a.zip", b"longer than before" * 10)
        assert not staging.is_done(outer) and staging.archives == {} and not staging.folder(2).exists()


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with opened(tmp_path, "x"), pytest.raises(UsageError, match="another fsar prepare"), opened(tmp_path, "x"):
        pass
