"""What must not be shared, and what a share may be called.

The rules on paths (`refusal`) are pure; `admit` looks at the disk as well. They are asked when a share is added, and
again before every look at it: the home or the state directory may have moved since.
"""

from __future__ import annotations

import os
import pwd
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from ...errors import ConfigurationError, Denied, Misuse, NoSuchThing, printable

#: The system's own: neither they, nor what is in them, nor what they are in.
SYSTEM_TREES = (b"/etc", b"/proc", b"/sys", b"/dev")
#: Directories of keys: neither they, wherever they are, nor what is in them, nor what they are in.
KEY_DIRECTORIES = frozenset({b".ssh", b".gnupg"})
#: Directories looked into for key directories, two levels down; deeper ones are hidden and so never shared anyway.
MAX_LOOKED_INTO = 4096

MAX_NAME = 64


def refusal(path: bytes, *, homes: Iterable[bytes], trees: Iterable[bytes]) -> str | None:
    """Why this absolute, normalised path must not be shared; None if nothing in it speaks against that.

    :param homes: directories that must not be shared as a whole; what is in them may.
    :param trees: directories of which nothing may be shared (besides `SYSTEM_TREES`).
    """
    if path == b"/":
        return "it is the whole file system"
    for part in path.split(b"/"):
        if part in KEY_DIRECTORIES:
            return f"{_text(part)} holds keys"
    for tree in (*SYSTEM_TREES, *trees):
        if path == tree:
            return f"{_text(tree)} is private to the system or to this daemon"
        if _inside(path, tree):
            return f"it lies in {_text(tree)}"
        if _inside(tree, path):
            return f"{_text(tree)} lies in it"
    for home in homes:
        if path == home:
            return "it is a home directory"
        if _inside(home, path):
            return f"the home directory {_text(home)} lies in it"
    return None


class Guard:
    """`refusal` with this process's homes and the daemon's own directories, as they are on the disk.

    :param private: the state directory, and whatever else nothing of may be shared.
    :param environ: for ``$HOME``; the password database's home counts as well.
    """

    def __init__(self, private: Sequence[bytes], environ: Mapping[str, str]) -> None:
        self._trees = _both_forms(private)
        self._homes = _both_forms(_homes(environ))

    def refusal(self, path: bytes) -> str | None:
        """Why this path, as given or as it really is, must not be shared. Looks at the disk: not for the reactor."""
        for form in (normal(path), os.path.realpath(path)):
            reason = refusal(form, homes=self._homes, trees=self._trees)
            if reason is not None:
                return reason
        return None

    def admit(self, path: bytes) -> bytes:
        """The real path of a directory that may be shared. Not for the reactor.

        A symbolic link is resolved here, once: the share is the directory that it names now.

        :raises Misuse: no absolute path to a directory. :raises NoSuchThing: it does not exist.
        :raises Denied: it must not be shared (code ``refused``).
        """
        shown = printable(_text(path))
        if not path.startswith(b"/") or b"\0" in path:
            raise Misuse(f"{shown} is not an absolute path")
        reason = self.refusal(path)
        real = os.path.realpath(path)
        if reason is None:
            try:
                if not os.path.isdir(real):
                    os.stat(real)
                    raise Misuse(f"{shown} is not a directory", "Share the directory that it is in")
                reason = _keys_inside(real)
            except FileNotFoundError as error:
                raise NoSuchThing(f"{shown} does not exist", "Make it first, or check the spelling") from error
            except OSError as error:
                hint = "give the daemon's user access to it"
                raise Misuse(f"{shown} cannot be read: {error.strerror}", hint) from error
        if reason is not None:
            raise Denied(f"{shown} must not be shared: {reason}", "Share a directory made for it", code="refused")
        return real


def check_configured(shares: Iterable[tuple[bytes, str | None]], guard: Guard) -> None:
    """What can be said of configured shares before the daemon starts: each may be shared, and no name is used twice.

    A directory that is missing now may be an unmounted disk, and is for later.

    :raises ConfigurationError: naming the directory, and what to do.
    """
    names: dict[str, bytes] = {}
    for directory, given in shares:
        shown = printable(_text(directory))
        reason = guard.refusal(directory)
        if reason is not None:
            raise ConfigurationError(f"share {shown} must not be shared: {reason}", "Share a directory made for it")
        try:
            name = default_name(directory) if given is None else check_name(given)
        except Misuse as error:
            raise ConfigurationError(f"share {shown}: {error.message}", error.hint) from error
        same = names.setdefault(name, normal(directory))
        if same != normal(directory):
            raise ConfigurationError(
                f"share {shown}: there is a share called {name!r} already, of {printable(_text(same))}",
                f"Choose another name with =NAME: {shown}=NAME",
            )


def normal(path: bytes) -> bytes:
    """Without ``.``, ``..`` and double slashes, by text alone."""
    return os.path.normpath(b"/" + path.lstrip(b"/") if path.startswith(b"/") else path)


def check_name(name: str) -> str:
    """The name, if a share may have it. :raises Misuse: otherwise."""
    if not 1 <= len(name) <= MAX_NAME:
        raise Misuse(f"a share's name has 1 to {MAX_NAME} characters, not {len(name)}", "Choose one with =NAME")
    if name in (".", "..") or "/" in name or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise Misuse(f"{printable(name)!r} cannot be a share's name", 'choose one without "/" and control characters')
    return name


def default_name(directory: bytes) -> str:
    """The directory's own name. :raises Misuse: if it cannot be a share's."""
    try:
        return check_name(os.path.basename(directory).decode())
    except UnicodeDecodeError as error:
        raise Misuse(f"{printable(_text(directory))} has a name that is not UTF-8", "Choose one with =NAME") from error


def _homes(environ: Mapping[str, str]) -> list[bytes]:
    homes = [environ.get("HOME", "")]
    try:
        homes.append(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        pass  # a user without an entry, as in some containers
    return [os.fsencode(home) for home in homes if home.startswith("/")]


def _both_forms(paths: Iterable[bytes]) -> list[bytes]:
    forms = [form for path in paths for form in (normal(path), os.path.realpath(path))]
    return list(dict.fromkeys(forms))


def _keys_inside(directory: bytes) -> str | None:
    """Whether a key directory is in it, or one level below."""
    below: list[bytes] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in KEY_DIRECTORIES:
                return f"{_text(entry.path)} holds keys"
            if len(below) < MAX_LOOKED_INTO and entry.is_dir(follow_symlinks=False):
                below.append(entry.path)
    for path in below:
        for keys in KEY_DIRECTORIES:
            if os.path.lexists(os.path.join(path, keys)):
                return f"{_text(os.path.join(path, keys))} holds keys"
    return None


def _inside(path: bytes, tree: bytes) -> bool:
    return path.startswith(tree.rstrip(b"/") + b"/")


def _text(path: bytes) -> str:
    return path.decode(errors="replace")
