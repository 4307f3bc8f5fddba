"""Which index is which: keys remembered by address, like SSH's known_hosts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..durable import sync_entry
from ..errors import ConfigurationError, DiskFailed, NapError
from ..model import PeerId
from ..net.identity import PublicKey


class KnownIndexes:
    """The file `known_indexes` in the state directory: one line each, ``HOST:PORT KEY``.

    Small, read once at the start, and rewritten whole when an index is met for the first time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, PublicKey] = {}
        try:
            lines = path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path} is not text", "mend or remove it") from error
        for number, line in enumerate(lines, 1):
            try:
                address, key = line.split()
                self._keys[address] = PublicKey.from_text(key)
            except (ValueError, NapError) as error:
                raise ConfigurationError(f"{path}, line {number}: not HOST:PORT KEY", "mend or remove it") from error

    @property
    def path(self) -> Path:
        return self._path

    def key_at(self, address: str) -> PublicKey | None:
        """The key that was met at this address, if any."""
        return self._keys.get(address)

    def key_of(self, index: PeerId) -> PublicKey | None:
        """The key with this id, wherever it was met."""
        return next((key for key in self._keys.values() if key.id == index), None)

    def remember(self, address: str, key: PublicKey) -> bool:
        """Whether that is news. A different key at a known address is the caller's to refuse, not to pass here.

        :raises DiskFailed: it cannot be written down.
        """
        known = self._keys.get(address)
        if known is not None and known.id == key.id:
            return False
        self._save({**self._keys, address: key})
        self._keys[address] = key
        return True

    def _save(self, keys: Mapping[str, PublicKey]) -> None:
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.writelines(f"{where} {which.to_text()}\n" for where, which in sorted(keys.items()))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
            sync_entry(str(self._path))
        except OSError as error:
            raise DiskFailed(f"{self._path} cannot be written: {error.strerror}") from error
