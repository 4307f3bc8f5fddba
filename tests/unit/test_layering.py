"""The dependency rules of docs/explanation/architecture.md, held by reading the imports of every module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.processes import ROOT

#: Modules and packages without side effects and surroundings: what they do depends on their arguments alone.
PURE = (
    "napd.model",
    "napd.errors",
    "napd.places",
    "napd.sizes",
    "napd.content",
    "napd.wire",
    "napd.peer.item",
    "napd.peer.order",
    "napd.discovery.refusals",
    "napd.peer.asking",
    "napd.peer.wishes.wish",
    "napd.peer.wishes.selecting",
    "napd.peer.queue",
    "napd.peer.picker",
    "napd.peer.fetch.swarm",
    "napd.peer.fetch.outstanding",
    "napd.peer.fetch.patience",
    "napd.peer.fetch.places_told",
    "napd.peer.fetch.window",
    "napd.peer.sources.throughput",
    "napd.peer.sources.workers",
    "napd.peer.sources.standings",
    "napd.peer.sources.addresses",
    "napd.peer.sources.scoring",
    "napd.peer.sources.experience",
)
#: What pure modules never import.
IMPURE = ("twisted", "os", "time", "random", "socket", "secrets", "threading", "subprocess", "sqlite3", "asyncio")
#: What only `tap` modules, which compose, and `napd.ops`, which meets the system, may take from the surroundings.
AMBIENT = ("twisted.internet.reactor", "time.time", "time.monotonic", "random.random", "random.SystemRandom")

#: Over 400 lines a module is likely to do two things; over this it certainly is.
MAX_LINES = 600


@cache
def modules() -> dict[str, Path]:
    """Every module of ours, by its dotted name."""
    found = {}
    for package in ("napd", "napctl"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text("utf-8"))


def imports(module: str) -> Iterator[tuple[str, int, bool]]:
    """(what, line, at the top of the module) for each import; ``from x import y`` is ``x.y``."""
    top = {id(node) for node in ast.walk(tree(module)) if isinstance(node, ast.Module) for node in node.body}
    inside_if = {
        id(child)
        for node in tree(module).body
        if isinstance(node, (ast.If, ast.Try))
        for child in ast.walk(node)
        if isinstance(child, (ast.Import, ast.ImportFrom))
    }
    package = module if modules()[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree(module)):
        at_top = id(node) in top or id(node) in inside_if
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno, at_top
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                start = ".".join([*base, start] if start else base)
            for name in node.names:
                yield f"{start}.{name.name}", node.lineno, at_top


def within(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)


def violations(module: str, *forbidden: str) -> list[str]:
    return [f"{module}:{line} imports {name}" for name, line, _ in imports(module) if within(name, *forbidden)]


def our_imports(module: str) -> set[str]:
    """The modules of ours that this one needs, directly."""
    needed = set()
    for name, _, _ in imports(module):
        owner = name if name in modules() else name.rpartition(".")[0]
        if owner in modules():
            needed.add(owner)
    return needed


def reached(module: str) -> set[str]:
    """The modules of ours that come with this one, by any way."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += our_imports(name)
    return seen


def test_there_are_modules_to_look_at() -> None:
    assert {"napd.model", "napd.wire.index", "napd.ops.daemon", "napctl.main"} <= set(modules())
    assert "napd.errors" in our_imports("napd.ops.daemon")


@pytest.mark.parametrize("place", PURE)
def test_pure_modules_import_nothing_impure_not_even_through_others(place: str) -> None:
    found = []
    for module in filter(lambda name: within(name, place), modules()):
        for needed in reached(module):
            found += violations(needed, *IMPURE)
    assert found == []


def test_the_index_and_the_peer_do_not_know_each_other() -> None:
    for module in modules():
        if within(module, "napd.index"):
            assert violations(module, "napd.peer", "napd.discovery") == []
        if within(module, "napd.peer", "napd.discovery"):
            assert violations(module, "napd.index") == []


