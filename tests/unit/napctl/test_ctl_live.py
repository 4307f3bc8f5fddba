"""The bars: they fit, they show what matters, and nothing in a name reaches the terminal."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from napctl.live import Bars, bars
from napd.wire.documents import Download
from tests.support import documents
from tests.support.documents import done, download


def drawn(rows: list[dict[str, Any]], columns: int = 100, lines: int = 30) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, height=lines, markup=False, emoji=False, highlight=False)
    console.print(bars(msgspec.convert(rows, list[Download]), columns, lines))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_row_has_name_bar_per_cent_amount_rate_time_and_sources() -> None:
    (line,) = drawn([documents.QUEUE["downloads"][0]])
    for part in ("3 big file.bin", "━", "42%", "27.0 MB of 64.2 MB", "12.3 MB/s", "0:03", "2 src"):
        assert part in line


def test_several_have_a_total() -> None:
    rows = [download(1, state="active", bytes_done=32_100_000, bytes_per_s=3_210_000.0), done(2)]
    total = drawn(rows)[-1]
    for part in ("1 of 2 ended", "75%", "96.3 MB of 128 MB", "3.2 MB/s", "0:10"):
        assert part in total


@pytest.mark.parametrize("columns", [20, 40, 63, 64, 80, 200])
def test_lines_fit_any_terminal(columns: int) -> None:
    for line in drawn(documents.QUEUE["downloads"], columns):
        assert cell_len(line) <= columns


def test_hostile_names_are_written_out_and_markup_is_text() -> None:
    text = "\n".join(drawn(documents.QUEUE["downloads"], 200))
    assert "\x1b" not in text and "\t" not in text
    assert "\\x1b[31mred" in text
    assert "[bold]not markup[/bold]" in text


def test_more_than_fit_shows_those_that_move_and_counts_the_rest() -> None:
    rows = [download(n) for n in range(1, 51)] + [download(51, state="active")]
    lines = drawn(rows, lines=12)
    assert len(lines) == 10
    assert lines[0].startswith("51 ")
    assert "42 not shown" in lines[-1]


def test_an_unknown_size_and_an_empty_file() -> None:
    assert "0 B of ?" in drawn([download(1, size=None, state="waiting")])[0]
    assert "100%" in drawn([done(1, size=0, bytes_done=0)])[0]


def test_colour_is_left_out_when_asked() -> None:
    def shown(environ: dict[str, str]) -> str:
        stream = io.StringIO()
        with Bars(stream, {"TERM": "xterm-256color", "COLUMNS": "80", **environ}, transient=False) as display:
            display.update(msgspec.convert([download(1, state="active")], list[Download]))
        return stream.getvalue()

    assert "\x1b[32m" in shown({})
    assert "\x1b[32m" not in shown({"NO_COLOR": "1"})
