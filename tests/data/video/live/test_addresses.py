"""Addresses of live sources, and what may be told of them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from fsar_cli.data.video.live import addresses, is_live, masked
from fsar_cli.data.video.live.addresses import Dialling, cameras, dialling


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://camera/live",
        "RTSPS://c",
        "http://c:80/a?b=c",
        "https://c",
        "udp://@239.0.0.1:1234",
        "rtmp://c/a",
        "camera:9",
    ],
)
def test_addresses_of_streams_and_cameras_are_live(source: str) -> None:
    assert is_live(source)


@pytest.mark.parametrize(
    "source", ["a.mp4", "a:b.mp4", "c:\\a.mp4", "file:///a.mp4", "camera:x", "camera:", "rtsp://", ""]
)
def test_files_and_other_texts_are_not(source: str) -> None:
    assert not is_live(source)


def test_a_file_called_like_a_camera_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_live("camera:0")
    Path("camera:0").write_bytes(b"")
    assert not is_live("camera:0")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://user:secret@camera:554/live", "rtsp://***@camera:554/live"),
        ("rtsp://user@camera/live", "rtsp://***@camera/live"),
        ("rtsp://user:se@cret@camera/live", "rtsp://***@camera/live"),
        ("rtsp://user:se/cr?e#t@camera/live", "rtsp://***@camera/live"),
        ("rtsp://user:secret@[fe80::1]:554/live", "rtsp://***@[fe80::1]:554/live"),
        ("http://camera/a?x=1&token=secret/+x&y=2", "http://camera/a?x=1&token=***&y=2"),
        ("http://camera/a?access_key=secret", "http://camera/a?access_key=***"),
        ("http://camera/a?PASSWORD=secret#part", "http://camera/a?PASSWORD=***#part"),
        ("rtsp://camera/user=admin_password=secret_channel=1.sdp", "rtsp://camera/user=***"),
        ("Error: 'rtsp://u:secret@c/x', then http://v:secret@d", "Error: 'rtsp://***@c/x', then http://***@d"),
    ],
)
def test_logins_and_secret_parameters_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text", ["rtsp://camera:554/live", "http://camera/@home", "camera:0", "http://[::1]:80/a?size=4", "a@b.c"]
)
def test_what_holds_no_secret_stays(text: str) -> None:
    assert masked(text) == text


def test_how_an_address_is_opened_does_not_show_it() -> None:
    how = dialling("rtsp://user:secret@camera/live", 20, 5)
    assert "secret" not in repr(how)
    assert how.options["rtsp_transport"] == "tcp"
    assert how.options["timeout"] == "20000000"


SYSTEMS = {
    "linux": Dialling("/dev/video1", "v4l2", {}),
    "darwin": Dialling("1:none", "avfoundation", {"framerate": "30"}),
    "win32": Dialling("video=Rear", "dshow", {}),
}
DEVICES = [
    SimpleNamespace(name="Front", description="", media_types=["video"]),
    SimpleNamespace(name="Microphone", description="", media_types=["audio"]),
    SimpleNamespace(name="Rear", description="The rear", media_types=["video", "audio"]),
]


def _system(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Be on a system whose FFmpeg lists `DEVICES`."""
    monkeypatch.setattr(addresses.sys, "platform", name)
    devices = SimpleNamespace(enumerate_input_devices=lambda source: DEVICES)
    monkeypatch.setattr(addresses.av, "device", devices, raising=False)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_camera_is_opened_as_its_system_calls_it(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    _system(monkeypatch, system)
    assert dialling("camera:1", 10, 5) == SYSTEMS[system]


def test_a_camera_that_windows_does_not_list_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _system(monkeypatch, "win32")
    assert dialling("camera:2", 10, 5).file == "video=none"


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_cameras_are_counted_without_microphones(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    _system(monkeypatch, system)
    assert cameras() == ["camera:0 (Front)", "camera:1 (The rear)"]
    monkeypatch.setattr(addresses.av, "device", SimpleNamespace(), raising=False)  # of a PyAV that cannot list
    assert cameras() == []


def test_cameras_of_linux_are_in_the_order_of_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    _system(monkeypatch, "linux")
    there = [Path(f"/dev/{name}") for name in ("video10", "video2", "video-cap")]
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter(there))

    def name_of(file: Path, encoding: str) -> str:
        if file.parent.name == "video2":
            return "A webcam\n"
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", name_of)
    assert cameras() == ["camera:2 (A webcam)", "camera:10"]
