"""`fsar prepare` as users run it: every data set's downloads, in any mixture; stopped, started again, broken."""

import csv
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from archives import NAME, Link, clip, cut, files, make_hmdb51, make_tar, make_ucf_crime, make_zip
from trees import touch

from fsar_cli.data.splits.tree import scan_tree
from fsar_cli.settings import resolve
from fsar_cli.tools.prepare import unpacking
from fsar_cli.tools.prepare.datasets import UCF101

FSAR = [sys.executable, "-c", "from fsar_cli.cli.app import main; main()", "prepare"]


def placed(out: Path) -> set[str]:
    return set(files(out / "videos"))


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything in a folder."""
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in sorted(folder.rglob("*"))}


def test_hmdb51_is_a_rar_of_rars_with_names_that_shells_dislike(fsar, tmp_path: Path) -> None:
    names = {"cartwheel": [NAME, f"2{NAME}"], "ride_horse": [f"3{NAME}", f"4{NAME}"]}
    make_hmdb51(tmp_path / "down loads [1]/hmdb51_org.rar", names)
    before = snapshot(tmp_path / "down loads [1]")
    done = fsar("prepare", "hmdb51", "down loads [1]", "--out", "my 'hmdb' [51]")
    assert done.code == 0, done.err
    out = tmp_path / "my 'hmdb' [51]"
    assert placed(out) == {f"{label}/{name}" for label, files in names.items() for name in files}
    assert "4 videos in 2 classes" in done.out
    assert "brush_hair" in done.out and "107" in done.out  # absent, and how many there should be
    assert snapshot(tmp_path / "down loads [1]") == before
    assert sorted(path.name for path in (out / ".fsar-prepare").iterdir()) == ["done.csv", "lock"]
    lines = [line.strip() for line in done.out.splitlines()]
    steps = lines[lines.index("cd 'my '\"'\"'hmdb'\"'\"' [51]'") :]
    assert steps[1:3] == ["fsar extract-frames", "fsar splits make hmdb51-arn --allow-missing"]
    assert resolve(path=out / "fsar.yaml", environ={}).config.data.name == "hmdb51"
    again = fsar("prepare", "hmdb51", "down loads [1]", "--out", out, "--json")
    assert (again.code, again.json["archives"], again.json["archives_unpacked_before"]) == (0, [], 1)


def test_ucf101_that_is_complete_lists_nothing_missing(fsar, tmp_path: Path, monkeypatch) -> None:
    counts = dict.fromkeys(UCF101().expected(), 2)
    monkeypatch.setattr(UCF101, "expected", lambda self: counts)
    touch(tmp_path / "UCF-101", *(f"{name}/v_{name}_g01_c{n:02}.avi" for name in counts for n in (1, 2)))
    done = fsar("prepare", "ucf101", "UCF-101", "--json")
    assert done.code == 0, done.err
    assert (done.json["videos"], done.json["short"], done.json["left_out"]) == (202, [], [])
    assert done.json["arranged"]["linked"] == 202
    assert "fsar splits make ucf101-arn" in done.json["next"]
    assert resolve(path=tmp_path / "ucf101/fsar.yaml", environ={}).config.data.name == "ucf101"


CSV = """label,youtube_id,time_start,time_end,split,is_cc
hurling (sport),aaaaaaaaaaa,86,96,train,0
hurling (sport),bbbbbbbbbbb,1,11,train,0
blasting sand,-_-cccccccc,20,30,val,0
"""


def test_kinetics_parts_tables_trees_and_replacements_mixed(fsar, tmp_path: Path) -> None:
    k400 = tmp_path / "k400_targz"
    make_tar(k400 / "train/part_0.tar.gz", {"./aaaaaaaaaaa_000086_000096.mp4": clip(1), "./._aaaaaaaaaaa.mp4": b"junk"})
    odd = {"home/me/v1-0/train/bbbbbbbbbbb_000001_000011.mp4": clip(2)[:400], "home/me/nolabelnol0.mp4": clip(3)}
    make_tar(k400 / "train/part_1.tar.gz", odd, form="")  # a plain tar in spite of its name, as part_120 was
    repaired = {"replacement_for_corrupted_k400/bbbbbbbbbbb_000001_000011.mp4": clip(4)}
    make_tar(k400 / "replacement/replacement_for_corrupted_k400.tgz", repaired)
    make_tar(tmp_path / "k600/acting_in_play.tar.gz", {"./ddddddddddd_000001_000011.mp4": clip(5)})
    (k400 / "annotations").mkdir()
    (k400 / "annotations/train.csv").write_text(CSV)
    tree = tmp_path / "tree/val/Blasting_Sand"
    tree.mkdir(parents=True)
    (tree / "-_-cccccccc_000020_000030.MP4").write_bytes(clip(6))
    (tree / "eeeeeeeeeee.mkv").write_bytes(clip(7))
    done = fsar("prepare", "kinetics", k400, "tree", "--json")
    assert done.code == 0, done.err
    out = tmp_path / "kinetics"
    expected = {
        "hurling (sport)/aaaaaaaaaaa_000086_000096.mp4",
        "hurling (sport)/bbbbbbbbbbb_000001_000011.mp4",
        "blasting sand/-_-cccccccc_000020_000030.MP4",
        "blasting sand/eeeeeeeeeee.mkv",
    }
    assert placed(out) == expected
    assert (out / "videos/hurling (sport)/bbbbbbbbbbb_000001_000011.mp4").read_bytes() == clip(4)
    assert (done.json["arranged"]["replaced"], done.json["annotations_lack"]) == (1, "")
    assert [Path(line["file"]).name for line in done.json["left_out"]] == ["nolabelnol0.mp4"]
    assert (out / "videos/blasting sand/eeeeeeeeeee.mkv").samefile(tree / "eeeeeeeeeee.mkv")
    # What had no label waits for a table that knows it, and a later download adds to the tree.
    (tmp_path / "more.csv").write_text("label,youtube_id,time_start\nacting in play,nolabelnol0,1\n")
    more = fsar("prepare", "kinetics", "more.csv", "k600", "--json")
    assert more.code == 0, more.err
    assert placed(out) == expected | {
        "acting in play/nolabelnol0.mp4",
        "acting in play/ddddddddddd_000001_000011.mp4",
    }
    assert sorted(p.name for p in (out / ".fsar-prepare").iterdir()) == ["done.csv", "lock"]


def test_ucf_crime_with_annotations_and_without_normal_videos(fsar, tmp_path: Path) -> None:
    done = fsar("prepare", "ucf-crime-v2", make_ucf_crime(tmp_path / "crime", splits=("test",)), "--json")
    assert done.code == 0, done.err
    out = tmp_path / "ucf-crime-v2"
    labels = {"Abuse", "Explosion", "Robbery", "Stealing", "Banner", "MolotovBomb"}
    assert set(done.json["classes"]) == labels
    assert {"Banner/banner18.MP4", "MolotovBomb/molotof001.mp4"} < placed(out)
    notes = {"TemporalAnnotations/abnormal/test.json", "CSV/UCF - Crime Temporal.csv"}
    assert set(files(out / "annotations")) == notes
    data = resolve(path=out / "fsar.yaml", environ={}).config.data
    assert (data.name, data.annotations) == ("ucf-crime-v2", Path("annotations/TemporalAnnotations/abnormal"))
    assert done.json["members_not_unpacked"] == 3  # the normal video, the readme, what macOS added
    assert done.json["next"][-1] == "fsar eval RUN --dataset . --shots 5"
    normal = fsar("prepare", "ucf-crime-v2", "crime", "--normal", "--json")
    assert normal.json["classes"] == done.json["classes"] | {"Normal": 1}
    assert normal.json["arranged"]["there"] == done.json["arranged"]["moved"]


def test_a_part_that_is_missing_is_named_and_the_others_are_prepared(fsar, tmp_path: Path) -> None:
    down = make_ucf_crime(tmp_path / "crime", parts=(1, 2, 4))
    done = fsar("prepare", "ucf-crime-v2", down, "--json")
    assert done.code == 3
    assert [line["file"] for line in done.json["problems"]] == ["Anomaly-Videos-Part-3"]
    assert "Stealing" in done.json["classes"] and "Robbery" not in done.json["classes"]
    make_zip(
        tmp_path / "late/Anomaly-Videos-Part-3.zip", {"Anomaly-Videos-Part-3/Robbery/Robbery001_x264.mp4": clip(1)}
    )
    late = fsar("prepare", "ucf-crime-v2", "late", "--json")
    assert (late.code, late.json["classes"]["Robbery"]) == (0, 1)


def test_broken_archives_are_named_and_the_others_finish(fsar, tmp_path: Path) -> None:
    down = tmp_path / "d"
    folder = "Anomaly-Videos-Part-1/Abuse"
    cut(make_zip(down / "cut [x].zip", {f"{folder}/Abuse002_x264.mp4": clip(2)}))
    make_zip(down / "secret.zip", {f"{folder}/Abuse003_x264.mp4": clip(3)}, encrypted=True)
    make_tar(down / "evil.tar.gz", {"../../evil.mp4": clip(4)})
    make_tar(down / "link.tar.gz", {"Abuse/a.mp4": Link("/etc/passwd")})
    (down / "page.zip").write_text("<html>Too many downloads")
    make_zip(down / "good.zip", {f"{folder}/Abuse001_x264.mp4": clip(1)})
    done = fsar("prepare", "ucf-crime-v2", down)
    assert done.code == 3
    assert placed(tmp_path / "ucf-crime-v2") == {"Abuse/Abuse001_x264.mp4"}
    for reason in ("cut [x].zip is damaged", "secret.zip is encrypted", "outside its folder", "'/etc/passwd'"):
        assert reason in done.err
    assert done.err.count("page.zip is a web page") == 1
    assert "error: 5 archives or files of ucf-crime-v2 could not be used; the rest is in place" in done.err
    with (tmp_path / "ucf-crime-v2/left-out.csv").open(newline="") as file:
        listed = {Path(row["file"]).name for row in csv.DictReader(file)}
    assert listed == {"cut [x].zip", "secret.zip", "evil.tar.gz", "link.tar.gz", "page.zip"}
    assert not list(tmp_path.rglob("evil.mp4"))
    # Downloaded again, only these are unpacked.
    make_zip(down / "cut [x].zip", {f"{folder}/Abuse002_x264.mp4": clip(2)})
    for name in ("secret.zip", "evil.tar.gz", "link.tar.gz", "page.zip"):
        (down / name).unlink()
    mended = fsar("prepare", "ucf-crime-v2", down, "--json")
    assert (mended.code, len(mended.json["archives"]), mended.json["archives_unpacked_before"]) == (0, 1, 1)
    assert not (tmp_path / "ucf-crime-v2/left-out.csv").exists()


def test_archives_in_archives_are_unpacked_to_a_depth(fsar, tmp_path: Path) -> None:
    data, name = clip(1), "Abuse/Abuse001_x264.mp4"
    for level in range(6):
        data, name = make_zip(tmp_path / "x.zip", {name: data}).read_bytes(), f"level {level}/a.zip"
        if level == 2:
            make_zip(tmp_path / "three/in.zip", {"a.zip": data})
    (tmp_path / "x.zip").rename(tmp_path / "seven.zip")
    assert fsar("prepare", "ucf-crime-v2", "three", "-o", "a").code == 0
    done = fsar("prepare", "ucf-crime-v2", "seven.zip", "-o", "b")
    assert done.code == 3 and "lies in 4 archives" in done.err
    assert placed(tmp_path / "b") == set()


def test_dry_run_lists_sizes_and_writes_nothing(fsar, tmp_path: Path) -> None:
    down = make_ucf_crime(tmp_path / "crime")
    before = snapshot(tmp_path)
    shown = fsar("prepare", "ucf-crime-v2", down, "--dry-run", "--json").json
    assert snapshot(tmp_path) == before
    sizes = {Path(line["archive"]).name: line["unpacked_at_least"] for line in shown["archives"]}
    assert sizes["Anomaly-Videos-Part-1.zip"] == len(clip(2)) + len(clip(3))
    assert sizes["Testing_Normal_Videos.zip"] == 0
    assert shown["needed_bytes"] == sum(sizes.values()) and shown["free_bytes"] > 0
    assert "6 archives" in fsar("prepare", "ucf-crime-v2", down, "--dry-run").out


def test_an_existing_project_file_is_kept_and_told_what_it_lacks(fsar, tmp_path: Path) -> None:
    out = tmp_path / "ucf-crime-v2"
    out.mkdir()
    (out / "fsar.yaml").write_text("data: {name: mine}\n")
    done = fsar("prepare", "ucf-crime-v2", make_ucf_crime(tmp_path / "crime"))
    assert done.code == 0
    assert (out / "fsar.yaml").read_text() == "data: {name: mine}\n"
    assert "warning: annotations is here and not used" in done.err


def test_prepared_in_the_folder_of_the_downloads(fsar, tmp_path: Path) -> None:
    make_ucf_crime(tmp_path / "crime")
    (tmp_path / "crime").rename(tmp_path / "here")
    os.chdir(tmp_path / "here")
    first = fsar("prepare", "ucf-crime-v2", ".", "--out", ".", "--json")
    assert first.code == 0, first.err
    assert first.json["next"][0] == "fsar extract-frames"
    again = fsar("prepare", "ucf-crime-v2", ".", "--out", ".", "--json")
    assert (again.code, again.json["archives"], again.json["arranged"]["linked"]) == (0, [], 0)
    assert again.json["classes"] == first.json["classes"]


def test_annotations_in_place_are_not_overwritten(fsar, tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip", {"Abuse/Abuse001_x264.mp4": clip(1), "CSV/a.csv": b"old\n"})
    assert fsar("prepare", "ucf-crime-v2", "a.zip").code == 0
    (tmp_path / "CSV").mkdir()
    (tmp_path / "CSV/a.csv").write_text("new\n")
    done = fsar("prepare", "ucf-crime-v2", "CSV")
    assert done.code == 3 and "a.csv differs from ucf-crime-v2/annotations/CSV/a.csv, which has its place" in done.err
    assert (tmp_path / "ucf-crime-v2/annotations/CSV/a.csv").read_text() == "old\n"


def test_too_little_disk_is_said_before_the_first_archive(fsar, tmp_path: Path, monkeypatch) -> None:
    down, usage = make_ucf_crime(tmp_path / "crime"), shutil.disk_usage(tmp_path)
    free = unpacking.RESERVE + 2 * len(clip())
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda path: usage._replace(free=free))
    done = fsar("prepare", "ucf-crime-v2", down)
    assert done.code == 3 and "are to be written and" in done.err and "--out" in done.err
    assert sorted(path.name for path in tmp_path.joinpath("ucf-crime-v2/.fsar-prepare").iterdir()) == [
        "done.csv",
        "lock",
    ]
    assert not (tmp_path / "ucf-crime-v2/videos").exists()


def test_without_annotations_it_says_what_is_missing(fsar, tmp_path: Path) -> None:
    make_zip(tmp_path / "a.zip", {"Abuse/Abuse001_x264.mp4": clip(1)})
    done = fsar("prepare", "ucf-crime-v2", "a.zip")
    assert done.code == 0
    assert "no temporal annotations: every video would be one clip" in done.err
    (tmp_path / "CSV").mkdir()
    (tmp_path / "CSV/UCF - Crime Temporal.csv").write_text("Filepath\n")
    done = fsar("prepare", "ucf-crime-v2", "CSV", "a.zip", "-o", "second")
    assert resolve(path=tmp_path / "second/fsar.yaml", environ={}).config.data.annotations == Path("annotations/CSV")
    assert "temporal annotations" not in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["hmdb", "x"], 2, "unknown data set 'hmdb'"),
        (["hmdb51", "absent"], 3, "absent does not exist"),
        (["hmdb51", "empty"], 3, "no archive and no video in empty"),
        (["hmdb51", "empty", "--normal"], 2, "hmdb51 has no normal videos"),
        (["hmdb51"], 2, ""),
    ],
)
def test_refusals(fsar, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    (tmp_path / "empty").mkdir()
    done = fsar("prepare", *arguments)
    assert message in done.err
    assert (done.code, done.out) == (code, "")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_videos_of_no_class_are_listed_and_nothing_else_there_is_an_error(fsar, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.mp4").write_bytes(clip())
    done = fsar("prepare", "hmdb51", "x")
    assert done.code == 3 and "no video of hmdb51" in done.err
    assert "1 videos left out: no class of HMDB51 in its folder or name" in done.err
    assert str(tmp_path / "x/a.mp4") in (tmp_path / "hmdb51/left-out.csv").read_text()


def start(arguments: list[object], folder: Path) -> Popen:
    command = [*FSAR, *map(str, arguments)]
    return Popen(command, cwd=folder, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives enough to be stopped in between: 40 of 1 MB each."""
    tmp_path = tmp_path_factory.mktemp("many")
    for number in range(40):
        contents = {f"./{number:011}_000001_000011.mp4": clip(number % 5) + os.urandom(1_000_000)}
        make_tar(tmp_path / f"down/class {number % 4}/part_{number}.tar.gz", contents)
    for label in range(4):
        rows = [f"class {label},{number:011},1" for number in range(label, 40, 4)]
        (tmp_path / f"down/class {label}.csv").write_text("\n".join(["label,youtube_id,time_start", *rows]))
    return tmp_path / "down"


def wait_for(process: Popen, out: Path, rows: int) -> None:
    deadline, done = time.monotonic() + 60, out / ".fsar-prepare/done.csv"
    while not done.exists() or len(done.read_text().splitlines()) <= rows:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_and_started_again_it_goes_on(fsar, tmp_path: Path, many: Path, number: int) -> None:
    down, out = many, tmp_path / "out"
    process = start(["kinetics", down, "--out", out], tmp_path)
    wait_for(process, out, 3)
    os.kill(process.pid, number)
    stdout, stderr = process.communicate(timeout=30)
    assert stdout == ""
    if number == signal.SIGINT:
        assert process.returncode == 130
        whole = len((out / ".fsar-prepare/done.csv").read_text().splitlines()) - 1
        kept = len(list((out / ".fsar-prepare").glob("[0-9]*")))
        assert whole <= kept <= whole + 1  # the half one is gone, unless it was whole and its row was being written
        assert "archives were unpacked and are kept\n  run the same command again to go on" in stderr
    assert not (out / "videos").exists()
    done = fsar("prepare", "kinetics", down, "--out", out, "--json")
    assert 3 <= done.json["archives_unpacked_before"] < 40
    assert done.json["archives_unpacked_before"] + len(done.json["archives"]) == 40
    assert len(scan_tree(out / "videos").ids) == 40
    assert all(path.stat().st_size > 1_000_000 for path in (out / "videos").rglob("*.mp4"))
    assert sorted(p.name for p in (out / ".fsar-prepare").iterdir()) == ["done.csv", "lock"]
