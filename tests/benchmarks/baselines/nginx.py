"""nginx as it serves a file over TLS 1.3: its configuration, a certificate for it, and the process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import until

from .ports import accepts, free_port

#: One worker: one connection uses no more, and the other core is the taker's. Where the kernel does not encrypt,
#: `sendfile` does nothing with TLS, and `output_buffers` and `ssl_buffer_size` count. Tried: sendfile on and off, aio
#: threads, buffers of 128 KiB to 1 MiB, the defaults: no difference was shown, for curl is the slower end.
_CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        ssl_buffer_size 16k;
        sendfile on;
        output_buffers 2 512k;
        tcp_nopush on;
        root {root};
    }}
}}
"""
_CERTIFICATE = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"


class Nginx:
    """Serves the files of a folder until the block ends. `folder` is for its own files."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        self._root = root
        self._port = free_port()

    def __enter__(self) -> Self:
        self._folder.mkdir()
        made = ["-keyout", f"{self._folder}/key.pem", "-out", f"{self._folder}/certificate.pem"]
        subprocess.run(["openssl", *_CERTIFICATE.split(), *made], check=True, capture_output=True)
        configuration = self._folder / "nginx.conf"
        # As root it would have its worker be somebody who may not read here.
        user = "user root root;" if os.geteuid() == 0 else ""
        filled = _CONFIGURATION.format(user=user, folder=self._folder, root=self._root, port=self._port)
        configuration.write_text(filled)
        self._process = subprocess.Popen(["nginx", "-p", self._folder, "-c", configuration])
        until(lambda: accepts(self._port), "nginx listening")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def worker(self) -> int:
        """The process that serves."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def fetch(self, name: str, target: Path) -> list[str]:
        """The command that does: curl, to a file, over TLS 1.3."""
        return [
            "curl", "--silent", "--show-error", "--fail", "--insecure", "--tlsv1.3", "--http1.1",
            "--output", str(target), f"https://127.0.0.1:{self._port}/{name}",
        ]  # fmt: skip
