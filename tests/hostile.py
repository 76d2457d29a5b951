"""Hostile input: the law that every parser keeps, what is made to break it, and how it is tried.

The law: whatever the bytes, a parser returns a value that survives being written and read again where there is a
writer, or raises FsarError with a message in one line, or OSError for a file of the system. It raises nothing else,
ends in time, takes no memory out of proportion to the file, and writes nothing outside its folder.

`PARSERS` are those that are fuzzed (`python -m fuzz`), each with its oracle and its seeds; the tests `test_hostile_*`
use the same oracles. FSAR_EXAMPLES=20 tries twenty times as many examples.
"""

import io
import json
import math
import os
import re
import resource
import signal
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from archives import Device, Link, everything, make_old_rar, make_rar, make_tar, make_zip
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from safetensors.torch import save

from fsar_cli.config import Config, ExtractConfig, dump, load
from fsar_cli.core.backbones.weightfile import read_state
from fsar_cli.core.method import FRAMES, Encoded
from fsar_cli.data.annotations.labelled import labelled_segments
from fsar_cli.data.annotations.segments import read_annotations
from fsar_cli.data.splits.file import Splits, Video
from fsar_cli.data.splits.published import read_list
from fsar_cli.data.store.records import (
    MANIFEST,
    SETTINGS,
    Record,
    has_manifest,
    read_manifest,
    read_settings,
    write_manifest,
    write_settings,
)
from fsar_cli.data.store.shards import INDEX, SHARDS, read_index
from fsar_cli.data.video import to_jpeg
from fsar_cli.engine.checkpoint import load_state
from fsar_cli.errors import FsarError
from fsar_cli.recognise.events import ScoredWindow
from fsar_cli.recognise.support import (
    FORMAT,
    EncoderIdentity,
    EnrolledExample,
    GridShape,
    NormalFootage,
    SilentWindows,
    SupportDocument,
    SupportSet,
)
from fsar_cli.recognise.supportfile import read_support
from fsar_cli.recognise.windowlog import WindowLog, read_windows
from fsar_cli.settings import parse_assignments, read_project, resolve
from fsar_cli.tools.prepare.unpacking import unpack
from fsar_cli.yamltext import read_yaml

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "fsar-hypothesis")  # not the repository
TIMES = float(os.environ.get("FSAR_EXAMPLES", "1"))
SECONDS = 20.0  # in which a small input is read, on a machine with much else to do
MEMORY = 256 * 2**20  # bytes beside so many times the input; threads and libraries map more than they use
TIMES_THE_INPUT = 50
NO_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def tried(examples: int) -> settings:
    """How often a property is tried: the same examples each time, none of them kept in a file."""
    return settings(
        max_examples=max(1, round(examples * TIMES)),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


# The law.


class Broken(AssertionError):
    """The law was broken."""


class _TooSlow(BaseException):
    """Raised by the alarm; nothing that catches exceptions catches it."""


def lawful(read: Callable[[], Any], size: int = 0) -> Any:
    """What a parser returns, or None where it refuses as it may.

    Args:
        size: bytes of the input.

    Raises:
        Broken: it breaks the law.
    """
    try:
        with _bounded(MEMORY + TIMES_THE_INPUT * size), _in_time():
            return read()
    except FsarError as error:
        for text in (error.message, error.hint, str(error)):
            if NO_LINE.search(text):
                raise Broken(f"a message of more than a line: {text!r}") from error
        if not error.message.strip():
            raise Broken("a message that says nothing") from error
    except OSError as error:
        if error.errno is None:
            raise Broken(f"an error of no system: {error!r}") from error
    except _TooSlow as error:
        raise Broken(f"not read in {SECONDS:.0f} s") from error
    except Exception as error:
        raise Broken(f"{type(error).__name__}: {error}") from error
    return None


@contextmanager
def _in_time() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGALRM) is None:
        yield  # libFuzzer has an alarm of its own
        return

    def stop(number: int, frame: object) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _bounded(allowed: int) -> Iterator[None]:
    """Let the process map so many more bytes: what takes more is a MemoryError, which breaks the law."""
    if not sys.platform.startswith("linux"):
        yield
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + allowed, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def place() -> Iterator[Path]:
    """An empty folder, for one example; beside it nothing may appear."""
    with tempfile.TemporaryDirectory(prefix="fsar-hostile-") as name:
        folder = Path(name) / "inside"
        folder.mkdir()
        yield folder
        if (beside := sorted(os.listdir(name))) != ["inside"]:
            raise Broken(f"written outside the folder: {beside}")


