"""TLS over a socket of our own: the `Stream` that the daemons use.

Twisted sets up the TCP connection and closes it; from its first byte to its last a `TLSStream` reads and writes the
socket, as a descriptor of the reactor's, and drives OpenSSL through memory buffers. It differs from Twisted's TLS
(the reference, `napd.net.tls`) in what a byte costs, not in what is seen of it (docs/decisions/0006-body-path.md):

- what comes is read 256 KiB at a time into one buffer that is kept, and decrypted straight to where the link wants it;
- what goes is encrypted and given to the kernel at once, 240 KiB at a time;
- in one turn of the reactor not more than a megabyte goes either way, so that nobody else waits long.
"""

from __future__ import annotations

import enum
import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IPushProducer,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import LocalProtocolError
from .handshakes import Handshakes
from .next_turn import NextTurn
from .outgoing import Outgoing
from .records import RECORD_BYTES, Records, reasons_of
from .stream import StreamUser

#: Bytes read from a socket at once: to begin with, and at most. What OpenSSL has held of it once, it keeps room for:
#: links that only ever talk stay small.
FIRST_READ_BYTES = 16 * 1024
LAST_READ_BYTES = 256 * 1024
#: Lines and short bulk that are decrypted at once.
TAKEN_BYTES = 64 * 1024
#: Bytes encrypted, and given to the kernel, before more are: so they fit the kept buffer and a core's cache.
PLAIN_BYTES = 7 * RECORD_BYTES
#: Less than this waits for the end of the turn, or for so much of it, and is encrypted and sent together.
SMALL_BYTES = 32 * 1024
GATHERED_BYTES = 64 * 1024
#: Encrypted bytes that the kernel has not taken, above which the producer is paused and below which it is resumed.
HIGH_WATER_BYTES = 256 * 1024
LOW_WATER_BYTES = 64 * 1024
#: Bytes in either direction per turn of the reactor: less than a millisecond's work.
READ_TURN_BYTES = 512 * 1024
WRITE_TURN_BYTES = 1024 * 1024


class _State(enum.Enum):
    HANDSHAKING = "handshaking"
    OPEN = "open"
    #: We have said that it is over, and wait for the other end to say so.
    CLOSING = "closing"
    GONE = "gone"


