"""libtorrent, a v2 torrent over its plain TCP, seeder to leecher; runs where libtorrent is installed.

``torrent give SOURCE TORRENT`` makes the torrent and says its port; ``torrent take PORT TORRENT DIRECTORY`` fetches.
Its time ends when every piece was hashed and found right, not when it is synced.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import libtorrent as lt

from .turns import say, wait_for_end, wait_for_go

#: Milliseconds between two looks when no alert comes.
LOOK_MS = 200
PIECE_BYTES = 4 << 20
#: Larger buffers than its defaults, and as many threads as help on two cores. Each was tried against its default, and
#: pieces of 1, 4 and 16 MiB, request queues of 500 and 3,000, 1, 4 and 10 aio threads: this is no slower than any.
SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": 0x40 | 0x1,
    "send_buffer_watermark": 8 << 20,
    "send_buffer_low_watermark": 1 << 20,
    "send_buffer_watermark_factor": 200,
    "send_socket_buffer_size": 4 << 20,
    "recv_socket_buffer_size": 4 << 20,
    "max_queued_disk_bytes": 256 << 20,
    "aio_threads": 4,
    "hashing_threads": 2,
}


def _session() -> Any:
    return lt.session({**SETTINGS, "listen_interfaces": "127.0.0.1:0"})


def _added(session: Any, torrent: str, directory: str, flags: int) -> Any:
    wanted = lt.add_torrent_params()
    wanted.ti = lt.torrent_info(torrent)
    wanted.save_path = directory
    wanted.flags = (wanted.flags | flags) & ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return session.add_torrent(wanted)


def _until(session: Any, handle: Any, state: Any) -> None:
    while handle.status().state != state:
        session.wait_for_alert(LOOK_MS)
        session.pop_alerts()


def give(source: str, torrent: str) -> None:
    # What is deprecated in 2.1 is all that 2.0 has.
    warnings.simplefilter("ignore", DeprecationWarning)
    files = lt.file_storage()
    lt.add_files(files, source)
    made = lt.create_torrent(files, PIECE_BYTES, lt.create_torrent.v2_only)
    directory = str(Path(source).parent)
    lt.set_piece_hashes(made, directory)
    Path(torrent).write_bytes(lt.bencode(made.generate()))
    session = _session()
    handle = _added(session, torrent, directory, lt.torrent_flags.seed_mode)
    _until(session, handle, lt.torrent_status.states.seeding)
    say(session.listen_port())
    wait_for_end()


def take(port: str, torrent: str, directory: str) -> None:
    session = _session()
    say("ready")
    wait_for_go()
    handle = _added(session, torrent, directory, 0)
    handle.connect_peer(("127.0.0.1", int(port)))
    _until(session, handle, lt.torrent_status.states.seeding)
    say("done")
    wait_for_end()


if __name__ == "__main__":
    if sys.argv[1] == "give":
        give(*sys.argv[2:])
    else:
        take(*sys.argv[2:])
