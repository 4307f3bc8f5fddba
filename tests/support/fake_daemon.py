"""A daemon's control socket with nothing behind it: tests say what each method answers.

It runs in threads of its own, so that `napctl` can be run against it in the test's thread or as a real process.
An answer is a document, an `Error`, a list of steps, or a function from the parameters to one of these.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import define, field, frozen

#: Seconds that a test waits for a request before it fails.
PATIENCE_S = 20.0


@frozen
class Error:
    """A JSON-RPC error with the project's code in its data."""

    code: str
    message: str
    hint: str | None = None
    number: int = -32000


@frozen
class Push:
    """A notification."""

    method: str
    document: Mapping[str, Any]


@frozen
class Reply:
    document: Any


@frozen
class Raw:
    """Bytes as they are."""

    data: bytes


@frozen
class HangUp:
    """End the connection."""


@frozen
class Silence:
    """Say nothing more until napctl is gone or the daemon ends."""


@frozen
class Until:
    """Go on when this is set."""

    event: threading.Event


Step = Push | Reply | Error | Raw | HangUp | Silence | Until
Answer = Mapping[str, Any] | Error | Sequence[Step] | Callable[[dict[str, Any]], Any]


@define(eq=False)
class FakeDaemon:
    """A context manager.

    :ivar requests: (method, params) in the order they came, over all connections.
    :ivar connections: how many were made.
    """

    path: Path
    answers: dict[str, Answer] = field(factory=dict)
    requests: list[tuple[str, dict[str, Any]]] = field(factory=list, init=False)
    connections: int = field(default=0, init=False)
    _changed: threading.Condition = field(factory=threading.Condition, init=False)
    _ended: threading.Event = field(factory=threading.Event, init=False)
    _listening: socket.socket = field(init=False)
    _open: set[socket.socket] = field(factory=set, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)

    def __enter__(self) -> Self:
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(os.fspath(self.path))
        self._listening.listen(16)
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self.path.unlink(missing_ok=True)

    def end(self) -> None:
        """Hang up on everybody, as a daemon that dies does; the socket stays behind."""
        self._ended.set()
        for each in (self._listening, *list(self._open)):
            _shut(each)
        for thread in list(self._threads):
            thread.join(PATIENCE_S)
        self._listening.close()

    def wait_for_request(self, method: str) -> dict[str, Any]:
        """The parameters of the first such request, once it has come."""
        with self._changed:
            came = self._changed.wait_for(lambda: any(name == method for name, _ in self.requests), PATIENCE_S)
            if not came:
                raise AssertionError(f"{method} was not asked; only {self.requests}")
            return next(params for name, params in self.requests if name == method)

    @property
    def only_request(self) -> tuple[str, dict[str, Any]]:
        if len(self.requests) != 1:
            raise AssertionError(f"not one request: {self.requests}")
        return self.requests[0]

    # --- Threads ---------------------------------------------------------------------------------

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        gone = threading.Event()
        sending = threading.Lock()
        try:
            with connection.makefile("rb") as lines:
                for line in lines:
                    request = json.loads(line)
                    with self._changed:
                        self.requests.append((request["method"], request.get("params", {})))
                        self._changed.notify_all()
                    self._start(self._answer, connection, request, sending, gone)
        except (OSError, ValueError):
            pass
        finally:
            gone.set()
            self._open.discard(connection)
            _shut(connection)

    def _answer(
        self, connection: socket.socket, request: dict[str, Any], sending: threading.Lock, gone: threading.Event
    ) -> None:
        steps = self._steps(request)
        try:
            for step in steps:
                if isinstance(step, HangUp):
                    _shut(connection)
                elif isinstance(step, Silence):
                    gone.wait(PATIENCE_S)
                elif isinstance(step, Until):
                    step.event.wait(PATIENCE_S)
                else:
                    with sending:
                        connection.sendall(_line(step, request["id"]))
        except OSError:
            pass

    def _steps(self, request: dict[str, Any]) -> Sequence[Step]:
        answer: Any = self.answers.get(request["method"])
        if answer is None:
            answer = Error("usage", f"unknown method {request['method']!r}", "allowed: few", -32601)
        if callable(answer):
            answer = answer(request.get("params", {}))
        if isinstance(answer, Mapping):
            return [Reply(answer)]
        return [answer] if isinstance(answer, Error) else answer


def _line(step: Step, request_id: int) -> bytes:
    if isinstance(step, Raw):
        return step.data
    body: dict[str, Any] = {"jsonrpc": "2.0"}
    if isinstance(step, Push):
        body |= {"method": step.method, "params": step.document}
    elif isinstance(step, Reply):
        body |= {"id": request_id, "result": step.document}
    elif isinstance(step, Error):
        data = {"code": step.code, "hint": step.hint}
        body |= {"id": request_id, "error": {"code": step.number, "message": step.message, "data": data}}
    return json.dumps(body, ensure_ascii=False).encode() + b"\n"


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
