"""What a link needs of whatever carries its bytes, and what that tells it: the interface between `link` and TLS.

There are three that carry: our own TLS over a socket (`tls_stream`), which the daemons use; Twisted's TLS, the
reference (`tls`); and a wire in memory for tests (`tests.support.memory`). One suite holds the first two to the same
behaviour (tests/contract/streams). The names are Twisted's, because one of them is.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure


class Stream(Protocol):
    """What a link calls. Either direction may end the whole: nothing here is half open."""

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """What ALPN chose; empty or None for nothing."""

    def getPeerCertificate(self) -> Any: ...
    def getPeer(self) -> Any: ...
    def write(self, data: bytes) -> None:
        """Not before the handshake is over. One with a true `takes_views` takes a memoryview, too, and is done with it
        when it returns."""

    def loseConnection(self) -> None:
        """Deliver what was written, say that it is over, and end once the other end has heard that."""

    def abortConnection(self) -> None:
        """End now; the user hears of it in a later turn."""

    def pauseProducing(self) -> None:
        """Read no more."""

    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """It is paused when more is written than is taken, and resumed when there is room again.

        One with `unsent_bytes` tells how much of it has not been taken yet.
        """

    def unregisterProducer(self) -> None: ...


class StreamUser(Protocol):
    """What a stream tells its link."""

    def makeConnection(self, transport: Any) -> None:
        """The connection is there; the handshake begins."""

    def handshakeCompleted(self) -> None:
        """The key and the protocol are known. What follows was said by their owner."""

    def dataReceived(self, data: bytes) -> None: ...
    def space(self) -> memoryview | None:
        """Where the next bytes belong, for streams that can put them there; None: `dataReceived`."""

    def filled(self, size: int) -> None:
        """So many bytes were put into `space`, from its beginning."""

    def connectionLost(self, reason: Failure) -> None:
        """Once, and nothing after it."""
