"""The benchmark: clocks, ceilings, the synthetic set, and each section at sizes at which it takes seconds."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles.episodes import EpisodeClips, encode_plainly, in_customary_layout, plain_loader
from oracles.frames import read_plainly
from PIL import Image

from bench import __main__ as command
from bench import evaluation, timing, training
from bench.frames import loose_clips
from bench.report import BenchReport, Measurement, figure, markdown, ratio, write_report
from bench.testset import make_set
from bench.timing import Repeats, Timing, in_turn, once, peak_memory
from bench.workbench import Sizes, Workbench, choose_sizes
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.splits import Splits
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bank import encode_videos

CPU = torch.device("cpu")


def tiny(device: torch.device = CPU, **changes: object) -> Sizes:
    """The quick sizes made smaller still; every section runs in a second or two."""
    sizes = replace(
        choose_sizes(device, quick=True), backbone="mobilenet_v3_small", side=64, train_side=64, videos=16, classes=4,
        episodes=20, way=3, shot=2, extracted=3, clips=8, encoded_frames=16, train_shape=(2, 1, 1), train_episodes=4,
        scaling_episodes=(4, 8), scaling_videos=(12, 24), scaling_backbone="mobilenet_v3_small", head_dim=16,
        head_queries=3, assignments=("model.match.key_dim=24", "clip.frames=4"),
        repeats=Repeats(least=1, most=1, seconds=0, warmup=0),
    )  # fmt: skip
    return replace(sizes, **changes)


@pytest.fixture(scope="module")
def first_bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(CPU, tiny(), tmp_path_factory.mktemp("bench"))


@pytest.fixture
def bench(first_bench: Workbench) -> Workbench:
    """One whose sizes a test may change; the test videos are made once."""
    made = Workbench(CPU, tiny(), first_bench.folder)
    made.test_set = first_bench.test_set
    return made


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
    timed = Timing((1.0, 2.0, 9.0))
    assert (timed.median, timed.spread) == (2.0, 4.0)
    clock = FakeClock()
    assert once(clock.work(0.25), CPU, clock) == 0.25


def test_flops_are_those_of_the_products_whatever_runs_backward() -> None:
    a, b = torch.rand(3, 5, requires_grad=True), torch.rand(5, 7)
    assert timing.flops_of(lambda: a @ b) == 2 * 3 * 5 * 7
    assert timing.flops_of(lambda: (a @ b).sum().backward()) == 2 * 2 * 3 * 5 * 7  # and one product for a's gradient


def test_ceilings_are_rates_of_the_best_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(timing.SHAPES, "cpu", ((2, 3, 4), (20, 30, 40)))
    monkeypatch.setitem(timing.COPIED, "cpu", 1000)
    monkeypatch.setattr(timing, "in_turn", lambda forms, *_: {name: Timing((0.5, 0.25)) for name in forms})
    assert timing.product_ceiling(CPU, torch.float32, Repeats()) == 2 * 20 * 30 * 40 / 0.25
    assert timing.copy_bandwidth(CPU, Repeats()) == 2 * 1000 / 0.25


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
    ("value", "text"), [(1, "1.0x"), (0.98, "0.98x"), (4.65, "4.7x"), (214, "214x"), (86_364, "86,400x")]
)
def test_ratios_are_rounded_to_what_they_can_be_trusted_for(value: float, text: str) -> None:
    assert ratio(value) == text


def test_growth_is_the_exponent_and_the_largest_against_the_smallest_scaled() -> None:
    linear, square = {100: 1, 200: 2, 400: 4}, {100: 1, 200: 4, 400: 16}
    assert evaluation.slope(linear) == pytest.approx(1)
    assert evaluation.slope(square) == pytest.approx(2)
    found = evaluation.growth("videos", "x", square, dict.fromkeys(square, 5))
    assert (found.ours, found.plain, found.ratio) == (16, 4, 0.25)
    assert found.details["exponent"] == pytest.approx(2)


def test_given_sizes_replace_those_of_every_mode() -> None:
    full, quick = (choose_sizes(CPU, mode, side=96, backbone=None, seed=3) for mode in (False, True))
    assert (full.backbone, quick.backbone) == ("resnet50", "resnet18")
    assert {(s.side, s.train_side, s.seed) for s in (full, quick)} == {(96, 96, 3)}
    config = full.config("trx")
    assert (config.clip.size, config.clip.short_side, config.model.region.side) == (96, 110, 55)
    published = choose_sizes(torch.device("cuda"), False).config("keyregion")
    assert (published.clip.size, published.clip.short_side, published.model.region.side) == (224, 256, 128)


def test_the_synthetic_set_has_the_shape_asked_for_and_something_to_see(tmp_path) -> None:
    made = make_set(tmp_path, {"train": (2, 5), "test": (3, 10)}, short_side=40)
    splits = made.splits
    assert {s: splits.counts()[s] for s in ("train", "test")} == {"train": (2, 5), "test": (3, 10)}
    pictures = [made.store.read(video.id, range(8)) for video in splits.videos("test")]
    assert all(clip.shape == (8, 40, 53, 3) for clip in pictures)
    assert not np.array_equal(pictures[0], pictures[1])
    assert all(clip.std(axis=(1, 2, 3)).min() > 5 for clip in pictures)
    assert splits.digest == Splits.read(tmp_path / "splits.csv").digest


def test_the_plain_reader_gives_the_clip_of_ours(bench: Workbench) -> None:
    config = bench.sizes.config("trx")
    (files,) = loose_clips(bench, bench.test_set.store.ids[:1], config.clip.frames)
    plain = read_plainly(files, config.clip.short_side, config.clip.size)
    clip = ClipReader(bench.test_set.store, config.clip).evaluation(bench.test_set.store.ids[0])
    ours = to_float(torch.from_numpy(clip).unsqueeze(0), True)[0]
    assert plain.shape == ours.shape
    assert (plain - ours).abs().mean() < 0.1  # in standard deviations; the two decoders and filters differ


@pytest.mark.parametrize("name", ["trx", "keyregion"])
def test_episodes_encoded_anew_have_the_scores_of_the_bank(bench: Workbench, name: str) -> None:
    bench.sizes = tiny(backbone="resnet18")  # whose features keep their scale untrained
    config, sampler = bench.sizes.config(name), bench.sampler(bench.test_set.splits)
    method, reader = bench.method(config).eval(), ClipReader(bench.test_set.store, config.clip)
    bank = encode_videos(method, reader, sampler.videos, CPU, config)
    loader = plain_loader(EpisodeClips(reader, sampler, normalize=True), 2, 0, False)
    episodes = list(encode_plainly(in_customary_layout(method.features), loader, CPU))
    assert [tuple(x.shape[:3]) for x in episodes[0]] == [(3, 2, 4), (3, 4, method.features.dim)]
    assert evaluation.largest_difference(method, bank, sampler, episodes) < 1e-4
    bank.encoded.tensors.update({n: t.flip(0) for n, t in bank.encoded.tensors.items()})
    assert evaluation.largest_difference(method, bank, sampler, episodes) > 1e-3


@pytest.mark.parametrize("name", ["trx", "keyregion"])
def test_the_plain_training_step_has_the_gradients_of_ours(bench: Workbench, name: str) -> None:
    bench.sizes = tiny(backbone="resnet18")
    made = bench.make_set("train", {"train": (2, 8)}, training.training_config(bench, name).clip.short_side)
    # Through batch statistics of few clips the order of sums would show.
    quiet = {"model.match.dropout": 0.0, "model.region.random_probability": 0.0, "model.freeze_batchnorm": True}
    config = training.training_config(bench, name, made, **quiet)
    batch = training.first_episode(config, made)
    ours, plain = training.FastEpisodes(bench, config, batch), training.PlainEpisodes(bench, config, batch)
    ours()
    plain()
    expected = {n: p.grad for n, p in ours.method.named_parameters() if p.grad is not None}
    found = {n: p.grad for n, p in plain.method.named_parameters() if p.grad is not None}
    assert expected.keys() == found.keys()
    assert len(expected) > 20
    scale = max(float(g.abs().max()) for g in expected.values())
    for key, gradient in expected.items():
        # Clips of an untrained network differ little: rounding of what they share shows.
        assert (found[key] - gradient).abs().max() < 0.02 * max(float(gradient.abs().max()), 1e-3 * scale), key


@pytest.fixture
def measured(bench, monkeypatch):
    """`measured(section, **sizes)` -> its measurements."""

    def measure(section: str, **changes) -> list[Measurement]:
        monkeypatch.setattr(timing, "SHAPES", {"cpu": ((64, 64, 64),)})
        report = BenchReport({}, "bench", True)
        bench.sizes = replace(bench.sizes, **changes)
        command.run(report, bench, [section])
        for m in report.measurements:
            assert m.section == section
            assert m.ours > 0 and m.plain > 0 and math.isfinite(m.ratio), m
            assert m.sizes and m.against
            assert m.ceiling_share is None or m.ceiling_share > 0
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


def test_a_training_run_is_measured_and_its_waiting_is_seen(measured) -> None:
    found = {m.what: m for m in measured("train")}
    assert set(found) == {
        "trx, episode in memory", "trx, from the frame store", "keyregion, episode in memory",
        "keyregion against plain TRX", "keyregion, from the frame store",
    }  # fmt: skip
    assert 0 <= found["trx, from the frame store"].details["idle_share"] <= 1


def test_evaluation_shares_the_encoding_and_agrees_with_encoding_anew(measured, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "once", lambda work, device: (work(), 1.0)[1])  # all takes a second
    found = measured("evaluate", methods=("trx", "otam", "keyregion"))
    assert [m.what.split(",")[0] for m in found] == ["trx", "trx", "otam", "otam", "keyregion", "keyregion"]
    assert all(m.details["largest_relative_difference"] < 1e-4 for m in found)
    assert [m.details["features_encoded_with"] for m in found[::2]] == ["trx", "trx", "keyregion"]
    assert [m.ours for m in found] == [2] * 6  # encoding or reading, and matching
    # 20 episodes that each took a second to encode, and one for matching both of the reference's:
    assert [m.plain for m in found[::2]] == [20 * 1.5] * 3


def test_scaling_reports_exponents_and_memory(measured) -> None:
    found = measured("scaling")
    assert [m.details["sizes"] for m in found[:2]] == [[12, 24], [4, 8]]
    assert all(math.isfinite(m.details["exponent"]) for m in found[:2])


@pytest.fixture
def stopped(monkeypatch, tmp_path):
    """`stopped(*arguments)` -> the exit code of the command, whose second section is interrupted."""

    def read(bench):
        """Is done."""
        yield measurement(section="read", what="done [x] | $y_1$", ceiling_share=0.5)

    def head(bench):
        """Is not."""
        (bench.folder / "half").write_text("x")
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(command, "SECTIONS", {"read": read, "head": head})
    monkeypatch.setattr(command.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return lambda *arguments: command.main([*arguments, "--device", "cpu", "--out", str(tmp_path / "out [1]")])


def test_ctrl_c_keeps_and_shows_what_was_measured(stopped, tmp_path, capsys) -> None:
    assert stopped() == 130
    printed = capsys.readouterr().out
    assert "| read | done [x] / $y_1$ | 2.00 s | 8.00 s | 4.0x | 50 % |" in printed and "(interrupted)" in printed
    document = json.loads((tmp_path / "out [1]" / "bench.json").read_text())
    assert (document["schema"], document["interrupted"], document["measurements"][0]["ratio"]) == (1, True, 4.0)
    assert list((tmp_path / "temporary").iterdir()) == [], "nothing stays behind"


def test_one_section_alone_is_a_table_and_a_picture(stopped, tmp_path, capsys) -> None:
    assert stopped("read", "--quick") == 0
    assert "small sizes" in capsys.readouterr().out
    with Image.open(tmp_path / "out [1]" / "bench.png") as picture:
        assert picture.size[0] > 1000
    with pytest.raises(SystemExit):
        stopped("heda")
    assert "no section heda; there are read, head" in capsys.readouterr().err


def test_the_report_says_where_it_was_measured_and_shares_notes(tmp_path) -> None:
    report = BenchReport({"name": "Some CPU", "cores": 2, "torch": "2.15", "fsar": "1"}, "bench head", False)
    report.ceilings = {"float32": 2e11, "bfloat16": 1e12, "copy": 1e10}
    report.measurements = [measurement(what="a" * 60), measurement(what="c", ours=80.0)]
    text = markdown(report)
    assert text.count("\n- ") == 1  # both rows share their sizes
    assert "Some CPU, 2 cores; torch 2.15" in text and "float32 200 GFLOP/s" in text and "copy 10.0 GB/s" in text
    write_report(report, tmp_path / "new")
    picture = np.asarray(Image.open(tmp_path / "new" / "bench.png"))
    assert (picture[:, -4:] == 255).all() and (picture[:, :4] == 255).all(), "nothing is cut off"


def test_the_processor_is_named(tmp_path) -> None:
    (tmp_path / "info").write_text("processor : 0\nmodel name\t: Some  CPU @ 2 GHz\nmodel name : Some  CPU @ 2 GHz\n")
    assert command.processor_name(tmp_path / "info") == "Some CPU @ 2 GHz"
    assert command.processor_name(tmp_path / "absent")


@pytest.mark.slow
def test_the_head_is_at_least_twice_as_fast_as_its_plain_form(tmp_path) -> None:
    torch.set_num_threads(2)
    try:
        bench = Workbench(CPU, choose_sizes(CPU, quick=False), tmp_path)
        assert next(command.SECTIONS["head"](bench)).ratio >= 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.cuda
def test_every_section_runs_on_a_gpu(tmp_path: Path, cuda: torch.device) -> None:
    report = BenchReport(command.machine(cuda), "bench", True)
    command.run(report, Workbench(cuda, tiny(cuda), tmp_path), [])
    assert {m.section for m in report.measurements} == set(command.SECTIONS)
    assert all(m.ours > 0 and m.plain > 0 for m in report.measurements)
    differences = [m.details["largest_relative_difference"] for m in report.measurements if m.section == "evaluate"]
    assert max(differences) < 0.1  # bfloat16 against float32
    assert any("bfloat16" in m.what for m in report.measurements if m.section == "head")
    assert "gpu" in report.machine
