"""The published lists over the network: pinned address, hash, cache.

An address names a commit, so its content never changes: a list is known by its SHA-256, is kept under that name in
`lists` of the cache folder (`files.cache_folder`) and is asked for once. FSAR_LISTS_URL replaces
https://raw.githubusercontent.com by a mirror with the same paths.
"""

import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from fsar_cli import __version__
from fsar_cli.data.splits.protocols import Protocol
from fsar_cli.errors import DataError, UsageError
from fsar_cli.files import cache_folder, without_cache, write_whole
from fsar_cli.reporting import Reporter

BASE = "https://raw.githubusercontent.com"
VARIABLE = "FSAR_LISTS_URL"
LARGEST = 1 << 24
"""Bytes; the largest published list has a million."""

_SECONDS = 30.0


def address(protocol: Protocol, split: str) -> str:
    """Where the bytes of a published list are; FSAR_LISTS_URL counts.

    Raises:
        UsageError: FSAR_LISTS_URL is no web address.
    """
    base = (os.environ.get(VARIABLE) or BASE).rstrip("/")
    if not base.startswith(("https://", "http://")):
        raise UsageError(f"{VARIABLE}={base} is no web address", f"the default is {BASE}; lists on disk: --lists")
    owner_and_name = "/".join(protocol.repository.rstrip("/").split("/")[-2:])
    return f"{base}/{owner_and_name}/{protocol.commit}/{urllib.parse.quote(protocol.files[split].path)}"


def fetch(protocol: Protocol, split: str, reporter: Reporter) -> bytes:
    """The published list of a split, from the cache or its address; what is returned has the protocol's hash.

    Raises:
        DataError: it cannot be had, or the address sends something else.
    """
    wanted = protocol.files[split].sha256
    kept = cache_folder("lists") / wanted
    content = _kept(kept)
    if content is not None and hashlib.sha256(content).hexdigest() == wanted:
        return content
    source = address(protocol, split)
    reporter.log(f"fetching {source}")
    content = _download(source, split)
    digest = hashlib.sha256(content).hexdigest()
    if digest != wanted:
        raise DataError(
            f"{source} sends a file with SHA-256 {digest[:16]}, the {split} list of {protocol.name} has {wanted[:16]}",
            f"cut off, or answered by a proxy: try again, or fetch {protocol.address(split)} by hand and give --lists",
        )
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, content)
    except OSError as error:
        reporter.warn(without_cache(cache_folder(), error))
    return content


def _kept(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _download(source: str, split: str) -> bytes:
    request = urllib.request.Request(source, headers={"User-Agent": f"fsar/{__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            content: bytes = answer.read(LARGEST + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        # An HTTPError is an OSError with a status; a URLError has the cause in `reason`.
        cause = getattr(error, "reason", None) or error
        status = f"{error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        raise DataError(
            f"cannot fetch the {split} list from {source}: {status}{cause}",
            "fetch it by hand, with the others, into a folder and give `--lists FOLDER`",
        ) from error
    if len(content) > LARGEST:
        raise DataError(f"{source} sends more than {LARGEST} bytes", "that is no list; give it by hand with --lists")
    return content
