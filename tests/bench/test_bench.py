"""The benchmark: clocks, ceilings, the synthetic set, and each section at sizes at which it takes seconds."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles.episodes import EpisodeClips, encode_plainly, in_customary_layout, plain_loader
from oracles.frames import read_plainly

from bench import __main__ as command
from bench import evaluation, testset, timing, training
from bench.frames import loose_clips
from bench.report import BenchReport, Measurement, figure, markdown, ratio
from bench.testset import make_set
from bench.timing import Repeats, Timing, in_turn, peak_memory
from bench.workbench import Sizes, Workbench, choose_sizes
from fsar_cli.data.clips import ClipReader
from fsar_cli.data.splits import Splits
from fsar_cli.data.transforms import to_float
from fsar_cli.engine.bank import encode_videos
from fsar_cli.recipes import IMAGENET

CPU = torch.device("cpu")


def tiny(device: torch.device = CPU, **changes: object) -> Sizes:
    """The quick sizes made smaller still; every section runs in a second or two."""
    sizes = replace(
        choose_sizes(device, quick=True), backbone="mobilenet_v3_small", side=64, train_side=64, videos=16, classes=4,
        episodes=20, way=3, shot=2, extracted=3, encoded_frames=16, train_shape=(2, 1, 1), train_episodes=4,
        scaling_episodes=(4, 8), scaling_videos=(12, 24), head_dim=16, head_queries=3,
        assignments=("model.match.key_dim=24", "clip.frames=4"),
        repeats=Repeats(least=1, most=1, seconds=0, warmup=0),
    )  # fmt: skip
    return replace(sizes, **changes)


@pytest.fixture(scope="module", autouse=True)
def rendered_once() -> Iterator[None]:
    """Rendering is most of a small set's cost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testset, "render_clip", cache(testset.render_clip))
        patch.setattr(training, "VIDEOS", 20)
        yield


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
        self.now, self.log = 0.0, []

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float):
        def run() -> None:
            self.now += seconds
            self.log.append(seconds)

        return run


def test_two_forms_are_timed_in_turn_after_a_warmup() -> None:
    clock = FakeClock()
    repeats = Repeats(least=2, most=9, seconds=5, warmup=1)
    found = in_turn({"a": clock.work(1), "b": clock.work(3)}, CPU, repeats, clock)
    assert clock.log == [1, 3] * 3  # one round to warm up; after the second, 8 of 5 seconds are over
    assert found == {"a": Timing((1, 1)), "b": Timing((3, 3))}
    timed = Timing((1.0, 2.0, 9.0))
    assert (timed.median, timed.spread) == (2.0, 4.0)


@pytest.mark.parametrize(("seconds", "rounds"), [(0, 2), (2.5, 3), (100, 4)])
def test_repeats_are_bounded_by_time_and_by_both_numbers(seconds: float, rounds: int) -> None:
    clock = FakeClock()
    found = in_turn({"a": clock.work(1)}, CPU, Repeats(least=2, most=4, seconds=seconds, warmup=0), clock)
    assert len(found["a"].seconds) == rounds


def test_flops_are_those_of_the_products_whatever_runs_backward() -> None:
    a, b = torch.rand(3, 5, requires_grad=True), torch.rand(5, 7)
    assert timing.flops_of(lambda: a @ b) == 2 * 3 * 5 * 7
    assert timing.flops_of(lambda: (a @ b).sum().backward()) == 2 * 2 * 3 * 5 * 7  # and one product for a's gradient


def test_peak_memory_sees_what_was_given_back() -> None:
    before, peak = peak_memory(lambda: None, CPU), peak_memory(lambda: torch.ones(2**24).sum(), CPU)  # 64 MiB
    if before is None:
        pytest.skip("this system does not tell the peak of a process")
    assert 2**25 < peak - before < 2**27
    assert peak_memory(lambda: None, CPU) < peak - 2**25, "the mark was forgotten"


def measurement(**changes) -> Measurement:
    values = {"section": "s", "what": "w", "sizes": "x", "unit": "s", "ours": 2.0, "plain": 8.0, "against": "y"}
    return Measurement(**values | changes)


def test_figures_show_three_digits_and_ratios_which_direction_is_better() -> None:
    shown = ["0", "0.0123", "0.300", "12.0", "100", "98,765"]
    assert [figure(x) for x in (0, 0.012345, 0.3, 12, 99.96, 98765.4)] == shown
    assert [ratio(x) for x in (1, 0.98, 4.65, 214, 86_364)] == ["1.0x", "0.98x", "4.7x", "214x", "86,400x"]
    assert measurement().ratio == 4
    assert measurement(unit="frames/s").ratio == 0.25


