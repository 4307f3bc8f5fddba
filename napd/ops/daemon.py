"""A daemon's life under twistd: start, readiness, reload, stop. What it does is the composition's."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define
from msgspec import Struct
from twisted.application import service
from twisted.internet import defer
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from ..background import Background
from ..errors import CannotStart, NapError
from .control import ControlServer
from .control_connection import Handler
from .events import Events
from .logging import to_framework
from .methods import CommonMethods
from .notify import Notifier
from .state import StateLock, lock_state, make_state, narrow_state
from .twistd import DaemonOptions, complaint, exit_of

#: Seconds that a composition gets for its clean end. SIGTERM ends a daemon within 10 s.
STOP_S = 9.0
#: Seconds from the begin of the end after which the process is ended whatever still hangs (a DNS look-up, a dead disk).
LAST_RESORT_S = 9.7
#: Seconds between two looks at what `systemctl status` shows.
STATUS_S = 5.0


@define
class Frame:
    """What every part of a daemon may need, made at service start and handed to the composition.

    `values` are the settings in force (`reload` puts new ones here), `state` is locked and has mode 0700. `give_up`
    ends the daemon in good order, with status 1: what started it is to start it again.
    """

    reactor: Any
    values: Mapping[str, Any]
    state: Any
    events: Events
    background: Background
    give_up: Callable[[], None] = lambda: None


class Running(Protocol):
    """What a composition returns: a daemon that serves.

    :ivar listen: HOST:PORT as bound.
    :ivar ready_fields: of `daemon.ready`: ``{"peer": id}`` or ``{"index": id}``.
    :ivar methods: of the control socket, besides version, events, reload and shutdown; `status` is among them.
    :ivar method_params: `PEER_METHODS` or `INDEX_METHODS`.
    """

    @property
    def listen(self) -> str: ...

    @property
    def ready_fields(self) -> Mapping[str, str]: ...

    @property
    def methods(self) -> Mapping[str, Handler]: ...

    @property
    def method_params(self) -> Mapping[str, type[Struct]]: ...

    def status_line(self) -> str:
        """For `systemctl status`."""

    async def reload(self) -> None:
        """The configuration was read again: the frame's values are the new ones."""

    async def stop(self) -> None:
        """The clean end, in `STOP_S` at most."""


Compose = Callable[[Frame], Running]


@define
class _Started:
    """All that there is between a successful start and the end."""

    lock: StateLock
    frame: Frame
    running: Running
    control: ControlServer
    control_background: Background


