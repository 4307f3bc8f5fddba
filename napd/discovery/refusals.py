"""Why there will be no session at an index until a person acts, in words that say what to do. Pure."""

from __future__ import annotations

from ..errors import WrongIdentity, printable
from ..wire.index import Bye

_NEXT_STEPS = {
    "name_taken": "Log in under another name with --user, or with the identity that this name belongs to",
    "replaced": "To log in here again, and out there: napctl reload",
    "version": "Install versions that go together",
}


def of_last_word(bye: Bye) -> str:
    """The index said so as it hung up."""
    return _sentences(printable(bye.message), _NEXT_STEPS.get(bye.code))


def of_identity(error: WrongIdentity, address: str) -> str:
    """What answers at the address is not what is wanted."""
    if error.code == "wrong_protocol":
        return _sentences(f"what answers at {address} is no index: {error.message}", "Check --index")
    if address in error.message:
        return str(error)
    return _sentences(
        f"the index at {address} is not the one that --index names: {error.message}",
        "If its operator says that it has a new key, name its new id",
    )


def _sentences(cause: str, next_step: str | None) -> str:
    return cause if next_step is None else f"{cause.rstrip('.')}. {next_step}"
