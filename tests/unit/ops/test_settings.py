"""Settings: where values come from, which one wins, and what a mistake is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napd.errors import ConfigurationError
from napd.ops.kinds import Advertised, ConfiguredShare, IndexAddress
from napd.ops.settings import INDEX_SETTINGS, PEER_SETTINGS, Surroundings, resolve, restart_needed
from napd.places import default_state_directories

ID = "a2" * 26


@pytest.fixture
def around(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    """In a directory of a short name: a control socket's path is limited to 107 bytes."""
    directory = tmp_path_factory.mktemp("s")
    home = directory / "home"
    home.mkdir()
    return Surroundings({"HOME": str(home)}, directory, "Ada")


def peer(around: Surroundings, **written: str | list[str]) -> dict[str, Any]:
    lists = {name: [value] if isinstance(value, str) else value for name, value in written.items()}
    return resolve("nappeer", PEER_SETTINGS, lists, around)


def toml(around: Surroundings, text: str, where: str = "napd.toml") -> str:
    file = around.directory / where
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(text, "utf-8")
    return str(file)


def test_nothing_written_gives_the_defaults_of_the_contract(around: Surroundings) -> None:
    home = Path(around.environ["HOME"])
    values = peer(around)
    assert values["state"] == home / ".local/state/nappeer"
    assert values["socket"] == home / ".local/state/nappeer/control.sock"
    assert values["listen"] == "tcp:0"
    assert values["user"] == "ada"
    assert values["downloads"] == home / "Downloads/napd"
    assert values["advertise"] == values["index"] == values["share"] == ()
    index = resolve("napindex", INDEX_SETTINGS, {}, around)
    assert index["listen"] == "tcp:6699"
    assert index["auth"] == "open"
    assert index["database"] is None
    assert index["identity"] == index["state"] / "identity.pem"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/nappeer/ada"}, "/var/lib/nappeer/ada"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x/state"}, "/x/state/nappeer"),
        ({"XDG_STATE_HOME": "relative"}, "/home/ada/.local/state/nappeer"),
    ],
)
def test_the_state_directory_follows_systemd_then_xdg_then_home(environ: dict[str, str], expected: str) -> None:
    assert str(default_state_directories("nappeer", {"HOME": "/home/ada", **environ})[0]) == expected


def test_napctl_looks_at_the_units_places_too() -> None:
    places = [str(place) for place in default_state_directories("nappeer", {"HOME": "/home/ada", "USER": "ada"})]
    assert places == ["/home/ada/.local/state/nappeer", "/var/lib/nappeer/ada", "/var/lib/nappeer"]
    assert str(default_state_directories("napindex", {})[-1]) == "/var/lib/napindex"


def test_downloads_go_into_the_state_under_systemd_and_to_the_xdg_directory_else(around: Surroundings) -> None:
    home = Path(around.environ["HOME"])
    under_systemd = Surroundings({**around.environ, "STATE_DIRECTORY": "/var/lib/nappeer"}, around.directory, "ada")
    assert peer(under_systemd)["downloads"] == Path("/var/lib/nappeer/downloads")
    (home / ".config").mkdir()
    (home / ".config/user-dirs.dirs").write_text('# made by hand\nXDG_DOWNLOAD_DIR="$HOME/Stuff"\n')
    assert peer(around)["downloads"] == home / "Stuff/napd"
    told = Surroundings({**around.environ, "XDG_DOWNLOAD_DIR": "/srv/in"}, around.directory, "ada")
    assert peer(told)["downloads"] == Path("/srv/in/napd")


