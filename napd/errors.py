"""What went wrong, told by what the caller does next.

Each class carries a stable ``code``. The code travels on the wire, stands in JSON and decides
`napctl`'s exit status; the message is for people: subject, cause, next step.
"""

from __future__ import annotations

#: Exit status of `napctl` for each error code; any other code is 1, plain failure.
EXIT_STATUS = {
    "usage": 2,
    "unreachable": 3,
    "not_found": 4,
    "denied": 5,
    "refused": 5,
    "timeout": 6,
    "partly": 7,
    "integrity": 8,
    "no_space": 9,
    "interrupted": 130,
}

#: Exit status of a daemon whose configuration or state cannot be used (sysexits' EX_CONFIG).
EXIT_CONFIG = 78


def exit_status(code: str) -> int:
    return EXIT_STATUS.get(code, 1)


class NapError(Exception):
    """Base of every error this project raises on purpose.

    :param message: one line: subject and cause.
    :param hint: what to do next, if there is something to do.
    :param code: overrides the class's code where a finer one exists.
    """

    code = "failed"

    def __init__(self, message: str, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


# --- Tell the user, change nothing ---------------------------------------------------------------


class Misuse(NapError):
    """The request makes no sense as it was put: correct it and ask again."""

    code = "usage"


class NoSuchThing(NapError):
    """A number, id or name that does not exist."""

    code = "not_found"


class Denied(NapError):
    """The asker may not; asking again will not help."""

    code = "denied"


class Unreachable(NapError):
    """The other end does not answer at all: try later."""

    code = "unreachable"


class TimedOut(NapError):
    """The other end took too long: the outcome is unknown."""

    code = "timeout"


# --- Stop this download, keep what is there ------------------------------------------------------


class NoSpace(NapError):
    """The disk is full: free some and retry; verified chunks are kept."""

    code = "no_space"


class DiskFailed(NapError):
    """The disk answered with an error that is not about space."""

    code = "disk"


class IntegrityFailure(NapError):
    """Bytes are not what their digest says."""

    code = "integrity"


# --- Try another source --------------------------------------------------------------------------


class SourceFailed(NapError):
    """This source cannot be used now; another may. `code` says why (docs/reference/sources.md).

    :param retry_after_s: what the source said of when to ask again, if it did.
    """

    code = "source_failed"

    def __init__(
        self, message: str, hint: str | None = None, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, hint, code)
        self.retry_after_s = retry_after_s


# --- Hang up -------------------------------------------------------------------------------------


class RemoteProtocolError(NapError):
    """The other end broke the protocol; `fatal` errors end the connection, others are answered.

    :param about: the request id that the answer belongs to, if it could be read.
    """

    code = "malformed"

    def __init__(self, message: str, code: str | None = None, *, fatal: bool = True, about: int | None = None) -> None:
        super().__init__(message, code=code)
        self.fatal = fatal
        self.about = about


class WrongIdentity(NapError):
    """The other end proved another key than the one expected: never go on."""

    code = "wrong_identity"


# --- Report a bug --------------------------------------------------------------------------------


class LocalProtocolError(NapError):
    """This end was about to say something illegal: a bug of ours."""

    code = "bug"


# --- Do not start --------------------------------------------------------------------------------


class ConfigurationError(NapError):
    """Configuration or state that cannot be used; the daemon exits with `EXIT_CONFIG`."""

    code = "configuration"


class CannotStart(NapError):
    """Something outside is in the way (a busy port, a second daemon); exit status 1."""

    code = "cannot_start"


def printable(text: str, limit: int = 200) -> str:
    """Text from outside, fit for a log line or a message: controls escaped, length limited."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