def file_of(content: bytes, name: str, folder: Path) -> Path:
    """A file with a content."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def require(fact: bool, what: str) -> None:
    """Raises Broken where something does not hold."""
    if not fact:
        raise Broken(what)


# The oracles: bytes and an empty folder -> nothing, or Broken.


def yaml_text(data: bytes, folder: Path) -> None:
    """A project file, a run's configuration and plain YAML; a configuration is the same once written."""
    lawful(lambda: read_yaml(data, "text"), len(data))
    path = file_of(data, "fsar.yaml", folder)
    lawful(lambda: read_project(path), len(data))
    lawful(lambda: resolve(path=path, environ={}), len(data))
    config = lawful(lambda: load(data), len(data))
    if config is not None:
        require(load(dump(config).encode()) == config, "a configuration is another once written")


def assignment(data: bytes, folder: Path) -> None:
    """`--set`, a variable of the environment, and both as configuration."""
    text = data.decode("utf-8", "surrogateescape").replace("\0", "")
    lawful(lambda: parse_assignments([text]), len(data))
    lawful(lambda: resolve(base={}, assignments=[text], environ={}), len(data))
    key, _, value = text.partition("=")
    lawful(lambda: resolve(base={}, environ={f"FSAR_{key.upper().replace('.', '__')}": value}), len(data))


def split_file(data: bytes, folder: Path) -> None:
    """A split file, the same once written."""
    path = file_of(data, "splits.csv", folder)
    splits = lawful(lambda: Splits.read(path), len(data))
    if splits is not None:
        splits.write(folder / "again.csv")
        again = Splits.read(folder / "again.csv")
        require(again.rows == splits.rows and again.digest == splits.digest, "a split file is another once written")
        bad = [video.id for _, video in splits.rows if video.id.startswith("/") or ".." in video.id.split("/")]
        require(not bad, f"an id leads out of its folder: {bad}")


def split_list(data: bytes, folder: Path) -> None:
    """A list as authors publish it; its lines are the same once written."""
    lines = lawful(lambda: read_list(data, "train.list"), len(data))
    if lines is not None:
        require(all(cls and video for cls, video in lines), "a line without a class or a video")


def annotations_text(data: bytes, folder: Path) -> None:
    """Annotations in text, the first byte says in which file; read both ways."""
    ending = (".csv", ".tsv", ".txt")[data[0] % 3] if data else ".csv"
    _annotations(data[1:], ending, folder)


def annotations_json(data: bytes, folder: Path) -> None:
    """Annotations in JSON, read both ways."""
    _annotations(data, ".json", folder)


def _annotations(data: bytes, ending: str, folder: Path) -> None:
    path = file_of(data, f"a{ending}", folder)
    cleaned = lawful(lambda: read_annotations([path]), len(data))
    for video, segments in cleaned.videos.items() if cleaned else ():
        os.fsencode(str(video))
        parts = str(video).split("/")
        require(not {"", "..", "."} & set(parts), f"{video!s:.99} is no place in a store")
        for segment in segments:
            require(0 <= segment.start < segment.end < math.inf, f"{segment} is no stretch of a video")
    for segment in lawful(lambda: labelled_segments(path), len(data)) or ():
        require(bool(segment.video) and bool(segment.cls), "a segment without a name")
        os.fsencode(segment.video + segment.cls)
        require(segment.end is None or 0 <= segment.start < segment.end < math.inf, f"{segment} is no stretch")


