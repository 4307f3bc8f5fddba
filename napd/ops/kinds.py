"""How a setting's text becomes a value: one function per kind, for the command line and TOML alike.

Each takes what was written and the directory that relative paths start from, and raises ValueError with the words that
complete "is not …" when it cannot be used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.endpoints import serverFromString

from ..errors import Misuse
from ..net.dial import DEFAULT_INDEX_PORT, join_address, split_address

Kind = Callable[[Any, Path], Any]

#: User names that mean something else in audiences and messages.
RESERVED_USERS = frozenset({"all", "everyone", "index"})
#: A user's part of the uploads, against 1 of others. More than this either way would be a ban, or a slot of one's own.
LEAST_WEIGHT = 0.1
MOST_WEIGHT = 100.0
_USER = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_INDEX_ID = re.compile(r"[a-z2-7]{52}")
_DATABASES = ("postgresql://", "postgres://")


@frozen
class IndexAddress:
    """Where an index is, and its id if it is pinned."""

    address: str
    id: str | None = None


@frozen
class Advertised:
    """A host that others reach this peer at; without a port, the listening one."""

    host: str
    port: int | None = None


@frozen
class ConfiguredShare:
    """A directory to share; `name` None takes the directory's own."""

    directory: Path
    name: str | None = None


def text(value: Any, start: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text")
    if "\0" in value:
        raise ValueError("a text without NUL characters")
    return value


def path(value: Any, start: Path) -> Path:
    """Absolute, ``~`` expanded, ``..`` taken out; symbolic links stay."""
    written = Path(text(value, start))
    try:
        written = written.expanduser()
    except RuntimeError as error:
        raise ValueError("a path whose home directory is known") from error
    return Path(_normal(start / written))


def existing_file(value: Any, start: Path) -> Path:
    found = path(value, start)
    try:
        with found.open("rb"):
            return found
    except OSError as error:
        raise ValueError(f"a file that can be read ({error.strerror})") from error


def directory_to_be(value: Any, start: Path) -> Path:
    """A directory, or a path where one can be made."""
    found = path(value, start)
    if found.exists() and not found.is_dir():
        raise ValueError("a directory")
    return found


def one_of(*allowed: str) -> Kind:
    def kind(value: Any, start: Path) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return value

    return kind


def yes_or_no(value: Any, start: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def number(least: float, most: float, of: str = "") -> Kind:
    """:param of: what the number counts, as in "a number of seconds"."""

    def kind(value: Any, start: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise ValueError(f"a number{f' of {of}' if of else ''} from {least:g} to {most:g}")
        return float(value)

    return kind


def weights(value: Any, start: Path) -> dict[str, float]:
    """A TOML table: weight by name."""
    if not isinstance(value, dict) or not all(_is_weight(weight) for weight in value.values()):
        raise ValueError(f"a table of groups with weights from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}")
    if not all(value):
        raise ValueError("a table whose groups have names")
    return {group: float(weight) for group, weight in value.items()}


def _is_weight(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and LEAST_WEIGHT <= value <= MOST_WEIGHT


def congestion_control(value: Any, start: Path) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_-]{0,14}", value):
        raise ValueError("a name such as cubic")
    return value


def count(least: int, most: int) -> Kind:
    def kind(value: Any, start: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return kind


def endpoint(value: Any, start: Path) -> str:
    """A Twisted server endpoint description. It is only parsed here: nothing is bound."""
    description = text(value, start)
    kind, colon, rest = description.partition(":")
    try:
        if not colon or kind not in ("tcp", "tcp6", "systemd"):
            raise ValueError(f"unknown endpoint type {kind!r}")
        if kind != "systemd" and not 0 <= _port_of(rest) < 65536:
            raise ValueError("no such port")
        # systemd's descriptors are looked up at once, so a missing one shows here.
        serverFromString(None, description)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            "a server endpoint (allowed: tcp:PORT, tcp:PORT:interface=ADDRESS, tcp6:PORT, "
            "systemd:domain=INET:name=NAME)"
        ) from error
    return description


def database(value: Any, start: Path) -> str:
    """Only its beginning is looked at: what it means is PostgreSQL's to say."""
    url = text(value, start)
    if not url.startswith(_DATABASES):
        raise ValueError("postgresql://USER@HOST/DATABASE (leave it out for SQLite in the state directory)")
    return url


def auth(value: Any, start: Path) -> str:
    chosen: str = one_of("open", "accounts")(value, start)
    if chosen == "accounts":
        raise ValueError("in this version: only open is")
    return chosen


def user_name(value: Any, start: Path) -> str:
    """Case-folded, as the index compares names."""
    name = text(value, start).casefold()
    if not _USER.fullmatch(name) or name in RESERVED_USERS:
        reserved = ", ".join(sorted(RESERVED_USERS))
        raise ValueError(
            f"a user name (allowed: 1 to 32 of a-z 0-9 . _ -, a letter or digit first; {reserved} are reserved)"
        )
    return name


def index_address(value: Any, start: Path) -> IndexAddress:
    address, hash_sign, pin = text(value, start).strip().partition("#")
    if hash_sign and not _INDEX_ID.fullmatch(pin):
        raise ValueError("HOST[:PORT][#INDEXID] (an index id is 52 characters of a-z and 2-7)")
    try:
        host, port = split_address(address, DEFAULT_INDEX_PORT)
    except Misuse as error:
        raise ValueError("HOST[:PORT][#INDEXID]") from error
    if not host or "/" in host or any(c.isspace() for c in host):
        raise ValueError("HOST[:PORT][#INDEXID]")
    return IndexAddress(join_address(host, port), pin or None)


def advertised(value: Any, start: Path) -> Advertised:
    written = text(value, start).strip()
    try:
        host, port = split_address(written, 0)
    except Misuse as error:
        raise ValueError("HOST[:PORT]") from error
    if not host or "/" in host or any(c.isspace() for c in host):
        raise ValueError("HOST[:PORT]")
    return Advertised(host, port or None)


def share(value: Any, start: Path) -> ConfiguredShare:
    """``DIR[=NAME]``. A directory whose own name has a ``=`` in it is found by being there."""
    written = text(value, start)
    whole = path(written, start)
    before, equals, name = written.rpartition("=")
    if not equals or not before or whole.is_dir():
        return ConfiguredShare(whole)
    if not name:
        raise ValueError("DIR[=NAME]")
    return ConfiguredShare(path(before, start), name)


def _port_of(rest: str) -> int:
    for part in rest.split(":"):
        if part.startswith("port="):
            return int(part.removeprefix("port="))
    return int(rest.split(":")[0])


def _normal(found: Path) -> str:
    """Without ``.`` and ``..``, as os.path.abspath does: by text, so that a missing path works too."""
    parts: list[str] = []
    for part in found.parts:
        if part == ".." and len(parts) > 1:
            parts.pop()
        elif part != "..":
            parts.append(part)
    return str(Path(*parts))
