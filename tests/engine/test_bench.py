"""The parts of the benchmark: clocks, ceilings, the synthetic set, the plain forms of reading, evaluating, training."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_sizes import tiny_sizes
from PIL import Image

from fsar_cli.data.clips import ClipReader
from fsar_cli.data.splits import Splits
from fsar_cli.data.store.frames import FrameStore
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bank import encode_videos
from fsar_cli.engine.bench import ceiling, run, workbench
from fsar_cli.engine.bench.measurement import Measurement, Report
from fsar_cli.engine.bench.peak import peak_memory
from fsar_cli.engine.bench.plain_episodes import EpisodeClips, encode_plainly, in_customary_layout, plain_loader
from fsar_cli.engine.bench.plain_frames import read_plainly
from fsar_cli.engine.bench.report import figure, markdown, ratio, write_report
from fsar_cli.engine.bench.sections import SECTIONS
from fsar_cli.engine.bench.sections.evaluate import largest_difference, whole_bank
from fsar_cli.engine.bench.sections.read import loose_clips
from fsar_cli.engine.bench.sections.scaling import growth, slope
from fsar_cli.engine.bench.sections.train import FastEpisodes, PlainEpisodes, _config, training_episodes
from fsar_cli.engine.bench.sizes import choose_sizes
from fsar_cli.engine.bench.testset import make_set
from fsar_cli.engine.bench.timing import Repeats, Timing, in_turn, once
from fsar_cli.engine.bench.workbench import Workbench, disk_need
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import Cache, cache_folder

CPU = torch.device("cpu")


class FakeClock:
    """Stands still but for the work that moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float, log: list[str] | None = None, name: str = ""):
        def run() -> None:
            self.now += seconds
            if log is not None:
                log.append(name)

        return run


def test_two_forms_are_timed_in_turn_after_a_warmup() -> None:
    clock, log = FakeClock(), []
    forms = {"a": clock.work(1, log, "a"), "b": clock.work(3, log, "b")}
    found = in_turn(forms, CPU, Repeats(least=2, most=9, seconds=5, warmup=1), clock)
    assert log == ["a", "b"] * 3  # one round to warm up; after the second, 8 of 5 seconds are over
    assert found == {"a": Timing((1, 1)), "b": Timing((3, 3))}


@pytest.mark.parametrize(("seconds", "rounds"), [(0, 2), (2.5, 3), (100, 4)])
def test_repeats_are_bounded_by_time_and_by_both_numbers(seconds: float, rounds: int) -> None:
    clock = FakeClock()
    found = in_turn({"a": clock.work(1)}, CPU, Repeats(least=2, most=4, seconds=seconds, warmup=0), clock)
    assert len(found["a"].seconds) == rounds


def test_the_median_and_the_spread_of_a_timing() -> None:
    timing = Timing((1.0, 2.0, 9.0))
    assert (timing.median, timing.spread) == (2.0, 4.0)
    clock = FakeClock()
    assert once(clock.work(0.25), CPU, clock) == 0.25


def test_flops_are_those_of_the_products_whatever_runs_backward() -> None:
    a, b = torch.rand(3, 5, requires_grad=True), torch.rand(5, 7)
    assert ceiling.flops_of(lambda: a @ b) == 2 * 3 * 5 * 7
    assert ceiling.flops_of(lambda: (a @ b).sum().backward()) == 2 * 2 * 3 * 5 * 7  # and one product for a's gradient


def test_ceilings_are_rates_of_the_best_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ceiling.SHAPES, "cpu", ((2, 3, 4), (20, 30, 40)))
    monkeypatch.setitem(ceiling.COPIED, "cpu", 1000)
    monkeypatch.setattr(ceiling, "in_turn", lambda forms, *_: {name: Timing((0.5, 0.25)) for name in forms})
    assert ceiling.product_ceiling(CPU, torch.float32, Repeats()) == 2 * 20 * 30 * 40 / 0.25
    assert ceiling.copy_bandwidth(CPU, Repeats()) == 2 * 1000 / 0.25