def test_for_single_values_options_win_and_lists_add_up(around: Surroundings) -> None:
    for name in ("a", "b", "c"):
        (around.directory / name).mkdir()
    file = toml(around, 'user = "bob"\nlisten = "tcp:7000"\nshare = ["a", "b=Bee"]\nindex = ["one.example"]\n')
    values = peer(around, config=file, user=["carol", "dave"], share="c", index=f"[2001:db8::1]:7000#{ID}")
    assert values["user"] == "dave"
    assert values["listen"] == "tcp:7000"
    assert values["share"] == (
        ConfiguredShare(around.directory / "a"),
        ConfiguredShare(around.directory / "b", "Bee"),
        ConfiguredShare(around.directory / "c"),
    )
    assert values["index"] == (IndexAddress("one.example:6699"), IndexAddress("[2001:db8::1]:7000", ID))


def test_relative_paths_start_from_the_files_directory_or_the_working_directory(around: Surroundings) -> None:
    (around.directory / "etc/music").mkdir(parents=True)
    file = toml(around, 'state = "st"\nshare = ["music"]\ndownloads = "../in"\n', "etc/napd.toml")
    values = peer(around, config="etc/napd.toml", log_file="./x/../peer.log")
    assert values["config"] == Path(file)
    assert values["state"] == around.directory / "etc/st"
    assert values["share"] == (ConfiguredShare(around.directory / "etc/music"),)
    assert values["downloads"] == around.directory / "in"
    assert values["log_file"] == around.directory / "peer.log"


def test_a_shared_directory_may_have_an_equals_sign_in_its_name(around: Surroundings) -> None:
    (around.directory / "a=b").mkdir()
    assert peer(around, share="a=b")["share"] == (ConfiguredShare(around.directory / "a=b"),)
    assert peer(around, share="a=b=c")["share"] == (ConfiguredShare(around.directory / "a=b", "c"),)


def test_advertised_addresses_may_go_without_a_port(around: Surroundings) -> None:
    values = peer(around, advertise=["nap.example", "nap.example:7000", "[2001:db8::1]"])
    assert values["advertise"] == (
        Advertised("nap.example"),
        Advertised("nap.example", 7000),
        Advertised("2001:db8::1"),
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"listen": "6699"}, "--listen: '6699' is not a server endpoint (allowed: tcp:PORT"),
        ({"listen": "tcp:70000"}, "is not a server endpoint"),
        ({"listen": "ssl:443"}, "is not a server endpoint"),
        ({"listen": "systemd:domain=INET:index=0"}, "is not a server endpoint"),
        ({"user": "Ada Lovelace"}, "is not a user name (allowed: 1 to 32 of"),
        ({"user": "everyone"}, "are reserved"),
        ({"user": ""}, "is not a text"),
        ({"index": "host:0"}, "--index: 'host:0' is not HOST[:PORT][#INDEXID]"),
        ({"index": "host#short"}, "an index id is 52 characters"),
        ({"index": "https://host"}, "is not HOST[:PORT][#INDEXID]"),
        ({"advertise": "host:http"}, "is not HOST[:PORT]"),
        ({"share": "nowhere"}, "nowhere is not a directory that exists"),
        ({"password_file": "nowhere"}, "is not a file that can be read (No such file or directory)"),
        ({"config": "nowhere"}, "--config: 'nowhere' is not a file that can be read"),
        ({"log_format": "xml"}, "--log-format: 'xml' is not one of text, json"),
        ({"log_file": "nowhere/log"}, "there is no directory"),
        ({"socket": "nowhere/sock"}, "there is no directory"),
        ({"socket": "s" * 120}, "a UNIX socket's limit is 107"),
        ({"state": "file"}, "is not a directory"),
        ({"downloads": "file"}, "--downloads: 'file' is not a directory"),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(around: Surroundings, written: dict[str, str], said: str) -> None:
    (around.directory / "file").write_text("")
    with pytest.raises(ConfigurationError) as refused:
        peer(around, **written)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_socket_path_that_is_too_long_is_told_the_option_that_helps(around: Surroundings) -> None:
    with pytest.raises(ConfigurationError, match="--socket") as refused:
        peer(around, state="x" * 100)
    assert re.search(r"is \d+ bytes", str(refused.value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 1", "unknown key 'colour'; allowed: advertise, "),
        ("config = 'x'", "unknown key 'config'"),
        ("listen = 6699", "listen: 6699 is not a text"),
        ("share = 'music'", "share is not a list of DIR[=NAME]"),
        ("share = [1]", "share: 1 is not a text"),
        ("rescan_s = 1", "rescan_s: 1 is not a number of seconds from 10 to 604800"),
        ("share_partial = 1", "share_partial: 1 is not true or false"),
        ("rescan_s = true", "rescan_s: True is not a number"),
        ("user = ", "is not TOML: "),
        ("user = '\\u0000'", "is not a user name"),
        ("[peer]\nuser = 'a'", "unknown key 'peer'"),
    ],
)
def test_a_bad_line_of_the_file_is_named_with_the_file_and_what_is_allowed(
    around: Surroundings, text: str, said: str
) -> None:
    file = toml(around, text)
    with pytest.raises(ConfigurationError) as refused:
        peer(around, config=file)
    assert file in str(refused.value)
    assert said in str(refused.value)


