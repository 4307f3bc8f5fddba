"""The systemd units: systemd itself finds nothing wrong with them, and they say what the documentation promises."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from napd.errors import EXIT_CONFIG
from napd.ops.daemon import STOP_S
from napd.ops.settings import INDEX_SETTINGS, PEER_SETTINGS, Surroundings, resolve
from tests.support.processes import ROOT, twistd

UNITS = ROOT / "docs" / "deploy" / "systemd"
ANALYZE = shutil.which("systemd-analyze")


def service(unit: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / unit)
    return parser["Service"]


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed (Debian: apt-get install systemd)")
@pytest.mark.parametrize("unit", ["napindex.service", "nappeer@.service"])
def test_systemd_finds_nothing_wrong(unit: str, tmp_path: Path) -> None:
    text = (UNITS / unit).read_text()
    assert "ExecStart=/opt/napd/bin/twistd -n " in text
    (tmp_path / unit).write_text(text.replace("/opt/napd/bin/twistd", twistd()))
    assert ANALYZE is not None
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", ["napindex.service", "nappeer@.service"])
def test_the_units_fit_what_the_daemons_do(unit: str) -> None:
    section = service(unit)
    assert section["Type"] == "notify"
    assert int(section["RestartPreventExitStatus"]) == EXIT_CONFIG
    assert int(section["TimeoutStopSec"]) > STOP_S + 1
    assert int(section["WatchdogSec"]) > 0
    assert section["StateDirectoryMode"] == "0700"
    assert section["ExecReload"] == "/bin/kill -HUP $MAINPID"
    # Measured: with this on, pyOpenSSL's callbacks cannot be made, and no TLS context either.
    assert section["MemoryDenyWriteExecute"] == "no"


@pytest.mark.parametrize(("program", "file"), [("napindex", "napindex.toml"), ("nappeer", "nappeer.toml")])
def test_the_example_configurations_are_right(program: str, file: str, tmp_path: Path) -> None:
    settings = INDEX_SETTINGS if program == "napindex" else PEER_SETTINGS
    around = Surroundings({"HOME": str(tmp_path), "STATE_DIRECTORY": str(tmp_path / "state")}, tmp_path, "ada")
    values = resolve(program, settings, {"config": [str(UNITS / file)]}, around)
    assert values["state"] == tmp_path / "state"
    assert values["listen"].startswith("tcp:")