def test_growth_is_the_exponent_and_the_largest_against_the_smallest_scaled() -> None:
    linear, square = {100: 1, 200: 2, 400: 4}, {100: 1, 200: 4, 400: 16}
    assert evaluation.slope(linear) == pytest.approx(1)
    assert evaluation.slope(square) == pytest.approx(2)
    found = evaluation.growth("videos", "x", square)
    assert (found.ours, found.plain, found.ratio) == (16, 4, 0.25)
    assert found.details["exponent"] == pytest.approx(2)


def test_sizes_follow_the_device_and_published_ones_are_the_papers() -> None:
    full, quick = (choose_sizes(CPU, mode) for mode in (False, True))
    assert [(s.backbone, s.side, s.train_side) for s in (full, quick)] == [
        ("resnet50", 224, 112),
        ("resnet18", 112, 64),
    ]
    config = full.config("trx", **{"clip.size": 96})
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
    ours = to_float(torch.from_numpy(clip).unsqueeze(0), IMAGENET)[0]
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
def measured(bench):
    """`measured(section, **sizes)` -> its measurements."""

    def measure(section: str, **changes) -> list[Measurement]:
        report = BenchReport({}, "bench", True)
        bench.sizes = replace(bench.sizes, **changes)
        command.run(report, bench, [section])
        for m in report.measurements:
            assert m.section == section
            assert m.ours > 0 and m.plain > 0 and math.isfinite(m.ratio), m
            assert m.sizes and m.against
        return report.measurements

    return measure


def test_extraction_writes_the_same_frames_both_ways(measured) -> None:
    (found,) = measured("extract")
    assert found.details["frames"] > 3 * 20


def test_reading_and_encoding_are_measured(measured) -> None:
    assert [m.unit for m in measured("read")] == ["ms"]
    assert [m.unit for m in measured("encode")] == ["frames/s"] * 2


def test_the_head_computes_less_for_the_same_numbers(measured) -> None:
    (found,) = measured("head", head_dim=64)
    assert found.details["largest_relative_difference"] < 1e-5
    assert found.details["gflop"] < found.details["gflop_plain"]


def test_a_training_run_is_measured_and_its_waiting_is_seen(measured) -> None:
    found = {m.what: m for m in measured("train")}
    assert set(found) == {
        f"{m}, {how}" for m in training.METHODS for how in ("episode in memory", "from the frame store")
    }
    assert 0 <= found["trx, from the frame store"].details["idle_share"] <= 1


def test_evaluation_shares_the_encoding_and_agrees_with_encoding_anew(measured, monkeypatch) -> None:
    monkeypatch.setattr(evaluation, "once", lambda work, device: (work(), 1.0)[1])  # all takes a second
    found = measured("evaluate", methods=("trx", "otam", "keyregion"))
    assert [m.what.split(",")[0] for m in found] == ["trx", "trx", "otam", "otam", "keyregion", "keyregion"]
    assert all(m.details["largest_relative_difference"] < 1e-4 for m in found)
    assert [m.details["features_encoded_with"] for m in found[::2]] == ["trx", "trx", "keyregion"]
    assert [m.ours for m in found] == [2] * 6  # encoding or reading, and matching
    # 20 episodes; encoding both of the reference's took a second, and matching them one:
    assert [m.plain for m in found[::2]] == [20 * (1 / 2 + 1 / 2)] * 3


def test_scaling_reports_exponents_and_memory(measured) -> None:
    found = measured("scaling")
    assert [m.details["sizes"] for m in found[:2]] == [[12, 24], [4, 8]]
    assert all(math.isfinite(m.details["exponent"]) for m in found[:2])


@pytest.fixture
def stopped(monkeypatch, tmp_path):
    """`stopped(*arguments)` -> the exit code of the command, whose second section is interrupted."""

    def read(bench):
        """Is done."""
        yield measurement(section="read", what="done [x] | $y_1$")

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
    assert "| read | done [x] / $y_1$ | 2.00 s | 8.00 s | 4.0x |" in printed and "(interrupted)" in printed
    document = json.loads((tmp_path / "out [1]" / "bench.json").read_text())
    assert (document["schema"], document["interrupted"], document["measurements"][0]["ratio"]) == (1, True, 4.0)
    assert list((tmp_path / "temporary").iterdir()) == [], "nothing stays behind"


def test_one_section_alone_is_a_table(stopped, tmp_path, capsys) -> None:
    assert stopped("read", "--quick") == 0
    assert "small sizes" in capsys.readouterr().out
    assert "done [x]" in (tmp_path / "out [1]" / "bench.md").read_text()
    with pytest.raises(SystemExit):
        stopped("heda")
    assert "no section heda; there are read, head" in capsys.readouterr().err


def test_the_report_says_where_it_was_measured_and_shares_notes() -> None:
    report = BenchReport({"name": "Some CPU", "cores": 2, "torch": "2.15", "fsar": "1"}, "bench head", False)
    report.measurements = [measurement(what="a" * 60), measurement(what="c", ours=80.0)]
    text = markdown(report)
    assert text.count("\n- ") == 1  # both rows share their sizes
    assert "Some CPU, 2 cores; torch 2.15" in text


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