def test_peak_memory_sees_what_was_given_back() -> None:
    with peak_memory(CPU) as before:
        pass
    with peak_memory(CPU) as peak:
        torch.ones(2**26).sum()  # 256 MiB
    if before.bytes is None:
        pytest.skip("this system does not tell the peak of a process")
    assert 2**27 < peak.bytes - before.bytes < 2**29
    with peak_memory(CPU) as after:
        pass
    assert after.bytes < peak.bytes - 2**27  # the mark was forgotten


def measurement(**changes) -> Measurement:
    values = {"section": "s", "what": "w", "sizes": "x", "unit": "s", "ours": 2.0, "plain": 8.0, "against": "y"}
    return Measurement(**values | changes)


def test_ratios_know_which_direction_is_better() -> None:
    assert measurement().ratio == 4
    assert measurement(unit="frames/s").ratio == 0.25
    assert measurement(unit="MiB", ours=4.0, plain=4.0).ratio == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.012345, "0.0123"), (0.3, "0.300"), (12, "12.0"), (99.96, "100"), (123.4, "123"), (98765.4, "98,765")],
)
def test_figures_show_three_digits(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("plain", "text"), [(2.0, "1.0x"), (1.96, "0.98x"), (9.3, "4.7x"), (428, "214x"), (172_728, "86,400x")]
)
def test_ratios_are_rounded_to_what_they_can_be_trusted_for(plain: float, text: str) -> None:
    assert ratio(measurement(plain=plain)) == text


def test_growth_is_the_exponent_and_the_largest_against_the_smallest_scaled() -> None:
    sizes = (100, 200, 400)
    assert slope(sizes, [1, 2, 4]) == pytest.approx(1)
    assert slope(sizes, [1, 4, 16]) == pytest.approx(2)
    found = growth("videos", "x", sizes, [1, 4, 16], [5, 5, 5])
    assert (found.ours, found.plain, found.ratio) == (16, 4, 0.25)
    assert found.details["exponent"] == pytest.approx(2)


def test_sections_and_sizes_are_checked_with_a_suggestion() -> None:
    assert run.chosen_sections(()) == tuple(SECTIONS)
    assert run.chosen_sections(("head", "extract")) == ("extract", "head")
    for wrong, hint in ((lambda: run.chosen_sections(["evalute"]), "evaluate"),
                        (lambda: choose_sizes(CPU, True, methods=("trxx",)), "trx"),
                        (lambda: choose_sizes(CPU, True, backbone="resnet51"), "resnet5")):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            wrong()
        assert hint in caught.value.hint


def test_given_sizes_replace_those_of_every_mode() -> None:
    full, quick = (choose_sizes(CPU, mode, side=96, episodes=40, backbone=None, seed=3) for mode in (False, True))
    assert (full.backbone, quick.backbone) == ("resnet50", "resnet18")
    assert {(s.side, s.train_side, s.episodes, s.scaling_episodes, s.seed) for s in (full, quick)} == {
        (96, 96, 40, (10, 20, 40), 3)
    }
    config = full.config("trx")
    assert (config.clip.size, config.clip.short_side, config.model.region.side) == (96, 110, 55)
    published = choose_sizes(torch.device("cuda"), False).config("keyregion")
    assert (published.clip.size, published.clip.short_side, published.model.region.side) == (224, 256, 128)


def test_the_synthetic_set_has_the_shape_asked_for_and_repeats_what_it_should(tmp_path) -> None:
    made = make_set(tmp_path, {"train": (2, 5), "test": (3, 10)}, short_side=40, distinct=4)
    splits, store = made.splits, FrameStore(tmp_path / "frames")
    assert {s: splits.counts()[s] for s in ("train", "test")} == {"train": (2, 5), "test": (3, 10)}
    ids = [video.id for video in splits.videos("test")]
    pictures = [store.read(video, range(8)) for video in ids]
    assert pictures[0].shape == (8, 40, 53, 3)
    for i, one in enumerate(pictures):
        assert np.array_equal(one, pictures[i % 4])
    assert not np.array_equal(pictures[0], pictures[1])
    assert all(pictures[0].std(axis=(1, 2, 3)) > 5)  # something to see in each
    assert splits.digest == Splits.read(tmp_path / "splits.csv").digest


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(CPU, tiny_sizes(), tmp_path_factory.mktemp("bench"))


