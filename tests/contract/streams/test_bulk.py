"""Much in one direction: in pieces, held up, cut off, with new keys and a word from the other end in its middle."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor as global_reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from napd.wire import peer as wire
from napd.wire.line import MAX_LINE_BYTES
from tests.support.relay import Way, relay
from tests.support.streams import CLIENT, SERVER, User, carriers, dial, serving
from tests.support.waiting import Eventually

reactor: Any = global_reactor

BLOCK = bytes(range(256)) * 1024


async def send(user: User, blocks: int) -> None:
    """A raw run, as bulk is sent: no more than the other end takes."""
    user.link.send_raw(b"raw %d\n" % (blocks * len(BLOCK)))
    for _ in range(blocks):
        user.link.send_raw(memoryview(BLOCK))
        await user.link.drained()
    user.link.send_raw(b"after\n")


@pytest.mark.parametrize("buffered", [False, True], ids=["in pieces", "into a buffer"])
async def test_a_large_run_arrives_whole_and_the_next_line_is_a_line(buffered: bool, eventually: Eventually) -> None:
    async with serving() as server:
        client = await dial(server.port, greets=False)
        client.buffered = buffered
        await eventually(lambda: client.lines and server.user.keys)
        await send(server.user, 20)
        await eventually(lambda: client.lines[-1] == b"after")
        assert client.raw == BLOCK * 20
        assert not buffered or client.buffer == BLOCK * 20
        client.link.hang_up()
        await eventually(lambda: client.lost and server.user.lost)


@pytest.mark.parametrize("piece", [1, 5, 1000, 16 * 1024 + 23])
async def test_everything_may_come_in_pieces_of_any_size(piece: int, eventually: Eventually) -> None:
    """At one byte a time every boundary is met: of records, of lines, of the handshake's messages."""
    size = 300 if piece == 1 else 40_000
    async with serving() as server, relay(server.port, Way(piece)) as port:
        client = await dial(port)
        client.buffered = True
        await eventually(lambda: client.lines and server.users and server.user.lines, timeout=30)
        for user in (client, server.user):
            user.link.send_raw(b"raw %d\n" % size + BLOCK[:size] + b"a line\nraw 1\n~end\n")
        await eventually(lambda: all(u.lines[-1:] == [b"end"] for u in (client, server.user)), timeout=30)
        for user in (client, server.user):
            assert user.raw == BLOCK[:size] + b"~"
            assert user.lines[-3:] == [b"a line", b"raw 1", b"end"]
        client.link.hang_up(wire.Ping(9))
        await eventually(lambda: client.lost and server.user.lost, timeout=30)
        assert server.user.lines[-1] == b'{"t":"ping","n":9}'


async def test_a_connection_that_is_cut_anywhere_is_lost_once_at_both_ends(eventually: Eventually) -> None:
    """From the first byte of the handshake to the last of a run."""
    async with serving() as server:
        for after in [0, 1, 5, 200, 500, 900, 1200, 1600, 2000, 2300, 2600, 3000, 20_000, 300_000]:
            seen = len(server.users)
            async with relay(server.port, Way(cut_after=after)) as port:
                client = await dial(port)
                await eventually(lambda seen=seen, client=client: client.keys or client.lost)
                if not client.lost:
                    client.link.send_raw(b"raw 1000000\n" + bytes(1_000_000))
                await eventually(
                    lambda seen=seen, client=client: client.lost and all(u.lost for u in server.users[seen:])
                )
                assert [error.code for error in client.lost] == ["unreachable"]
                assert all(len(user.lost) == 1 for user in server.users)


async def test_a_word_of_the_receiver_is_heard_in_the_middle_of_a_run(eventually: Eventually) -> None:
    """It is how a request is cancelled while it is answered."""
    async with serving(greets=False) as server:
        client = await dial(server.port, greets=False)
        await eventually(lambda: client.keys and server.user.keys)
        client.link.pause_reading()
        server.user.link.send_raw(b"raw 400000000\n")
        # More than any socket takes.
        for _ in range(800):
            server.user.link.send_raw(BLOCK)
            drained = server.user.link.drained()
            if not await soon(lambda drained=drained: drained.called):
                break
        client.link.say(wire.Ping(1))
        await eventually(lambda: server.user.lines == [b'{"t":"ping","n":1}'])
        assert not drained.called
        server.user.link.hang_up()
        client.link.resume_reading()
        await eventually(lambda: client.lost and server.user.lost)


async def soon(look: Any) -> bool:
    """Whether it becomes true in the next turns."""
    for _ in range(50):
        if look():
            return True
        await deferLater(reactor, 0.001, lambda: None)
    return False


async def test_a_sender_lets_others_have_their_turn(eventually: Eventually) -> None:
    """However fast the other end takes it, a run does not keep the reactor to itself."""
    async with serving(greets=False) as server:
        client = await dial(server.port, greets=False)
        await eventually(lambda: client.keys and server.user.keys)
        link = server.user.link
        link.drained()
        link.send_raw(b"raw 400000000\n")
        in_a_row = 0
        while link.drained().called and in_a_row < 100:
            link.send_raw(BLOCK)
            in_a_row += 1
        assert in_a_row < 20
        client.link.hang_up()
        link.hang_up()
        await eventually(lambda: client.lost and server.user.lost)


