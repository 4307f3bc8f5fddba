"""Workers and pools: order, results, limits, the end."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults

from napd.ops.threads import Overloaded, Pool, Worker


async def test_a_worker_does_its_work_in_order_on_one_thread_and_answers_on_the_reactors() -> None:
    worker = Worker(reactor, "test")
    done: list[tuple[int, str]] = []

    def work(n: int) -> int:
        done.append((n, threading.current_thread().name))
        return n * 2

    answered_on: set[str] = set()

    def answered(value: int) -> int:
        answered_on.add(threading.current_thread().name)
        return value

    results = [worker.run(work, n).addCallback(answered) for n in range(100)]
    assert await gatherResults(results) == [n * 2 for n in range(100)]
    assert done == [(n, "test") for n in range(100)]
    assert answered_on == {threading.main_thread().name}
    await worker.stop()


async def test_what_the_work_raises_is_what_the_caller_gets() -> None:
    worker = Worker(reactor, "test")
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    assert await worker.run(lambda: "goes on") == "goes on"
    await worker.stop()


async def test_stop_waits_until_all_that_was_taken_on_is_done() -> None:
    worker = Worker(reactor, "test")
    go_on = threading.Event()
    done: list[int] = []
    worker.run(go_on.wait, 10)
    for n in range(50):
        worker.run(done.append, n)
    stopped = worker.stop()
    with pytest.raises(CancelledError, match="has stopped"):
        await worker.run(lambda: None)
    go_on.set()
    await stopped
    assert done == list(range(50))
    await worker.stop()


async def test_more_work_than_may_wait_is_refused() -> None:
    worker = Worker(reactor, "test", max_waiting=2)
    go_on, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(10)

    worker.run(hold)
    begun.wait(10)
    taken = [worker.run(lambda: None) for _ in range(2)]
    with pytest.raises(Overloaded, match="test has 2 pieces of work waiting"):
        await worker.run(lambda: None)
    go_on.set()
    await gatherResults(taken)
    await worker.stop()


async def test_cancelling_gives_up_the_result_and_not_the_work() -> None:
    worker = Worker(reactor, "test")
    go_on = threading.Event()
    done: list[str] = []
    worker.run(go_on.wait, 10)
    cancelled = worker.run(done.append, "done nevertheless")
    cancelled.cancel()
    go_on.set()
    with pytest.raises(CancelledError):
        await cancelled
    await worker.stop()
    assert done == ["done nevertheless"]


async def test_a_pool_works_on_several_things_at_once() -> None:
    pool = Pool(reactor, "test", 3)
    together = threading.Barrier(3, timeout=10)
    results: Any = await gatherResults([pool.run(together.wait) for _ in range(3)])
    assert sorted(results) == [0, 1, 2]
    await pool.stop()
