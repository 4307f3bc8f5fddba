"""Rules that hold for every test: it ends in time, and it leaves nothing behind.

Tests are pytest functions, plain or `async def`; the latter run on the reactor that pytest-twisted keeps.
"""

from __future__ import annotations

import functools
import gc
import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import pytest_twisted
from hypothesis import settings
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.support.postgres import PostgresServer, running_server
from tests.support.processes import Processes
from tests.support.waiting import Eventually

reactor: Any = global_reactor

#: Seconds that a coroutine test may take; `@pytest.mark.limit(SECONDS)` gives another figure.
COROUTINE_S = 30.0
#: Seconds that connections which are being closed get to be gone.
SETTLE_S = 2.0

# How long an example takes is the machine's business, which may have other work.
settings.register_profile("napd", deadline=None)
settings.load_profile("napd")


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Coroutine tests get a time limit that the reactor keeps, so that a stuck one fails instead of hanging the run."""
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test) and not hasattr(test, "hypothesis"):
        marker = pyfuncitem.get_closest_marker("limit")
        pyfuncitem.obj = _limited(test, marker.args[0] if marker else COROUTINE_S)
    return (yield)


def _limited(test: Callable[..., Any], seconds: float) -> Callable[..., Deferred[Any]]:
    @functools.wraps(test)
    def limited(*args: Any, **kwargs: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(test(*args, **kwargs)).addTimeout(seconds, reactor)

    # pytest must not take it for a coroutine function by looking through the wrapper.
    del limited.__wrapped__
    limited.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return limited


class LoggedFailures(list[Failure]):
    """Failures that Twisted logged during the test. One that expects some takes them out with `flush`."""

    def flush(self, *kinds: type[BaseException]) -> list[Failure]:
        gc.collect()
        taken = [failure for failure in self if not kinds or failure.check(*kinds)]
        self[:] = [failure for failure in self if failure not in taken]
        return taken


@pytest.fixture
def logged_failures() -> Iterator[LoggedFailures]:
    failures = LoggedFailures()

    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            failures.append(failure)

    globalLogPublisher.addObserver(cast(ILogObserver, observe))
    yield failures
    globalLogPublisher.removeObserver(cast(ILogObserver, observe))


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, logged_failures: LoggedFailures) -> Iterator[None]:
    """No failure that nobody handled, no delayed call, no open port, no connection."""
    calls = set(reactor.getDelayedCalls())
    readers = set(reactor.getReaders())
    yield
    asynchronous = inspect.iscoroutinefunction(getattr(request, "function", None))
    if asynchronous:
        # Failures in reference cycles are logged when the collector finds them.
        gc.collect()
        _settle(lambda: not (_new_calls(calls) or _new_readers(readers)))
    problems = [f"a failure was logged: {failure.getTraceback()}" for failure in logged_failures]
    problems += [f"a delayed call is left: {call}" for call in _new_calls(calls)]
    for reader in _new_readers(readers):
        what = "an open port" if IListeningPort.providedBy(reader) else "a connection"
        problems.append(f"{what} is left: {reader!r}")
        reader.connectionLost(Failure(Exception("left by a test")))
    for call in _new_calls(calls):
        call.cancel()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def _new_calls(before: set[Any]) -> list[Any]:
    return [call for call in reactor.getDelayedCalls() if call not in before]


def _new_readers(before: set[Any]) -> list[Any]:
    # The reactor's own wakers are readers too, made when first needed; they live in twisted.internet.
    readers = [reader for reader in reactor.getReaders() if reader not in before]
    return [reader for reader in readers if "Waker" not in type(reader).__name__]


def _settle(settled: Callable[[], bool]) -> None:
    deadline = reactor.seconds() + SETTLE_S
    while not settled() and reactor.seconds() < deadline:
        pytest_twisted.blockon(deferLater(reactor, 0.005, lambda: None))


@pytest.fixture
def eventually() -> Eventually:
    """Wait on the reactor for a condition: ``await eventually(lambda: …)``."""
    return Eventually(reactor)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of this run's own; each test takes a database of its own from it."""
    yield from running_server()


@pytest.fixture
def processes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Makes daemons. Their folders have short paths: a socket's is limited to 107 bytes."""
    made = Processes(tmp_path_factory.mktemp("d"))
    yield made
    made.stop()
    faults = [line for line in made.logs().split("\n") if '"daemon.fault"' in line]
    if faults and request.node.get_closest_marker("faulty") is None:
        pytest.fail("a daemon logged a fault of its own:\n" + "\n".join(faults), pytrace=False)
