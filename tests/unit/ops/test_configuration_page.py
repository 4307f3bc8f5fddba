"""docs/reference/configuration.md and the settings are the same list."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from napd.ops.settings import COMMON_SETTINGS, INDEX_SETTINGS, PEER_SETTINGS, Setting, Surroundings, resolve
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "reference" / "configuration.md").read_text("utf-8")
_ROW = re.compile(r"^\| `(\w+)` \| (`--[\w-]+`|—) \| ([^|]+) \| ([^|]+) \| (reload|restart) \| (.+) \|$", re.MULTILINE)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "settings"),
    [
        ("Both daemons", COMMON_SETTINGS),
        ("The index", tuple(s for s in INDEX_SETTINGS if s not in COMMON_SETTINGS)),
        ("A peer", tuple(s for s in PEER_SETTINGS if s not in COMMON_SETTINGS)),
    ],
)
def test_each_setting_is_on_the_page_as_it_is(title: str, settings: tuple[Setting, ...]) -> None:
    rows = {row[0]: row[1:] for row in _ROW.findall(section(title))}
    assert list(rows) == [setting.name for setting in settings]
    for setting in settings:
        option, value, default, change, meaning = rows[setting.name]
        assert option == (f"`--{setting.flag}`" if setting.option else "—")
        assert value == ("list of " if setting.repeatable else "") + setting.argument.replace("|", " or ")
        assert change == ("reload" if setting.live else "restart")
        assert meaning == setting.meaning
        if isinstance(setting.default, (str, float)):
            assert (
                default.strip("`") == f"{setting.default:g}" if isinstance(setting.default, float) else setting.default
            )


def test_the_examples_on_the_page_are_right(tmp_path: Path) -> None:
    example = "\n".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
    table = tomllib.loads(example)
    for directory in ("music", "films"):
        (tmp_path / directory).mkdir()
    (tmp_path / "napd.toml").write_text(example.replace("/srv/", f"{tmp_path}/"))
    around = Surroundings({"HOME": str(tmp_path)}, tmp_path, "ada")
    values = resolve("nappeer", PEER_SETTINGS, {"config": [str(tmp_path / "napd.toml")]}, around)
    assert values["user"] == table["user"]
    assert values["share"][1].name == "movies"
    assert values["upload_weights"] == table["upload_weights"]
    endpoints = re.findall(r"^\| `(tcp6?:[^`]+)` \|", PAGE, re.MULTILINE)
    assert len(endpoints) == 4
    for endpoint in endpoints:
        assert resolve("nappeer", PEER_SETTINGS, {"listen": [endpoint]}, around)["listen"] == endpoint
