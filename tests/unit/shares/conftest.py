from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.support.sharing import Make, Sharing


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Starts a peer's shares; the same state again unless another is given. All are stopped at the end."""
    made: list[Sharing] = []

    def make(state: str = "state", **options: Any) -> Sharing:
        sharing = Sharing(reactor, tmp_path / state, options.pop("forbidden", []), **options)
        made.append(sharing)
        return sharing.start()

    yield make
    for sharing in made:
        if not sharing.stopped:
            pytest_twisted.blockon(Deferred.fromCoroutine(sharing.stop()))


@pytest.fixture
def sharing(make: Make) -> Sharing:
    """To it every file is old, so that none has to be quiet first."""
    return make(ahead=10.0)


@pytest.fixture
def punctual(make: Make) -> Sharing:
    """To it files are as old as they are."""
    return make()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty directory to be shared."""
    path = tmp_path / "music"
    path.mkdir()
    return path
