"""The writer's process, as the daemon sees it: started, asked, noticed when it ends, started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ..interface import StoreFailed
from .requests import LENGTH, Answer, Request, decode_answers, error_of, framed

#: Writes that may wait: a writer that is slow is waited for, but not by everybody.
MAX_WAITING = 20_000
#: Bytes of requests that the writer has got and not answered: enough for it never to wait for the daemon.
AHEAD_BYTES = 8 << 20
#: Bytes of requests whose outcomes are told in one turn of the reactor.
TOLD_BYTES = 64 << 10
#: Seconds until a writer that ended is started again, at first and at most; jittered.
RETRY_S = 0.1
MAX_RETRY_S = 30.0
#: Seconds that a writer may take to end when nobody asks it any more, and between two looks whether it has.
END_S = 5.0
LOOK_S = 0.01
_ENDED = "the process that writes the database has ended"
#: Signals that everybody in a terminal or a service gets. They are the daemon's to act on.
_SHARED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(arguments: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A process that has nothing of this one's but stderr and, as stdin, a socket; and the other end of that.

    :raises OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SHARED_SIGNALS)
    try:
        # -P: what lies in the working directory is no module.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "napd.index.store.sqlite.writer", *arguments],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
    ours.setblocking(False)
    return process, ours


class Link(Protocol):
    """The socket to one writer.

    :param answered: told the answers of each of its transactions.
    :param lost: told when it is gone.
    """

    def __init__(self, answered: Callable[[list[Answer]], None], lost: Callable[[], None]) -> None:
        self._answered = answered
        self._lost = lost
        self._chunks: list[bytes] = []
        self._size = 0
        self._wanted = LENGTH.size

    def dataReceived(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        # The first four bytes say how many follow.
        while self._size >= self._wanted:
            buffer = b"".join(self._chunks)
            end = LENGTH.size + LENGTH.unpack_from(buffer)[0]
            self._wanted = end
            if len(buffer) < end:
                self._chunks = [buffer]
                return
            self._chunks = [buffer[end:]]
            self._size = len(buffer) - end
            self._wanted = LENGTH.size
            self._answered(decode_answers(memoryview(buffer)[LENGTH.size : end]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost()


@define(eq=False)
class _Write:
    """:ivar request: made when it is sent, and not kept.
    :ivar size: in bytes, as sent.
    :ivar settled: fired when it is answered, however.
    """

    request: Callable[[], Request]
    done: Deferred[msgspec.Raw]
    size: int = 0
    settled: list[Deferred[None]] = field(factory=list)


def _sent() -> Request:
    raise AssertionError("nothing is sent twice")


class WriterProcess:
    """Writes go to it in the order in which they are asked for.

    Those that are under way when it ends fail with `StoreFailed`, whether they were committed or not; those that are
    asked for while there is none wait for the next.

    :param lost: told why it ended, how many writes failed, and in how many seconds the next one is started.
    """

    def __init__(
        self,
        reactor: Any,
        arguments: Sequence[str],
        random: Random,
        lost: Callable[[str, int, float], None],
    ) -> None:
        self._reactor = reactor
        self._arguments = arguments
        self._random = random
        self._lost = lost
        self._unsent: deque[_Write] = deque()
        self._sent: deque[_Write] = deque()
        self._outcomes: deque[tuple[_Write, msgspec.Raw | Exception]] = deque()
        self._ahead_bytes = 0
        self._transport: Any = None
        #: Of the newest one.
        self.pid = 0
        self._retry: IDelayedCall | None = None
        self._retry_s = RETRY_S
        self._stopping = False
        self._ended: Deferred[None] = Deferred()
        self._start()

    def ask(self, request: Callable[[], Request]) -> Deferred[msgspec.Raw]:
        """What it answers, after the commit. Fails with the error that it refused it with, or `StoreFailed`.

        :param request: makes it, when it can be sent: those that wait have their entries in memory once.
        """
        # Without a canceller: who gives up on a write gets no outcome, and the write is made all the same.
        done: Deferred[msgspec.Raw] = Deferred()
        refusal = self._refusal()
        if refusal is not None:
            done.errback(StoreFailed(refusal))
            return done
        self._unsent.append(_Write(request, done))
        self._send()
        return done

    def settled(self) -> Deferred[None]:
        """Fires when everything that has been asked for is answered."""
        done: Deferred[None] = Deferred()
        newest = self._newest()
        if newest is not None:
            newest.settled.append(done)
        else:
            done.callback(None)
        return done

    async def stop(self) -> None:
        """Wait until everything is answered, and the process has ended. What is asked for now fails."""
        settled = self.settled()
        self._stopping = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self._fail(self._unsent, _ENDED)
            self._ended.callback(None)
        await settled
        if self._transport is not None:
            self._transport.loseWriteConnection()
        await self._ended

    def _refusal(self) -> str | None:
        if self._stopping:
            return "the index stops"
        if len(self._unsent) + len(self._sent) >= MAX_WAITING:
            return f"{MAX_WAITING} writes wait for the database"
        return None

    def _newest(self) -> _Write | None:
        if self._unsent or self._sent:
            return (self._unsent or self._sent)[-1]
        return self._outcomes[-1][0] if self._outcomes else None

    # --- Asking ----------------------------------------------------------------------------------

    def _send(self) -> None:
        while self._transport is not None and self._unsent and self._ahead_bytes < AHEAD_BYTES:
            write = self._unsent.popleft()
            frame = framed(write.request())
            write.request = _sent
            write.size = len(frame)
            self._ahead_bytes += write.size
            self._sent.append(write)
            self._transport.write(frame)

    def _answered(self, answers: Sequence[Answer]) -> None:
        self._retry_s = RETRY_S
        for answer in answers:
            write = self._sent.popleft()
            self._ahead_bytes -= write.size
            self._outcome(write, answer.value if answer.refused is None else error_of(answer.refused))
        self._send()

    def _fail(self, writes: deque[_Write], why: str) -> int:
        failed = len(writes)
        while writes:
            self._outcome(writes.popleft(), StoreFailed(why))
        return failed

    def _outcome(self, write: _Write, outcome: msgspec.Raw | Exception) -> None:
        self._outcomes.append((write, outcome))
        if len(self._outcomes) == 1:
            self._reactor.callLater(0, self._tell)

    def _tell(self) -> None:
        """A few at a time: each may be hundreds of items for the search engine, and others wait for the reactor."""
        size = 0
        while self._outcomes and size < TOLD_BYTES:
            write, outcome = self._outcomes[0]
            size += write.size
            if isinstance(outcome, Exception):
                write.done.errback(outcome)
            else:
                write.done.callback(outcome)
            for settled in write.settled:
                settled.callback(None)
            # Only now: what is asked for meanwhile comes after it.
            self._outcomes.popleft()
        if self._outcomes:
            self._reactor.callLater(0, self._tell)

    # --- Starting and ending ---------------------------------------------------------------------

    def _start(self) -> None:
        self._retry = None
        try:
            process, ours = start(self._arguments)
        except OSError as error:
            self._again(f"it cannot be started: {error}", 0)
            return
        self.pid = process.pid
        link = Link(self._answered, lambda: self._gone(process))
        with ours:
            self._reactor.adoptStreamConnection(
                ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: link)
            )  # fmt: skip
        self._transport = link.transport
        self._send()

    def _gone(self, process: subprocess.Popen[bytes]) -> None:
        self._transport = None
        self._ahead_bytes = 0
        failed = self._fail(self._sent, _ENDED)
        Deferred.fromCoroutine(self._bury(process, failed))

    async def _bury(self, process: subprocess.Popen[bytes], failed: int) -> None:
        for _ in range(round(END_S / LOOK_S)):
            if process.poll() is not None:
                break
            await deferLater(self._reactor, LOOK_S)
        else:
            process.kill()
        status = process.wait()
        if self._stopping:
            self._fail(self._unsent, _ENDED)
            self._ended.callback(None)
        else:
            self._again(f"signal {-status}" if status < 0 else f"exit status {status}", failed)

    def _again(self, why: str, failed: int) -> None:
        wait_s = self._retry_s * (0.5 + self._random.random())
        self._retry_s = min(2 * self._retry_s, MAX_RETRY_S)
        self._lost(why, failed, wait_s)
        self._retry = self._reactor.callLater(wait_s, self._start)
