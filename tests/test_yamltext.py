"""YAML as settings are written in it."""

import pytest

from fsar_cli.errors import UsageError
from fsar_cli.yamltext import LARGEST, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("Off", "Off"),
        ("1:30", "1:30"),
        ("2024-01-05", "2024-01-05"),
        ("0o17", "0o17"),
        ("017", "017"),
        ("1_000", "1_000"),
        ("1e-3", "1e-3"),
        (".nan", ".nan"),
        ("=", "="),
        ("5", 5),
        ("-0.5", -0.5),
        ("'5'", "5"),
        ("true", True),
        ("~", None),
        ("", None),
        ("# nothing\n", None),
        ("[1, [2]]", [1, [2]]),
        ("a: {b: x#y}", {"a": {"b": "x#y"}}),
    ],
)
def test_a_bare_word_is_what_it_looks_like(text, value):
    assert read_yaml(text, "x") == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "x, line 3: 'a' is given twice, first in line 1"),
        ("s: {a: 1}\ns: {b: 2}\n", "'s' is given twice, first in line 1"),
        ("s.a: 1\ns: {a: 2}\n", "'s.a' is given twice, first in line 1"),
        ("a: &n 1\nb: *n\n", "x, line 2: references (*n) are not read"),
        ("a: !!python/object:os.system 1\n", "x, line 1: tags (!!python/object:os.system) are not read"),
        ("? [a]\n: 1\n", "a key must be a word"),
        ("a: 1\n---\nb: 2\n", "x is not valid YAML: expected a single document"),
        ("a:\n\tb: 1\n", "found character '\\t' that cannot start any token (line 2)"),
        ("a: 'b\n", "x is not valid YAML"),
        (b"a: \xff\xfe", "x is no text: byte 0xFF at position 4 is not UTF-8"),
        ("a: \0", "x is no text: character U+0000 at position 4"),
        ("[" * 5000 + "]" * 5000, "x is nested too deeply"),
        ("a" * (LARGEST + 1), "x is larger than 1 MiB"),
    ],
)
def test_what_settings_have_no_use_for_is_refused_by_line(text, words):
    with pytest.raises(UsageError) as caught:
        read_yaml(text, "x")
    assert words in caught.value.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_of_windows_is_read(encoding):
    assert read_yaml("a: ä\r\nb: 2\r\n".encode(encoding), "x") == {"a": "ä", "b": 2}
