"""What must not be shared, by rule and as the disk has it; what a share may be called."""

from __future__ import annotations

from pathlib import Path

import pytest

from napd.errors import Denied, Misuse, NoSuchThing
from napd.peer.shares.guard import Guard, check_name, default_name, refusal

HOMES = [b"/home/ann", b"/root"]
TREES = [b"/var/lib/nappeer/ann"]


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/home",
        b"/home/ann",
        b"/root",
        b"/etc",
        b"/etc/ssl/certs",
        b"/proc",
        b"/proc/self/cwd",
        b"/sys/class",
        b"/dev",
        b"/dev/shm/files",
        b"/var",
        b"/var/lib",
        b"/var/lib/nappeer",
        b"/var/lib/nappeer/ann",
        b"/var/lib/nappeer/ann/downloads",
        b"/home/ann/.ssh",
        b"/home/ann/.gnupg/private-keys-v1.d",
        b"/srv/backup/.ssh",
        b"/srv/backup/.ssh/old",
    ],
)
def test_these_are_refused(path: bytes) -> None:
    assert refusal(path, homes=HOMES, trees=TREES) is not None


@pytest.mark.parametrize(
    "path",
    [
        b"/home/ann/Music",
        b"/home/annabel",
        b"/home/ann/.config/shared",
        b"/root/shared",
        b"/srv",
        b"/srv/music",
        b"/mnt",
        b"/tmp/x",
        b"/etcetera",
        b"/devices",
        b"/var/lib/nappeer/bob",
        b"/srv/my.ssh",
    ],
)
def test_these_are_not(path: bytes) -> None:
    assert refusal(path, homes=HOMES, trees=TREES) is None


def guard(tmp_path: Path, home: Path | None = None) -> Guard:
    return Guard([bytes(tmp_path / "state")], {"HOME": str(home or tmp_path / "home")})


def test_a_directory_is_admitted_under_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "music")
    assert guard(tmp_path).admit(bytes(tmp_path / "link")) == bytes(tmp_path / "music")


def test_a_link_to_what_must_not_be_shared_is_refused(tmp_path: Path) -> None:
    (tmp_path / "innocent").symlink_to("/etc")
    with pytest.raises(Denied, match="must not be shared") as refused:
        guard(tmp_path).admit(bytes(tmp_path / "innocent"))
    assert refused.value.code == "refused"


@pytest.mark.parametrize("path", [b"//etc", b"///etc/", b"/srv/../etc", b"/proc/self/root/etc", b"/etc/.", b"//"])
def test_no_spelling_gets_by(tmp_path: Path, path: bytes) -> None:
    with pytest.raises(Denied):
        guard(tmp_path).admit(path)


def test_the_home_is_refused_by_either_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    for path in ("home", "disk"):
        with pytest.raises(Denied, match="home"):
            guard(tmp_path).admit(bytes(tmp_path / path))


def test_the_password_entrys_home_counts_when_the_environment_names_another(tmp_path: Path) -> None:
    with pytest.raises(Denied):
        guard(tmp_path).admit(bytes(Path("~").expanduser()))


@pytest.mark.parametrize("keys", ["mine/.ssh", "mine/bob/.ssh", "mine/bob/.gnupg"])
def test_a_directory_that_somebodys_keys_lie_in_is_refused(tmp_path: Path, keys: str) -> None:
    (tmp_path / keys).mkdir(parents=True)
    with pytest.raises(Denied, match="holds keys"):
        guard(tmp_path).admit(bytes(tmp_path / "mine"))


def test_what_is_no_directory_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Misuse, match="not a directory"):
        guard(tmp_path).admit(bytes(tmp_path / "file"))
    with pytest.raises(Misuse, match="not an absolute path"):
        guard(tmp_path).admit(b"music")
    for path in ("nothing", "dangling"):
        with pytest.raises(NoSuchThing, match="does not exist"):
            guard(tmp_path).admit(bytes(tmp_path / path))


@pytest.mark.parametrize("name", ["", "a" * 65, "a/b", ".", "..", "a\nb", "\x00", "\udc80"])
def test_these_names_no_share_can_have(name: str) -> None:
    with pytest.raises(Misuse):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "a" * 64, "My Music", ".hidden", "e\u0301", "音楽", "-x", "a=b"])
def test_these_names_a_share_can_have(name: str) -> None:
    assert check_name(name) == name


def test_the_default_name_is_the_directorys_own() -> None:
    assert default_name(b"/srv/My Music") == "My Music"
    for directory in (b"/srv/\xff", b"/srv/" + b"a" * 65):
        with pytest.raises(Misuse) as refused:
            default_name(directory)
        assert "=NAME" in str(refused.value)