def support_file(data: bytes, folder: Path) -> None:
    """A support file, the same once written."""
    path = file_of(data, "support.fsar", folder)
    support = lawful(lambda: read_support(path), len(data))
    if support is not None:
        support.write(folder / "again.fsar")
        again = read_support(folder / "again.fsar")
        same = again.document == support.document and again.thumbnails == support.thumbnails
        require(same and len(again.classes) == len(support.classes), "a support file is another once written")


def weights_file(data: bytes, folder: Path) -> None:
    """A file of weights of any kind, and a run's state; nothing in it is executed."""
    path = file_of(data, "weights.pth", folder)
    state = lawful(lambda: read_state(path), len(data))
    for name, tensor in (state or {}).items():
        require(isinstance(name, str) and isinstance(tensor, torch.Tensor), "no state dict")
    lawful(lambda: load_state(path), len(data))


def window_log(data: bytes, folder: Path) -> None:
    """A log of windows: read, gone on from, and the same once written."""
    path = file_of(data, "windows.jsonl", folder)
    windows = lawful(lambda: list(read_windows(path)), len(data))
    if windows is not None:
        with WindowLog(folder / "again.jsonl", {}, 2.0, resume=False) as log:
            for window in windows:
                log.add(window)
        again = list(read_windows(folder / "again.jsonl"))
        require(list(map(_plain, again)) == list(map(_plain, windows)), "windows are others once written")

    def go_on() -> None:
        with WindowLog(path, {"video": "a"}, 2.0, resume=True) as log:
            log.end()

    lawful(go_on, len(data))


def _plain(window: ScoredWindow) -> tuple:
    return window.start, window.end, window.scores.tolist(), window.nearest, window.track, window.breaks


def frame_store(data: bytes, folder: Path) -> None:
    """A manifest, settings or an index of shards, as the first byte says; the same once written."""
    kind, data = data[0] % 3 if data else 0, data[1:]
    if kind == 0:
        file_of(data, MANIFEST, folder)
        lawful(lambda: has_manifest(folder), len(data))
        records = lawful(lambda: list(read_manifest(folder)), len(data))
        if records is not None:
            write_manifest(folder, records)
            require(list(read_manifest(folder)) == records, "a manifest is another once written")
    elif kind == 1:
        file_of(data, SETTINGS, folder)
        found = lawful(lambda: read_settings(folder), len(data))
        if found is not None:
            write_settings(folder, found)
            require(read_settings(folder) == found, "settings are others once written")
    else:
        file_of(data, f"{SHARDS}/{INDEX}", folder)
        for at in (lawful(lambda: read_index(folder), len(data)) or {}).values():
            require(all(isinstance(number, int) for number in (at.shard, at.position, at.size, at.end)), "no numbers")


def archive(data: bytes, folder: Path) -> None:
    """An archive is unpacked into a folder, and nowhere else, without links."""
    path, out = file_of(data, "a.tar", folder), folder / "out"
    lawful(lambda: unpack(path, out, everything), len(data))
    inside = list(out.rglob("*")) if out.exists() else []
    require(not any(file.is_symlink() or not (file.is_file() or file.is_dir()) for file in inside), "a link is made")
    require({"a.tar", "out"} >= set(os.listdir(folder)), "written outside the folder")


# The seeds: small valid files of every form.


def _yaml_seeds() -> list[bytes]:
    project = (
        "preset: kinetics100\ndata:\n  videos: ~/v\n  name: 'a b'\neval: {shots: [1, 5]}\nmodel.backbone: resnet50\n"
    )
    run = b"".join(dump(Config()).encode().splitlines(keepends=True)[:12])
    return [run, project.encode(), b'a: "\\x41\\u00e9"\nb: |\n  text\nc: [1, 2.5, ~, true]\n']


def _assignment_seeds() -> list[bytes]:
    return [b"optim.lr=1e-3", b"eval.shots=[1, 5]", b"data.videos=~/a/$HOME/${HOME}", b"model.region.side=[64, 32]"]


def splits_of(names: Sequence[str] = ("walk", "run, fast", 'sit "down"')) -> Splits:
    """A small split file."""
    pairs = zip(("train", "val", "test"), names, strict=True)
    rows = [(split, Video(cls, f"{cls}/{i}", "g" * i)) for split, cls in pairs for i in range(2)]
    return Splits(tuple(rows), {"protocol": "none", "seed": "0"})


