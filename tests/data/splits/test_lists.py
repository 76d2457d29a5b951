"""Where a protocol's lists come from: files by hash, the network behind a pinned hash, never another list silently."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import pytest

from fsar_cli.data.splits import fetching
from fsar_cli.data.splits.lists import OTHER, find_lists
from fsar_cli.data.splits.protocols import ListFile, Protocol, Variant, protocol
from fsar_cli.errors import DataError, UsageError

CONTENT = {"train": b"run fast/1\nrun fast/2\n", "test": b"kick (it)/3\nkick (it)/4\n"}
LINES = {"train": [("run fast", "1"), ("run fast", "2")], "test": [("kick (it)", "3"), ("kick (it)", "4")]}
THEIRS = {"train": b"train0//v/run_fast/1.mp4\ntrain0//v/run_fast/9.mp4\n", "test": b"test0//v/Kick_it/3.mkv\n"}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files(contents: dict[str, bytes]) -> MappingProxyType:
    return MappingProxyType({s: ListFile(f"some lists/{s}.list", c.count(b"\n"), sha(c)) for s, c in contents.items()})


TOY = Protocol(
    name="toy-cmn",
    title="Toy",
    dataset="Toy",
    style="cmn",
    citation="",
    repository="https://github.com/owner/toy",
    commit="abc123",
    files=files(CONTENT),
    groups="",
    groups_note="none",
    licence="",
    classes=MappingProxyType({"train": {"run fast": 2}, "test": {"kick (it)": 2}}),
    clips="listed",
    variants=(Variant("theirs", "THEIR lists: 2 of 4 clips differ", "https://x", "1", files(THEIRS)),),
)


def write(folder: Path, contents: dict[str, bytes], name: str = "{}.list") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in contents.items():
        (folder / name.format(split)).write_bytes(content)
    return folder


class Server:
    """A loopback mirror: `files` {path: bytes}, and the paths asked for."""

    def __init__(self) -> None:
        self.files = {f"/owner/toy/abc123/some%20lists/{s}.list": c for s, c in CONTENT.items()}
        self.asked: list[str] = []
        self.short = False


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, mirror: Server, *args: object) -> None:
        self.mirror = mirror
        super().__init__(*args)

    def do_GET(self) -> None:
        self.mirror.asked.append(self.path)
        content = self.mirror.files.get(self.path)
        if content is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:5] if self.mirror.short else content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch, tmp_path) -> Iterator[Server]:
    mirror = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, mirror))
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("FSAR_LISTS_URL", f"http://127.0.0.1:{http.server_port}/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache [x]"))
    monkeypatch.setenv("no_proxy", "*")
    yield mirror
    http.shutdown()
    http.server_close()


def test_fetched_once_checked_and_kept(server, tmp_path):
    lists = find_lists(TOY)
    assert lists.lines == LINES
    assert lists.hashes == {split: sha(content) for split, content in CONTENT.items()} and lists.variant == ""
    assert sorted(server.asked) == sorted(server.files)
    kept = tmp_path / "cache [x]" / "fsar" / "lists"
    assert sorted(path.name for path in kept.iterdir()) == sorted(lists.hashes.values())
    assert find_lists(TOY) == lists and len(server.asked) == 2
    (kept / lists.hashes["test"]).write_bytes(b"damaged")
    assert find_lists(TOY) == lists and len(server.asked) == 3
    assert sha((kept / lists.hashes["test"]).read_bytes()) == lists.hashes["test"]


def test_an_address_that_sends_something_else_is_refused_and_not_kept(server, tmp_path):
    path = next(iter(server.files))
    server.files[path] += b"run fast/3\n"
    with pytest.raises(DataError, match=r"sends a file with SHA-256") as error:
        find_lists(TOY)
    assert "--lists" in error.value.hint and not list((tmp_path / "cache [x]").rglob("*"))


def test_an_answer_that_is_cut_off_is_no_list(server):
    server.short = True
    with pytest.raises(DataError, match=r"SHA-256|cannot fetch"):
        find_lists(TOY)


def test_an_endless_answer_is_no_list(server, monkeypatch):
    monkeypatch.setattr(fetching, "LARGEST", 10)
    with pytest.raises(DataError, match="sends more than 10 bytes"):
        find_lists(TOY)


def test_without_the_file_or_the_network_the_address_and_the_way_out_are_named(server, monkeypatch):
    server.files.clear()
    with pytest.raises(
        DataError, match=r"cannot fetch the train list from http://127.*/some%20lists/train\.list: 404"
    ) as e:
        find_lists(TOY)
    assert "--lists FOLDER" in e.value.hint
    monkeypatch.setenv("FSAR_LISTS_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/owner/toy/abc123/some%20lists/train\.list: .*refused"):
        find_lists(TOY)
    monkeypatch.setenv("FSAR_LISTS_URL", "file:///etc")
    with pytest.raises(UsageError, match="is no web address"):
        find_lists(TOY)


def test_a_cache_that_cannot_be_written_is_done_without(server, tmp_path, monkeypatch):
    (tmp_path / "plain file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "plain file"))
    assert find_lists(TOY).hashes == find_lists(TOY).hashes
    assert len(server.asked) == 4


def test_the_address_is_the_raw_file_of_the_pinned_commit(monkeypatch):
    monkeypatch.delenv("FSAR_LISTS_URL", raising=False)
    raw = (
        "https://raw.githubusercontent.com/ffmpbgrnn/CMN/23b5ef3e6defd4ee93e97131eb3c0b7926481f56/kinetics-100/val.list"
    )
    assert fetching.address(protocol("kinetics100-cmn"), "val") == raw


def test_given_files_are_known_by_their_hash_whatever_their_names_and_depth(tmp_path, server):
    odd = {"train": "b [x]/c.txt", "test": "a/training.md"}
    for split, name in odd.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).write_bytes(CONTENT[split])
    write(tmp_path / "in" / "other", THEIRS)
    for given in ([tmp_path / "in"], [tmp_path / "in" / name for name in odd.values()]):
        lists = find_lists(TOY, given)
        assert lists.lines == LINES and not lists.variant
    assert not server.asked


def test_a_windows_checkout_is_the_same_list(tmp_path):
    crlf = {split: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") for split, content in CONTENT.items()}
    assert not find_lists(TOY, [write(tmp_path, crlf)]).variant


def test_a_known_variant_is_named_and_taken_only_on_demand(tmp_path):
    folder = write(tmp_path, THEIRS, "my {}.txt")
    with pytest.raises(DataError, match="not those of toy-cmn: these are THEIR lists: 2 of 4 clips differ") as error:
        find_lists(TOY, [folder])
    assert "--accept-lists" in error.value.hint and "toy-cmn+theirs" in error.value.hint
    lists = find_lists(TOY, [folder], accept=True)
    assert lists.variant == "theirs" and lists.hashes["test"] == sha(THEIRS["test"])
    assert lists.lines == {"train": [("run fast", "1"), ("run fast", "9")], "test": [("kick (it)", "3")]}


def test_a_mixture_is_no_protocol(tmp_path):
    folder = write(tmp_path, {"train": CONTENT["train"], "test": THEIRS["test"]})
    with pytest.raises(DataError, match=r"not the lists of toy-cmn: .*test\.list \(SHA-256 .*\); THEIR lists"):
        find_lists(TOY, [folder])
    assert find_lists(TOY, [folder], accept=True).variant == OTHER


def test_unknown_lists_are_refused_by_split_name(tmp_path):
    folder = write(tmp_path, {"train": CONTENT["train"] + b"run fast/5\n", "test": CONTENT["test"]}, "{}list03.txt")
    with pytest.raises(DataError, match=r"not the lists of toy-cmn: .*trainlist03\.txt \(SHA-256 [0-9a-f]{16}\)$"):
        find_lists(TOY, [folder])
    lists = find_lists(TOY, [folder], accept=True)
    assert lists.variant == OTHER and len(lists.lines["train"]) == 3


@pytest.mark.parametrize("accept", [False, True])
def test_lists_that_cannot_be_told_apart_or_are_not_there(tmp_path, accept):
    write(tmp_path / "a", {"train": b"run fast/7\n"})
    with pytest.raises(DataError, match="the test list of toy-cmn is not among the files given"):
        find_lists(TOY, [tmp_path / "a"], accept)
    write(tmp_path / "b", {"train": b"run fast/8\n", "test": CONTENT["test"]})
    with pytest.raises(DataError, match=r"the train list of toy-cmn could be .* or "):
        find_lists(TOY, [tmp_path], accept)
    with pytest.raises(DataError, match=r"no list .*none"):
        find_lists(TOY, [tmp_path / "none"], accept)


def test_accepted_lists_must_keep_the_class_split(tmp_path):
    folder = write(tmp_path, {"train": b"kick (it)/3\n", "test": CONTENT["test"]})
    with pytest.raises(DataError, match=r"the class 'kick \(it\)' of the train list given is not in that split"):
        find_lists(TOY, [folder], accept=True)


def test_a_protocol_of_annotations_has_no_lists():
    with pytest.raises(UsageError, match="toy-cmn has no lists"):
        find_lists(replace(TOY, clips="annotated"))


def test_a_folder_with_every_published_list_gives_each_protocol_its_own(shared, tmp_path):
    mixed = tmp_path / "all of them"
    for number, path in enumerate(sorted((shared / "reference/splits").rglob("*.txt"))):
        (mixed / str(number % 3)).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, mixed / str(number % 3) / f"{number}.txt")
    for name in ("kinetics100-cmn", "ssv2-cmn", "ssv2-otam", "hmdb51-arn", "ucf101-arn"):
        lists = find_lists(protocol(name), [mixed])
        assert {s: len(e) for s, e in lists.lines.items()} == {s: protocol(name).videos(s) for s in lists.lines}
