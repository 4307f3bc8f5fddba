"""A plain TCP copy. ``tcp_copy give SOURCE`` says its port; ``tcp_copy take PORT TARGET synced|unsynced``."""

from __future__ import annotations

import socket
import sys

from .copying import BLOCK_BYTES, create, keep, write_all
from .turns import say, wait_for_end, wait_for_go


def give(source: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as port, open(source, "rb") as file:
        say(port.getsockname()[1])
        connection, _ = port.accept()
        with connection:
            connection.sendfile(file)
        wait_for_end()


def take(port: str, target: str, synced: str) -> None:
    say("ready")
    wait_for_go()
    buffer = memoryview(bytearray(BLOCK_BYTES))
    writing = create(target)
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        while size := connection.recv_into(buffer, 0, socket.MSG_WAITALL):
            write_all(writing, buffer[:size])
    keep(writing, synced=synced == "synced")
    say("done")
    wait_for_end()


if __name__ == "__main__":
    if sys.argv[1] == "give":
        give(*sys.argv[2:])
    else:
        take(*sys.argv[2:])