def test_only_taps_compose() -> None:
    """The peer's parts see ways out as interfaces: which discovery and which dialler there are, `tap` decides."""
    for module in modules():
        if within(module, "napd.peer") and not module.endswith(".tap"):
            assert violations(module, "napd.discovery.index_client", "napd.net.dial.TLSDialler") == []
        if not module.endswith(".tap"):
            assert [name for name, _, _ in imports(module) if name.endswith(".tap") or ".tap." in name] == []


def test_the_reactor_the_clock_and_chance_are_parameters() -> None:
    found = []
    for module in modules():
        if within(module, "napd") and not module.endswith(".tap") and not within(module, "napd.ops"):
            found += violations(module, *AMBIENT, "random")
            found += [f"{module}:{line} calls {called}" for called, line in calls(module) if called in AMBIENT]
    assert [entry for entry in found if "random.Random" not in entry] == []
    for module in modules():
        if not module.endswith(".tap"):
            assert violations(module, "twisted.internet.reactor") == []


def calls(module: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(module)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            yield f"{node.func.value.id}.{node.func.attr}", node.lineno


def test_downloads_change_files_through_one_module() -> None:
    """`peer.files.disk`: what it does is recorded, cut short and failed by the tests of crashes."""
    changing = {
        f"os.{name}"
        for name in (
            "open", "write", "pwrite", "pwritev", "truncate", "ftruncate", "fsync", "fdatasync",
            "link", "unlink", "remove", "rename", "replace", "mkdir", "makedirs", "rmdir",
        )
    }  # fmt: skip
    found = []
    for module in modules():
        if within(module, "napd.peer") and not within(module, "napd.peer.shares", "napd.peer.files.disk"):
            found += [f"{module}:{line} calls {called}" for called, line in calls(module) if called in changing]
    assert found == []


def test_napctl_needs_no_twisted_and_of_napd_only_what_is_pure() -> None:
    for module in modules():
        if within(module, "napctl"):
            for needed in reached(module):
                assert violations(needed, "twisted", "zope", "OpenSSL", "cryptography") == []
                assert within(needed, "napctl", "napd.__init__", *PURE) or needed == "napd", f"{module} needs {needed}"


def test_the_lower_layers_do_not_know_the_upper_ones() -> None:
    for module in modules():
        if within(module, "napd.net", "napd.wire", "napd.content", "napd.model", "napd.errors", "napd.background"):
            assert violations(module, "napd.index", "napd.peer", "napd.discovery", "napd.ops") == []
        if within(module, "napd.ops"):
            assert violations(module, "napd.index", "napd.peer", "napd.discovery") == []


def test_no_import_hides_in_a_function() -> None:
    hidden = [f"{m}:{line} imports {name}" for m in modules() for name, line, at_top in imports(m) if not at_top]
    # napctl's commands are loaded when they are asked for: it has to start fast.
    assert [entry for entry in hidden if not entry.startswith("napctl")] == []


def test_no_private_name_crosses_a_module() -> None:
    found = []
    for module in modules():
        for name, line, _ in imports(module):
            last = name.rpartition(".")[2]
            if last.startswith("_") and not last.startswith("__") and name != "__future__":
                found.append(f"{module}:{line} imports {name}")
    assert found == []


def test_no_import_cycle() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a cycle: {' -> '.join([*path[path.index(module) :], module])}"
        if module not in done:
            for needed in our_imports(module):
                visit(needed, (*path, module))
            done.add(module)

    for module in modules():
        visit(module, ())


def test_modules_stay_readable() -> None:
    long = {m: n for m, path in modules().items() if (n := len(path.read_text("utf-8").splitlines())) > MAX_LINES}
    assert long == {}
    bad = {"utils", "util", "helpers", "manager", "base", "common", "misc"}
    assert [module for module in modules() if bad & set(module.split("."))] == []


def test_everything_imported_is_ours_a_dependency_or_pythons() -> None:
    declared = {
        "attrs", "automat", "blake3", "click", "cryptography", "imagesize", "msgspec", "mutagen", "numpy", "OpenSSL",
        "pyroaring", "rich", "service_identity", "twisted", "watchdog", "zope", "argon2", "psycopg",
    }  # fmt: skip
    allowed = {"napd", "napctl"} | declared | set(sys.stdlib_module_names)
    assert sorted({name.split(".")[0] for m in modules() for name, _, _ in imports(m)} - allowed) == []
