"""The state directory: private, and one daemon's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from napd.errors import CannotStart, ConfigurationError
from napd.ops.events import Events
from napd.ops.state import lock_state, make_state, narrow_state, refuse_locked


def test_a_new_state_directory_is_private_and_its_parents_are_made(tmp_path: Path) -> None:
    make_state(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    make_state(tmp_path / "a" / "b")


def test_a_wider_one_is_narrowed_and_that_is_told_once(tmp_path: Path) -> None:
    events = Events(lambda: 1.0)
    tmp_path.chmod(0o755)
    narrow_state(tmp_path, events)
    narrow_state(tmp_path, events)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    said = events.remembered()
    assert [(event.event, event.fields) for event in said] == [("state.narrowed", {"mode": "755"})]


def test_a_state_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="--state"):
        make_state(tmp_path / "file" / "state")


def test_the_second_daemon_is_refused_with_the_directory_and_the_holder(tmp_path: Path) -> None:
    lock = lock_state(tmp_path)
    for ask in (lock_state, refuse_locked):
        with pytest.raises(CannotStart) as refused:
            ask(tmp_path)
        assert str(tmp_path) in str(refused.value)
        assert str(os.getpid()) in str(refused.value)
    lock.release()
    refuse_locked(tmp_path)
    lock_state(tmp_path).release()


def test_the_lock_of_a_killed_daemon_is_free_whatever_its_file_says(tmp_path: Path) -> None:
    holding = "import sys, time; from pathlib import Path; from napd.ops.state import lock_state; "
    holding += "lock = lock_state(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holding, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CannotStart, match=f"process {holder.pid}"):
            lock_state(tmp_path)
        holder.kill()
    assert (tmp_path / "lock").read_text() == f"{holder.pid}\n"
    lock_state(tmp_path).release()


def test_looking_for_a_lock_makes_nothing(tmp_path: Path) -> None:
    refuse_locked(tmp_path)
    refuse_locked(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