def _split_seeds() -> list[bytes]:
    text = splits_of().text()
    return [text.encode(), b"split;class;video\ntrain;a;b\n", b"sep=\t\nvideo\tclass\tsplit\n/x/a/b.mp4\ta\ttest\n"]


def _list_seeds() -> list[bytes]:
    return [
        b"air drumming/-VtLx-mcPds_000012_000022\nair drumming/b.mp4 3\n",
        b"\xef\xbb\xbftrain8/78687\r\ntrain9/5\r\n",
        b"train0//train_256/air_drumming/-VtLx-mcPds.mp4\n",
        b"walk\\clip_0\n",
    ]


def _text_seeds() -> list[bytes]:
    return [
        b"\0Filepath,1.action start,1.action end\nAbuse/Abuse001_x264.mp4,0:08,10.5,,\nb,1,2\n",
        b'\0video,start,end,class\n"a, b.mp4",1,2,kick\nc.mp4,,,walk\n',
        b"\1video\tstart\tend\tclass\na\t0:01:30.5\t1:31,5\trun\n",
        b"\2Abuse028_x264.mp4  Abuse  165  240  -1  -1\nArson1 Arson 1 2 3 4\n",
    ]


def json_documents() -> list[Any]:
    """The forms of annotations in JSON."""
    result = {"type": "timelinelabels", "value": {"ranges": [{"start": 1, "end": 9}], "timelinelabels": ["kick"]}}
    return [
        {"Abuse/a.mp4": [{"start": 8, "end": "0:10"}], "b": []},
        {"database": {"a": {"annotations": [{"segment": [8, 10], "label": "kick"}]}}, "version": "1"},
        {"results": {"a": [{"segment": [8, 10], "label": "kick", "score": 0.9}]}, "version": "1"},
        [
            {
                "id": 1,
                "data": {"video": "/data/upload/3/1234abcd-a.mp4", "fps": 25},
                "annotations": [{"result": [result]}],
            }
        ],
        [{"id": 1, "video": "s3://x/a.mp4?d=1", "actions": [result["value"]], "fps": "25"}],
    ]


def _json_seeds() -> list[bytes]:
    return [json.dumps(document).encode() for document in json_documents()]


def support_set(examples: int = 2, silent: int = 2) -> SupportSet:
    """A small set of features of 2 numbers, as no encoder makes them."""
    picture = to_jpeg(np.zeros((16, 16, 3), np.uint8), 80)
    described = [Encoded({FRAMES: torch.ones(n, 1, 2)}) for n in (examples, 2, silent)]
    document = SupportDocument(
        format=FORMAT,
        created="2026",
        grid=GridShape(frames=4, step=0.25, apart=1, every=2),
        examples=tuple(
            EnrolledExample(cls=f"c{i % 2}", name=f"c{i % 2}/{i}", source="/a.mp4") for i in range(examples)
        ),
        encoder=EncoderIdentity(config="{}", run=None, weights="0", preprocessing="0", code="0", fsar="0"),
        normal=NormalFootage(sources=("/n.mp4",), whitened=0, silent=silent),
    )
    windows = SilentWindows(described[2], np.arange(silent), np.arange(2.0 * silent).reshape(silent, 2))
    ways = min(2, examples)
    return SupportSet(
        document,
        described[0],
        (picture,) * examples,
        described[1],
        windows,
        {},
        torch.zeros(examples, ways),
        torch.zeros(silent, ways),
    )


def _support_seeds() -> list[bytes]:
    with place() as folder:
        support_set().write(folder / "a.fsar")
        return [(folder / "a.fsar").read_bytes()]


def _weights_seeds() -> list[bytes]:
    state = {"conv1.weight": torch.ones(2, 1), "bn.num_batches_tracked": torch.tensor(3)}
    found = [save(state)]
    for content in (state, {"epoch": 1, "state_dict": state}):
        for modern in (True, False):
            whole = io.BytesIO()
            torch.save(content, whole, _use_new_zipfile_serialization=modern)
            found.append(whole.getvalue())
    return found


