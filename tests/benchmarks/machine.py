"""What the figures belong to, in words that say nothing about whose machine it is."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import OpenSSL.SSL

import napd

#: What a transfer's cost depends on, besides napd.
PACKAGES = ("twisted", "pyopenssl", "cryptography", "blake3", "msgspec")


def describe() -> dict[str, object]:
    openssl = OpenSSL.SSL.OpenSSL_version(OpenSSL.SSL.OPENSSL_VERSION).decode("ascii", "replace")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "processor": platform.machine(),
        "python": platform.python_version(),
        "napd": napd.__version__,
        "openssl": openssl.partition(" ")[2].partition(" ")[0],
        **{name: version(name) for name in PACKAGES},
    }


def load() -> float:
    """Runnable processes, averaged over the last minute: others' work shows in the ranges."""
    return float(Path("/proc/loadavg").read_text().split()[0])
