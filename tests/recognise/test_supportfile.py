"""The support file: what is written is read, bit for bit, and what is no support file is refused in a sentence."""

import json
import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from own_videos import encoder_of, small_support, tiny
from safetensors import safe_open
from safetensors.torch import save, save_file

from fsar_cli.data.video import to_jpeg
from fsar_cli.errors import DataError
from fsar_cli.recognise import supportfile
from fsar_cli.recognise.support import FORMAT, SupportSet
from fsar_cli.recognise.supportfile import LARGEST_HEADER, read_support

Change = Callable[[dict, dict], None]


@pytest.fixture(scope="module")
def support() -> SupportSet:
    return small_support(encoder_of(tiny()))


@pytest.fixture(scope="module")
def whole(support: SupportSet, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "a.fsar"
    support.write(path)
    return path.read_bytes()


@pytest.fixture
def changed(whole: bytes, tmp_path: Path) -> Callable[[Change], Path]:
    """The file with other tensors or another document."""

    def change(how: Change) -> Path:
        path = tmp_path / "changed.fsar"
        path.write_bytes(whole)
        with safe_open(path, framework="pt") as file:
            document = json.loads(file.metadata()["fsar"])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        how(tensors, document)
        path.write_bytes(
            save(
                {n: t.clone(memory_format=torch.contiguous_format) for n, t in tensors.items()},
                {"fsar": json.dumps(document)},
            )
        )
        return path

    return change


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_support(path)
    assert str(path) in error.value.message and "\n" not in error.value.message and error.value.hint
    return error.value.message


def test_what_is_written_is_read_bit_for_bit(support: SupportSet, tmp_path: Path) -> None:
    path = tmp_path / "a b [1].fsar"
    support.write(path)
    read = read_support(path)
    assert read.document == support.document and read.thumbnails == support.thumbnails
    pairs = [(read.described, support.described), (read.normal, support.normal),
             (read.silent.described, support.silent.described)]  # fmt: skip
    for found, given in pairs:
        assert all(torch.equal(found[name], given[name]) for name in given.tensors)
        assert set(found.tensors) == set(given.tensors)
    assert torch.equal(read.left_out, support.left_out) and torch.equal(read.silent_scores, support.silent_scores)
    assert (read.silent.segments == support.silent.segments).all()
    assert (read.silent.times == support.silent.times).all()
    first = path.read_bytes()
    read.write(path)
    assert path.read_bytes() == first
    assert (read.classes, read.labels.tolist()) == (("kick", "push it"), [0, 0, 0, 1, 1])


def test_a_set_without_normal_footage_or_with_rejected_events_alone_is_one(tmp_path: Path) -> None:
    for normal, silent in ((0, 0), (4, 0), (0, 6)):
        made = small_support(encoder_of(tiny()), (1, 1), normal, silent)
        made.write(tmp_path / "a.fsar")
        read = read_support(tmp_path / "a.fsar")
        assert (read.normal is None, read.silent is None) == (not normal, not silent)
        assert (read.silent_scores is None) == (not silent) and bool(read.left_out.isnan().all())


def test_a_file_that_was_cut_anywhere_is_refused(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.fsar"
    for length in [*range(0, 40), *range(40, len(whole), 1000), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path)


def test_flipped_bits_are_refused_or_change_numbers_alone(whole: bytes, tmp_path: Path) -> None:
    path, dice = tmp_path / "flipped.fsar", random.Random(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in [*range(8), *dice.sample(range(8, header), 300), *dice.sample(range(header, len(whole)), 60)]:
        data = bytearray(whole)
        data[place] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        try:
            read_support(path)
        except DataError as error:
            assert "\n" not in error.message


def test_a_header_that_claims_to_be_huge_takes_no_memory(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "huge.fsar"
    for claimed in (LARGEST_HEADER + 1, 2**40, 2**63, 2**64 - 1):
        path.write_bytes(claimed.to_bytes(8, "little") + whole[8:])
        tracemalloc.start()
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
        tracemalloc.stop()


def test_what_is_no_support_file_is_told_apart(tmp_path: Path) -> None:
    assert "no support file at" in refused(tmp_path / "missing.fsar")
    assert "no support file at" in refused(tmp_path)
    path = tmp_path / "a.fsar"
    path.write_bytes(b"")
    assert "is damaged" in refused(path)
    path.write_text("video,start,end,class\n" * 99)
    assert "is damaged" in refused(path)
    save_file({"weight": torch.ones(3)}, path)
    assert "holds tensors, but is no support file" in refused(path)
    save_file({"weight": torch.ones(3)}, path, {"format": "pt"})
    assert "holds tensors, but is no support file" in refused(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_one_may_not_read_is_said_to_be_so(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.fsar"
    path.write_bytes(whole)
    path.chmod(0)
    assert "not allowed to read" in refused(path)


@pytest.mark.parametrize(
    "header", ["", "no JSON", "[1]", '"text"', "7", "null", "{}", "[" * 100_000, '{"format": NaN}']
)
def test_a_header_that_cannot_be_read_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.fsar"
    path.write_bytes(save({"a": torch.ones(1)}, {"fsar": header}))
    assert "no readable header" in refused(path)


@pytest.mark.parametrize("number", ["1", -1, 0, True, None, 1.0, [1]])
def test_a_format_that_is_no_number_from_one_on_is_refused(changed, number) -> None:
    assert "no readable header" in refused(changed(lambda _, document: document.update(format=number)))


def test_a_newer_format_asks_for_a_newer_fsar(changed) -> None:
    message = refused(changed(lambda _, document: document.update(format=FORMAT + 1)))
    assert f"of format {FORMAT + 1}, which a newer fsar wrote" in message


def test_an_older_format_is_migrated(changed, support: SupportSet, monkeypatch) -> None:
    def older(_, document: dict) -> None:
        document["origin"] = document.pop("created")

    path = changed(older)
    refused(path)
    monkeypatch.setattr(supportfile, "FORMAT", FORMAT + 1)
    migrate = lambda d: {**{k: v for k, v in d.items() if k != "origin"}, "created": d["origin"], "format": 2}  # noqa: E731
    monkeypatch.setitem(supportfile.MIGRATIONS, FORMAT, migrate)
    assert read_support(path).document.created == support.document.created
    assert "earlier format" in refused(changed(lambda _, document: document.pop("created")))
    monkeypatch.setitem(supportfile.MIGRATIONS, FORMAT, lambda d: [])
    refused(path)


def _drop(*names: str) -> Change:
    return lambda tensors, _: [tensors.pop(name) for name in names]


def _set(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return lambda tensors, _: tensors.update({name: make(tensors.get(name))})


def _pictures(*pictures: bytes) -> Change:
    """Other thumbnails for the five examples."""

    def change(tensors, _) -> None:
        parts = [*pictures, *[pictures[0]] * (5 - len(pictures))]
        tensors["thumbnails"] = torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8)
        tensors["thumbnail_ends"] = torch.tensor([len(part) for part in parts]).cumsum(0)

    return change


def _declared(side: int) -> bytes:
    """A JPEG whose header says side x side."""
    data = bytearray(to_jpeg(np.zeros((32, 32, 3), np.uint8), 80))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = side.to_bytes(2, "big") * 2
    return bytes(data)


JPEG = to_jpeg(np.zeros((32, 32, 3), np.uint8), 80)
TENSORS = {
    "no examples": _drop("examples.frames"),
    "one example too many": _set("examples.frames", lambda t: torch.cat([t, t[:1]])),
    "examples of halves": _set("examples.frames", lambda t: t.half()),
    "examples of doubles": _set("examples.frames", lambda t: t.double()),
    "examples of integers": _set("examples.frames", lambda t: t.long()),
    "examples of bytes that are floats": _set("examples.frames", lambda t: t.to(torch.float8_e4m3fn)),
    "complex examples": _set("examples.frames", lambda t: t.to(torch.complex64)),
    "examples that are NaN": _set("examples.frames", lambda t: t * float("nan")),
    "examples that are infinite": _set("examples.frames", lambda t: t / 0),
    "flat examples": _set("examples.frames", lambda t: t[:, 0, 0]),
    "empty examples": _set("examples.frames", lambda t: t[:, :, :0]),
    "a number": _set("examples.frames", lambda t: t[0, 0, 0]),
    "normal windows of another width": _set("normal.frames", lambda t: t[..., 1:]),
    "normal windows of another name": lambda t, _: t.update({"normal.maps": t.pop("normal.frames")}),
    "normal windows in two numbers": lambda t, _: t.update({"normal.other": t["normal.frames"][1:]}),
    "silent windows that are NaN": _set("silent.frames", lambda t: t * float("nan")),
    "one silent window too few": _set("silent.frames", lambda t: t[1:]),
    "silent windows without scores": _drop("silent_scores"),
    "silent windows without times": _drop("silent_times"),
    "silent windows without segments": _drop("silent_segments"),
    "scores without silent windows": _drop("silent.frames"),
    "no trace of the silent windows of the header": _drop(
        "silent.frames", "silent_scores", "silent_times", "silent_segments"
    ),
    "segments that go back": _set("silent_segments", lambda t: -t),
    "segments that are floats": _set("silent_segments", lambda t: t.float()),
    "times that are NaN": _set("silent_times", lambda t: t * float("nan")),
    "times in one column": _set("silent_times", lambda t: t[:, 0]),
    "scores for three classes": _set("left_out", lambda t: torch.cat([t, t[:, :1]], 1)),
    "scores that are infinite": _set("left_out", lambda t: t / 0),
    "no scores": _drop("left_out"),
    "scores of doubles": _set("silent_scores", lambda t: t.double()),
    "a whitening that is NaN": _set("prepared.frames_mean", lambda _: torch.full((3,), float("nan"))),
    "a whitening of integers": _set("prepared.frames_mean", lambda _: torch.ones(3, dtype=torch.int64)),
    "a tensor too many": _set("weight", lambda _: torch.ones(3)),
    "no thumbnails": _drop("thumbnails"),
    "no ends of thumbnails": _drop("thumbnail_ends"),
    "negative ends": _set("thumbnail_ends", lambda t: torch.cat([-t[:1], t[1:]])),
    "decreasing ends": _set("thumbnail_ends", lambda t: t.flip(0)),
    "ends too far": _set("thumbnail_ends", lambda t: t + 5),
    "an end alone": _set("thumbnail_ends", lambda t: t[-1]),
    "ends in two rows": _set("thumbnail_ends", lambda t: torch.stack([t, t])),
    "ends that are floats": _set("thumbnail_ends", lambda t: t.double()),
    "thumbnails that are integers": _set("thumbnails", lambda t: t.long()),
    "thumbnails that are no JPEG": _pictures(b"not a picture at all"),
    "empty thumbnails": _pictures(JPEG, b""),
    "a JPEG of garbage": _pictures(JPEG, JPEG[: len(JPEG) // 2] + b"garbage" * 50),
    "half a JPEG": _pictures(JPEG, JPEG[: len(JPEG) // 2]),
    "a JPEG of 30000 pixels": _pictures(JPEG, _declared(30_000)),
    "a JPEG of 1025 pixels": _pictures(JPEG, _declared(1025)),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_do_not_fit_are_refused(changed, name: str) -> None:
    tracemalloc.start()
    refused(changed(TENSORS[name]))
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


DOCUMENTS = {
    "no examples": lambda d: d.update(examples=[]),
    "another number of examples": lambda d: d["examples"].pop(),
    "an example without a class": lambda d: d["examples"][0].pop("cls"),
    "an example of another kind": lambda d: d["examples"][0].update(colour="red"),
    "a start before the video": lambda d: d["examples"][0].update(start=-1),
    "a class that is empty": lambda d: d["examples"][0].update(cls=""),
    "a third class": lambda d: d["examples"][0].update(cls="third"),
    "no encoder": lambda d: d.pop("encoder"),
    "no grid": lambda d: d.update(grid=None),
    "a grid that never moves": lambda d: d["grid"].update(step=0),
    "a grid of NaN": lambda d: d["grid"].update(step=float("nan")),
    "a grid too fine": lambda d: d["grid"].update(step=1e-9),
    "a grid too wide": lambda d: d["grid"].update(apart=99_999, frames=99_999),
    "other silent windows": lambda d: d["normal"].update(silent=5),
    "no normal footage": lambda d: d.update(normal=None),
    "something else": lambda d: d.update(more=1),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_that_do_not_fit_are_refused(changed, name: str) -> None:
    refused(changed(lambda _, document: DOCUMENTS[name](document)))


def test_the_harmless_change_of_a_note_is_read(changed) -> None:
    assert read_support(changed(lambda _, document: document.update(notes=["north gate"]))).document.notes
