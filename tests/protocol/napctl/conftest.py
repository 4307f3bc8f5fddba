"""A scripted daemon on a real socket, and napctl against it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.fake_daemon import Answer, FakeDaemon

MakeDaemon = Callable[..., FakeDaemon]


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory with a short path: a socket's is limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="napctl") as made:
        yield Path(made)


@pytest.fixture
def daemon(sockets: Path) -> Iterator[MakeDaemon]:
    """Makes daemons: ``daemon({"queue.list": DOCUMENT})``; the socket is named `name`."""
    with ExitStack() as running:

        def make(answers: dict[str, Answer], name: str = "control.sock") -> FakeDaemon:
            return running.enter_context(FakeDaemon(sockets / name, answers))

        yield make
