"""Baselines run as processes of their own: this end of the few words that they are told and say (`baselines.turns`)."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import IO, Self

from tests.support.processes import environment


class Child:
    """``python -m tests.benchmarks.baselines.MODULE ARGUMENTS``, until the block ends.

    :param python: which one; None: this one.
    """

    def __init__(self, module: str, *arguments: object, python: str | None = None) -> None:
        name = f"tests.benchmarks.baselines.{module}"
        self._command = [python or sys.executable, "-m", name, *map(str, arguments)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream(self._process.stdin).close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stream(self._process.stdout).close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self) -> str:
        """Its next word."""
        line = self._stream(self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._command)} ended ({self._process.wait(10)})")
        return line.strip()

    def go(self) -> str:
        """Let it do its work; returns when it has."""
        stdin = self._stream(self._process.stdin)
        stdin.write("go\n")
        stdin.flush()
        return self.hear()

    def _stream(self, stream: IO[str] | None) -> IO[str]:
        if stream is None:
            raise RuntimeError("the child has no such stream")
        return stream
