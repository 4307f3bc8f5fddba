"""Opens what lies in a shared directory without following a symbolic link at any step of the way.

Each step is taken from the directory that the step before it opened, so that nobody can swap one for a link meanwhile.
Paths are bytes, relative to the shared directory; the empty path is that directory. For threads.

A lack of descriptors or memory says nothing about a file: it is raised as `DiskFailed`, not as the file's OSError.
"""

from __future__ import annotations

import errno
import os

from ...errors import DiskFailed

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening what has become a FIFO would wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

#: Errors that mean: there is no such thing (any more), or a link stands there, which is the same to us.
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def open_directory(root: bytes, path: bytes) -> int:
    """A descriptor to list the directory with. :raises OSError: as `os.open`."""
    return _open(root, path, _DIRECTORY)


def open_step(root: bytes, path: bytes) -> int:
    """A descriptor to look things up in the directory with; listing it may be forbidden.

    :raises OSError: as `os.open`.
    """
    return _open(root, path, _STEP)


def open_file(root: bytes, path: bytes) -> int:
    """A descriptor to read the file with; that it is a regular one is for the caller to check.

    :raises OSError: as `os.open`.
    """
    return _open(root, path, _FILE)


def about_file(error: OSError) -> OSError:
    """The error, if it is the file's. :raises DiskFailed: if it is a lack of ours."""
    if error.errno in _EXHAUSTED:
        raise DiskFailed(f"files cannot be looked at: {error.strerror}") from error
    return error


def join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _open(root: bytes, path: bytes, flags: int) -> int:
    if not path:
        return os.open(root, flags)
    *steps, last = path.split(b"/")
    at = os.open(root, _STEP)
    try:
        for step in steps:
            below = os.open(step, _STEP, dir_fd=at)
            os.close(at)
            at = below
        return os.open(last, flags, dir_fd=at)
    finally:
        os.close(at)
