"""What a power cut must not take back: a new name is only there for good once its directory has been synced.

`fsync` of a file brings its bytes to the disk, but not, on every file system, its entry in the directory. These
functions block and raise plain `OSError`.
"""

from __future__ import annotations

import errno
import os

#: A directory that vanishes again and again while it is being made: something is at work that we cannot win against.
_ATTEMPTS = 20
#: What file systems say that cannot sync a directory, or need not (FUSE and network ones).
_NO_DIRECTORY_SYNC = frozenset({errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP})


def make_directory(path: str, mode: int = 0o777) -> None:
    """With its parents. What is made here stays over a power cut; an existing directory is left as it is."""
    for _ in range(_ATTEMPTS):
        try:
            os.mkdir(path, mode)
        except FileNotFoundError:
            parent = os.path.dirname(path.rstrip("/"))
            if not parent or parent == path:
                raise
            make_directory(parent)
        except OSError:
            # A file system that is read-only, say, refuses even what is there already.
            if os.path.isdir(path):
                return
            raise
        else:
            sync_entry(path)
            return
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def sync_entry(path: str) -> None:
    """The name that was given or taken away here is so for good."""
    try:
        sync_directory(os.path.dirname(path.rstrip("/")) or ".")
    except PermissionError:
        # A directory that we may write to but not read cannot be opened, and so not synced.
        return


def sync_directory(path: str) -> None:
    """The names in it are as they are now, also after a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)