@pytest.mark.parametrize("written", [{"auth": "accounts"}])
def test_what_only_a_later_version_has_is_refused_as_that(around: Surroundings, written: dict[str, str]) -> None:
    lists = {name: [value] for name, value in written.items()}
    with pytest.raises(ConfigurationError, match="in this version"):
        resolve("napindex", INDEX_SETTINGS, lists, around)


def test_a_share_of_the_file_may_be_on_an_unmounted_disk_once_the_daemon_has_run(around: Surroundings) -> None:
    file = toml(around, 'state = "st"\nshare = ["disk"]\n')
    with pytest.raises(ConfigurationError):
        peer(around, config=file)
    (around.directory / "st").mkdir()
    (around.directory / "st/lock").touch()
    assert peer(around, config=file)["share"] == (ConfiguredShare(around.directory / "disk"),)
    with pytest.raises(ConfigurationError):
        peer(around, config=file, share="other")


def test_a_login_name_that_cannot_be_a_user_name_asks_for_one(around: Surroundings) -> None:
    with pytest.raises(ConfigurationError, match="--user"):
        peer(Surroundings(around.environ, around.directory, "DOMAIN\\ada"))


def test_reload_knows_what_it_can_apply(around: Surroundings) -> None:
    (around.directory / "a").mkdir()
    old = peer(around)
    new = peer(around, share="a", listen="tcp:7000")
    assert restart_needed(PEER_SETTINGS, old, new) == ["listen"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.sampled_from([s.name for s in PEER_SETTINGS if s.option]), st.text(max_size=60))
def test_any_text_makes_a_value_or_a_configuration_error(around: Surroundings, name: str, text: str) -> None:
    try:
        values = peer(around, **{name: text})
    except ConfigurationError as error:
        assert "\n" not in str(error)
    else:
        assert values[name] is not None


def test_upload_weights_are_a_table_of_bounded_numbers(around: Surroundings) -> None:
    assert dict(peer(around)["upload_weights"]) == {}
    config = toml(around, "[upload_weights]\nfriends = 3\nguests = 0.5\n")
    assert peer(around, config=config)["upload_weights"] == {"friends": 3.0, "guests": 0.5}
    for wrong in ("upload_weights = 3", *(f"[upload_weights]\nx = {x}" for x in ('"3"', "0", "-1", "101", "true"))):
        with pytest.raises(ConfigurationError, match=r"upload_weights: .* is not a table of groups with weights"):
            peer(around, config=toml(around, wrong))


def test_a_congestion_control_is_a_name(around: Surroundings) -> None:
    assert peer(around)["congestion_control"] is None
    assert peer(around, config=toml(around, 'congestion_control = "cubic"'))["congestion_control"] == "cubic"
    for wrong in ('"Cubic!"', '""', "3", '"sixteen-letters-"'):
        with pytest.raises(ConfigurationError, match=r"congestion_control: .* is not a name such as cubic"):
            peer(around, config=toml(around, f"congestion_control = {wrong}"))
