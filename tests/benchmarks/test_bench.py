"""The benchmark itself: that it runs, adds up, and writes what it says. No figure is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from twisted.internet.task import Clock

from tests.benchmarks import report
from tests.benchmarks.aims.rows import Row, at_least, at_most
from tests.benchmarks.aims.setting import read_setting
from tests.benchmarks.figures import Section
from tests.benchmarks.files import random_tree
from tests.benchmarks.options import MIB
from tests.benchmarks.scale import read_scale
from tests.benchmarks.ticking import Ticks, late_ms
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


@pytest.mark.slow
def test_a_quick_run_against_others_names_what_is_absent_and_shows_each_aim(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("b")
    written = folder / "aims.json"
    nothing = folder / "bin"
    nothing.mkdir()
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.benchmarks.aims",
            "--folder", str(folder), "--disk", str(folder), "--output", str(written),
        ],
        env=environment(QUICK="1", ONLY="nginx,scan,resume", PATH=str(nothing)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(written.read_text())["rows"]}
    against = rows["whole job, against nginx → curl"]
    assert against["skipped"] == "not installed: nginx, curl, openssl"
    assert (against["aim"], against["reached"]) == ({"sign": "≥", "value": 1.3}, None)
    assert sum(row["skipped"] == "not installed: b3sum" for row in rows.values()) == 3
    measured = rows["CPU seconds per GB, sender"]
    assert measured["median"] > 0 and measured["aim"] == {"sign": "≤", "value": 0.7}
    line = next(line for line in done.stdout.splitlines() if line.startswith(against["name"]))
    assert "≥ 1.3 ×" in line and "skipped: not installed: nginx" in line
    assert sum("time to first request" in line for line in done.stdout.splitlines()) == 1
    assert str(folder) not in written.read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["aims.json", "bin"]


def test_a_row_is_reached_from_the_right_side_and_unknown_without_a_figure() -> None:
    faster, slower = Row.of("rate", "×", at_least(1.3)), Row.of("memory", "MB", at_most(200))
    assert faster.reached is None
    for row, samples in ((faster, (1.2, 1.3, 9.0)), (slower, (199.0, 201.0, 203.0))):
        for sample in samples:
            row.add(sample)
    assert (faster.reached, slower.reached) == (True, False)


def test_each_part_can_be_chosen_and_a_misspelt_one_is_a_usage_error() -> None:
    assert read_setting(["--only", "scan,resume"], {"QUICK": "1"}).only == ("scan", "resume")
    with pytest.raises(SystemExit) as ended:
        read_setting([], {"ONLY": "nginx,torrent"})
    assert ended.value.code == 2


def test_ticks_that_a_held_reactor_missed_count_each_with_its_own_lateness(tmp_path: Path) -> None:
    clock = Clock()
    ticks = Ticks(str(tmp_path / "ticks"), clock, clock.seconds)
    ticks.begin()
    clock.advance(0.0355)
    clock.advance(0.015)

    late = late_ms(tmp_path / "ticks", 0.001, 1.0)
    assert [round(one, 1) for one in late] == [25.5, 15.5, 5.5, 10.5, 0.5]