def _window_seeds() -> list[bytes]:
    window = ScoredWindow(0.0, 2.0, np.array([0.5, -1], np.float32), 1, ((0.1, (0.1, 0.2, 0.3, 0.4)),), None, True)
    with place() as folder:
        with WindowLog(folder / "a", {"video": "a"}, 2.0, resume=False) as log:
            log.add(window)
            log.add(window)
            log.end()
        return [(folder / "a").read_bytes()]


def record_of(name: str = "walk/a", **changes: Any) -> Record:
    """A row of a manifest."""
    values = {
        "id": name,
        "label": name.partition("/")[0],
        "source": "/v/a.mp4",
        "source_width": 640,
        "source_height": 480,
        "source_fps": 25.0,
        "source_frames": 9,
        "width": 340,
        "height": 256,
        "fps": 25.0,
        "frames": 9,
        "duration": 0.36,
    }
    return Record(**values | changes)


def _store_seeds() -> list[bytes]:
    with place() as folder:
        write_manifest(folder, [record_of(), record_of('w, "x"/b\n', start=1.5, source_content="ab")])
        write_settings(folder, ExtractConfig(short_side=256, clips="whole"))
        index = b"video,shard,position,size,source_size,source_time,source\nwalk/a,0,512,99,0,0,\n"
        return [b"\0" + (folder / MANIFEST).read_bytes(), b"\1" + (folder / SETTINGS).read_bytes(), b"\2" + index]