class DaemonService(service.Service):
    """The service that twistd runs.

    :param compose: builds the daemon: binds ports, opens databases; synchronous. `CannotStart` and `ConfigurationError`
        from it end the process with one line on stderr.
    :param now: seconds since 1970.
    :param end_process: the last resort, when the process does not end by itself.
    """

    name = "napd"

    def __init__(
        self,
        reactor: Any,
        options: DaemonOptions,
        compose: Compose,
        *,
        now: Callable[[], float] = time.time,
        end_process: Callable[[int], Any] = os._exit,
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._compose = compose
        self._end_process = end_process
        self._events = Events(now)
        self._notifier = Notifier(os.environ)
        self._started: _Started | None = None
        self._loops: list[LoopingCall] = []
        self._signals: dict[int, Any] = {}
        self._reason = "stop"
        self._waiting_saved: list[Deferred[None]] = []
        options.prepare()
        # twistd closes stderr when it forks, and starts the service only then.
        self._stderr = os.dup(2) if options.forks else None

    # --- Start -----------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        if self._options.log is not None:
            self._options.log.attach(self._events, self._in_next_turn)
            self._reactor.addSystemEventTrigger("after", "shutdown", self._options.log.flush)
        else:
            self._events.listen(to_framework)
        try:
            self._start()
        except NapError as error:
            self._refuse(error)
        except CannotListenError as error:
            self._refuse(CannotStart(str(error)))
        except Exception as error:
            self._events.fault("start", Failure())
            self._refuse(
                CannotStart(f"a fault while starting: {type(error).__name__}: {error}", "The log has the details")
            )
        if self._stderr is not None:
            os.close(self._stderr)
            self._stderr = None
        # Signals are the reactor's until it runs; being ready includes ending well on SIGTERM.
        self._reactor.callWhenRunning(self._ready)

    def _in_next_turn(self, work: Callable[[], None]) -> bool:
        if self._reactor.running:
            self._reactor.callLater(0, work)
        return bool(self._reactor.running)

    def _start(self) -> None:
        _keep_time_steadily(self._reactor)
        values = self._options.values
        state = values["state"]
        make_state(state)
        lock = lock_state(state)
        try:
            narrow_state(state, self._events)
            frame = Frame(self._reactor, values, state, self._events, Background(self._events.fault), self._give_up)
            running = self._compose(frame)
            methods = CommonMethods(self._events, self._reload, self._shut_down).handlers()
            control_background = Background(self._events.fault)
            control = ControlServer(
                self._reactor,
                values["socket"],
                {**running.methods, **methods},
                running.method_params,
                self._events,
                control_background,
            )
            control.listen()
        except BaseException:
            lock.release()
            raise
        self._started = _Started(lock, frame, running, control, control_background)

    def _refuse(self, error: NapError) -> None:
        self._events.emit("daemon.cannot_start", str(error), error=str(error))
        line = complaint(self._options.program, error).encode("utf-8", "backslashreplace")
        os.write(2 if self._stderr is None else self._stderr, line)
        if self._options.forks:
            # Through this twistd tells the process that was started, which waits for it and exits with 1.
            raise error
        raise SystemExit(exit_of(error))

    def _ready(self) -> None:
        started = self._started
        if started is None:
            return
        self._take_signals()
        running = started.running
        self._events.emit("daemon.ready", listen=running.listen, **running.ready_fields)
        self._notifier.ready(running.status_line())
        self._repeat(STATUS_S, lambda: self._notifier.status(running.status_line()))
        if self._notifier.watchdog_s is not None:
            self._repeat(self._notifier.watchdog_s, self._notifier.alive)

    def _repeat(self, every_s: float, work: Callable[[], None]) -> None:
        loop = LoopingCall(work)
        loop.clock = self._reactor
        loop.start(every_s).addErrback(lambda failure: self._events.fault("status", failure))
        self._loops.append(loop)

    # --- Signals ---------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        """SIGTERM ends with status 0 (by Twisted's own handler the process dies of it), SIGHUP reloads, SIGUSR1 reopens
        the log."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, act in (
            (signal.SIGTERM, self._terminated),
            (signal.SIGHUP, self._hung_up),
            (signal.SIGUSR1, self._reopen_log),
        ):
            self._signals[number] = signal.signal(number, lambda *_, act=act: self._reactor.callFromThread(act))

    def _give_signals_back(self) -> None:
        for number, previous in self._signals.items():
            signal.signal(number, previous)
        self._signals.clear()

    def _terminated(self) -> None:
        self._reason = "SIGTERM"
        self._end()

    def _hung_up(self) -> None:
        self._reopen_log()
        started = self._started
        if started is not None:
            started.frame.background.start("reload", self._reload_on_signal())

    def _reopen_log(self) -> None:
        if self._options.log is not None:
            self._options.log.reopen()

    # --- Reload ----------------------------------------------------------------------------------

    async def _reload(self) -> list[str]:
        started = self._started
        if started is None:
            return []
        self._notifier.reloading()
        try:
            started.frame.values, restart = self._options.reread()
            await started.running.reload()
        finally:
            self._notifier.ready(started.running.status_line())
        if restart:
            self._events.emit("daemon.reloaded", f"Needs a restart: {', '.join(restart)}.", restart=restart)
        else:
            self._events.emit("daemon.reloaded")
        return restart

    async def _reload_on_signal(self) -> None:
        try:
            await self._reload()
        except NapError as error:
            self._events.emit("daemon.reload_failed", str(error), error=str(error))

    # --- Stop ------------------------------------------------------------------------------------

    async def _shut_down(self) -> None:
        """Ends the daemon; returns when everything is saved and the state directory is free again."""
        saved: Deferred[None] = Deferred()
        self._waiting_saved.append(saved)
        self._reason = "shutdown"
        self._end()
        await saved

    def _give_up(self) -> None:
        self._reason = "given up"
        self._reactor.addSystemEventTrigger("after", "shutdown", self._end_process, 1)
        self._end()

    def _end(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            # It is stopping already.
            return

    def stopService(self) -> Deferred[None]:
        """The reactor waits for this before it ends."""
        super().stopService()
        started, self._started = self._started, None
        if started is None:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        return Deferred.fromCoroutine(self._stop(started))

    async def _stop(self, started: _Started) -> None:
        self._events.emit("daemon.stopping", reason=self._reason)
        self._notifier.stopping(STOP_S + 1)
        self._arm_last_resort()
        for loop in self._loops:
            loop.stop()
        await started.control.close()
        work = Deferred.fromCoroutine(self._stop_composition(started))
        try:
            await work.addTimeout(STOP_S, self._reactor)
        except defer.TimeoutError:
            self._events.fault("stop", Failure(defer.TimeoutError(f"not everything ended within {STOP_S:.0f} s")))
        except Exception:
            self._events.fault("stop", Failure())
        started.lock.release()
        for saved in self._waiting_saved:
            saved.callback(None)
        await started.control.finish()
        await started.control_background.stop()
        self._give_signals_back()
        self._notifier.close()

    def _arm_last_resort(self) -> None:
        """A thread of its own: what hangs then may be the reactor, or Python waiting for threads."""
        if self._options.parent is not None:
            last_resort = threading.Timer(LAST_RESORT_S, self._end_process, [0])
            last_resort.daemon = True
            last_resort.start()

    async def _stop_composition(self, started: _Started) -> None:
        await started.running.stop()
        await started.frame.background.stop()


def _keep_time_steadily(reactor: Any) -> None:
    """Timers go by the monotonic clock: Twisted's go by the wall clock, and stand still when that is set back.

    Nothing is scheduled yet that was reckoned by the other one.
    """
    if isinstance(reactor, ReactorBase):
        reactor.seconds = time.monotonic
