"""Every command explains itself, and the reference has every command, option and exit status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from napctl.main import cli
from napctl.program import Command, LazyGroup
from napd.errors import EXIT_STATUS
from napd.wire.control import COMMON_METHODS, INDEX_METHODS, PEER_METHODS
from tests.support.command_line import napctl

REFERENCE = Path(__file__).resolve().parents[3] / "docs/reference"


def commands(group: LazyGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command, str]]:
    context = click.Context(group)
    for name, entry in group.entries.items():
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command, entry.summary
        if isinstance(command, LazyGroup):
            yield from commands(command, (*path, name))


ALL = {" ".join(path): (command, summary) for path, command, summary in commands(cli)}
CONTRACT = {
    "status", "search", "get", "queue", "sources", "uploads", "watch", "wait", "share", "users", "whoami", "limit",
    "version", "events", "shutdown", "reload", "completion", "index", "wish",
}  # fmt: skip


def test_the_commands_of_the_contract_are_there() -> None:
    assert set(ALL) >= CONTRACT
    for name in ("list", "pause", "resume", "retry", "cancel", "priority", "move", "clear"):
        assert f"queue {name}" in ALL
    for name in ("list", "add", "remove", "rescan", "check"):
        assert f"share {name}" in ALL
    for name in ("list", "add", "remove"):
        assert f"wish {name}" in ALL


@pytest.mark.parametrize("name", ALL)
def test_help_has_a_description_examples_and_the_common_options(name: str) -> None:
    command, summary = ALL[name]
    assert isinstance(command, (Command, LazyGroup))
    assert command.examples and command.help and summary
    assert not summary.endswith(".")
    for example, _ in command.examples:
        assert example.startswith("napctl ")
    shown = napctl(*name.split(), "--help")
    assert shown.status == 0
    context = click.Context(command, info_name=name)
    lines = command.get_help(context).splitlines()
    assert all(len(line) <= 100 for line in lines)
    for part in ("--socket", "--json", "--quiet", "--help", "Examples:"):
        assert any(part in line for line in lines)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("search", "wish add")])
def test_a_short_h_is_help_everywhere_but_where_a_dash_excludes(name: str) -> None:
    assert napctl(*name.split(), "-h").status == 0


def test_the_clients_own_version_needs_no_daemon() -> None:
    assert napctl("--version").out.startswith("napctl ")
    assert set(napctl("--json", "--version").json) == {"schema", "client"}


@pytest.mark.parametrize("name", ALL)
def test_the_reference_has_every_command_with_its_options(name: str) -> None:
    text = (REFERENCE / "cli.md").read_text()
    assert f"\n### `napctl {name}" in text or f"\n## `napctl {name}" in text, f"docs/reference/cli.md lacks {name}"
    command, _ = ALL[name]
    for param in command.params:
        if isinstance(param, click.Option):
            assert f"`{param.opts[0]}" in text or f" {param.opts[0]}" in text


def test_the_reference_has_every_exit_status() -> None:
    text = (REFERENCE / "exit-codes.md").read_text()
    for code, status in EXIT_STATUS.items():
        assert f"| {status} |" in text and f"`{code}`" in text


@pytest.mark.parametrize("method", sorted(COMMON_METHODS | PEER_METHODS | INDEX_METHODS))
def test_the_control_protocols_reference_has_every_method_with_its_parameters(method: str) -> None:
    text = (REFERENCE / "control-protocol.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(f"| `{method}` |")]
    assert len(rows) == 1, f"docs/reference/control-protocol.md has {len(rows)} rows for {method}"
    for field in (PEER_METHODS | INDEX_METHODS)[method].__struct_fields__:
        assert f"`{field}`" in rows[0]
