"""What waiting for downloads comes to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from napctl.waiting import wait_status
from napd.wire.documents import Download
from tests.support.documents import done, download, failed

CANCELLED = download(1, state="cancelled")


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([], 0),
        ([done(1), done(2)], 0),
        ([failed(1)], 1),
        ([CANCELLED], 1),
        ([failed(1, "integrity")], 8),
        ([failed(1, "no_space")], 9),
        ([failed(1, "integrity"), failed(2, "integrity")], 8),
        ([failed(1, "integrity"), failed(2, "no_space")], 1),
        ([failed(1, "no_space"), CANCELLED], 1),
        ([failed(1, "denied")], 1),
        ([done(1), failed(2)], 7),
        ([done(1), failed(2, "integrity")], 7),
        ([done(1), CANCELLED], 7),
    ],
)
def test_the_exit_status_of_waiting(rows: list[dict[str, Any]], status: int) -> None:
    assert wait_status(msgspec.convert(rows, list[Download])) == status