def packed_zip(path: Path, method: int) -> Path:
    """A zip of one file, packed by a method of zipfile."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/b.txt", b"hello" * 99)
    return path


def _archive_seeds() -> list[bytes]:
    contents = {"a/b.txt": b"hello" * 9, "a/c": b"", "a/d": Link("b.txt")}
    long_name = {"n" * 150 + "/x": b"1"}
    with place() as folder:
        made = [
            make_zip(folder / "z", contents),
            *(packed_zip(folder / f"z{m}", m) for m in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)),
            *(make_tar(folder / f"t{f}", contents | long_name, f) for f in ("", "gz")),
            make_rar(folder / "r", contents),
            make_old_rar(folder / "o", {"x/y": b"abc"}),
            make_tar(folder / "p", {"p": Device(pipe=True)}, ""),
        ]
        return [path.read_bytes() for path in made]


@dataclass(frozen=True)
class Parser:
    """What is fuzzed."""

    check: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]
    longest: int = 4096
    """Bytes of an input."""
    words: tuple[bytes, ...] = ()
    """What its documents are made of."""


PARSERS = {
    "yaml": Parser(
        yaml_text, _yaml_seeds, words=(b'"\\U0010ffff"', b"!!int", b"%YAML 1.1\n---\n", b"<<: ", b"| ", b"? ")
    ),
    "assignment": Parser(
        assignment, _assignment_seeds, 512, (b"data.videos=", b"optim.lr=", b"$", b"${", b"~", b'"\\')
    ),
    "split-file": Parser(
        split_file, _split_seeds, words=(b"# fsar-splits: 1\n", b"train,", b"../", b'"', b"C:/", b"sep=;\n")
    ),
    "split-list": Parser(split_list, _list_seeds, words=(b"//", b".mp4 ", b" 1\n", b"\\", b"train8/")),
    "annotations-text": Parser(
        annotations_text, _text_seeds, words=(b"video,start,end,class\n", b"Filepath,", b"1e9", b"..")
    ),
    "annotations-json": Parser(
        annotations_json, _json_seeds, words=(b"NaN", b"1e999", b'"\\ud800"', b'"segment"', b"[[", b"{}")
    ),
    "support": Parser(
        support_file, _support_seeds, 8192, (b'"F32"', b'"U8"', b'"shape":[', b'"data_offsets":[', b'\\"')
    ),
    "weights": Parser(
        weights_file, _weights_seeds, 4096, (b"PK\x03\x04", b"ctorch\n", b"state_dict", b"}q\0", b"R.", b"h\0")
    ),
    "window-log": Parser(
        window_log, _window_seeds, words=(b'"scores"', b'"track"', b"NaN", b"1e999", b'{"schema": 1}\n')
    ),
    "store": Parser(frame_store, _store_seeds, words=(b"nan", b"inf", b"1e999", b"99999999999", b'"', b"../")),
    "archive": Parser(
        archive, _archive_seeds, 16384, (b"PK\x01\x02", b"ustar", b"././@LongLink", b"../", b"GNU.sparse", b" path=")
    ),
}


@cache
def seeds_of(name: str) -> tuple[bytes, ...]:
    """The valid files of a parser; each keeps the law."""
    return tuple(PARSERS[name].seeds())


def check(name: str, data: bytes) -> None:
    """Try a parser with one input. Raises Broken."""
    with place() as folder:
        PARSERS[name].check(data, folder)


# The strategies.

ODD_NAMES = (
    "",
    " ",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "C:/x",
    "C:\\x\\y",
    "~",
    "~root",
    "$HOME",
    "a/b/c",
    "a//b",
    "-",
    "-1",
    "=1+1",
    "sep=;",
    "#x",
    "NaN",
    "null",
    "con",
    "a\0b",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "\ufeffa",
    "a\u2028b",
    "\x1b[31m",
    "a\x85b",
    "é",
    "e\u0301",
    "ﬁ",
    "ß",
    "İ",
    "\u202eabc",
    "\ud800",
    "\udc80",
    "x" * 300,
    "1" * 5000,
    "日本",
    "a,b;c",
    '"',
    "'",
    "<b>",
    "a (1)",
    "%s{0}",
)


@cache
def names() -> st.SearchStrategy[str]:
    """Names of videos and classes as nobody should choose them."""
    alphabet = st.sampled_from(list("ab1. -_/\\,;:\"'#=\t\n\r\0\x1b\u2028\ufeffé\u0301ﬁßı\udc80~$"))
    return st.one_of(st.sampled_from(ODD_NAMES), st.text(alphabet, max_size=12), st.text(max_size=8))


@cache
def values() -> st.SearchStrategy[Any]:
    """Values of JSON that no document should hold where it holds others."""
    numbers = st.sampled_from(
        [0, -1, 1, 2**31, 2**63, -(2**64), 10**30, 10**400, 0.5, -0.0, 1e308, math.nan, math.inf, -math.inf]
    )
    leaves = st.one_of(st.none(), st.booleans(), numbers, names())

    def nested(some: st.SearchStrategy) -> st.SearchStrategy:
        return st.lists(some, max_size=3) | st.dictionaries(names(), some, max_size=3)

    return st.recursive(leaves, nested, max_leaves=6)


def _places(document: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    for key, value in (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    ):
        yield from _places(value, (*path, key))


def _with(document: Any, path: tuple, value: Any) -> Any:
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = _with(document[path[0]], path[1:], value)
    return copy


@st.composite
def changed(draw: st.DrawFn, documents: Sequence[Any]) -> Any:
    """A valid document of which one to three values are others."""
    document = draw(st.sampled_from(documents))
    for _ in range(draw(st.integers(1, 3))):
        document = _with(document, draw(st.sampled_from(list(_places(document)))), draw(values()))
    return document


def json_text(document: Any) -> bytes:
    """JSON with whatever Python takes for JSON; half signs stay escaped."""
    return json.dumps(document).encode()


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    """A valid file of a parser with one to four of its parts cut out, doubled, or replaced."""
    data = bytearray(draw(st.sampled_from(seeds_of(name))))
    words = (
        *PARSERS[name].words,
        b"\0",
        b"\r",
        b"\n",
        b'"',
        b"\xff",
        b"\xef\xbb\xbf",
        b"-1",
        b"9" * 30,
        b"9" * 5000,
        b"[" * 3000,
    )
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 2, 8, 64, 4096])))
        part = draw(st.one_of(st.sampled_from(words), st.binary(max_size=8), st.just(bytes(data[start:end]) * 2)))
        data[start:end] = part
    return bytes(data)


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Any bytes, and damaged files of a parser."""
    return st.one_of(mutated(name), mutated(name), st.binary(max_size=64))
