"""The state directory: one daemon at a time, nobody else's business."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from attrs import define

from ..durable import make_directory
from ..errors import CannotStart, ConfigurationError
from ..places import LOCK_NAME
from .events import Events

PRIVATE = 0o700


def make_state(directory: Path) -> None:
    """Make the directory, private, if it is not there yet.

    :raises ConfigurationError: if it cannot be made.
    """
    try:
        make_directory(str(directory), PRIVATE)
    except OSError as error:
        raise ConfigurationError(
            f"state {directory} cannot be made: {error.strerror}", "Choose another --state"
        ) from error


def narrow_state(directory: Path, events: Events) -> None:
    """Take away what others may do in it, and say so."""
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & ~PRIVATE:
        try:
            directory.chmod(PRIVATE)
        except OSError as error:
            raise ConfigurationError(
                f"state {directory} is open to others (mode {mode:o}) and cannot be narrowed: {error.strerror}"
            ) from error
        events.emit("state.narrowed", f"{directory} had mode {mode:o} and has {PRIVATE:o} now.", mode=f"{mode:o}")


@define
class StateLock:
    """Held while a daemon has the directory. The kernel lets go of it when the process ends, however it ends."""

    _descriptor: int

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lock_state(directory: Path) -> StateLock:
    """:raises CannotStart: another daemon has it. ConfigurationError: it cannot be written."""
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"state {directory} cannot be used: {error.strerror}", "Choose another --state"
        ) from error
    try:
        _take(descriptor, directory)
        # For people and for the message above; the lock itself is what counts.
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return StateLock(descriptor)


def refuse_locked(directory: Path) -> None:
    """A look before the daemon starts, so that it can refuse in good order; changes nothing.

    :raises CannotStart: another daemon has the directory.
    """
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _take(descriptor, directory)
    finally:
        os.close(descriptor)


def _take(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        who = f" (process {holder})" if holder.isdigit() else ""
        raise CannotStart(
            f"another daemon{who} is running on state {directory}", "Stop it, or give this one another --state"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"state {directory} cannot be locked: {error.strerror}") from error
