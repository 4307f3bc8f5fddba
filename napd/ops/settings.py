"""What can be configured: the command line and the TOML file make one set of typed values.

`PEER_SETTINGS` and `INDEX_SETTINGS` are the whole list; docs/reference/configuration.md is the same for people, and a
test holds the two against each other. The values, by name (paths are absolute; nothing is created here):

both
    config: Path | None, state: Path, socket: Path, listen: str (an endpoint description), identity: Path,
    log_format: "text" | "json" | None, log_file: Path | None
index
    database: str | None (None is SQLite), auth: "open"
peer
    advertise: tuple[Advertised, ...], index: tuple[IndexAddress, ...], user: str, password_file: Path | None,
    share: tuple[ConfiguredShare, ...], downloads: Path (not made yet), rescan_s: float,
    share_partial: bool, upload_weights: Mapping[str, float], sources_per_download: int, downloads_per_source: int,
    congestion_control: str | None
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from ..errors import ConfigurationError, printable
from ..places import LOCK_NAME, SOCKET_NAME, default_state_directories
from . import kinds

#: The longest path a UNIX socket can be bound to (sockaddr_un's 108 bytes, one of them NUL).
MAX_SOCKET_PATH_BYTES = 107
_XDG_DOWNLOAD = re.compile(r'^\s*XDG_DOWNLOAD_DIR\s*=\s*"([^"]+)"', re.MULTILINE)


@frozen
class Setting:
    """One setting.

    :param name: as in TOML; the option is the same with dashes.
    :param kind: makes the value of what was written.
    :param argument: what the option takes, in `--help`.
    :param meaning: a sentence for `--help` and the reference.
    :param default: what stands when nothing was written; where it depends on more, `resolve` fills it in.
    :param repeatable: may be given more than once; a list in TOML; the option adds to the file.
    :param option: can be given on the command line; otherwise only in the file.
    :param live: `reload` applies a changed value; otherwise it takes a restart.
    :param secret: there may be a password in it: it is not repeated in messages.
    """

    name: str
    kind: kinds.Kind
    argument: str
    meaning: str
    default: Any = None
    repeatable: bool = False
    option: bool = True
    live: bool = field(default=False, kw_only=True)
    secret: bool = field(default=False, kw_only=True)

    @property
    def flag(self) -> str:
        return self.name.replace("_", "-")


#: Only an option: it names the file that the others may be in.
CONFIG = Setting("config", kinds.existing_file, "FILE", "TOML file with the same settings, underscores for dashes.")

COMMON_SETTINGS = (
    Setting("state", kinds.directory_to_be, "DIR", "State directory, one per daemon."),
    Setting("socket", kinds.path, "PATH", "Control socket (default: control.sock in the state directory)."),
    Setting("log_format", kinds.one_of("text", "json"), "text|json", "Default: text on a terminal, JSON elsewhere."),
    Setting("log_file", kinds.path, "FILE", "Log there instead of to stdout; it may be rotated."),
    Setting(
        "identity", kinds.path, "FILE", "Private key (default: identity.pem in the state directory, made when missing)."
    ),
)

INDEX_SETTINGS = (
    *COMMON_SETTINGS,
    Setting("listen", kinds.endpoint, "ENDPOINT", "Where peers connect.", "tcp:6699"),
    Setting("database", kinds.database, "URL", "A PostgreSQL that the nodes of one index share.", secret=True),
    Setting("auth", kinds.auth, "open|accounts", "Who may log in.", "open"),
    Setting(
        "listings_per_user",
        kinds.count(1, 10_000_000),
        "N",
        "Files that one user may offer.",
        500_000,
        option=False,
    ),
    Setting(
        "searches_per_s",
        kinds.number(0.01, 10_000),
        "N",
        "Searches, and lists of users, a second of one session in the long run; those of two seconds may come at once.",
        10.0,
        option=False,
    ),
    Setting("results_per_page", kinds.count(1, 1000), "N", "Results of one search.", 1000, option=False),
    Setting(
        "wishes_per_session",
        kinds.count(0, 10_000),
        "N",
        "Standing searches that one session may have.",
        200,
        option=False,
    ),
    Setting("connections", kinds.count(1, 1_000_000), "N", "Connections at a time.", 12_000, option=False),
    Setting(
        "connections_per_address",
        kinds.count(1, 1_000_000),
        "N",
        "Connections at a time from one address; loopback is not counted. A fortieth as many may come anew a second.",
        200,
        option=False,
    ),
    Setting(
        "retention_days",
        kinds.number(0, 36_500, "days"),
        "DAYS",
        "The list of a peer that left is kept this long, so that it need not be sent again; 0: not at all.",
        90.0,
        option=False,
    ),
)

PEER_SETTINGS = (
    *COMMON_SETTINGS,
    Setting(
        "listen",
        kinds.endpoint,
        "ENDPOINT",
        "Where other peers connect; tcp:0 picks a free port and keeps it.",
        "tcp:0",
    ),
    Setting(
        "advertise", kinds.advertised, "HOST[:PORT]", "An address that others reach this peer at.", (), repeatable=True
    ),
    Setting(
        "index", kinds.index_address, "HOST[:PORT][#INDEXID]", "The index, and its id to pin it.", (), repeatable=True
    ),
    Setting("user", kinds.user_name, "NAME", "Log in as (default: the login name)."),
    Setting("password_file", kinds.existing_file, "FILE", "The account's password, on the first line."),
    Setting("share", kinds.share, "DIR[=NAME]", "A directory to share.", (), repeatable=True, live=True),
    Setting("downloads", kinds.directory_to_be, "DIR", "Where finished files go."),
    Setting(
        "rescan_s",
        kinds.number(10, 7 * 86_400, "seconds"),
        "SECONDS",
        "Shares are gone through this often, for changes that were not seen live.",
        900.0,
        option=False,
    ),
    Setting(
        "share_partial",
        kinds.yes_or_no,
        "true|false",
        "Serve what a download has so far to others, if its content is offered to everyone.",
        True,
        option=False,
    ),
    Setting(
        "upload_weights",
        kinds.weights,
        "table of GROUP = WEIGHT",
        "Parts of the uploads that users of these groups have, against 1 of the others.",
        MappingProxyType({}),
        option=False,
        live=True,
    ),
    Setting(
        "congestion_control",
        kinds.congestion_control,
        "NAME",
        "How the kernel paces what is sent: cubic, bbr, reno … (default: as the system does).",
        option=False,
    ),
    Setting(
        "sources_per_download",
        kinds.count(1, 64),
        "N",
        "So many sources are at work for one download at a time.",
        8,
        option=False,
    ),
    Setting(
        "downloads_per_source",
        kinds.count(1, 64),
        "N",
        "So many downloads are at work with one source at a time; urgent ones always may.",
        4,
        option=False,
    ),
)


@frozen
class Surroundings:
    """What the defaults depend on.

    :param directory: the working directory: relative paths on the command line start there.
    :param login: the login name of whoever runs the daemon.
    """

    environ: Mapping[str, str]
    directory: Path
    login: str


def resolve(
    program: str, settings: Sequence[Setting], written: Mapping[str, Sequence[str]], around: Surroundings
) -> dict[str, Any]:
    """The values in force.

    :param written: the options as typed, by setting name; for single values the last one counts.
    :raises ConfigurationError: naming what is wrong and what is allowed.
    """
    values: dict[str, Any] = {setting.name: setting.default for setting in settings}
    values["config"] = None
    if given := written.get("config"):
        values["config"] = _value(CONFIG, given[-1], around.directory, "--config")
        _take_file(values, settings, values["config"])
    for setting in settings:
        for value in written.get(setting.name, ()):
            made = _value(setting, value, around.directory, f"--{setting.flag}")
            values[setting.name] = (*values[setting.name], made) if setting.repeatable else made
    _fill_in(program, values, around)
    _check_places(values)
    _check_shares(values, optional=len(values.get("share", ())) - len(written.get("share", ())))
    return values


def restart_needed(settings: Sequence[Setting], old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of settings whose new value only a restart can apply."""
    return [s.name for s in settings if not s.live and old[s.name] != new[s.name]]


