"""Swarms that live through whatever their seed has in store for them (docs/explanation/testing.md)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.simulation.__main__ import play
from tests.simulation.contents import drop_pool
from tests.support.processes import ROOT

SEEDS = 200


@pytest.fixture(scope="module", autouse=True)
def _pool() -> Iterator[None]:
    yield
    drop_pool()


@pytest.mark.timeout(1200)
def test_everything_arrives_and_nothing_is_left() -> None:
    """On all cores; what fails says how to repeat it."""
    played = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS)], cwd=ROOT, capture_output=True, text=True
    )
    assert played.returncode == 0, played.stdout[-50_000:] + played.stderr[-5_000:]


def test_the_same_seed_is_the_same_run_in_another_process_too() -> None:
    """Also when text is hashed differently there: nothing may depend on the order of a set."""
    seeds = (7, 19, 20)
    script = (
        "from tests.simulation.__main__ import play\n"
        "from tests.simulation.contents import drop_pool\n"
        f"for seed in {seeds}: print(play(seed).digest)\n"
        "drop_pool()"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1234", "PYTHONPATH": str(ROOT)}
    there = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )

    assert there.stdout.split() == [play(seed).digest for seed in seeds], there.stderr
