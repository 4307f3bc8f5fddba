"""The package as users get it: a wheel and an editable install, in fresh environments, seen from an empty directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import napd
import twisted
from tests.support.processes import ROOT

#: What the package is made from.
_SOURCES = ("napd", "napctl", "twisted", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
_TWISTD = "from twisted.scripts.twistd import run; run()"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that building leaves nothing in the tree."""
    copy = tmp_path_factory.mktemp("sources")
    for name in _SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.cache"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(sources))
    return next(out.glob("*.whl"))


def test_the_wheel_has_the_plugin_the_schemas_and_the_single_version(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.startswith(f"napd-{napd.__version__}-")
    assert "twisted/plugins/napd_plugins.py" in names
    assert not any(name.startswith(("tests", "docs")) for name in names)
    assert not any(name.startswith("twisted/") and name.endswith("__init__.py") for name in names)
    schemas = {str(found.relative_to(ROOT)) for found in (ROOT / "napd").rglob("*.sql")}
    assert schemas <= names


def test_an_installed_wheel_gives_both_daemons_to_twistd_and_napctl_to_the_path(wheel: Path, tmp_path: Path) -> None:
    python = _environment(tmp_path / "environment")
    _install(python, str(wheel))
    _works_from_an_empty_directory(python, tmp_path)


def test_an_editable_install_does_too(sources: Path, tmp_path: Path) -> None:
    python = _environment(tmp_path / "environment")
    _install(python, "--no-build-isolation", "--editable", str(sources))
    _works_from_an_empty_directory(python, tmp_path)


def _environment(folder: Path) -> Path:
    """A fresh one with a Twisted of its own; the other dependencies are borrowed, so that no network is needed."""
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    shutil.copytree(
        Path(twisted.__file__).parent,
        site / "twisted",
        ignore=shutil.ignore_patterns("__pycache__", "test", "dropin.cache"),
        copy_function=shutil.copy,
    )
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("".join(f"{path}\n" for path in sorted(borrowed)))
    return folder / "bin" / "python"


def _install(python: Path, *what: str) -> None:
    _run(sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet", *what)


def _works_from_an_empty_directory(python: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    listed = _run(str(python), "-c", _TWISTD, "--help", cwd=empty)
    assert "\n    napindex " in listed
    assert "\n    nappeer " in listed
    for program in ("napindex", "nappeer"):
        assert f"{program} {napd.__version__}" in _run(str(python), "-c", _TWISTD, program, "--version", cwd=empty)
    assert "search" in _run(str(python.parent / "napctl"), "--help", cwd=empty)
    assert list(empty.iterdir()) == []


def _run(*command: str, cwd: Path | None = None) -> str:
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout
