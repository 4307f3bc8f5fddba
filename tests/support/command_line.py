"""`napctl` run in the test's own process, with streams that can pass for a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from napctl.main import run


class _Stream(io.TextIOWrapper):
    """Keeps what is written to it; has no file descriptor."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def written(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@frozen
class Ran:
    """What a run did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        (line,) = self.out.splitlines() if "\n" in self.out else (self.out,)
        return json.loads(line)

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.split("\n") if line]


def napctl(
    *args: str,
    socket: Path | None = None,
    environ: Mapping[str, str] | None = None,
    terminal: bool = False,
    columns: int = 80,
    now: float = 0.0,
) -> Ran:
    """Run one command line. `terminal`: both streams claim to be one, `columns` wide.

    :param now: what ages are told from.
    """
    given = {"TERM": "xterm", "HOME": "/nonexistent", **(environ or {})}
    if terminal:
        given["COLUMNS"] = str(columns)
    if socket is not None:
        given["NAPCTL_SOCKET"] = str(socket)
    out, err = _Stream(terminal=terminal), _Stream(terminal=terminal)
    status = run(args, given, out, err, lambda: now)
    return Ran(status, out.written(), err.written())
