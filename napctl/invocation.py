"""One run of napctl: what it was told before and after its command, and the ways that commands ask and answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import msgspec
from msgspec import Struct

from napd.errors import NapError, exit_status
from napd.wire.documents import PartError

from .client import Client
from .output import Output
from .page import Page
from .sockets import PEER, find_socket

#: `--timeout` unless given.
DEFAULT_TIMEOUT_S = 30.0
#: What a terminal is taken for when it does not say.
_FALLBACK_COLUMNS = 80

Document = TypeVar("Document", bound=Struct)
View = Callable[[Document, Page], list[str]]


class Outcome(Struct, frozen=True):
    """What any result may carry beside its data."""

    errors: tuple[PartError, ...] = ()


class Invocation:
    """click's `obj`. The options are set while the command line is parsed."""

    def __init__(
        self, output: Output, environ: Mapping[str, str], now: Callable[[], float], *, json: bool = False
    ) -> None:
        self.output = output
        self.environ = environ
        self.json = json
        self.quiet = False
        self.socket: str | None = None
        self.timeout_s = DEFAULT_TIMEOUT_S
        self._now = now

    # --- asking ---------------------------------------------------------------------------------

    def connect(self, program: str = PEER, *, streaming: bool = False) -> Client:
        """A client for this command's daemon, to be entered with `with`.

        :param streaming: end when nobody reads the output any more, however silent the daemon is.
        """
        path = find_socket(self.socket, program, self.environ)
        self.output.streaming = streaming
        return Client(path, self.timeout_s, reader=self.output.reader if streaming else None)

    def ask(self, method: str, params: Mapping[str, Any] | None = None, *, program: str = PEER) -> bytes:
        """The daemon's result, as it wrote it."""
        with self.connect(program) as client:
            return client.call(method, params)

    # --- answering ------------------------------------------------------------------------------

    def show(self, result: bytes, kind: type[Document], view: View[Document]) -> int:
        """Print the result of a question; the exit status."""
        if self.json:
            self.output.document(result)
        else:
            self.output.lines(view(decode(result, kind), self.page()))
        return self.outcome(result)

    def show_change(self, result: bytes, kind: type[Document], view: View[Document]) -> int:
        """Print the state after a change; `--quiet` leaves it out. The exit status."""
        if self.quiet and not self.json:
            return self.outcome(result)
        return self.show(result, kind, view)

    def outcome(self, result: bytes) -> int:
        """The exit status of a result, which may have been reached only partly; says what was not."""
        errors = decode(result, Outcome).errors
        if not errors:
            return 0
        if not self.json:
            for error in errors:
                self.output.error(NapError(_with_subject(error), code=error.code), json=False)
        return exit_status("partly")

    def note(self, text: str) -> None:
        """A remark beside the data: on standard error, for people only."""
        if not self.quiet and not self.json:
            self.output.say(text)

    # --- the terminal ---------------------------------------------------------------------------

    def page(self) -> Page:
        stdout = self.output.stdout
        if not stdout.isatty():
            return Page(now=self._now())
        return Page(now=self._now(), width=self._columns(), colour=self._may_paint())

    @property
    def live_output(self) -> bool:
        """Whether standard output can show a display that moves."""
        return self.output.stdout.isatty() and not self._dumb

    @property
    def live_progress(self) -> bool:
        """Whether progress may be shown on standard error."""
        return not self.quiet and self.output.stderr.isatty() and not self._dumb

    @property
    def _dumb(self) -> bool:
        return self.environ.get("TERM", "") in ("", "dumb")

    def _may_paint(self) -> bool:
        return not self.environ.get("NO_COLOR") and not self._dumb

    def _columns(self) -> int:
        named = self.environ.get("COLUMNS", "")
        if named.isascii() and named.isdecimal() and int(named) > 0:
            return int(named)
        try:
            return os.get_terminal_size(self.output.stdout.fileno()).columns or _FALLBACK_COLUMNS
        except (OSError, ValueError):
            return _FALLBACK_COLUMNS


pass_invocation = click.make_pass_decorator(Invocation)


def decode(document: bytes, kind: type[Document]) -> Document:
    """:raises NapError: if the daemon's document is not of this kind."""
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise NapError(
            f"the daemon's answer is not understood ({error})",
            "napctl and the daemon may be of different versions: see napctl version",
        ) from error


def _with_subject(error: PartError) -> str:
    return error.message if error.subject in error.message else f"{error.subject}: {error.message}"