async def test_the_longest_line_passes_both_ways(eventually: Eventually) -> None:
    async with serving(greets=False) as server:
        client = await dial(server.port, greets=False)
        await eventually(lambda: client.keys and server.user.keys)
        longest = b"x" * MAX_LINE_BYTES
        for user in (client, server.user):
            for _ in range(3):
                user.link.send_raw(longest + b"\n")
        await eventually(lambda: len(client.lines) == len(server.user.lines) == 3)
        assert client.lines == server.user.lines == [longest] * 3
        client.link.hang_up()
        await eventually(lambda: client.lost and server.user.lost)


async def test_nothing_is_delivered_while_reading_is_paused_and_all_of_it_later(eventually: Eventually) -> None:
    if carriers.dialler.name == "stock":
        pytest.skip("Twisted's TLS delivers what it has read already")
    async with serving(greets=False) as server:
        client = await dial(server.port, greets=False)
        client.pauses = True
        await eventually(lambda: client.keys and server.user.keys)
        server.user.link.send_raw(b"raw 200000\n" + BLOCK[:200_000] + b"end\n")
        heard = 0
        while heard < 200_000:
            await eventually(lambda heard=heard: len(client.raw) > heard)
            heard = len(client.raw)
            await deferLater(reactor, 0.002, lambda: None)
            assert len(client.raw) == heard
            client.link.resume_reading()
        client.pauses = False
        client.link.resume_reading()
        await eventually(lambda: client.lines[-1:] == [b"end"])
        assert client.raw == BLOCK[:200_000]
        client.link.hang_up()
        await eventually(lambda: client.lost and server.user.lost)


# --- Others' TLS ---------------------------------------------------------------------------------


def pem(identity: Any, directory: Path) -> str:
    path = directory / "key.pem"
    key = identity.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(key + identity.certificate.public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.mark.parametrize("how", ["with a good end", "without"])
async def test_a_run_that_the_other_end_breaks_off_is_lost(how: str, tmp_path: Path, eventually: Eventually) -> None:
    """Bytes that came before count for nothing by themselves: a run is whole or it is not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem(SERVER, tmp_path))
    context.set_alpn_protocols(["nap-peer/1"])
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> bytes:
            plain, _ = listening.accept()
            with context.wrap_socket(plain, server_side=True) as secured:
                secured.settimeout(10)
                secured.recv(1000)
                secured.sendall(b"raw 1000\nabcdefghij")
                if how == "with a good end":
                    # Returns once the other end has said so, too.
                    secured.unwrap().close()
                return b""

        serving_it = deferToThread(serve)
        client = await dial(listening.getsockname()[1])
        await eventually(lambda: client.lost)
        await serving_it
    assert client.raw == b"abcdefghij"
    assert [error.code for error in client.lost] == ["unreachable"]


async def test_who_hangs_up_while_its_sender_is_paused_leaves_the_reactor_in_peace(
    tmp_path: Path, eventually: Eventually
) -> None:
    """Nobody is there any more to be told to go on, and the other end takes its time to let go."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(pem(CLIENT, tmp_path))
    context.set_alpn_protocols(["nap-peer/1"])
    released = threading.Event()

    def visit(port: int) -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as secured:
            heard = 0
            while piece := secured.recv(1 << 16):
                heard += len(piece)
            released.wait(10)
            return heard

    async with serving(greets=False) as server:
        visiting = deferToThread(visit, server.port)
        await eventually(lambda: server.users and server.user.keys)
        link = server.user.link
        link.drained()
        said = 0
        while link.drained().called:
            link.send_raw(BLOCK)
            said += len(BLOCK)
        link.hang_up()
        try:
            await eventually(lambda: link.transport not in reactor.getWriters())
            await deferLater(reactor, 0.05, lambda: None)
            assert link.transport not in reactor.getWriters()
            assert not server.user.lost
        finally:
            released.set()
        assert await visiting == said
        await eventually(lambda: server.user.lost)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl's s_client makes new keys on request")
@pytest.mark.parametrize("update", ["k", "K"], ids=["its own key", "both keys"])
async def test_new_keys_in_the_middle_of_runs_both_ways(update: str, tmp_path: Path, eventually: Eventually) -> None:
    digits = b"0123456789" * 30_000
    out, err = tmp_path / "out", tmp_path / "err"
    async with serving(greets=False) as server:
        with out.open("wb") as stdout, err.open("wb") as stderr:
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-alpn", "nap-peer/1"]
            key = pem(CLIENT, tmp_path)
            child = begin([*command, "-cert", key, "-key", key], stdout, stderr)
        assert child.stdin is not None
        stdin = child.stdin.fileno()
        try:
            await eventually(lambda: server.users and server.user.keys)
            user = server.user
            user.buffered = True
            await deferToThread(write_all, stdin, b"raw 300000\n" + digits[:100_000])
            await eventually(lambda: len(user.raw) == 100_000)
            user.link.send_raw(b"<<<" + digits[:100_000])
            await deferToThread(write_all, stdin, update.encode() + b"\n")
            await eventually(lambda: b"KEYUPDATE" in err.read_bytes())
            await deferToThread(write_all, stdin, digits[100_000:] + b"end\n")
            user.link.send_raw(digits[100_000:] + b">>>")
            await eventually(lambda: user.lines[-1:] == [b"end"] and b">>>" in out.read_bytes())
            assert user.raw == digits
            assert out.read_bytes().split(b"<<<")[1].split(b">>>")[0] == digits
        finally:
            child.stdin.close()
            child.terminate()
            await deferToThread(child.wait)
        await eventually(lambda: user.lost)


def begin(command: list[str], stdout: Any, stderr: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr)


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
