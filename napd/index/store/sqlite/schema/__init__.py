"""The SQL scripts that make and upgrade the database: N.sql makes version N from version N - 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from pyroaring import BitMap

from ...packing import serialized, unpacked
from ..rows import milliseconds


def scripts() -> list[str]:
    """Of all versions, the first one first."""
    folder = resources.files(__name__)
    numbers = sorted(int(file.name.removesuffix(".sql")) for file in folder.iterdir() if file.name.endswith(".sql"))
    return [folder.joinpath(f"{number}.sql").read_text("utf-8") for number in numbers]


def _roaring(ids: bytes) -> bytes:
    """From the sorted uint32s of version 1."""
    return serialized(BitMap(unpacked(ids)))


#: What the scripts call, each with one value.
FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {"milliseconds": milliseconds, "roaring": _roaring}
