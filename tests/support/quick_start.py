"""Peers that start in a moment: real processes of the real `nappeer`, forked from one that has imported everything.

Run as ``python -m tests.support.quick_start``. It reads JSON lines, ``{"argv": [...], "cwd": ..., "log": ...}``, and
answers each with the process id of the daemon it has forked; ``{"reap": pid}`` is answered with the wait status. What
`twistd` does is done in each child from the beginning; only importing modules is saved.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import traceback
from typing import Any

import twisted.application.app
import twisted.internet.endpoints
import twisted.internet.epollreactor
import twisted.scripts.twistd

import napd.discovery
import napd.net
import napd.ops
import napd.peer
import napd.wire


def main() -> None:
    for package in (napd.wire, napd.ops, napd.net, napd.discovery, napd.peer):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            # `tap` takes the reactor, which must be each child's own.
            if not module.name.endswith(".tap"):
                importlib.import_module(module.name)
    if "twisted.internet.reactor" in sys.modules:
        raise SystemExit("a reactor was installed by importing")
    for line in sys.stdin:
        asked = json.loads(line)
        answer: Any = _reap(asked["reap"]) if "reap" in asked else _fork(asked)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _reap(process: int) -> int:
    return os.waitpid(process, 0)[1]


def _fork(asked: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(asked["cwd"])
        os.environ["HOME"] = asked["cwd"]
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.argv = asked["argv"]
        twisted.scripts.twistd.run()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:
        traceback.print_exc()
        os._exit(70)
    os._exit(0)


if __name__ == "__main__":
    main()
