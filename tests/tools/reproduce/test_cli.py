"""`fsar reproduce` from the command line: its cells are what the printed commands give; plans, refusals, figures."""

import json
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small_project import small

from fsar_cli.config import dump
from fsar_cli.tools.demo.demo import CLIPS
from fsar_cli.tools.demo.scenes import CLASSES

TINY = {
    "train.iterations": 3, "eval.episodes": 40, "train.checkpoint_every": 2, "train.workers": 0, "eval.shots": "[1]",
}  # fmt: skip
SETS = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture
def data(project, fsar, tmp_path, monkeypatch) -> Path:
    """A data set in a folder with a difficult name; a cache of the test's own."""
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "my [data]"
    folder.mkdir()
    (folder / "fsar.yaml").write_text(dump(small(project)))
    return folder


def options(data, *more):
    return ["--quick", "--dataset", data, "--out", "o u t", "--device", "cpu", *SETS, *more]


@pytest.mark.slow
def test_cells_are_what_their_commands_give(data, fsar, tmp_path):
    found = fsar("reproduce", "table2", *options(data, "--json"))
    assert found.code == 0, found.err
    document = found.json
    assert (document["schema"], document["command"], document["faithful"]) == (1, "reproduce", False)
    assert "not a faithful reproduction" in document["words"] and "for 3 1-shot episodes" in document["words"]
    assert document["cells"][0]["row"] == "baseline (TRX)" and len(document["cells"]) == 4
    cell = document["cells"][2]
    train, evaluate = (shlex.split(command)[1:] for command in cell["commands"])
    printed = fsar(*evaluate, "--json", "--device", "cpu").json["results"][0]
    assert printed["accuracy"] == pytest.approx(cell["accuracy"])
    assert printed["ci95"] == pytest.approx(cell["ci95_episodes"], rel=1e-4)
    assert printed["episode_digest"] == cell["episode_digest"]
    train[train.index("NEW")] = "anew"
    assert fsar(*train, "--device", "cpu", "-q").code == 0
    old, new = (load_file(Path(run) / "model.safetensors") for run in (cell["runs"][0], "anew"))
    assert all(torch.equal(tensor, old[name]) for name, tensor in new.items())
    check_files([Path(file) for file in document["files"]], document)


class Cells(HTMLParser):
    """The text of all table cells of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found, self.inside = [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside = tag == "td"
        if self.inside:
            self.found.append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "td"

    def handle_data(self, data):
        if self.inside:
            self.found[-1] += data


def check_files(files, document):
    by_ending = {file.suffix: file.read_text(encoding="utf-8") for file in files}
    assert set(by_ending) == {".md", ".csv", ".html", ".json"}
    assert json.loads(by_ending[".json"])["cells"] == document["cells"]
    accuracy = f"{100 * document['cells'][0]['accuracy']:.2f} ± {100 * document['cells'][0]['ci95_episodes']:.2f}"
    cells = Cells(by_ending[".html"]).found
    assert any(accuracy in cell for cell in cells) and "51.2" in cells, "ours beside the paper's"
    assert "+ key region − baseline (TRX)" in cells
    assert accuracy in by_ending[".md"]
    assert len(by_ending[".csv"].splitlines()) == 5


def test_a_dry_run_says_what_would_run_and_makes_nothing(data, fsar, tmp_path):
    found = fsar("reproduce", "table1", *options(data, "--dry-run", "--json"))
    assert found.code == 0, found.err
    runs = {row["rows"][0]: row for row in found.json["runs"]}
    assert found.json["dry_run"]
    assert (runs["OTAM"]["iterations"], runs["TRX"]["iterations"]) == (0, 3)
    assert (runs["OTAM"]["to_do"], runs["TRX"]["to_do"]) == ("nothing to train", "train")
    assert "runs are to be trained" in fsar("reproduce", "table1", *options(data, "--dry-run")).err
    assert not (tmp_path / "o u t").exists()
    shown = fsar("reproduce", "table3", *options(data, "--dry-run"))
    assert "dry run of table3" in shown.out and "4 of 4 runs are to be trained, 4 evaluations" in shown.err


def test_a_dry_run_without_the_demo_set_renders_nothing(fsar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = fsar("reproduce", "table1", "--quick", "--dry-run")
    assert "nothing was made" in shown.out and "9 of 12 runs are to be trained" in shown.err
    assert f"the demo set is to be rendered first, {sum(CLIPS[a.role] for a in CLASSES.values())} clips" in shown.err
    assert not list(tmp_path.iterdir())


def test_refusals_say_what_to_do(fsar, tmp_path):
    wrong = fsar("reproduce", "tabel1")
    assert wrong.code == 2 and "did you mean 'table1'?" in wrong.err
    absent = fsar("reproduce", "table1")
    assert absent.code == 3 and "fsar prepare hmdb51" in absent.err
    unknown = fsar("reproduce", "table1", "--quick", "--dataset", tmp_path / "nowhere")
    assert unknown.code == 3 and "nowhere" in unknown.err


def test_a_wrong_setting_is_refused_before_anything_runs(data, fsar, tmp_path):
    assert fsar("reproduce", "table1", *options(data, "--set", "optim.rate=1")).code == 2
    assert fsar("reproduce", "figure6", *options(data, "--seeds", "2")).code == 2
    assert not list((tmp_path / "o u t").glob("runs/*"))


@pytest.mark.parametrize("name", ["figure6", "figure7", "figure8", "figure9"])
def test_figures_are_drawn_from_the_run_of_table_2(data, fsar, name, tmp_path, monkeypatch):
    found = fsar("reproduce", name, *options(data, "--json"))
    assert found.code == 0, found.err
    files = [Path(file) for file in found.json["files"]]
    pictures = [file for file in files if file.suffix == ".png"]
    assert pictures and {".md", ".html", ".json"} <= {file.suffix for file in files}
    for file in pictures:
        with Image.open(file) as picture:
            assert picture.width > 600
        page = next(f for f in files if f.suffix == ".html").read_text()
        assert f'src="{file.name.replace(" ", "%20")}"' in page
    document = json.loads(next(f for f in files if f.suffix == ".json").read_text())
    assert document["pretraining"]["known"] and document["pretraining"]["classes_seen"] == [], "weights: none"
    planned = fsar("reproduce", "table2", *options(data, "--dry-run", "--json")).json["runs"]
    assert planned[3]["to_do"] == "trained", "the last row of table 2"
