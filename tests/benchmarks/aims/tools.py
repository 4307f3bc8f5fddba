"""What of the programs that napd is compared with is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

#: The virtual environment that `make bench-transfer` fills from baselines/requirements.txt, in the project's own.
_OWN = Path(sys.prefix) / "baselines" / "bin" / "python"


def absent_programs(*names: str) -> str | None:
    """Why what needs these cannot be measured, if it cannot."""
    absent = [name for name in names if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


@cache
def python_with(*modules: str) -> str | None:
    """A Python that can import all of these."""
    for python in (str(_OWN), sys.executable):
        if shutil.which(python) is not None and _imports(python, modules):
            return python
    return None


def _imports(python: str, modules: Sequence[str]) -> bool:
    done = subprocess.run([python, "-c", f"import {', '.join(modules)}"], capture_output=True, check=False)
    return done.returncode == 0
