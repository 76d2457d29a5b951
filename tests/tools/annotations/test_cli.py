"""`fsar annotations` as users run it."""

import csv
import json
from pathlib import Path

import pytest


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """Two classes; one segment ends before it starts, one video has none, one extension is in capitals."""
    videos = {
        "Abuse/Abuse001_x264.mp4": [{"start": 8, "end": 10}, {"start": 33, "end": 36}],
        "Abuse/Abuse002_x264.mp4": [],
        "Banner/banner [1].MP4": [{"start": 2, "end": 1}, {"start": 5, "end": 7.5}],
    }
    path = tmp_path / "my annotations [x].json"
    path.write_text(json.dumps(videos))
    return path


def _cells(text: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    return rows


def test_table_and_findings(fsar, annotated: Path) -> None:
    done = fsar("annotations", annotated)
    assert (done.code, done.err) == (0, "")
    assert _cells(done.out) == [
        ["Abuse", "2", "2", "5"],
        ["Banner", "1", "1", "2"],
        ["2 classes", "3", "3", "8"],
    ]
    assert (
        "time: 1, dropped\n  my annotations [x].json: Banner/banner [1]: start 2, end 1: it ends before it starts\n"
        in done.out
    )
    assert "missing: 1\n  my annotations [x].json: Abuse/Abuse002_x264: " in done.out


def test_json_holds_everything(fsar, annotated: Path) -> None:
    document = fsar("annotations", annotated, "--json").json
    assert document["schema"] == 1
    assert document["total"] == {"videos": 3, "segments": 3, "seconds": 7.5}
    assert document["classes"]["Banner"] == {"videos": 1, "segments": 1, "seconds": 2.5}
    assert document["videos"]["Banner/banner [1]"] == [[5, 7.5]]
    kinds = {(finding["kind"], finding["video"], finding["dropped"]) for finding in document["findings"]}
    assert kinds == {("time", "Banner/banner [1]", True), ("missing", "Abuse/Abuse002_x264", False)}


def test_many_findings_are_cut_on_the_screen_and_whole_in_the_csv(fsar, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({f"Abuse/a{n}.mp4": [] for n in range(30)}))
    done = fsar("annotations", "a.json", "--csv", "all findings.csv")
    assert done.out.count("it can be a clip only as a whole") == 12
    assert "and 18 more, in all findings.csv" in done.out
    rows = list(csv.DictReader((tmp_path / "all findings.csv").open()))
    assert [row["video"] for row in rows] == [f"Abuse/a{n}" for n in range(30)]
    assert {row["kind"] for row in rows} == {"missing"}
    assert "and 18 more, with --csv FILE or --json" in fsar("annotations", "a.json").out


def test_nothing_to_report(fsar, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("video,start,end\nkick/a.mp4,1,2\n")
    assert "nothing was dropped or altered" in fsar("annotations", "a.csv").out


def test_the_configuration_names_them(fsar, annotated: Path, tmp_path: Path) -> None:
    done = fsar("annotations")
    assert (done.code, done.out) == (2, "")
    assert "set data.annotations in fsar.yaml" in done.err
    (tmp_path / "fsar.yaml").write_text(f'data:\n  annotations: "{annotated.name}"\n')
    assert fsar("annotations", "--json").json["total"]["videos"] == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("absent.json", None, "the annotations absent.json do not exist"), ("a.json", "{", "a.json is not JSON")],
)
def test_refusals(fsar, tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    done = fsar("annotations", name)
    assert (done.code, done.out) == (3, "")
    assert f"error: {message}" in done.err
