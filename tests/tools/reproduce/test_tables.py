"""The paper's tables as data: the numbers are the paper's, the rows are runs that tables share."""

import re

import pytest
from small_project import small

from fsar_cli.config import dump
from fsar_cli.core.methods import METHODS
from fsar_cli.errors import DataError, UsageError
from fsar_cli.reporting import SILENT
from fsar_cli.tools.demo import demo
from fsar_cli.tools.demo.scenes import read_boxes
from fsar_cli.tools.reproduce.data import find_data, make_demo
from fsar_cli.tools.reproduce.outcome import Column, Step, order_in_words
from fsar_cli.tools.reproduce.plan import make_plan
from fsar_cli.tools.reproduce.planned import digest_of
from fsar_cli.tools.reproduce.recipes import RECIPES
from fsar_cli.tools.reproduce.tables import CRIME, HMDB, KINETICS, OURS, PAPER_SETS, TABLES, expected

TINY = {"train.iterations": 4, "eval.episodes": 40, "train.checkpoint_every": 2, "episode.way": 3, "eval.way": 3}


@pytest.fixture
def data(project, tmp_path):
    """The small project, trained and tested on its own."""
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "fsar.yaml").write_text(dump(small(project)))
    return find_data((str(tmp_path / "p"),), True, tmp_path, SILENT)[0]


def plan_of(name, data, recipe=None, seeds=1, **changes):
    table = TABLES[name]
    return make_plan(table, RECIPES[recipe or table.quick], [data], seeds, TINY | changes)


def by_label(plan, shot=1) -> dict[str, str]:
    return {cell.row.label: cell.runs[0].digest for cell in plan.cells if cell.shot == shot}


def test_all_numbers_are_those_of_the_paper(shared):
    (paper,) = (shared / "paper").glob("*.txt")
    lines = [re.sub(r"</?(b|sup)>", " ", line) for line in paper.read_text(encoding="utf-8").splitlines()]

    def numbers(line: str) -> list[float | None]:
        cells = [cell.strip() for cell in line.split("\t")]
        return [None if c == "—" else float(c) for c in cells if c == "—" or re.fullmatch(r"\d\d\.\d", c)]

    def of(row, kind) -> list[float | None]:
        return [value for name in PAPER_SETS for value in getattr(row, kind)[name]]

    found, ablations = {}, []
    for line in lines:
        if len(numbers(line)) in (3, 6):
            if re.match(r"✓|\t", line):
                ablations.append(numbers(line))
            found.setdefault(re.match(r"\s*([^\s\[\t]*)[^*\t]*(\*?)", line).groups(), []).append(numbers(line))
    for row in TABLES["table1"].rows:
        name = "本文方法" if row.label == OURS else row.label
        if row.own:
            assert [of(row, "own")] == found[name, "*"]
        if row.paper:
            assert [of(row, "paper")] == found[name, ""]
    assert [of(row, "paper") for row in TABLES["table2"].rows] == [n for n in ablations if len(n) == 6]
    shown = [[value for value in of(row, "paper") if value is not None] for row in TABLES["table3"].rows]
    assert shown == [n for n in ablations if len(n) == 3]


def test_every_method_of_table_1_is_in_the_harness():
    assert {row.method for row in TABLES["table1"].rows} <= set(METHODS)


def test_the_direction_of_a_difference_is_the_papers():
    table = TABLES["table2"]
    assert expected(table, "+ relation", "+ key region", HMDB, 1) == 1
    assert expected(table, "+ key region", "+ relation", CRIME, 1) == -1
    assert expected(table, "+ refined loss", "+ relation", KINETICS, 5) == 0
    assert expected(table, "+ refined loss", "+ relation", None, 5) == 1, "no data set says otherwise"
    methods = TABLES["table1"]
    assert expected(methods, OURS, "OTAM", HMDB, 1) == 1
    assert expected(methods, OURS, "OTAM", CRIME, 1) == -1
    assert expected(methods, OURS, "OTAM", "demo", 1) is None, "the paper's data sets disagree"
    assert expected(methods, OURS, "MoLo", HMDB, 1) is None


def test_tables_share_runs_and_only_what_is_the_same(data):
    first, second, third = (plan_of(name, data, "paper") for name in ("table1", "table2", "table3"))
    one, two, three = by_label(first, 2), by_label(second, 2), by_label(third, 2)
    assert one["TRX"] == two["baseline (TRX)"]
    assert one[OURS] == two["+ refined loss"]
    assert three["+ random region"] == two["+ key region"]
    assert len(set(two.values())) == len(set(three.values())) == 4
    assert by_label(second, 1)["baseline (TRX)"] != two["baseline (TRX)"], "trained with the shots it is tested with"
    quick = by_label(plan_of("table2", data), 2)
    assert quick == by_label(plan_of("table2", data), 1), "one quick training serves all"
    assert not set(quick.values()) & set(two.values())


