"""The table: aligned, never wider than the page while columns can give way, safe whatever is in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napctl.page import Cell, Column, Page, facts, table
from napctl.text import width

COLUMNS = (
    Column("ID", right=True),
    Column("NAME", stretch=16),
    Column("RATE", right=True, spare=1),
    Column("NOTE", stretch=16),
)
PLAIN = Page(now=0.0)


def test_no_rows_are_no_lines() -> None:
    assert table(PLAIN, COLUMNS, []) == []


def test_columns_are_aligned_under_their_titles() -> None:
    assert table(PLAIN, COLUMNS, [["1", "a", "10", "x"], ["12", "日本", "9", ""]]) == [
        "ID  NAME  RATE  NOTE",
        " 1  a       10  x",
        "12  日本     9",
    ]


def test_a_column_with_nothing_in_it_is_left_out() -> None:
    assert table(PLAIN, COLUMNS, [["1", "a", "", ""]])[0] == "ID  NAME"


def test_cells_are_cut_on_a_terminal_and_whole_elsewhere() -> None:
    long = "n" * 100 + ".flac"
    assert long in table(PLAIN, COLUMNS, [["1", long, "", "x"]])[1]
    line = table(Page(now=0.0, width=40), COLUMNS, [["1", long, "", "x"]])[1]
    assert "….flac" not in line and ".flac" in line and width(line) <= 40


def test_spare_columns_go_before_others_become_unreadable() -> None:
    row = ["1", "n" * 40, "1.0 MB/s", "o" * 40]
    assert "RATE" in table(Page(now=0.0, width=60), COLUMNS, [row])[0]
    assert "RATE" not in table(Page(now=0.0, width=40), COLUMNS, [row])[0]


def test_colour_only_where_the_page_has_it() -> None:
    rows = [[Cell("1", "red"), "a", "", ""]]
    assert "\x1b[31m" in table(Page(now=0.0, colour=True), COLUMNS, rows)[1]
    assert "\x1b" not in "".join(table(PLAIN, COLUMNS, rows))


def test_facts_are_aligned_and_escaped() -> None:
    assert facts(PLAIN, [("user", "ann"), ("listens", Cell("\x1b[2J", "red"))]) == ["user     ann", "listens  \\x1b[2J"]


@given(
    st.lists(st.tuples(*[st.text(st.characters(exclude_categories=()), max_size=40)] * 4), min_size=1, max_size=5),
    st.integers(44, 120),
)
def test_any_cells_give_one_clean_line_each_within_the_page(rows: list[tuple[str, ...]], columns: int) -> None:
    short = [(row[0][:3], row[1], row[2][:3], row[3]) for row in rows]
    lines = table(Page(now=0.0, width=columns), COLUMNS, short)
    if lines:
        assert len(lines) == len(rows) + 1
    for line in lines:
        assert line.isprintable() or not any(ord(c) < 32 or ord(c) == 127 for c in line)
        assert width(line) <= columns
