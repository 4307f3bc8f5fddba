"""OpenSSL's end of a connection, over memory: what is encrypted and decrypted without a copy or a block too many.

pyOpenSSL's own calls allocate a block and copy it for each record of 16 KiB that is read, and for all that is to be
sent. `QuickRecords` goes to the same OpenSSL with memory that is kept. For that it uses what pyOpenSSL keeps to itself,
which no other module does; `records_of` falls back on its documented calls where a release of it has none of that.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

#: The most that is decrypted at once: TLS has no longer records.
RECORD_BYTES = 16 * 1024

_lib: Any = Binding.lib
_ffi: Any = Binding.ffi


class Records(SSL.Connection):
    """A connection over memory, with pyOpenSSL's documented calls only. Raises what those raise."""

    def fill(self, space: memoryview) -> int:
        """Decrypt to `space`, from its beginning: at least one byte, and as much as there is room for or is there.

        :raises SSL.WantReadError: nothing more is there.
        """
        return self.recv_into(space, RECORD_BYTES)

    def encrypt(self, data: memoryview | bytearray) -> None:
        """All of it; `drain` then has what came of it."""
        self.send(data)

    def drain(self, space: memoryview) -> int:
        """Put what is to be sent into `space`; 0 if there is nothing."""
        try:
            piece = self.bio_read(len(space))
        except SSL.WantReadError:
            return 0
        space[: len(piece)] = piece
        return len(piece)


class QuickRecords(Records):
    """The same without pyOpenSSL in between."""

    def __init__(self, context: SSL.Context, socket: None = None) -> None:
        super().__init__(context, socket)
        self._trouble: SSL.Error | None = None

    def fill(self, space: memoryview) -> int:
        if self._trouble is not None:
            raise self._trouble
        read, connection = _lib.SSL_read, self._ssl
        size = len(space)
        filled = 0
        with _ffi.from_buffer(space, require_writable=True) as start:
            while filled < size:
                got = read(connection, start + filled, min(RECORD_BYTES, size - filled))
                if got <= 0:
                    break
                filled += got
            else:
                return filled
        try:
            self._raise_ssl_error(connection, got)
        except SSL.WantReadError:
            if not filled:
                raise
        except SSL.Error as error:
            # OpenSSL tells it once; what came before it counts.
            self._trouble = error
            if not filled:
                raise
        return filled

    def encrypt(self, data: memoryview | bytearray) -> None:
        with _ffi.from_buffer(data) as start:
            written = _lib.SSL_write(self._ssl, start, len(data))
        if written <= 0:
            self._raise_ssl_error(self._ssl, written)

    def drain(self, space: memoryview) -> int:
        with _ffi.from_buffer(space, require_writable=True) as start:
            return max(0, int(_lib.BIO_read(self._from_ssl, start, len(space))))


_PRIVATE = ("_ssl", "_from_ssl", "_raise_ssl_error")


def records_of(context: SSL.Context) -> Records:
    """A new connection, the quicker way if this pyOpenSSL allows it."""
    connection: Records = QuickRecords(context)
    return connection if all(hasattr(connection, name) for name in _PRIVATE) else Records(context)


def reasons_of(error: SSL.Error) -> str:
    """OpenSSL's reasons, without the places in its code."""
    try:
        return ", ".join(reason for _, _, reason in error.args[0]) or "no reason given"
    except (IndexError, TypeError, ValueError):
        return str(error) or type(error).__name__