def test_a_digest_holds_what_is_learnt_and_nothing_else(data, project, tmp_path):
    plan = plan_of("table2", data)
    run = plan.runs[0]

    def changed(**changes):
        return by_label(plan_of("table2", data, **changes))["baseline (TRX)"]

    assert changed() == changed(**{"train.workers": 1, "train.checkpoint_every": 1}) == run.digest
    different = [changed(**{key: value}) for key, value in (("optim.lr", 0.5), ("clip.flip", False), ("train.seed", 3))]
    assert len({run.digest, *different}) == 4
    weights = tmp_path / "w.pth"
    seen = set()
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        model = run.config.model.model_copy(update={"weights": str(weights)})
        seen.add(digest_of(run.config.model_copy(update={"model": model}), run.ground, True))
    assert len(seen) == 2, "the weights' content counts, not their name"


def test_with_frozen_features_what_has_no_heads_is_not_trained(data):
    plan = plan_of("table1", data, seeds=2)
    trained = {cell.row.label: [run.trained for run in cell.runs] for cell in plan.cells}
    assert trained["OTAM"] == trained["mean features"] == trained["Bi-MHM"] == [False]
    assert trained["TRX"] == trained[OURS] == [True, True]
    assert plan.notes.keys() == {OURS}, "its relation module cannot be trained, and the table says so"
    whole = plan_of("table1", data, "whole")
    assert all(run.trained for run in whole.runs)


def test_rows_win_over_what_the_data_set_says_and_set_over_the_recipe(data):
    plan = plan_of("table2", data, **{"model.region.source": "difference", "optim.lr": 0.125})
    assert {run.config.model.region.source for run in plan.runs if run.config.model.selects_regions} == {"relation"}
    assert {run.config.optim.lr for run in plan.runs} == {0.125}


def test_a_method_that_is_not_there_is_left_out_with_a_line(data, monkeypatch):
    monkeypatch.delitem(METHODS, "molo", raising=False)
    plan = plan_of("table1", data)
    assert plan.skipped == {"MoLo": "no method 'molo' here"}
    assert "MoLo" not in by_label(plan)


def test_absent_data_name_the_command_that_prepares_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        find_data((), False, tmp_path, SILENT)
    assert "fsar prepare hmdb51" in caught.value.hint and "splits make hmdb51-arn" in caught.value.hint


def test_two_data_sets_of_one_name_are_refused(data, project, tmp_path):
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "fsar.yaml").write_text(dump(small(project)))
    with pytest.raises(UsageError, match="two data sets are called 'small'"):
        find_data((str(tmp_path / "p"), str(tmp_path / "q")), True, tmp_path, SILENT)


class Told:
    """A difference as the words need it."""

    def __init__(self, first, second, mean, real):
        self.first, self.second, self.real = first, second, real
        self.estimate = type("Estimate", (), {"mean": mean})()


def column_of(*means, real=True):
    labels = [row.label for row in TABLES["table2"].rows]
    column = Column(None, 1, dict.fromkeys(labels))
    pairs = list(zip(labels[1:], labels, strict=False))
    steps = [Step(Told(a, b, mean, real), 1, 1.0) for (a, b), mean in zip(pairs, means, strict=True)]
    column.steps = [*steps, Step(Told(labels[3], labels[0], -1.0, True), 1, 1.0)]
    return column


def test_the_order_is_said_honestly():
    table = TABLES["table2"]
    assert "appears: 3 of 3 steps go its way, 3 of them real" in order_in_words(table, column_of(0.1, 0.1, 0.1))
    doubtful = order_in_words(table, column_of(0.1, 0.1, 0.1, real=False))
    assert "appears in the means alone: 3 of 3" in doubtful and "none of them real" in doubtful
    broken = order_in_words(table, column_of(0.1, -0.02, 0.1))
    assert "does not appear: 2 of 3" in broken
    assert "+ relation − + key region −2.00 (real)" in broken
    assert "nothing to hold" in order_in_words(table, Column(None, 1))


def test_the_demo_set_is_rendered_once_and_anew_where_it_was_left_half_made(tmp_path, monkeypatch):
    names = ("walk", "wave", "bubbles", "fight", "fire")
    monkeypatch.setattr(demo, "CLASSES", {name: demo.CLASSES[name] for name in names})
    clips = {"train": 1, "val": 1, "test": 2}
    folder = make_demo(tmp_path / "data" / "demo", SILENT, clips)
    ((train, test),) = find_data((str(folder),), True, tmp_path, SILENT)
    assert test.splits.classes("test") == ("fight", "fire") and len(test.store) == 7
    assert train.values["model.backbone"] == "mobilenet_v3_small", "the demo's own preset"
    assert {video.id for _, video in test.splits.rows} == set(read_boxes(folder / "boxes.csv"))
    video, when = folder / "videos" / "walk" / "walk_0001.mp4", (folder / "boxes.csv").stat().st_mtime_ns
    make_demo(folder, SILENT, clips)
    assert (folder / "boxes.csv").stat().st_mtime_ns == when
    (folder / "splits.csv").unlink()
    video.unlink()
    make_demo(folder, SILENT, clips)
    assert video.is_file() and (folder / "splits.csv").is_file()
