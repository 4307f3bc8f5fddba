"""The two streams: sentences for people, documents for scripts."""

from __future__ import annotations

import io
import json

import pytest

from napctl.output import Output, error_document, error_line
from napd.errors import Misuse, NapError


@pytest.mark.parametrize(
    ("message", "hint", "line"),
    [
        ("it failed", None, "napctl: it failed."),
        ("it failed.", "try again.", "napctl: it failed. Try again."),
        ("it failed", "napctl queue shows it", "napctl: it failed. napctl queue shows it."),
        ("it failed", "--socket names another", "napctl: it failed. --socket names another."),
        ("it failed", "", "napctl: it failed."),
        ("a\x1b[2Jb", "c\nd", "napctl: a\\x1b[2Jb. c\\nd."),
    ],
)
def test_an_error_is_one_clean_line(message: str, hint: str | None, line: str) -> None:
    assert error_line(NapError(message, hint)) == line


def test_an_error_document_is_exact_but_valid_utf8() -> None:
    document = json.loads(error_document(Misuse("caf\udce9 \x1b 👩\u200d🚀", None)))
    error = {"code": "usage", "message": "caf\ufffd \x1b 👩\u200d🚀", "hint": None}
    assert document == {"schema": 1, "error": error}


class Failing(io.StringIO):
    """A stream whose every flush fails."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error
        self.tried = 0

    def flush(self) -> None:
        self.tried += 1
        raise self._error


def test_after_the_reader_has_left_nothing_more_is_tried() -> None:
    stdout = Failing(BrokenPipeError(32, "Broken pipe"))
    output = Output(stdout, io.StringIO())
    output.lines(["a"])
    output.lines(["b"])
    output.document(b"{}")
    assert output.closed
    assert stdout.tried == 1


def test_a_full_disk_under_standard_output_is_an_error() -> None:
    stdout = Failing(OSError(28, "No space left on device"))
    with pytest.raises(NapError, match="No space left"):
        Output(stdout, io.StringIO()).lines(["a"])


def test_a_name_that_the_encoding_lacks_is_written_out() -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Output(stdout, io.StringIO()).lines(["日本"])
    assert stdout.buffer.getvalue() == b"\\u65e5\\u672c\n"  # type: ignore[attr-defined]
