"""`fsar bench`: table, document, files, refusals and Ctrl-C."""

import json

import pytest
from bench_sizes import tiny_sizes
from PIL import Image

from fsar_cli.engine.bench import ceiling, run, sizes
from fsar_cli.engine.bench.measurement import Measurement


@pytest.fixture
def tiny_bench(fsar, monkeypatch):
    """`fsar` whose benchmark takes seconds."""
    monkeypatch.setattr(sizes, "choose_sizes", lambda device, quick, **_: tiny_sizes(device))
    monkeypatch.setattr(ceiling, "SHAPES", {"cpu": ((64, 64, 64),)})
    return fsar


@pytest.fixture
def stopped(tiny_bench, monkeypatch):
    """The same, with sections of which the second is interrupted."""

    def first(bench):
        """Is done."""
        yield Measurement("read", "done [x]", "x", "s", 1.0, 4.0, "y [z]")

    def second(bench):
        """Is not."""
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(run, "SECTIONS", {"read": first, "head": second})
    return tiny_bench


def test_a_table_the_sizes_the_machine_and_three_files(tiny_bench, tmp_path):
    result = tiny_bench("bench", "head", "read", "--quick", "--device", "cpu")
    assert result.code == 0, result.err
    assert "TRX head, forward and backward" in result.out and "clips by loaders" in result.out
    assert "2-shot, 3 queries" in result.out  # the sizes
    assert "torch " in result.out and "fsar bench head read --quick --device cpu" in result.out
    assert "small sizes" in result.out
    assert sorted(file.name for file in (tmp_path / "bench").iterdir()) == ["bench.json", "bench.md", "bench.png"]
    with Image.open(tmp_path / "bench" / "bench.png") as picture:
        picture.load()
    assert "| head |" in (tmp_path / "bench" / "bench.md").read_text()


def test_json_prints_one_document_equal_to_the_file(tiny_bench, tmp_path):
    result = tiny_bench("bench", "head", "--json", "--device", "cpu", "--out", "there [1]")
    assert (result.code, result.err) == (0, "")
    document = result.json
    assert document["schema"] == 1
    assert [m["section"] for m in document["measurements"]] == ["head"]
    assert document["measurements"][0]["ratio"] > 0
    assert document["machine"]["device"] == "cpu"
    files = document.pop("files")
    assert document == json.loads((tmp_path / "there [1]" / "bench.json").read_text())
    assert files == [f"there [1]/bench.{kind}" for kind in ("json", "md", "png")]


def test_ctrl_c_keeps_and_shows_what_was_measured(stopped, tmp_path):
    result = stopped("bench", "--device", "cpu")
    assert result.code == 130
    assert "done [x]" in result.out and "4.0x" in result.out and "(interrupted)" in result.out
    assert "what was measured so far is in bench" in result.err
    assert json.loads((tmp_path / "bench" / "bench.json").read_text())["interrupted"] is True
    assert stopped("bench", "head", "--device", "cpu", "--out", "none").code == 130
    assert not list((tmp_path / "none").iterdir())


def test_an_error_shows_what_was_measured_before_it(stopped, monkeypatch, tmp_path):
    from fsar_cli.errors import DataError

    def broken(bench):
        """Fails."""
        raise DataError("no room", "make some")
        yield

    monkeypatch.setitem(run.SECTIONS, "head", broken)
    result = stopped("bench", "--device", "cpu")
    assert (result.code, "done [x]" in result.out, "no room" in result.err) == (3, True, True)
    assert (tmp_path / "bench" / "bench.json").exists()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("heda",), "did you mean 'head'?"),
        (("head", "--method", "trxx"), "did you mean 'trx'?"),
        (("head", "--backbone", "resnet500"), "did you mean 'resnet50'?"),
    ],
)
def test_wrong_names_are_refused_with_a_suggestion(fsar, arguments, hint, tmp_path):
    result = fsar("bench", *arguments, "--device", "cpu")
    assert (result.code, hint in result.err, result.out) == (2, True, "")
    assert not (tmp_path / "bench").exists()


def test_a_folder_that_cannot_be_made_stops_before_the_work(fsar, tmp_path):
    (tmp_path / "file").touch()
    assert fsar("bench", "head", "--device", "cpu", "--out", "file/x").code == 3


def test_an_absent_gpu_is_a_device_error(fsar, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert fsar("bench", "head", "--device", "cuda").code == 4
