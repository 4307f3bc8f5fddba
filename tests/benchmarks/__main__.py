"""`make bench`: measures, prints a table with ratios, writes the same as JSON. No pass or fail."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import napd
from tests.benchmarks.measures import Figures, Sizes, all_figures, middle

MB = 1e6


def rows(figures: Figures, sizes: Sizes) -> list[dict[str, Any]]:
    tcp, tls, ours = map(middle, (figures.tcp_bytes_per_s, figures.tls_bytes_per_s, figures.napd_bytes_per_s))
    big = f"{sizes.big >> 20} MiB"
    result = [
        row(f"{big}, plain TCP, file to file", tcp / MB, "MB/s", spread=figures.tcp_bytes_per_s),
        row(
            f"{big}, bare Twisted TLS, file to file",
            tls / MB,
            "MB/s",
            tls / tcp,
            "of plain TCP",
            figures.tls_bytes_per_s,
        ),
        row(f"{big}, napd, get to finished", ours / MB, "MB/s", ours / tls, "of bare TLS", figures.napd_bytes_per_s),
        row(f"{sizes.small_files} files of {sizes.small >> 10} KiB", figures.small_files_per_s, "files/s"),
        row("hashing alone, all cores", figures.hash_bytes_per_s / MB, "MB/s"),
        row(
            "share scan, add to hashed",
            figures.scan_bytes_per_s / MB,
            "MB/s",
            figures.scan_bytes_per_s / figures.hash_bytes_per_s,
            "of hashing alone",
        ),
        row("napctl status, start to end", middle(figures.status_s) * 1000, "ms"),
    ]
    return result + [row(f"memory, {name}", size / MB, "MB") for name, size in figures.memory.items()]


def row(
    what: str,
    value: float,
    unit: str,
    ratio: float | None = None,
    to: str | None = None,
    spread: list[float] | None = None,
) -> dict[str, Any]:
    scale = MB if unit == "MB/s" else 1.0
    made: dict[str, Any] = {"what": what, "value": round(value, 1), "unit": unit}
    if ratio is not None:
        made |= {"ratio": round(ratio, 2), "to": to}
    if spread:
        made |= {"lowest": round(min(spread) / scale, 1), "highest": round(max(spread) / scale, 1)}
    return made


def table(made: list[dict[str, Any]]) -> str:
    lines = []
    for entry in made:
        ratio = f"{entry['ratio']:6.2f} × {entry['to'].removeprefix('of ')}" if "ratio" in entry else ""
        spread = f"({entry['lowest']:.0f} to {entry['highest']:.0f})" if "lowest" in entry else ""
        lines.append(f"{entry['what']:42} {entry['value']:9.1f} {entry['unit']:8} {spread:18} {ratio}".rstrip())
    return "\n".join(lines)


def main() -> int:
    default = Sizes()
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--big", type=int, default=default.big, help="bytes of the big file")
    parser.add_argument("--tree", type=int, default=default.tree, help="bytes of the scanned tree")
    parser.add_argument("--small-files", type=int, default=default.small_files)
    parser.add_argument("--rounds", type=int, default=default.rounds, help="transfers of the big file, each way")
    parser.add_argument("--folder", type=Path, default=None, help="where to work (four times the big file's size)")
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    chosen = parser.parse_args()
    sizes = Sizes(big=chosen.big, tree=chosen.tree, small_files=chosen.small_files, rounds=chosen.rounds)
    with tempfile.TemporaryDirectory(prefix="napd-bench-", dir=chosen.folder) as folder:
        for part, so_far in all_figures(Path(folder), sizes):
            if part:
                print(f"measuring {part} …", file=sys.stderr, flush=True)
            figures = so_far
    made = rows(figures, sizes)
    machine = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    document = {"schema": 1, "version": napd.__version__, "machine": machine, "results": made}
    chosen.output.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(table(made))
    print(f"\nas JSON: {chosen.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
