"""Live changes of shared directories, through inotify.

This stands on watchdog's inotify layer rather than on its `Observer`: the walk decides which directories are watched
(no hidden ones, where other programs are busy), a watch that the system refuses is noticed, lost events are noticed,
and what waits is a bounded set of paths, however many events come.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from itertools import count

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from .opening import GONE, join

#: Paths that may wait to be looked at; beyond, the whole share is gone through.
MAX_WAITING = 20_000
#: Paths looked at in one go.
MAX_TAKEN = 1000

# No IN_MODIFY: a file that is written to is left until its writer closes it.
_MASK = Mask(
    InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_EXCL_UNLINK
)


class Watcher:
    """The inotify instance that all shares use, and the thread that reads it."""

    def __init__(self) -> None:
        self._inotify: InotifyFD | None = None
        self._ids = count(1)

    def start(self) -> None:
        """:raises OSError: if the system has no inotify instance left."""
        self._inotify = InotifyFD()
        self._inotify.start()

    def stop(self) -> None:
        """Waits for the thread: not for the reactor."""
        if self._inotify is not None:
            self._inotify.stop()
            self._inotify.join(timeout=2.0)
            self._inotify = None

    def add(self, path: bytes, callback: ShareWatch) -> tuple[WatchDescriptor, CallbackId]:
        """:raises OSError: no instance, no watch left, or no such directory."""
        if self._inotify is None or not self._inotify.is_alive():
            raise OSError(errno.EMFILE, "there is no inotify instance")
        number = CallbackId(next(self._ids))
        descriptor = self._inotify.add_callback(path, _MASK, callback, number)
        if descriptor < 0:
            # It must not be read; the walk says so.
            self._inotify.remove_callbacks([(descriptor, number)])
            raise PermissionError(errno.EACCES, "permission denied")
        return descriptor, number

    def remove(self, descriptor: WatchDescriptor, number: CallbackId) -> None:
        if self._inotify is not None:
            self._inotify.remove_callbacks([(descriptor, number)])


class ShareWatch:
    """The watches of one share, and the paths in it where something has happened.

    `add` is called from walks, `on_...` from inotify's thread, the rest from the reactor's.

    :param heard: called, on inotify's thread, when the first path comes to wait.
    """

    def __init__(self, watcher: Watcher, root: bytes, heard: Callable[[], None]) -> None:
        self._watcher = watcher
        self._root = root
        self._heard = heard
        self._lock = threading.Lock()
        self._folders: dict[WatchDescriptor, tuple[bytes, CallbackId]] = {}
        self._watches: dict[bytes, WatchDescriptor] = {}
        self._waiting: dict[bytes, bool] = {}
        self._lost = False

    def add(self, folder: bytes) -> None:
        """Watch this folder (and no other). :raises OSError: if the system has no watch left for it."""
        with self._lock:
            try:
                descriptor, number = self._watcher.add(join(self._root, folder) if folder else self._root, self)
            except OSError as error:
                if error.errno in GONE or error.errno == errno.EACCES:
                    return
                raise
            # The same directory under another path has the same watch: it was moved.
            before = self._folders.get(descriptor)
            if before is not None:
                self._watcher.remove(descriptor, before[1])
                if self._watches.get(before[0]) == descriptor:
                    del self._watches[before[0]]
            stale = self._watches.get(folder)
            if stale is not None and stale != descriptor:
                self._forget(stale)
            self._folders[descriptor] = (folder, number)
            self._watches[folder] = descriptor

    def drop(self, folder: bytes) -> bool:
        """Watch this folder (empty: the share) and those below it no more. False if it was not watched."""
        with self._lock:
            if folder and folder not in self._watches:
                return False
            below = folder + b"/"
            for path, descriptor in list(self._watches.items()):
                if path == folder or not folder or path.startswith(below):
                    self._forget(descriptor)
            return True

    def take(self) -> tuple[dict[bytes, bool], bool]:
        """Paths where something has happened (True: a writer has closed it), and whether events were lost."""
        with self._lock:
            taken = {path: self._waiting[path] for path, _ in zip(self._waiting, range(MAX_TAKEN), strict=False)}
            for path in taken:
                del self._waiting[path]
            lost, self._lost = self._lost, False
            return taken, lost

    def on_event(self, event: InotifyEvent) -> None:
        with self._lock:
            watched = self._folders.get(event.wd)
            if watched is not None:
                path = join(watched[0], event.name) if event.name else watched[0]
                self._wait(path, event.is_close_write or event.is_moved_to)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        with self._lock:
            watched = self._folders.pop(wd, None)
            if watched is not None:
                self._watches.pop(watched[0], None)
                self._wait(watched[0], False)

    def on_queue_overflow(self) -> None:
        with self._lock:
            self._overflow()

    def _wait(self, path: bytes, closed: bool) -> None:
        quiet = not self._waiting and not self._lost
        if len(self._waiting) >= MAX_WAITING and path not in self._waiting:
            self._overflow()
            return
        self._waiting[path] = self._waiting.get(path, False) or closed
        if quiet:
            self._heard()

    def _overflow(self) -> None:
        self._waiting.clear()
        self._lost = True
        self._heard()

    def _forget(self, descriptor: WatchDescriptor) -> None:
        watched = self._folders.pop(descriptor, None)
        if watched is not None:
            self._watches.pop(watched[0], None)
            self._watcher.remove(descriptor, watched[1])