def test_clips_read_plainly_are_those_of_the_reader(bench: Workbench) -> None:
    config = bench.sizes.config("trx")
    videos = bench.test_set.store.ids[:2]
    reader = ClipReader(bench.test_set.store, config.clip)
    for video, files in zip(videos, loose_clips(bench, videos, 4), strict=True):
        ours = to_float(torch.from_numpy(reader.evaluation(video)).unsqueeze(0), True)[0]
        plain = read_plainly(files, config.clip.short_side, config.clip.size)
        assert ours.shape == plain.shape == (4, 3, 64, 64)
        assert (ours - plain).abs().mean() < 0.02  # two JPEG decoders


def test_encoding_every_episode_anew_equals_the_bank_and_copies_stand_for_equal_videos(bench: Workbench) -> None:
    sizes, sampler = bench.sizes, bench.sampler(bench.test_set.splits)
    config = replace(sizes, backbone="resnet18").config("keyregion")  # whose features keep their scale untrained
    method, reader = bench.method(config).eval(), ClipReader(bench.test_set.store, config.clip)
    whole = encode_videos(method, reader, sampler.videos, CPU, config)
    part = encode_videos(method, reader, sampler.videos[: sizes.distinct], CPU, config)
    copied = whole_bank(part, sampler.videos)
    assert (sizes.distinct, len(copied.encoded)) == (8, 16)
    for name, tensor in whole.encoded.tensors.items():
        torch.testing.assert_close(copied.encoded[name], tensor, rtol=1e-4, atol=1e-5)
    loader = plain_loader(EpisodeClips(reader, sampler, normalize=True), 2, 0, False)
    episodes = list(encode_plainly(in_customary_layout(method.features), loader, CPU))
    assert [tuple(x.shape[:3]) for x in episodes[0]] == [(3, 2, 4), (3, 4, method.features.dim)]
    assert largest_difference(method, copied, sampler, episodes) < 1e-4
    wrong = whole_bank(part, sampler.videos)
    wrong.encoded.tensors.update({n: t.flip(0) for n, t in wrong.encoded.tensors.items()})
    assert largest_difference(method, wrong, sampler, episodes) > 1e-3


