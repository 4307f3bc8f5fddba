"""The benchmark itself: that it runs, adds up, and writes what it says. No figure is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.benchmarks import report
from tests.benchmarks.figures import Section
from tests.benchmarks.files import random_tree
from tests.benchmarks.scale import MIB, read_scale
from tests.support.processes import ROOT, environment


def test_a_ratio_compares_rounds_that_ran_side_by_side() -> None:
    section = Section("copies")
    plain = section.figure("plain", "s", moved=2_000_000)
    other = section.figure("other", "s", plain)
    for one, two in ((1.0, 2.0), (10.0, 20.0), (2.0, 4.0)):
        plain.add(one)
        other.add(two)

    assert (plain.median, plain.low, plain.high) == (2.0, 1.0, 10.0)
    assert plain.rate == 1.0
    assert [(ratio.to, ratio.value) for ratio in other.ratios] == [("plain", 2.0)]


def test_unequal_numbers_of_rounds_are_compared_by_their_medians() -> None:
    section = Section("answers")
    idle = section.figure("idle", "ms")
    busy = section.figure("busy", "ms", idle)
    for sample in (1.0, 2.0, 3.0):
        idle.add(sample)
    busy.add(8.0)

    assert [ratio.value for ratio in busy.ratios] == [4.0]


def test_the_table_shows_what_was_measured_and_nothing_else() -> None:
    section = Section("Copies")
    figure = section.figure("a copy", "s", moved=1_000_000_000)
    section.figure("never run", "s", figure)
    figure.add(0.5)
    figure.add(0.25)

    table = report.table([section, Section("Empty")])

    assert table.splitlines()[2:] == ["Copies", "  a copy  0.375 s  0.250 – 0.500  2,667"]


def test_sizes_come_from_options_else_from_the_environment() -> None:
    assert read_scale([], {}).size == 1024 * MIB
    assert read_scale([], {"SIZE": "64MiB", "FILE_SIZE": "1k"}).size == 64 * MIB
    chosen = read_scale(["--size", "2MiB", "--parts", "scan,status"], {"SIZE": "64MiB", "FILES": "7"})
    assert (chosen.size, chosen.files, chosen.parts) == (2 * MIB, 7, ("scan", "status"))


@pytest.mark.parametrize("arguments", [["--size", "much"], ["--files", "0"], ["--parts", "transfer,nonsense"]])
def test_what_is_not_understood_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_scale(arguments, {})
    assert ended.value.code == 2


def test_a_tree_has_exactly_the_size_that_was_asked_for(tmp_path: Path) -> None:
    count = random_tree(tmp_path, 20 * MIB + 17, Random(1))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == count
    assert sum(path.stat().st_size for path in files) == 20 * MIB + 17


@pytest.mark.slow
def test_a_small_run_measures_every_part(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("b")
    written = folder / "bench.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--folder", str(folder), "--output", str(written)],
        env=environment(SIZE="3MiB", FILES="20", ROUNDS="1"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    document = json.loads(written.read_text())
    medians = {
        (section["title"], figure["name"]): figure["median"]
        for section in document["sections"]
        for figure in section["figures"]
    }
    assert all(median >= 0 for median in medians.values())
    names = {name for _, name in medians}
    assert {"napd", "Twisted TLS copy", "plain TCP copy", "hashing alone, one thread", "napctl status"} <= names
    assert str(folder) not in written.read_text()
    assert [path.name for path in folder.iterdir()] == ["bench.json"]
