"""Tables as people write them: what parts their cells, and what is refused."""

import pytest

from fsar_cli.data.tables import read_table
from fsar_cli.errors import DataError


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x y\n",
        "\r\nB; A \r\nx y;1\r\n;\r\n",
        "sep=;\na;b\n1;x y\n",
        "c\tA\tB\n\t1\tx y\n",
        'a,b\r1,"x y"\r',
    ],
)
def test_the_same_table_in_the_hand_of_several_programs(text: str) -> None:
    table = read_table(text, ("a", "b"))
    assert table.has(("a", "b"))
    assert [dict(zip(table.columns, cells, strict=True)) | {"c": ""} for _, cells in table.rows] == [
        {"a": "1", "b": "x y", "c": ""}
    ]


def test_rows_are_numbered_by_their_lines() -> None:
    assert [line for line, _ in read_table('a\n\n1\n"2\n3"\n4\n', ("a",)).rows] == [3, 5, 6]


def test_other_and_empty_files_have_not_the_columns() -> None:
    assert read_table("", ("a",)).columns == ()
    table = read_table("x,y\n1,2\n", ("a",), ("b",))
    assert (table.columns, list(table.rows)) == (("x", "y"), [(2, ["1", "2"])])
    assert not table.has(("a",))


def test_a_column_twice_and_a_cell_without_end_are_refused() -> None:
    with pytest.raises(DataError, match="the first row has the column 'a' twice"):
        read_table("a,b,A\n1,2,3\n", ("a", "b"))
    with pytest.raises(DataError, match="row 2: not CSV"):
        list(read_table(f"a\n{'x' * 200_000}\n", ("a",)).rows)