@pytest.mark.parametrize("name", ["trx", "keyregion"])
def test_the_plain_training_step_has_the_gradients_of_ours(bench: Workbench, name: str) -> None:
    made = bench.make_set(f"train-{name}", {"train": (2, 8)}, _config(bench, name).clip.short_side)
    quiet = {"model.match.dropout": 0.0, "model.region.random_probability": 0.0}
    config = _config(bench, name, made, **quiet)
    ours, plain = FastEpisodes(bench, config), PlainEpisodes(bench, config)
    batch = training_episodes(config)[0]
    assert torch.equal(batch.clips.pixels, ours.batch.clips.pixels)
    ours()
    plain()
    expected = {n: p.grad for n, p in ours.method.named_parameters() if p.grad is not None}
    found = {n: p.grad for n, p in plain.method.named_parameters() if p.grad is not None}
    assert expected.keys() == found.keys()
    assert len(expected) > 20
    scale = max(float(g.abs().max()) for g in expected.values())
    for key, gradient in expected.items():
        # Through batch statistics of few clips the order of sums shows.
        assert (found[key] - gradient).abs().max() < 0.02 * max(float(gradient.abs().max()), 1e-3 * scale), key


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch) -> Path:
    """The folder of temporary files; its path is short, for the loaders' sockets."""
    folder = tmp_path_factory.mktemp("t")
    monkeypatch.setattr(workbench.tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def measured(temporary, monkeypatch):
    """`measured(section, **sizes)` -> its measurements; nothing may stay behind."""

    def measure(section: str, **changes) -> list[Measurement]:
        monkeypatch.setattr(ceiling, "SHAPES", {"cpu": ((64, 64, 64),)})
        before = sorted(cache_folder().rglob("*"))
        report = Report({}, "fsar bench", (section,), True)
        run.run_bench(report, tiny_sizes(**changes), CPU)
        assert list(temporary.iterdir()) == []
        assert sorted(cache_folder().rglob("*")) == before
        for m in report.measurements:
            assert m.section == section
            assert m.ours > 0 and m.plain > 0 and math.isfinite(m.ratio), m
            assert m.sizes and m.against
            assert m.ceiling_share is None or m.ceiling_share > 0
        assert json.loads(json.dumps(report.document()))["measurements"]
        return report.measurements

    return measure


def test_extraction_writes_the_same_frames_both_ways(measured) -> None:
    (found,) = measured("extract")
    assert found.details["frames"] > 3 * 20


def test_reading_and_encoding_are_measured(measured) -> None:
    assert [m.unit for m in measured("read")] == ["ms", "clips/s"]
    backbone, both = measured("encode")
    assert both.details["gflop_per_frame"] > backbone.details["gflop_per_frame"] > 0
    assert backbone.ceiling_share > 0


def test_the_head_computes_less_for_the_same_numbers(measured) -> None:
    (found,) = measured("head", head_dim=64)
    assert found.details["largest_relative_difference"] < 1e-5
    assert found.details["gflop"] < found.details["gflop_plain"]


def test_training_is_taken_apart_and_its_waiting_is_seen(measured) -> None:
    found = {m.what: m for m in measured("train")}
    assert set(found) == {
        "trx, episode in memory", "trx, from the frame store", "keyregion, episode in memory",
        "keyregion against plain TRX", "keyregion, from the frame store",
    }  # fmt: skip
    parts = found["keyregion, episode in memory"].details
    assert all(parts[f"seconds_{name}"] > 0 for name in ("forward", "backward", "optimiser"))
    assert 0 <= found["trx, from the frame store"].details["idle_share"] <= 1
    assert found["keyregion against plain TRX"].plain > 0


def test_evaluation_shares_the_encoding_and_agrees_with_encoding_anew(measured, monkeypatch) -> None:
    module = sys.modules["fsar_cli.engine.bench.sections.evaluate"]
    monkeypatch.setattr(module, "once", lambda work, device: (work(), 1.0)[1])  # all takes a second
    methods = ("keyregion", "trx", "otam")
    found = measured("evaluate", backbone="resnet18", methods=methods)
    assert [m.what.split(",")[0] for m in found] == ["trx", "trx", "otam", "otam", "keyregion", "keyregion"]
    assert all(m.details["largest_relative_difference"] < 1e-4 for m in found)
    assert [m.details["features_encoded_with"] for m in found[::2]] == ["trx", "trx", "keyregion"]
    assert [m.details["share_of_videos_encoded"] for m in found[::2]] == [1, 1, 0.5]
    # Encoding (twice as long where half was encoded) or reading, and matching:
    assert [m.ours for m in found] == [2, 2, 2, 2, 3, 3]
    # 20 episodes that each took a second to encode, and one for matching all of the reference's:
    assert [m.plain for m in found[::2]] == [20 * 1.5, 20 * 1.5, 20 * 2]
    assert "16 videos (8 encoded" in found[-1].sizes and "encoded" not in found[0].sizes


def test_scaling_reports_exponents_and_memory(measured) -> None:
    found = measured("scaling")
    assert [m.details["sizes"] for m in found[:2]] == [[12, 24], [4, 8]]
    assert all(math.isfinite(m.details["exponent"]) for m in found[:2])


def test_an_interrupt_keeps_what_was_measured(temporary, tmp_path, monkeypatch) -> None:
    def first(_):
        yield measurement(section="read")

    def second(bench):
        yield measurement(section="head")
        (bench.folder / "half").write_text("x")
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "SECTIONS", {"read": first, "head": second})
    first.__doc__ = second.__doc__ = "Words."
    report = Report({"name": "here", "cores": 2, "torch": "2", "fsar": "1"}, "fsar bench", ("read", "head"), False)
    run.run_bench(report, tiny_sizes(), CPU)
    assert report.interrupted
    assert [m.section for m in report.measurements] == ["read", "head"]
    assert list(temporary.iterdir()) == []
    files = write_report(report, tmp_path / "out")
    assert json.loads(files[0].read_text())["interrupted"] is True
    assert "(interrupted)" in markdown(report)


