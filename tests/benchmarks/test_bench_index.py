"""The benchmark of the index: that its community is what it says, and that a small run measures every part."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from napd.wire import index as wire
from napd.wire.catalogue import Entry, catalogue_digest
from napd.wire.line import MAX_LINE_BYTES
from tests.benchmarks.index import parts
from tests.benchmarks.index.__main__ import main
from tests.benchmarks.index.corpus import NEW, Corpus, write
from tests.benchmarks.index.parts import percentile
from tests.benchmarks.index.setting import PARTS, read_setting
from tests.support.processes import ROOT, environment


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    write(folder, 20_000, 4000)
    return Corpus.read(folder)


def entries(corpus: Corpus, user: str) -> list[Entry]:
    """What a peer announces, step by step, as the index takes it."""
    (share,) = [share for share in (*corpus.everybody(), *corpus.newcomers) if share.user == user]
    found: list[Entry] = []
    lines = corpus.announces(share)
    for base, line in enumerate(lines):
        assert len(line) <= MAX_LINE_BYTES
        step = wire.decode_from_peer(line)
        assert isinstance(step, wire.Announce)
        assert (step.base, step.revision, step.reset) == (base, base + 1, base == 0)
        assert step.digest == (share.digest if base == len(lines) - 1 else None)
        found += step.add
    assert (len(found), sum(entry.size for entry in found)) == (share.listings, share.bytes)
    assert share.digest == catalogue_digest(found)
    return found


def test_its_announces_are_those_of_the_protocol(corpus: Corpus) -> None:
    for share in (*corpus.everybody(), *corpus.newcomers):
        assert len(set(entries(corpus, share.user))) == share.listings


def test_it_has_the_shape_that_it_says(corpus: Corpus) -> None:
    everything = [entry for share in corpus.everybody() for entry in entries(corpus, share.user)]
    figures = corpus.figures
    assert len(everything) == figures["holdings"] == 20_000
    assert len(set(everything)) == figures["items"]
    assert len({entry.content for entry in everything}) == figures["contents"] < figures["items"]
    assert 0.3 < figures["items"] / figures["holdings"] < 0.6
    known = {entry.content for entry in everything}
    for share in corpus.newcomers:
        unknown = sum(entry.content not in known for entry in entries(corpus, share.user))
        assert unknown / share.listings == pytest.approx(NEW, abs=0.2)
    names = "".join(entry.name for entry in everything)
    assert any("а" <= letter <= "я" for letter in names)
    assert any("一" <= letter <= "龥" for letter in names)
    assert {"audio", "video"} <= {
        options.get("type") for _, options in corpus.queries["audio, 256 kbit/s and more"]
    } | {options.get("type") for _, options in corpus.queries["video, 512 MiB and more"]}
    assert {len(asked) for asked in corpus.queries.values()} == {100}


def test_the_same_seed_is_the_same_community(corpus: Corpus, tmp_path: Path) -> None:
    write(tmp_path, 20_000, 4000)
    for name in ("announces.bin", "corpus.json"):
        assert (tmp_path / name).read_bytes() == (corpus.folder / name).read_bytes()


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (51.0, 100.0, 7.0)


def test_each_part_can_be_chosen_and_a_misspelt_one_is_a_usage_error() -> None:
    assert read_setting([], {}).only == PARTS
    assert read_setting([], {"QUICK": "1", "HOLDINGS": "70000"}).holdings == 70_000
    with pytest.raises(SystemExit) as ended:
        read_setting([], {"ONLY": "inside,nonsense"})
    assert ended.value.code == 2


def test_what_was_measured_survives_a_part_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(work: parts.Work) -> None:
        work.outcome.row("a figure", "ms").add(1.5)

    def broken(work: parts.Work) -> None:
        raise RuntimeError("on purpose")

    written = tmp_path / "index.json"
    monkeypatch.setattr(
        sys, "argv", ["", "--only", "inside,daemon", "--folder", str(tmp_path), "--output", str(written)]
    )
    monkeypatch.setenv("QUICK", "1")
    monkeypatch.setitem(parts.PARTS, "inside", measured)
    monkeypatch.setitem(parts.PARTS, "daemon", broken)
    with pytest.raises(RuntimeError, match="on purpose"):
        main()
    assert [row["name"] for row in json.loads(written.read_text())["rows"]] == ["a figure"]
    assert "a figure" in capsys.readouterr().out


@pytest.mark.slow
def test_a_quick_run_measures_every_part_and_names_what_is_absent(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("b")
    nothing = folder / "bin"
    nothing.mkdir()
    written = folder / "index.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.index", "--folder", str(folder), "--output", str(written)],
        env=environment(QUICK="1", PATH=str(nothing)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    document = json.loads(written.read_text())
    rows = {row["name"]: row for row in document["rows"]}
    hub = (
        rows.pop("uhub, 20 clients: CPU of the hub for a search"),
        rows.pop("uhub, 20 clients: until the last one has it"),
    )
    assert all(row["skipped"].startswith("not installed: uhub") for row in hub)
    assert all(row["median"] > 0 for row in rows.values())
    aims = {row["name"]: row["aim"]["value"] for row in rows.values() if row["aim"] is not None}
    assert aims == {
        "search, whole answer, p99, any class": 10,
        "search, mixed, during 20,000 holdings/s, p99": 15,
        "whole answers, mixed, one core": 650,
        "whole answers through TLS, 50 connections": 400,
        "registration into the full index, 30 % new": 55_000,
        "reconnect unchanged, 1,000 files": 50,
        "disconnect, 1,000 files": 50,
        "disk, a holding": 75,
        "resident memory, all online": 550,
        "restart to searching": 5,
        "idle peers held by one process": 10_000,
        "idle peer, memory of the index": 50,
        "logins": 600,
    }
    assert document["corpus"]["holdings"] == 5000
    assert "skipped: not installed: uhub" in done.stdout
    assert str(folder) not in written.read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["bin", "index.json"]


def test_the_store_is_measured_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.index_store", "3000", "500"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    from_empty, newcomers, size = done.stdout.splitlines()
    assert re.fullmatch(r"from empty: \d,\d{3} holdings, [\d,]+/s; CPU .* us in the writer, .* MB", from_empty)
    assert newcomers.startswith("newcomers: 500 holdings, ")
    assert 40 < float(size.split()[0]) < 200
