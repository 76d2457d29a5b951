"""The table of frozen backbones: its figures are `evaluate`'s, its videos are encoded once, its costs are counted."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from small_project import small
from torch import nn

from fsar_cli.config import dump
from fsar_cli.core.backbones.backbone import ClipBackbone, FrameBackbone
from fsar_cli.core.build import build_method
from fsar_cli.data.splits import Splits, Video
from fsar_cli.engine import bank
from fsar_cli.engine.bank import feature_cache
from fsar_cli.engine.evaluate import evaluate
from fsar_cli.errors import Interrupted, UsageError
from fsar_cli.reporting import SILENT
from fsar_cli.tools.reproduce import cost, planned, work
from fsar_cli.tools.reproduce.backbone_report import BackboneReport
from fsar_cli.tools.reproduce.backbones import APART, PLAIN, USUAL, WHITENED, backbone_table
from fsar_cli.tools.reproduce.cost import multiply_adds
from fsar_cli.tools.reproduce.data import find_data
from fsar_cli.tools.reproduce.outcome import gather
from fsar_cli.tools.reproduce.plan import make_plan
from fsar_cli.tools.reproduce.recipes import RECIPES
from fsar_cli.tools.reproduce.work import Reproduction

CPU = torch.device("cpu")
TINY = {"clip.frames": 16, "clip.size": 32, "clip.short_side": 36, "model.match.key_dim": 8,
        "model.match.cardinalities": [2]}  # fmt: skip
SETS = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
NETWORKS = ("mobilenet_v3_small=none", "r3d_18=none")


@pytest.fixture
def folder(project, tmp_path, monkeypatch) -> Path:
    """The current folder: a data set `p` whose videos have groups, and a cache of its own."""
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "SECONDS", 0.0)
    write_project(project, lambda video: f"g{video.id[-1]}")
    return tmp_path


def write_project(project, group, drop: str = "", **changes) -> None:
    """`p`, with the group of each video, without a split."""
    rows = Splits.read(project / "splits.csv").rows
    kept = tuple((split, Video(v.cls, v.id, group(v))) for split, v in rows if split != drop)
    Path("p").mkdir(exist_ok=True)
    Splits(kept).write(Path("p/splits.csv"))
    config = small(project, **{"data.splits": Path("p/splits.csv").absolute(), **changes})
    Path("p/fsar.yaml").write_text(dump(config))


def plan_of(*asked, **changes):
    data = find_data(("p",), True, Path("out"), SILENT, trained=False)
    table = backbone_table([test for _, test in data], asked)
    return make_plan(table, RECIPES["few"], data, changes=TINY | {"eval.episodes": 40} | changes)


def few(*asked):
    """A plan of all heads on a network of images, and of prototype on others."""
    plan = plan_of(*asked)
    plan.cells = [c for c in plan.cells if "mobilenet" in c.row.subject or c.row.method == "prototype"]
    return plan


def reported(plan) -> BackboneReport:
    place = Reproduction(Path("out"), CPU)
    made = place.make(plan)
    return BackboneReport(plan, gather(plan, made), place, made)


@pytest.fixture
def encoded(monkeypatch) -> list[str]:
    """The videos that backbones look at, with the backbone, in the order in which they do."""
    seen, real = [], bank._described

    def counting(method, clips, device, config, *rest):
        seen.extend(f"{config.model.backbone} {video}" for video in clips.videos)
        return real(method, clips, device, config, *rest)

    monkeypatch.setattr(bank, "_described", counting)
    return seen


@pytest.mark.slow
def test_its_figures_are_those_of_evaluate_and_each_backbone_sees_each_video_once(folder, encoded):
    plan = few(*NETWORKS)
    report = reported(plan)
    assert report.exit_code == 0
    videos = [v.id for split in ("train", "test") for v in Splits.read(Path("p/splits.csv")).videos(split)]
    names = ["mobilenet_v3_small", "r3d_18"]
    assert sorted(encoded) == sorted(f"{name} {video}" for name in names for video in videos)
    assert [line.split()[0] for line in encoded] == sorted(line.split()[0] for line in encoded), "one after another"
    cells = report.document()["cells"]
    assert len(cells) == len(plan.cells) == (4 + 1) * 3 * 2
    for one, other, told, more in zip(plan.cells[::2], plan.cells[1::2], cells[::2], cells[1::2], strict=True):
        ground, run = one.ground, one.runs[0]
        assert run.digest == other.runs[0].digest
        config = run.config.model_copy(update={"data": ground.data, "eval": ground.settings})
        alone = evaluate(build_method(config).eval(), config, CPU, cache=feature_cache()).shots
        assert [told["accuracy"], more["accuracy"]] == pytest.approx([shot.accuracy[0] for shot in alone], abs=1e-12)
        assert [told["ci95_episodes"], more["ci95_episodes"]] == pytest.approx(
            [shot.accuracy[1] for shot in alone], rel=1e-4
        )
        assert [told["episode_digest"], more["episode_digest"]] == [shot.digest for shot in alone]
    settings = {cell.row.label: cell.runs[0].config.model.match for cell in plan.cells}
    plain, apart = (settings[f"r3d_18=none prototype, {features}"] for features in (PLAIN, APART))
    assert (plain.metric, plain.root, plain.whiten) == ("cosine", False, "none")
    assert (apart.metric, apart.root, apart.whiten, apart.whiten_groups) == ("cosine", False, "train", "disjoint")
    count = len(encoded)
    assert reported(few(*NETWORKS)).document() == report.document(), "costs, too"
    assert len(encoded) == count, "everything is known"


def test_the_command_writes_pages_that_its_own_commands_repeat(folder, fsar):
    (folder / "w").mkdir()
    torch.save(torchvision.models.mobilenet_v3_small(weights=None).state_dict(), "w/net.pth")
    Path("w/net.classes.txt").write_text("kicking\nsleeping\n")
    chosen = [part for name in ("mobilenet_v3_small=w/net.pth", "nosuch", "shufflenet_v2_x0_5=gone.pth")
              for part in ("--backbone", name)]  # fmt: skip
    options = ["--quick", "--dataset", "p", "--shots", "2", "--device", "cpu", *SETS, "--set", "eval.episodes=40"]
    found = fsar("reproduce", "backbones", *chosen, *options)
    assert found.code == 2, "of failures the least, as of other tables"
    assert "the best for its cost" in found.out and found.err.count("failed: no weights at gone.pth") == 1, "said once"
    files = {ending: Path(f"reproduce/backbones-small-quick.{ending}") for ending in ("md", "html", "csv", "json")}
    by_ending = {f".{ending}": file.read_text(encoding="utf-8") for ending, file in files.items()}
    document = json.loads(by_ending[".json"])
    cells = list(csv.DictReader(by_ending[".csv"].splitlines()))
    assert len(cells) == 3 * 12 and {cell["shot"] for cell in cells} == {"2"}
    first = document["cells"][0]
    assert (first["backbone"], first["backbone_weights"], first["features"]) == (
        "mobilenet_v3_small", "w/net.pth", PLAIN,
    )  # fmt: skip
    assert float(cells[0]["gmac"]) == first["gmac"] > 0 and first["clips_per_second"] > 0
    assert first["classes_seen"] == ["kick"]
    net, *lost = document["backbones"]
    assert net["device"].startswith("CPU") and net["precision"] == "float32" and net["failed"] is None
    assert "unknown backbone 'nosuch'" in lost[0]["failed"] and "gone.pth" in lost[1]["failed"]
    page = by_ending[".md"]
    assert f"| nosuch | imagenet | failed | {lost[0]['failed']} | – | – | – |" in page
    accuracy = f"{100 * first['accuracy']:.2f} ± {100 * first['ci95_episodes']:.2f} †"
    assert f"| mobilenet_v3_small | net.pth | prototype | plain | {accuracy} |" in page.replace("**", "")
    assert "by cosine" in page and "TRX, head as it starts" in page and "cosine" in by_ending[".html"]
    assert "† 1 of 3 test classes" in page and "show 4 of the 4 groups of the test videos" in page
    with Image.open("reproduce/backbones-small-quick.png") as picture:
        assert picture.width > 600
    assert 'src="backbones-small-quick.png"' in by_ending[".html"]
    apart = next(c for c in document["cells"] if c["method"] == "trx" and c["features"] == APART)
    command = apart["commands"][0].split()[1:]
    printed = fsar(*command, "--json", "--device", "cpu").json["results"][0]
    assert printed["accuracy"] == pytest.approx(apart["accuracy"], abs=1e-12)


def test_a_dry_run_makes_no_network_and_no_file(folder, fsar, monkeypatch):
    monkeypatch.setattr(planned, "build_method", None)
    found = fsar("reproduce", "backbones", "--dataset", "p", "--dry-run", "--json", "--set", "clip.size=34")
    assert found.code == 0, found.err
    runs = found.json["runs"]
    assert len(runs) == 12 * (len(USUAL) + 1), "the project's own, too"
    assert {(run["to_do"], run["iterations"], run["trained_on"]) for run in runs} == {("nothing to train", 0, "-")}
    assert not Path("reproduce").exists()
    shown = fsar("reproduce", "backbones", "--dataset", "p", "--dry-run", "--set", "clip.size=34")
    assert "0 of 96 runs are to be trained, 192 evaluations" in shown.err
    refused = fsar("reproduce", "backbones", "--dataset", "p", "--dry-run", "--set", "clip.size=64")
    assert (
        refused.err.count("mobilenet_v3_small=none is refused: clip: clip.size 64 is larger than clip.short_side 36")
        == 1
    )


def test_how_clips_are_read_belongs_to_the_weights_and_of_its_own_backbone_to_the_project(folder):
    data = find_data(("p",), True, Path("out"), SILENT, trained=False)
    plan = make_plan(backbone_table([test for _, test in data]), RECIPES["few"], data)
    clips = {cell.row.subject: cell.runs[0].config.clip for cell in plan.cells}
    read = {name: (clip.frames, clip.size, clip.short_side) for name, clip in clips.items()}
    assert read["resnet50"] == (8, 224, 256) and read["r3d_18"] == (16, 112, 128)
    assert read["mobilenet_v3_small=none"] == (4, 32, 36)
    changed = make_plan(backbone_table([test for _, test in data]), RECIPES["few"], data, changes={"clip.frames": 32})
    assert {cell.runs[0].config.clip.frames for cell in changed.cells} == {32}, "--set is over both"


@pytest.mark.parametrize("asked", ["=w.pth", "r3d_18="])
def test_a_backbone_is_asked_for_by_name(asked):
    with pytest.raises(UsageError, match="NAME or NAME=WEIGHTS"):
        backbone_table([], [asked])


def test_backbones_are_chosen_for_their_table_only(folder, fsar):
    wrong = fsar("reproduce", "table1", "--quick", "--dataset", "p", "--backbone", "r3d_18")
    assert wrong.code == 2 and "--backbone has no meaning for table1" in wrong.err


def test_files_of_one_name_are_told_apart(folder):
    table = backbone_table([], ["i3d=a/w.pth", "i3d=b/w.pth", "i3d=c.pth"])
    assert len({row.label for row in table.rows}) == 3 * 12
    assert {row.subject for row in table.rows} == {"i3d=a/w.pth", "i3d=b/w.pth", "i3d=c.pth"}


def test_rows_that_a_split_file_cannot_give_are_left_out_with_a_sentence(folder, project):
    write_project(project, lambda video: "")
    plan = plan_of(NETWORKS[0])
    assert {cell.row.features for cell in plan.cells} == {PLAIN, WHITENED}
    assert plan.skipped == {f"small, {APART}": "the split file has no groups (`fsar splits make --group-by`)"}
    write_project(project, lambda video: "", drop="train")
    plan = plan_of(NETWORKS[0])
    assert {cell.row.features for cell in plan.cells} == {PLAIN}
    plan.cells = plan.cells[:1]
    text = reported(plan).write()[0].read_text()
    assert f"small, {WHITENED}: left out, the split file has no train split to whiten by." in text


def test_a_cell_that_fails_is_named_and_its_backbone_goes_on(folder, project):
    write_project(project, lambda video: "one")  # all train clips are of the queries' group
    plan = plan_of(NETWORKS[0])
    plan.cells = [cell for cell in plan.cells if cell.row.method == "prototype"]
    report = reported(plan)
    assert report.exit_code == 3
    column = report.columns[0]
    assert set(column.failed) == {f"{NETWORKS[0]} prototype, {APART}"} and len(column.scores) == 2
    assert "all train clips are of that group" in report.write()[0].read_text()


def test_interrupted_it_goes_on_where_it_stopped(folder, encoded, monkeypatch):
    real, done = work.evaluate, []

    def stopping(*arguments, **options):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(options["name"])
        return real(*arguments, **options)

    monkeypatch.setattr(work, "evaluate", stopping)
    with pytest.raises(Interrupted):
        reported(few("shufflenet_v2_x0_5=none", NETWORKS[0]))
    count = len(encoded)
    monkeypatch.setattr(work, "evaluate", real)
    plan = few("shufflenet_v2_x0_5=none", NETWORKS[0])
    plan.cells = [cell for cell in plan.cells if cell.row.method == "prototype"]
    assert len(reported(plan).columns[0].scores) == 6
    assert len(encoded) == count == 48, "nothing is encoded again"


def start(*more: str, **environment: str) -> subprocess.Popen:
    chosen = [part for name in NETWORKS for part in ("--backbone", name)]
    command = [sys.executable, "-m", "fsar_cli", "reproduce", "backbones", "--quick", "--dataset", "p", "--out", "out",
               "--device", "cpu", *chosen, *SETS, "--set", "eval.episodes=40", *more]  # fmt: skip
    environ = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_after_kill_9_the_same_command_goes_on(folder, encoded):
    process = start()
    deadline = time.monotonic() + 120
    while not list(Path("out").glob("results/[!.]*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    report = reported(plan_of(*NETWORKS))
    assert report.exit_code == 0 and all(len(column.scores) == 24 for column in report.columns)
    assert not any("mobilenet" in line and "kick" in line for line in encoded), "the test videos were encoded before"


@pytest.mark.slow
def test_processes_share_the_backbones_and_one_writes_the_table(folder):
    processes = [start(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "Frozen backbones" in outputs[0][0] and not outputs[1][0]
    cells = json.loads(Path("out/backbones-small-quick.json").read_text())["cells"]
    assert len(cells) == 48 and all(cell["accuracy"] is not None for cell in cells)


def test_multiply_adds_are_those_counted_by_hand():
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.ReLU(), nn.Conv2d(8, 16, 1))
    by_hand = 4 * (16 * 16 * 8 * 3 * 9 + 16 * 16 * 16 * 8)
    assert multiply_adds(FrameBackbone(trunk, 16, "tiny"), 4, 32) == by_hand
    clip = nn.Conv3d(3, 8, (2, 3, 3), stride=(2, 1, 1), padding=(0, 1, 1))
    assert multiply_adds(ClipBackbone(clip, 8, "tiny", step=2), 4, 16) == 2 * 16 * 16 * 8 * 3 * 18


class Attention(nn.Module):
    """Tokens of a map [B,C,H,W] through the fast attention."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        tokens = (self.scale * x).flatten(2).mT.unsqueeze(1)
        return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).squeeze(1).mT.unflatten(2, (8, 8))


def test_fast_attention_counts_its_two_products():
    assert multiply_adds(FrameBackbone(Attention(), 3, "tiny"), 2, 8) == 2 * 2 * 64 * 64 * 3
