"""The twistd sub-command: its options, and what twistd has to be told so that the daemon behaves like one.

twistd parses its own options last, builds its logger from them, makes the service, starts logging, forks (without
``-n``) and only then starts the service. So everything that can be refused without opening anything is refused while
parsing, when the user still sees it and the exit status is still ours.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from twisted.python import usage

from .. import __version__
from ..errors import EXIT_CONFIG, CannotStart, ConfigurationError, NapError
from .database import refuse_newer
from .logging import FileSink, LogWriter, StreamSink
from .settings import CONFIG, Setting, Surroundings, resolve, restart_needed
from .state import make_state, refuse_locked

#: twistd's default, which means that the user did not choose one.
_TWISTD_PIDFILE = "twistd.pid"
_STDOUT = 1


class DaemonOptions(usage.Options):
    """Options of a daemon. A subclass in the daemon's `tap` names the program and its settings.

    Whatever is wrong with them ends the process with `EXIT_CONFIG` and one line on stderr.
    """

    program: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]]
    #: Databases in the state directory, by file name, with the newest schema that this version knows.
    databases: ClassVar[Mapping[str, int]] = {}

    #: After parsing: every setting's value (`napd.ops.settings` lists them).
    values: Mapping[str, Any]  # type: ignore[assignment] # Options happens to be a dict; nobody asks one for its values
    #: The log, once twistd has started it; None if the user chose a logger of twistd's.
    log: LogWriter | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for setting in (CONFIG, *cls.settings):
            if setting.option:
                setattr(cls, f"opt_{setting.name}", _option(setting))

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[str, list[str]] = {}
        self._around = _surroundings()

    def getSynopsis(self) -> str:
        return f"Usage: twistd [-n] {self.program} [options]"

    def opt_version(self) -> None:
        """Show the version and exit."""
        sys.stdout.write(f"{self.program} {__version__}\n")
        raise SystemExit(0)

    def write(self, setting: Setting, value: str) -> None:
        """Note what was typed; its meaning is found when all is known."""
        self._written.setdefault(setting.name, []).append(value)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            allowed = ", ".join(f"--{s.flag}" for s in (CONFIG, *self.settings) if s.option)
            self.refuse(ConfigurationError(f"{error}; allowed: {allowed}, --help, --version"))
        except NapError as error:
            self.refuse(error)

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def postOptions(self) -> None:
        self.values = resolve(self.program, self.settings, self._written, self._around)
        state: Path = self.values["state"]
        refuse_locked(state)
        for name, schema in self.databases.items():
            refuse_newer(state / name, schema)
        if self.parent is not None:
            self._instruct(self.parent)

    def reread(self) -> tuple[Mapping[str, Any], list[str]]:
        """The values as the file has them now, and the names of those that keep the old value until a restart.

        :raises ConfigurationError: nothing has changed then.
        """
        fresh = resolve(self.program, self.settings, self._written, self._around)
        restart = restart_needed(self.settings, self.values, fresh)
        self.values = {name: self.values[name] if name in restart else value for name, value in fresh.items()}
        return self.values, restart

    @property
    def forks(self) -> bool:
        """Whether twistd puts the daemon into the background."""
        return self.parent is not None and not (self.parent["nodaemon"] or self.parent["debug"])

    def prepare(self) -> None:
        """Make what twistd needs before it starts the service: a directory for pidfile and log."""
        try:
            make_state(self.values["state"])
        except NapError as error:
            self.refuse(error)

    def refuse(self, error: NapError) -> NoReturn:
        """End the process before anything has begun."""
        sys.stderr.write(complaint(self.program, error))
        raise SystemExit(exit_of(error))

    def open_log(self) -> LogWriter:
        """Where log lines go: the file, or stdout; in the background, a file in the state directory."""
        file: Path | None = self.values["log_file"]
        if file is None and self.forks:
            file = self.values["state"] / f"{self.program}.log"
        form: str = self.values["log_format"] or ("text" if file is None and os.isatty(_STDOUT) else "json")
        try:
            sink = StreamSink(_STDOUT) if file is None else FileSink(file)
        except NapError as error:
            self.refuse(error)
        self.log = LogWriter(form, sink)
        return self.log

    def _instruct(self, twistd: usage.Options) -> None:
        global _started
        state: Path = self.values["state"]
        if twistd["logger"] is None and not twistd["syslog"]:
            if twistd["logfile"] not in (None, "-") and self.values["log_file"] is None:
                self.values = {**self.values, "log_file": self._around.directory / twistd["logfile"]}
            _started = self
            twistd["logger"] = f"{__name__}.log_observer"
        if twistd["pidfile"] == _TWISTD_PIDFILE:
            twistd["pidfile"] = str(state / _TWISTD_PIDFILE) if self.forks else ""
            if self.forks:
                # Nobody holds the state's lock, so this is what a killed daemon left; its number may be another's now.
                (state / _TWISTD_PIDFILE).unlink(missing_ok=True)
        if twistd["umask"] is None:
            # In the background twistd would take 077, and finished downloads would be nobody else's.
            twistd["umask"] = _umask()


#: The options that `log_observer` is to use: twistd takes only the name of a function. One process is one daemon.
_started: DaemonOptions | None = None


def log_observer() -> LogWriter:
    """twistd calls this, by the name it was given, when logging starts."""
    if _started is None:
        raise CannotStart("no daemon's options have been parsed")
    return _started.open_log()


def exit_of(error: NapError) -> int:
    return EXIT_CONFIG if isinstance(error, ConfigurationError) else 1


def complaint(program: str, error: NapError) -> str:
    """One line for stderr."""
    return f"{program}: {' '.join(str(error).split())}\n"


def _option(setting: Setting) -> Any:
    def option(self: DaemonOptions, value: str) -> None:
        self.write(setting, value)

    option.__doc__ = f"{setting.argument}: {setting.meaning}" + (" May be repeated." if setting.repeatable else "")
    return option


def _surroundings() -> Surroundings:
    environ = dict(os.environ)
    environ.setdefault("HOME", os.path.expanduser("~"))
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = ""
    return Surroundings(environ, Path.cwd(), login)


def _umask() -> int:
    """The umask in force; there is no way to read it but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
