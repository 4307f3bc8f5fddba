"""What the tests of crashes share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crash_run import Source

_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def crash_source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(tmp_path_factory.mktemp("source"))


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory where a sync costs nothing, if there is such a place: what is synced is modelled."""
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="napd-test-", dir=_MEMORY))
    yield made
    shutil.rmtree(made)
