"""Plays many seeds, on all cores: ``python -m tests.simulation --seeds 1000`` (``make simulate SEEDS=1000``).

A failure prints its seed, the command that plays it again, and the end of its trace.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
import traceback

from attrs import frozen
from twisted.logger import LogEvent, globalLogPublisher

from tests.simulation.contents import drop_pool
from tests.simulation.scenario import Broken, Run


@frozen
class Outcome:
    seed: int
    digest: str
    failure: str | None
    trace: str
    virtual_s: float
    real_s: float
    events: int


def play(seed: int, lines: int = 60) -> Outcome:
    began = time.monotonic()
    run = Run(seed)
    failure = None
    unhandled: list[str] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            unhandled.append(event["log_failure"].getTraceback())

    def collected(what: sys.UnraisableHookArgs) -> None:
        # A coroutine of a process that was killed would still clean up behind itself; a real one is not asked.
        if "ignored GeneratorExit" not in str(what.exc_value):
            unhandled.append(f"{what.err_msg} {what.object}: {what.exc_value}")

    globalLogPublisher.addObserver(observe)
    before, sys.unraisablehook = sys.unraisablehook, collected
    try:
        run.play()
        # Failures that nobody handled are told when the collector finds them.
        gc.collect()
        if unhandled:
            raise Broken("\n".join(unhandled))
    except Exception:
        failure = traceback.format_exc()[-6_000:]
    finally:
        sys.unraisablehook = before
        globalLogPublisher.removeObserver(observe)
    took = time.monotonic() - began
    return Outcome(
        seed, run.trace.digest(), failure, run.trace.tail(lines), run.world.seconds(), took, run.world.handled
    )


def repeat(seed: int) -> str:
    return f"make simulate SEEDS=1 FIRST={seed}"


def main() -> int:
    options = argparse.ArgumentParser(prog="make simulate")
    options.add_argument("--seeds", type=int, default=200, help="how many")
    options.add_argument("--first", type=int, default=1, help="the first of them")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options.add_argument("--lines", type=int, default=60, help="lines of a failure's trace")
    options.add_argument("--trace", action="store_true", help="print the trace of what succeeds, too")
    chosen = options.parse_args()
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    began = time.monotonic()
    failed = []
    with multiprocessing.Pool(min(chosen.jobs, chosen.seeds)) as workers:
        for outcome in workers.imap_unordered(_play, [(seed, chosen.lines) for seed in seeds]):
            if outcome.failure is not None:
                failed.append(outcome.seed)
            if outcome.failure is not None or chosen.trace:
                print(f"=== seed {outcome.seed}, digest {outcome.digest[:16]}\n{outcome.trace}")
                print(f"{outcome.failure or 'well'}\nagain: {repeat(outcome.seed)}\n", flush=True)
        workers.map(_end, range(chosen.jobs), chunksize=1)
    took = time.monotonic() - began
    print(f"{len(seeds)} seeds from {seeds[0]}, {len(failed)} failed, {took:.0f} s")
    for seed in sorted(failed):
        print(f"  {repeat(seed)}")
    return 1 if failed else 0


def _play(what: tuple[int, int]) -> Outcome:
    return play(*what)


def _end(_: int) -> None:
    drop_pool()


if __name__ == "__main__":
    sys.exit(main())