def test_too_little_disk_is_said_before_anything_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(workbench.tempfile, "tempdir", str(tmp_path))
    need = disk_need(tiny_sizes())
    monkeypatch.setattr(workbench.shutil, "disk_usage", lambda _: type("Usage", (), {"free": need - 1})())
    with (
        pytest.raises(DataError, match=f"needs up to {need / 2**20:.0f}"),
        workbench.workbench(CPU, tiny_sizes()),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_disk_estimate_covers_what_is_written(bench: Workbench) -> None:
    config = bench.sizes.config("keyregion")
    sampler = bench.sampler(bench.test_set.splits)
    reader = ClipReader(bench.test_set.store, config.clip)
    encode_videos(
        bench.method(config).eval(), reader, sampler.videos, CPU, config, cache=Cache(bench.folder / "features")
    )
    used = sum(path.stat().st_size for path in bench.folder.rglob("*") if path.is_file())
    assert used < disk_need(bench.sizes)


def test_the_report_is_a_table_of_every_row_and_a_picture(tmp_path) -> None:
    report = Report({"name": "Some CPU", "cores": 2, "torch": "2.15", "fsar": "1"}, "fsar bench head", ("head",), True)
    report.ceilings = {"float32": 2e11, "bfloat16": 1e12, "copy": 1e10}
    report.measurements = [measurement(what="a | b", ceiling_share=0.5), measurement(what="c")]
    text = markdown(report)
    assert "| s | a / b | 2.00 s | 8.00 s | 4.0x | 50 % |" in text
    assert text.count("\n- ") == 1  # both rows share their sizes
    assert "Some CPU, 2 cores; torch 2.15" in text and "float32 200 GFLOP/s" in text and "--quick" in text
    files = write_report(report, tmp_path / "new" / "bench")
    assert [file.name for file in files] == ["bench.json", "bench.md", "bench.png"]
    document = json.loads(files[0].read_text())
    assert (document["schema"], document["measurements"][0]["ratio"]) == (1, 4.0)
    with Image.open(files[2]) as picture:
        assert picture.size[0] > 1000


def test_the_processor_is_named(tmp_path) -> None:
    (tmp_path / "info").write_text("processor : 0\nmodel name\t: Some  CPU @ 2 GHz\nmodel name : Some  CPU @ 2 GHz\n")
    assert run.processor_name(tmp_path / "info") == "Some CPU @ 2 GHz"
    assert run.processor_name(tmp_path / "absent")
    assert run.describe_machine(CPU)["cores"] >= 1


@pytest.mark.slow
def test_the_head_is_at_least_twice_as_fast_as_its_plain_form(tmp_path) -> None:
    torch.set_num_threads(2)
    try:
        bench = Workbench(CPU, choose_sizes(CPU, quick=False), tmp_path)
        assert next(SECTIONS["head"](bench)).ratio >= 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.cuda
def test_every_section_runs_on_a_gpu(temporary, cuda: torch.device) -> None:
    report = Report(run.describe_machine(cuda), "fsar bench", tuple(SECTIONS), True)
    run.run_bench(report, tiny_sizes(cuda), cuda)
    assert {m.section for m in report.measurements} == set(SECTIONS)
    assert all(m.ours > 0 and m.plain > 0 for m in report.measurements)
    differences = [m.details["largest_relative_difference"] for m in report.measurements if m.section == "evaluate"]
    assert max(differences) < 0.1  # bfloat16 against float32
    assert any("bfloat16" in m.what for m in report.measurements if m.section == "head")
    assert "gpu" in report.machine
