"""Words that messages share."""

import pytest

from fsar_cli.errors import counted


@pytest.mark.parametrize(
    ("noun", "two"), [("shot", "2 shots"), ("query", "2 queries"), ("class", "2 classes"), ("process", "2 processes")]
)
def test_a_number_and_its_noun(noun: str, two: str) -> None:
    assert counted(1, noun) == f"1 {noun}"
    assert counted(2, noun) == two
    assert counted(0, noun) == two.replace("2", "0")
