"""YAML as settings are written in it: no key twice, and a bare word stays the word it is.

YAML 1.1 reads `no` as false, `1:30` as 90 and `2024-01-05` as a date, takes the last of two equal keys without a word,
and lets a file of ten lines grow to gigabytes by references. Here a bare word is null, true, false, or a number where
Python would write it so (`5`, `0.001`); else it is text, and the field that takes it converts it (`1e-3`, `no`).
"""

import math
from contextlib import suppress
from typing import Any

import yaml

from fsar_cli.errors import UsageError

LARGEST = 2**20
"""Bytes; the longest project file has some thousands."""
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


class _Fault(Exception):
    """YAML that settings have no use for: what, and its line."""


class _Composer(yaml.SafeLoader):
    """Text -> nodes, of which nothing is guessed and none is used twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012, it is PyYAML's

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave its type out
            raise _fault(f"references (*{event.anchor}) are not read: write the value out", event.start_mark)
        return super().compose_node(parent, index)


def read_yaml(content: str | bytes, name: str) -> Any:
    """What YAML text holds, as dicts, lists, texts, numbers, truth values and None.

    Args:
        content: bytes are UTF-8, or UTF-16 with its mark.
        name: what is read, for messages.

    Raises:
        UsageError: it is not YAML, gives a key twice, or holds what settings have no use for.
    """
    if len(content) > LARGEST:
        raise UsageError(f"{name} is larger than 1 MiB: that is no configuration")
    try:
        node = _Composer(content).get_single_node()
        return None if node is None else _value(node, "", {})
    except _Fault as fault:
        raise UsageError(f"{name}, line {fault.args[1]}: {fault.args[0]}") from fault
    except yaml.reader.ReaderError as error:
        raise UsageError(f"{name} is no text: {_unreadable(error)}", "save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        what = " ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1})" if mark else ""
        hint = "YAML is indented by spaces, not by tabs" if "\\t" in what else ""
        raise UsageError(f"{name} is not valid YAML: {what}{where}", hint) from error
    except (ValueError, OverflowError) as error:  # an escape of no character, a version of too many digits
        raise UsageError(f"{name} is not valid YAML: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{name} is nested too deeply: that is no configuration") from error


def _unreadable(error: yaml.reader.ReaderError) -> str:
    where = f"at position {error.position + 1}"
    if error.encoding == "unicode":
        return f"character U+{error.character:04X} {where}"
    return f"byte 0x{error.character:02X} {where} is not {error.encoding.upper()}"


def _fault(what: str, mark: yaml.Mark) -> _Fault:
    return _Fault(what, mark.line + 1)


def _value(node: yaml.Node, prefix: str, lines: dict[str, int]) -> Any:
    """A node as plain values.

    Args:
        lines: of each dotted key so far, so that `optim.lr` and `lr` in `optim` are one key.
    """
    if node.tag not in PLAIN_TAGS:
        raise _fault(f"tags ({node.tag.replace('tag:yaml.org,2002:', '!!')}) are not read", node.start_mark)
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.style else _plain(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{prefix}{index}.", lines) for index, item in enumerate(node.value)]
    return {_key(key, prefix, lines): _value(value, f"{prefix}{key.value}.", lines) for key, value in node.value}


def _key(node: yaml.Node, prefix: str, lines: dict[str, int]) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _fault("a key must be a word", node.start_mark)
    word: str = node.value
    key, line = f"{prefix}{word}", node.start_mark.line + 1
    if key in lines:
        raise _fault(f"'{key}' is given twice, first in line {lines[key]}", node.start_mark)
    lines[key] = line
    return word


def _plain(text: str) -> Any:
    """A bare word."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for kind in (int, float):
        with suppress(ValueError, OverflowError):
            number = kind(text)
            if math.isfinite(number) and str(number) == text:
                return number
    return text