@implementer(IReadDescriptor, IWriteDescriptor)
class TLSStream:
    """One connection.

    :param tcp: Twisted's transport of it; its socket is ours until `tcp` is told to close it.
    :param kept: where bytes are put before they are decrypted, and in its last `TAKEN_BYTES` after; shared by all
        streams of a thread.
    :param next_turn: and `handshakes` are shared, too.
    """

    takes_views = True

    def __init__(
        self,
        connection: Records,
        user: StreamUser,
        tcp: Any,
        kept: memoryview,
        next_turn: NextTurn,
        handshakes: Handshakes,
    ) -> None:
        self._connection = connection
        self._user = user
        self._tcp = tcp
        self._kept, self._taken = kept[:-TAKEN_BYTES], kept[-TAKEN_BYTES:]
        self._reactor = tcp.reactor
        self._socket: socket.socket = tcp.getHandle()
        self._state = _State.HANDSHAKING
        self._reason: BaseException = ConnectionDone()
        self._reading = True
        self._heard = False
        self._read_bytes = min(FIRST_READ_BYTES, len(self._kept))
        self._outgoing = Outgoing(self._socket)
        self._turn_bytes = 0
        self._writing = False
        self._next_turn = next_turn
        self._handshakes = handshakes
        self._gathered = bytearray()
        self._producer: IPushProducer | None = None
        self._producer_paused = False

    def begin(self) -> None:
        """Take the socket over; called once, when it is connected."""
        self._tcp.stopReading()
        self._tcp.setTcpNoDelay(True)
        self._reactor.addReader(self)
        self._user.makeConnection(self)
        if self._state is _State.HANDSHAKING:
            self._shake_hands()

    # --- For the link ----------------------------------------------------------------------------

    @property
    def negotiatedProtocol(self) -> bytes:
        return self._connection.get_alpn_proto_negotiated()

    def getPeerCertificate(self) -> Any:
        return self._connection.get_peer_certificate()

    def getPeer(self) -> IAddress:
        peer: IAddress = self._tcp.getPeer()
        return peer

    @property
    def unsent_bytes(self) -> int:
        """What was written and the other end's kernel has not acknowledged: ours may hold megabytes of it."""
        try:
            held = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            # It is closed.
            return 0
        return self._outgoing.bytes + len(self._gathered) + int.from_bytes(held, sys.byteorder)

    def write(self, data: bytes | memoryview) -> None:
        if self._state is _State.HANDSHAKING:
            raise LocalProtocolError("something was said before the handshake was over")
        if self._state is not _State.OPEN:
            return
        size = len(data)
        self._turn_bytes += size
        if size < SMALL_BYTES and len(self._gathered) < GATHERED_BYTES:
            if not self._gathered:
                self._next_turn.add(self._send_gathered)
            self._gathered += data
        else:
            self._encrypt_gathered()
            self._encrypt(memoryview(data))
            self._flush()
        self._pause_producer()

    def loseConnection(self) -> None:
        if self._state is _State.HANDSHAKING:
            self.abortConnection()
        elif self._state is _State.OPEN:
            self._encrypt_gathered()
            if self._has_ended():
                return
            self._state = _State.CLOSING
            self._say_close()
            # Only who reads hears that the other end has closed, too.
            self.resumeProducing()

    def abortConnection(self) -> None:
        self._end(ConnectionAborted(), self._tcp.abortConnection)

    def pauseProducing(self) -> None:
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        if not self._reading and self._state is not _State.GONE:
            self._reading = True
            # Something may have been read and not been decrypted yet; but not from within the caller.
            self._next_turn.add(self._read_on)

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        if not streaming or self._producer is not None:
            raise LocalProtocolError("one push producer at a time is all that a stream takes")
        self._producer = producer
        self._producer_paused = False
        self._pause_producer()

    def unregisterProducer(self) -> None:
        self._producer = None
        self._producer_paused = False

    # --- For the reactor -------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "TLS"

    def doRead(self) -> None:
        if self._heard or self._handshakes.may_begin(self._begin_to_read):
            self._heard = True
            self._read()
        else:
            self._reactor.removeReader(self)

    def _begin_to_read(self) -> None:
        self._heard = True
        if self._reading:
            self._reactor.addReader(self)
            self._read()

    def _read(self) -> None:
        taken = 0
        while taken < READ_TURN_BYTES and self._reading:
            room = self._read_bytes
            try:
                size = self._socket.recv_into(self._kept[:room])
            except BlockingIOError:
                return
            except OSError as error:
                self._end(ConnectionLost(error.strerror or "the socket failed"), self._tcp.abortConnection)
                return
            if not size:
                cut = self._state is not _State.CLOSING
                self._end(ConnectionLost("cut off by the other end") if cut else ConnectionDone())
                return
            self._connection.bio_write(self._kept[:size])
            self._take_in()
            taken += size
            if size < room:
                return
            self._read_bytes = min(2 * room, len(self._kept))

    def doWrite(self) -> None:
        self._turn_bytes = 0
        self._flush()
        if self._outgoing.bytes > LOW_WATER_BYTES or self._state is _State.GONE:
            return
        if self._producer_paused and self._producer is not None:
            self._producer_paused = False
            self._producer.resumeProducing()
        if not self._outgoing.bytes and not self._producer_paused:
            self._stop_writing()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has found the connection broken, or is stopping."""
        self._end(reason.value or ConnectionLost(), lambda: self._tcp.connectionLost(reason))

    # --- For the TCP connection ------------------------------------------------------------------

    def tcp_lost(self, reason: Failure) -> None:
        """It is closed; in general because it was told to."""
        self._end(reason.value or ConnectionLost(), lambda: None)
        # Tens of kilobytes of OpenSSL's, which should not wait for the collector of cycles.
        del self._connection
        self._user.connectionLost(Failure(self._reason))

    # --- Inside ----------------------------------------------------------------------------------

    def _shake_hands(self) -> bool:
        """Go on with the handshake; whether it is over, and the link still there."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._collect()
            self._flush()
            return False
        except SSL.Error as error:
            self._broken(error)
            return False
        self._state = _State.OPEN
        self._collect()
        self._flush()
        if self._state is _State.OPEN:
            self._user.handshakeCompleted()
        return self._state is not _State.GONE

    def _take_in(self) -> None:
        """Decrypt what was read, and hand it on."""
        if self._state is _State.HANDSHAKING and not self._shake_hands():
            return
        try:
            while self._reading and self._state is not _State.GONE:
                self._take_some()
        except SSL.WantReadError:
            # That was all. Reading may have made something to say: the answer to a new key, for one.
            self._collect()
            self._flush()
        except SSL.ZeroReturnError:
            if self._state is _State.OPEN:
                self._say_close()
            self._end(ConnectionDone())
        except SSL.Error as error:
            self._broken(error)

    def _take_some(self) -> None:
        space = self._user.space()
        if space is None:
            size = self._connection.fill(self._taken)
            if self._state is _State.OPEN:
                self._user.dataReceived(bytes(self._taken[:size]))
            return
        self._user.filled(self._connection.fill(space))

    def _read_on(self) -> None:
        if self._reading and self._state is not _State.GONE:
            self._reactor.addReader(self)
            self._take_in()

    def _say_close(self) -> None:
        try:
            self._connection.shutdown()
        except SSL.Error as error:
            self._broken(error)
            return
        self._collect()
        self._flush()

    def _collect(self) -> None:
        """What OpenSSL has to send."""
        while self._state is not _State.GONE and (size := self._connection.drain(self._kept)):
            self._to_kernel(partial(self._outgoing.give, self._kept[:size]))

    def _flush(self) -> None:
        """Give the kernel what it takes now; it tells when it takes more."""
        self._to_kernel(self._outgoing.flush)
        if self._outgoing.bytes:
            self._start_writing()

    def _to_kernel(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            self._end(ConnectionLost(error.strerror or "the socket failed"), self._tcp.abortConnection)

    def _has_ended(self) -> bool:
        """Asked after a call that may end the stream."""
        return self._state is _State.GONE

    def _send_gathered(self) -> None:
        self._encrypt_gathered()
        self._flush()

    def _encrypt_gathered(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._encrypt(memoryview(gathered))

    def _encrypt(self, data: memoryview) -> None:
        for at in range(0, len(data), PLAIN_BYTES):
            if self._has_ended():
                return
            # Memory takes everything, and partial writes are off (`tls`): a call writes it all.
            self._connection.encrypt(data[at : at + PLAIN_BYTES])
            self._collect()

    def _pause_producer(self) -> None:
        """Enough for this turn, or for what the other end takes: `doWrite` lets the producer go on."""
        enough = self._outgoing.bytes + len(self._gathered) > HIGH_WATER_BYTES or self._turn_bytes >= WRITE_TURN_BYTES
        if enough and self._producer is not None and not self._producer_paused and self._state is not _State.GONE:
            self._producer_paused = True
            self._start_writing()
            self._producer.pauseProducing()

    def _start_writing(self) -> None:
        if not self._writing:
            self._writing = True
            self._reactor.addWriter(self)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)

    def _broken(self, error: SSL.Error) -> None:
        """TLS cannot go on. What it has to tell the other end about it is sent, if that is possible at once."""
        self._collect()
        self._flush()
        self._end(ConnectionLost(f"TLS failed: {reasons_of(error)}"))

    def _end(self, reason: BaseException, close: Callable[[], None] | None = None) -> None:
        """Let go of the socket and have it closed; `tcp_lost` follows. Later reasons than the first do not count."""
        if self._state is _State.GONE:
            return
        self._state = _State.GONE
        self._reading = False
        self._reason = reason
        self._reactor.removeReader(self)
        self._stop_writing()
        self._next_turn.drop(self._send_gathered)
        self._next_turn.drop(self._read_on)
        self._handshakes.drop(self._begin_to_read)
        self._outgoing.clear()
        self._gathered.clear()
        self._producer = None
        (close or self._tcp.loseConnection)()
