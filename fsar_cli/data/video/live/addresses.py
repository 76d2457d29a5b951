"""Addresses of live sources: which texts are one, what may be shown of them, and how FFmpeg is to open them.

Whoever can read a log must not be able to look through the camera: what people are told holds `masked` addresses only.
"""

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.device

NETWORK = ("rtsp", "rtsps", "http", "https", "udp", "rtmp", "rtmps")
CAMERA = re.compile(r"camera:(\d{1,3})", re.IGNORECASE)
INPUTS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""What opens a camera of the machine, by system."""

_SCHEME = r"(?<![\w+.-])([\w+.-]+://)"
_LOGIN = re.compile(_SCHEME + r"[^\s/?#'\"<>]*@")
_WORD = re.compile(_SCHEME + r"([^\s'\"<>]*)")
_NO_NAME, _ENDS_HOST = re.compile(r"[/?#\[\]@]"), re.compile("[/?#]")
_PARAMETER, _VALUE = re.compile(r"(?<![\w.%-])([\w.%-]+)="), re.compile(r"[^&\s#'\"<>]*")
_SECRET = re.compile("token|key|pass|pwd|pw|secret|sig|auth|cred|session|user|usr|login|jwt", re.IGNORECASE)
# All of these take one look at each character: an address may be as long as a command line.


def is_live(source: str) -> bool:
    """Whether a text names a live source, as `rtsp://...`, `http://...` or `camera:0`; never where it is a file."""
    scheme, separator, rest = source.partition("://")
    named = bool(separator and rest and scheme.lower() in NETWORK) or CAMERA.fullmatch(source) is not None
    return named and not os.path.exists(source)


def masked(text: str) -> str:
    """A text without the logins and secret parameters of the addresses in it.

    `rtsp://user:password@camera/live?token=1` becomes `rtsp://***@camera/live?token=***`. Passwords with an unescaped
    `/`, `?`, `#` or `@` go too, sooner with some of the address than not at all.
    """
    return _without_secrets(_LOGIN.sub(r"\1***@", _WORD.sub(_without_login, text)))


def _without_login(word: re.Match[str]) -> str:
    """An address without a login whose password holds what should have been escaped."""
    rest = word[2]
    start, last = 0, rest.rfind("@")
    while (colon := rest.find(":", start, max(last, 0))) >= 0:
        unescaped = _ENDS_HOST.search(rest, colon, rest.find("@", colon))
        if unescaped and not _NO_NAME.search(rest, start, colon):
            return f"{word[1]}{rest[:start]}***{rest[last:]}"
        if (another := rest.find("://", start)) < 0:
            break
        start = another + 3
    return word[0]


def _without_secrets(text: str) -> str:
    parts, place = [], 0
    while found := _PARAMETER.search(text, place):
        parts.append(text[place : found.end()])
        place = found.end()
        if _is_secret(found):
            parts.append("***")
            place = next(_VALUE.finditer(text, place)).end()  # it may be empty
    return "".join([*parts, text[place:]])


def _is_secret(found: re.Match[str]) -> bool:
    """Whether a parameter's name, which begins as one of an address does or at a `_`, says that its value is one."""
    last = max((mark.start() for mark in _SECRET.finditer(found[1])), default=-1)
    begins = found.start() == 0 or found.string[found.start() - 1] in "?&;/" or 0 <= found[1].find("_") < last
    return begins and last >= 0


@dataclass(frozen=True)
class Dialling:
    """What PyAV's `open` is to be given for an address."""

    file: str = field(repr=False)
    format: str | None
    """Name of FFmpeg's input; None: found out."""
    options: dict[str, str]


def dialling(address: str, stall: float, probing: float) -> Dialling:
    """How an address is opened.

    Args:
        stall: seconds without any data after which FFmpeg is to give up by itself.
        probing: seconds of a stream that are looked at, at most, to learn what it holds.
    """
    camera = CAMERA.fullmatch(address)
    if camera:
        return _camera(int(camera[1]))
    scheme, patience = address.partition("://")[0].lower(), str(round(stall * 1e6))
    options = {"analyzeduration": str(round(probing * 1e6)), "fpsprobesize": "0"}
    if scheme.startswith("rtsp"):  # packets over UDP are lost where many cameras share a line
        options |= {"rtsp_transport": "tcp", "allowed_media_types": "video", "timeout": patience}
    elif scheme == "udp":
        options |= {"timeout": patience, "overrun_nonfatal": "1", "fifo_size": "50000"}
    else:
        options |= {"rw_timeout": patience}
    if scheme.startswith("http"):  # a playlist starts with its newest part
        options |= {"live_start_index": "-1"}
    return Dialling(address, None, options)


def _camera(number: int) -> Dialling:
    source = INPUTS.get(sys.platform, "v4l2")
    names = {"v4l2": f"/dev/video{number}", "avfoundation": f"{number}:none"}
    if source == "dshow":  # knows cameras by name only
        videos = [d for d in _devices(source) if "video" in d.media_types]
        names[source] = f"video={videos[number].name}" if number < len(videos) else "video=none"
    options = {"framerate": "30"} if source == "avfoundation" else {}
    return Dialling(names[source], source, options)


def cameras() -> list[str]:
    """The machine's cameras as `camera:0 (its name)`, as far as the system tells."""
    source = INPUTS.get(sys.platform, "v4l2")
    if source == "v4l2":
        numbers = sorted(int(p.name[5:]) for p in Path("/dev").glob("video*") if p.name[5:].isdigit())
        return [f"camera:{number}{_v4l2_name(number)}" for number in numbers]
    videos = [device for device in _devices(source) if "video" in device.media_types]
    return [f"camera:{number} ({device.description or device.name})" for number, device in enumerate(videos)]


def _v4l2_name(number: int) -> str:
    try:
        return f" ({Path(f'/sys/class/video4linux/video{number}/name').read_text(encoding='utf-8').strip()})"
    except (OSError, ValueError):
        return ""


def _devices(source: str) -> list["av.device.DeviceInfo"]:
    try:
        return av.device.enumerate_input_devices(source)
    except (av.FFmpegError, ValueError, AttributeError):
        return []