def _take_file(values: dict[str, Any], settings: Sequence[Setting], file: Path) -> None:
    try:
        table = tomllib.loads(file.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{file} is not TOML: {printable(str(error))}") from error
    known = {setting.name: setting for setting in settings}
    for key, value in table.items():
        setting = known.get(key)
        if setting is None:
            raise ConfigurationError(f"{file}: unknown key {printable(key, 60)!r}; allowed: {', '.join(sorted(known))}")
        where = f"{file}: {key}"
        if not setting.repeatable:
            values[key] = _value(setting, value, file.parent, where)
        elif isinstance(value, list):
            values[key] = tuple(_value(setting, item, file.parent, where) for item in value)
        else:
            raise ConfigurationError(f"{where} is not a list of {setting.argument}")


def _value(setting: Setting, value: Any, start: Path, where: str) -> Any:
    try:
        return setting.kind(value, start)
    except ValueError as error:
        written = "what was given" if setting.secret else printable(repr(value))
        raise ConfigurationError(f"{where}: {written} is not {error}") from error


def _fill_in(program: str, values: dict[str, Any], around: Surroundings) -> None:
    if values["state"] is None:
        values["state"] = Path(default_state_directories(program, around.environ)[0])
    state: Path = values["state"]
    if values["socket"] is None:
        values["socket"] = state / SOCKET_NAME
    if values["identity"] is None:
        values["identity"] = state / "identity.pem"
    if "user" in values and values["user"] is None:
        values["user"] = _default_user(around)
    if "downloads" in values and values["downloads"] is None:
        values["downloads"] = _default_downloads(state, around.environ)


def _check_places(values: Mapping[str, Any]) -> None:
    socket = bytes(values["socket"])
    if len(socket) > MAX_SOCKET_PATH_BYTES:
        raise ConfigurationError(
            f"the control socket's path is {len(socket)} bytes, a UNIX socket's limit is {MAX_SOCKET_PATH_BYTES}: "
            f"{_shown(values['socket'])}",
            "Choose a shorter one with --socket",
        )
    if values["state"].exists() and not values["state"].is_dir():
        raise ConfigurationError(f"state {_shown(values['state'])} is not a directory")
    for setting in ("socket", "log_file"):
        place: Path | None = values[setting]
        if place is None:
            continue
        if place.is_dir():
            raise ConfigurationError(f"{setting} {_shown(place)} is a directory, not a path for a file in one")
        if place.parent != values["state"] and not place.parent.is_dir():
            raise ConfigurationError(f"{setting} {_shown(place)}: there is no directory {_shown(place.parent)}")


def _check_shares(values: Mapping[str, Any], optional: int) -> None:
    """A directory must be there; but once a daemon has run, the file's (the first `optional`) may be unmounted."""
    has_run = (values["state"] / LOCK_NAME).exists()
    for place, configured in enumerate(values.get("share", ())):
        if not configured.directory.is_dir() and not (has_run and place < optional):
            raise ConfigurationError(f"share {_shown(configured.directory)} is not a directory that exists")


def _shown(place: Path) -> str:
    return printable(str(place), 300)


def _default_user(around: Surroundings) -> str:
    try:
        return kinds.user_name(around.login, around.directory)
    except ValueError as error:
        raise ConfigurationError(
            f"the login name {printable(around.login)!r} cannot be the user name", "Give one with --user"
        ) from error


def _default_downloads(state: Path, environ: Mapping[str, str]) -> Path:
    """In the state directory under systemd, else napd/ in the XDG download directory."""
    if environ.get("STATE_DIRECTORY"):
        return state / "downloads"
    home = Path(environ.get("HOME", "/"))
    chosen = environ.get("XDG_DOWNLOAD_DIR", "")
    if not chosen:
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        try:
            found = _XDG_DOWNLOAD.search((config / "user-dirs.dirs").read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            found = None
        chosen = found.group(1) if found else ""
    chosen = chosen.replace("$HOME", str(home), 1)
    return (Path(chosen) if chosen.startswith("/") else home / "Downloads") / "napd"
