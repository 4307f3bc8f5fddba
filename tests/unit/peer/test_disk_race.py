"""Directories that come and go under threads that make files in them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from napd.peer.files.disk import Disk


def test_a_file_is_made_although_others_remove_its_empty_directory(tmp_path: Path) -> None:
    disk, failures = Disk(), []

    def work(name: str) -> None:
        path = str(tmp_path / ".napd" / name)
        try:
            for _ in range(300):
                os.close(disk.create(path))
                disk.remove(path)
                disk.remove_empty_directory(os.path.dirname(path))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"{n}.part",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
